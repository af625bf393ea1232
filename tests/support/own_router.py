"""``flask wamp router`` as a real process, with the methods of :class:`~flask_wamp.crossbar.DevRouter`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from flask_wamp.crossbar import RouterError, kill_process, local_url, spawn_bound, stop_process

from .served import APPS, PACKAGE


class OwnRouter:
    """The built-in router on these URLs; ``with OwnRouter(...) as router:`` waits until it is ready.

    It can be killed and started again on the same URLs. Start it from the main thread: see
    :func:`~flask_wamp.crossbar.spawn_bound`.

    :param log: The file its output is appended to.
    :param options: More options of the command.
    """

    def __init__(
        self,
        urls: t.Sequence[str],
        realm: str = "realm1",
        *,
        log: Path,
        options: t.Sequence[str] = (),
    ) -> None:
        self.urls = tuple(urls)
        self._log = log
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [
            *(sys.executable, "-m", "flask", "--app", "nothing", "wamp", "router"),
            *(f"--url={url}" for url in urls),
            f"--realm={realm}",
            *options,
        ]

    @property
    def url(self) -> str:
        """The first WebSocket URL."""
        return next(url for url in self.urls if local_url(url).websocket)

    @property
    def rawsocket_url(self) -> str:
        """The first URL of RawSocket over TCP."""
        return next(url for url in self.urls if local_url(url).scheme == "tcp")

    @property
    def pid(self) -> int | None:
        """The process id, which leads a process group; None where it was not started."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it, and do not wait until it is ready."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith("FLASK_")}
        environ["PYTHONPATH"] = str(PACKAGE)
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self._process = spawn_bound(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=APPS,
                env=environ,
            )

    def wait_until_ready(self, timeout: float = 60) -> None:
        """Wait until it listens.

        :raises RouterError: It has ended, or the time is over.
        """
        deadline = time.monotonic() + timeout
        while "router ready on" not in (words := self._words()):
            if self._process is None or self._process.poll() is not None:
                raise RouterError(f"the router ended before it was ready: {words}")
            if time.monotonic() > deadline:
                raise RouterError(f"the router is not ready after {timeout:g} s: {words}")
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._end(kill_process)

    def stop(self, timeout: float = 10) -> None:
        """Stop it with SIGTERM."""
        self._end(lambda process: stop_process(process, timeout))

    def _end(self, end: t.Callable[[subprocess.Popen[bytes]], None]) -> None:
        process, self._process = self._process, None
        if process is not None:
            end(process)

    def _words(self) -> str:
        """What it has said since it was started last."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def __enter__(self) -> OwnRouter:
        self.start()
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
