"""Processes for background tasks that compute for long: started when needed, used again, replaced.

They are not forked: a copy of a process with threads may hold locks that nothing will release, and would
have the router's socket. A new Python is started, which imports the app (:mod:`.child`). The socket to it
waits as all sockets do, so the same lines work in threads and in greenlets.

Why this is not ``concurrent.futures.ProcessPoolExecutor`` (tried on Python 3.11, "spawn"): a task that ends
its process, by a crash in C or for lack of memory, fails the tasks of all others too (``BrokenProcessPool``;
loky does the same), and when the parent is killed its children live on, because each of them holds the other
end of the pipe that it waits for. Here only that task fails, and a child ends with its parent.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import typing as t

from ..concurrency.clock import monotonic
from ..exceptions import TaskAborted
from . import child as task_process
from .child import Setup, TaskEnd, receive, send

#: Seconds an idle process has for its end, though there is no time left.
GRACE = 1.0

_BOOTSTRAP = """\
import importlib.util, sys
sys.path[:] = {path!r}
spec = importlib.util.spec_from_file_location({name!r}, {file!r})
module = sys.modules[{name!r}] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.main({fd})
"""


class Processes:
    """The child processes of one app in this process: as many as there are tasks at the same time.

    :param setup: Returns what they have to know; called at the first use.
    """

    def __init__(self, setup: t.Callable[[], Setup]) -> None:
        self._make_setup = setup
        self._setup: bytes | None = None
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._children: set[_Child] = set()
        self._stopping = False

    def run(self, job: bytes) -> TaskEnd:
        """Run a task in a process, and wait until it has ended.

        :raises TaskAborted: The process died, or cannot be started.
        """
        while True:
            child = self._take()
            answer = child.ask(job)
            if answer is not None:
                with self._lock:
                    self._idle.append(child)
                return answer
            with self._lock:
                self._children.discard(child)
            status = child.end()
            # A process that was idle may have died long before: then the task has not begun, and goes to
            # another one. So it does if the process got SIGTERM, as all processes of a service do, before
            # it could handle it.
            if child.begun or not (child.used or status == -signal.SIGTERM):
                raise TaskAborted(f"the process that ran it {_how(status)}")

    def stop(self, deadline: float) -> None:
        """End all processes: idle ones in order until ``deadline``, the others at once.

        :param deadline: A ``time.monotonic()``.
        """
        with self._lock:
            self._stopping = True
            children, self._children = self._children, set()
            idle, self._idle = self._idle, []
        for child in children.difference(idle):
            child.kill()
        for child in idle:
            child.leave()
        deadline = max(deadline, monotonic() + GRACE)
        for child in idle:
            child.end(deadline)

    def forget(self) -> None:
        """Close the copies of the sockets in a forked child, so that the parent notices their ends."""
        for child in self._children:
            child.forget()

    def _take(self) -> _Child:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if self._setup is None:
                self._setup = pickle.dumps(tuple(self._make_setup()))
            setup = self._setup
        try:
            child = _Child(setup)
        except OSError as error:
            raise TaskAborted(f"no process can be started to run it: {error}") from error
        with self._lock:
            self._children.add(child)
            stopping = self._stopping
        if stopping:
            child.kill()
        return child


class _Child:
    """One process. Used by one thread at a time.

    :param setup: The pickled ``Setup``.
    """

    def __init__(self, setup: bytes) -> None:
        self.used = False
        """Whether it has ended a task before the present one."""
        self.begun = False
        """Whether it has begun the present one."""
        self._setup: bytes | None = setup
        self._socket, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = _spawn(theirs.fileno())
        except BaseException:
            self._socket.close()
            raise

    def ask(self, job: bytes) -> TaskEnd | None:
        """Run a task; return None if the process died."""
        self.begun = False
        try:
            if self._setup is not None:
                send(self._socket, self._setup)
                self._setup = None
            send(self._socket, job)
            answer = receive(self._socket)
            if answer == b"":
                self.begun = True
                answer = receive(self._socket)
        except OSError:
            return None
        if answer is None:
            return None
        self.used = True
        return TaskEnd(*pickle.loads(answer))

    def leave(self) -> None:
        """Let an idle process end: it sees its socket closed."""
        self._socket.close()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def end(self, deadline: float | None = None) -> int:
        """Wait until it has ended, at most until a ``time.monotonic()``; return its status."""
        self._socket.close()
        timeout = GRACE if deadline is None else max(0.0, deadline - monotonic())
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout)
        self._process.kill()
        return self._process.wait()

    def forget(self) -> None:
        """Close this process's copy of the socket."""
        with contextlib.suppress(OSError):
            os.close(self._socket.detach())


def _how(status: int) -> str:
    if status < 0:
        return f"was ended by signal {-status} ({signal.strsignal(-status)})"
    return f"ended with exit status {status}"


def _spawn(fd: int) -> subprocess.Popen[bytes]:
    code = _BOOTSTRAP.format(
        path=[entry for entry in sys.path if isinstance(entry, str)],
        name=task_process.NAME,
        file=task_process.__file__,
        fd=fd,
    )
    flags: list[str] = getattr(subprocess, "_args_from_interpreter_flags", list)()
    command = [_python(), *flags, "-c", code]
    # In a session of its own, because Ctrl-C reaches all processes of a terminal, and the parent drains.
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, pass_fds=[fd], start_new_session=True
    )


def _python() -> str:
    """Return the Python to run. In uWSGI, ``sys.executable`` is the server."""
    if os.path.basename(sys.executable or "").startswith(("python", "pypy")):
        return sys.executable
    return os.path.join(sys.exec_prefix, "bin", "python3")
