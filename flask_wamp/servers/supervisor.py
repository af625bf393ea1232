"""The supervisor of ``flask wamp worker``. It starts workers, replaces those that die, and restarts them.

It does not import the app, so that ``--gevent`` can patch in the workers before anything else is imported.
"""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import socket
import subprocess
import sys
import time
import types
import typing as t

from ..concurrency import systemd
from ..concurrency.child_processes import spawn_bound, stop_process
from ..concurrency.self_pipe import SelfPipe

#: The code that starts a worker with ``--gevent``. It patches before anything else is imported.
_PATCHED = "from gevent import monkey; monkey.patch_all(); from flask.cli import main; main()"

#: Seconds. If a new worker takes longer than the first value to become ready, a rolling restart ends. If a
#: worker has run longer than the second value, its death does not increase the pause before the next worker.
READY_TIMEOUT, HEALTHY_AFTER = 60.0, 10.0

BACKOFF_MIN, BACKOFF_MAX = 0.5, 30.0

#: The exit code of a worker that ended because its code has changed.
CHANGED = 3

Say = t.Callable[[str], object]


def listen(address: str) -> socket.socket:
    """Return a listening socket that workers share.

    :param address: ``5000``, ``:5000`` or ``0.0.0.0:5000``.
    :raises ValueError: It is not an address.
    :raises OSError: It is in use, or this user may not use it.
    """
    host, _, port = address.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ValueError("give [HOST]:PORT")
    listener = socket.create_server((host or "127.0.0.1", int(port)), backlog=1024)
    listener.setblocking(False)
    listener.set_inheritable(True)
    return listener


@dataclasses.dataclass
class _Worker:
    """A worker process. It writes to ``pipe`` when it is ready."""

    process: subprocess.Popen[bytes]
    pipe: int
    started: float
    ready: bool = False

    def look(self, timeout: float = 0.0) -> bool:
        """Return whether it is ready, after waiting at most ``timeout`` seconds."""
        if not self.ready and select.select([self.pipe], [], [], timeout)[0]:
            self.ready = bool(os.read(self.pipe, 16))
        return self.ready

    def close(self) -> None:
        os.close(self.pipe)


class Supervisor:
    """Keeps a number of workers alive.

    :param arguments: The arguments of ``flask``. Workers get the same arguments.
    :param count: How many workers there are.
    :param gevent: Whether workers are monkey-patched first.
    :param http: A listening socket that they share.
    :param say: Called with a line for the user.
    :param stop_timeout: Seconds a worker may take to drain before it is killed.
    """

    #: Seconds between two checks of the workers.
    INTERVAL = 0.2

    def __init__(
        self,
        arguments: t.Sequence[str],
        count: int,
        *,
        gevent: bool,
        http: socket.socket | None,
        say: Say,
        stop_timeout: float = 60.0,
    ) -> None:
        begin = ["-c", _PATCHED] if gevent else ["-m", "flask"]
        self._command = [sys.executable, *begin, *arguments]
        self._count = count
        self._http = http
        self._stop_timeout = stop_timeout
        self._say = say
        self._workers: list[_Worker] = []
        self._deaths = 0
        self._once_ready = self._unfit = False
        self._stopping = self._rolling = False
        self._wake = SelfPipe()

    def run(self) -> int:
        """Keep the workers alive until SIGTERM or SIGINT. SIGHUP restarts them one by one.

        :returns: The exit code: 1 if the first workers end before they are ready, because others would end
            in the same way.
        """
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, self._on_signal)
        try:
            self._workers = [self._spawn() for _ in range(self._count)]
            announced = False
            while not (self._stopping or self._unfit):
                self._wake.wait(self.INTERVAL)
                self._wake.clear()
                self._replace_the_dead()
                if not announced and self._all_ready():
                    announced = self._once_ready = True
                    self._say(f"{self._workers_text} ready")
                    systemd.ready(f"{self._workers_text} ready")
                if self._rolling:
                    self._rolling = False
                    self._restart_one_by_one()
            return int(self._unfit)
        finally:
            systemd.stopping()
            self._stop(self._workers)
            self._wake.close()

    @property
    def _workers_text(self) -> str:
        return f"{self._count} worker{'s' * (self._count > 1)}"

    def _all_ready(self) -> bool:
        return sum(worker.look() for worker in self._workers) == self._count

    def _on_signal(self, signum: int, frame: types.FrameType | None) -> None:
        if signum == signal.SIGHUP:
            self._rolling = True
        else:
            self._stopping = True
        self._wake.set()

    def _spawn(self) -> _Worker:
        ours, theirs = os.pipe()
        passed = [theirs]
        command = [*self._command, "--ready-fd", str(theirs)]
        if self._http is not None:
            passed.append(self._http.fileno())
            command += ["--listen-fd", str(self._http.fileno())]
        process = spawn_bound(command, pass_fds=passed, stdin=subprocess.DEVNULL)
        os.close(theirs)
        return _Worker(process, ours, time.monotonic())

    def _replace_the_dead(self) -> None:
        for at, worker in enumerate(self._workers):
            code = worker.process.poll()
            if code is None:
                continue
            if code > 0 and code != CHANGED and not (worker.look() or self._once_ready):
                self._unfit = True
                return
            worker.close()
            if code == CHANGED:
                self._workers[at] = self._spawn()
                continue
            healthy = time.monotonic() - worker.started > HEALTHY_AFTER
            self._deaths = 0 if healthy else self._deaths + 1
            delay = min(BACKOFF_MAX, BACKOFF_MIN * 2.0 ** min(self._deaths, 10))
            self._say(
                f"worker {worker.process.pid} died with exit code {code}, "
                f"starting another in {delay:g} s"
            )
            self._pause(delay)
            self._workers[at] = self._spawn()

    def _pause(self, delay: float) -> None:
        deadline = time.monotonic() + delay
        while not self._stopping and (left := deadline - time.monotonic()) > 0:
            self._wake.wait(left)
            self._wake.clear()

    def _restart_one_by_one(self) -> None:
        systemd.reloading()
        outcome = self._restarted()
        self._say(outcome)
        systemd.ready(outcome)

    def _restarted(self) -> str:
        """Restart the workers. Return a line with the outcome."""
        for at, old in enumerate(self._workers):
            new = self._spawn()
            if not self._becomes_ready(new):
                self._stop([new])
                return "the new worker did not become ready, so the old ones stay"
            self._workers[at] = new
            self._stop([old])
        return f"{self._workers_text} restarted"

    def _becomes_ready(self, worker: _Worker) -> bool:
        deadline = time.monotonic() + READY_TIMEOUT
        while not worker.look(self.INTERVAL):
            if self._stopping or worker.process.poll() is not None or time.monotonic() > deadline:
                return False
        return True

    def _stop(self, workers: t.Iterable[_Worker]) -> None:
        workers = list(workers)
        for worker in workers:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGTERM)
        for worker in workers:
            stop_process(worker.process, self._stop_timeout)
            worker.close()
