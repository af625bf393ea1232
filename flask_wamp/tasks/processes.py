"""Processes for background tasks that compute for a long time. They are started when needed, and reused.

They are not forked, because a copy of a process with threads may contain locks that are never released, and
would have a copy of the router's socket. Instead, a new Python is started, which imports the app
(:mod:`.child`). The parent talks to it through a socket, so the same code works in threads and in greenlets.

``concurrent.futures.ProcessPoolExecutor`` is not used for these reasons (tried on Python 3.11 with "spawn").
If a task ends its process by a crash in C or for lack of memory, all other tasks fail too
(``BrokenProcessPool``; loky has the same problem). And if the parent is killed, its children stay alive,
because each of them holds the other end of the pipe that it reads from. Here, only that task fails, and a
child ends with its parent.
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

from ..concurrency.child_processes import python_executable
from ..concurrency.clock import monotonic
from ..exceptions import TaskAborted
from . import child as task_process
from .child import Setup, TaskEnd, receive, send

#: Seconds in which an idle process may end, even if the deadline has passed.
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
    """The child processes of one app in this process. A new one is started if all others run tasks.

    :param setup: Returns the setup of the processes. Called at the first use.
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
            # A process that was idle may have died before. The task has not started then, and another process
            # runs it. The same is true if SIGTERM has ended a new process before it could handle this signal:
            # systemd sends SIGTERM to all processes of a service.
            if child.begun or not (child.used or status == -signal.SIGTERM):
                raise TaskAborted(f"the process that ran it {_how(status)}")

    def stop(self, deadline: float) -> None:
        """End all processes. Idle ones may end by themselves until ``deadline``. Others are killed at once.

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
        """Close the sockets in a forked child, so that the parent notices when processes end."""
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
        """Whether it has finished a task before the current one."""
        self.begun = False
        """Whether it has started the current task."""
        self._setup: bytes | None = setup
        self._socket, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = _spawn(theirs.fileno())
        except BaseException:
            self._socket.close()
            raise

    def ask(self, job: bytes) -> TaskEnd | None:
        """Run a task. Return None if the process died."""
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
        """Let an idle process end by closing its socket."""
        self._socket.close()

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()

    def end(self, deadline: float | None = None) -> int:
        """Wait until the process has ended, at most until a ``time.monotonic()``. Return its status."""
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
    command = [python_executable(), *flags, "-c", code]
    # It gets its own session, because Ctrl-C reaches all processes of a terminal, but only the parent drains.
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, pass_fds=[fd], start_new_session=True
    )
