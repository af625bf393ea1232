"""Run a Crossbar node that does not outlive this process."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import typing as t
from pathlib import Path

from ..concurrency.child_processes import kill_process, spawn_bound, stop_process
from . import ports
from .build import Echo, find_crossbar
from .config import DEFAULT_REALM, DEFAULT_URL, local_url, node_config
from .errors import RouterError
from .pip import clean_environ

_LOG_LINES = 15

_COLOR = {True: "true", False: "false", None: "auto"}


class DevRouter:
    """A Crossbar node of our own on this machine.

    ::

        with DevRouter("ws://127.0.0.1:8080/ws", "realm1") as router:
            router.wait()

    It can be stopped or killed and started again, on the same URLs. Start it from the main
    thread: see :func:`spawn_bound`.

    :param urls: One router URL, or several: a transport each.
    :param realm: The realm to serve.
    :param crossbar: Crossbar's executable; found by default.
    :param log: The file its log is appended to, or a function that is called with each line of it,
        on a thread; by default it goes to our own output.
    :param log_level: How much it logs: ``error``, ``warn``, ``info`` or ``debug``.
    :param color: Whether it may use colors; by default if its output is a terminal.
    :param config: A whole configuration of a node, in place of the one made from ``options``;
        ``urls`` are then those to wait for.
    :param options: What :func:`node_config` takes.
    :raises RouterError: No such URL can be served, or there is no Crossbar.
    """

    def __init__(
        self,
        urls: str | t.Sequence[str] = DEFAULT_URL,
        realm: str = DEFAULT_REALM,
        *,
        crossbar: Path | str | None = None,
        log: Path | str | Echo | None = None,
        log_level: str = "info",
        color: bool | None = None,
        config: t.Mapping[str, t.Any] | None = None,
        **options: t.Any,
    ) -> None:
        self.urls = (urls,) if isinstance(urls, str) else tuple(urls)
        self.realm = realm
        self.log = Path(log) if isinstance(log, str) else log
        self.config = dict(config or node_config(self.urls, realm, **options))
        self._endpoints = [local_url(url) for url in self.urls]
        self._crossbar = Path(crossbar) if crossbar else _find_crossbar()
        self._options = ["--loglevel", log_level, "--color", _COLOR[color]]
        self._process: subprocess.Popen[bytes] | None = None
        self._log_thread: threading.Thread | None = None
        self._cbdir = ""
        self._log_start = 0
        self._owner = 0

    @property
    def url(self) -> str:
        """The first WebSocket URL."""
        return self._first("ws", "wss")

    @property
    def rawsocket_url(self) -> str:
        """The first URL of RawSocket over TCP."""
        return self._first("tcp", "tls")

    @property
    def unix_url(self) -> str:
        """The first URL of RawSocket over a Unix socket."""
        return self._first("unix")

    @property
    def shown_urls(self) -> list[str]:
        """The URLs for logs: without passwords."""
        return [endpoint.shown for endpoint in self._endpoints]

    @property
    def pid(self) -> int | None:
        """The process id of Crossbar's controller; None where it was not started."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether Crossbar runs: ready or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start Crossbar, and do not wait until it is ready.

        :raises RouterError: A port is in use; then nothing was started.
        """
        if self.running:
            raise RuntimeError("this router is running: stop() it before you start() it again")
        self.stop()
        for endpoint in self._endpoints:
            ports.check_free(endpoint)
        self._cbdir = tempfile.mkdtemp(prefix="flask-wamp-")
        self._owner = os.getpid()
        atexit.register(self.stop)
        Path(self._cbdir, "config.json").write_text(json.dumps(self.config, indent=2))
        with self._open_log() as output:
            self._process = spawn_bound(
                self._command(self._cbdir),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**clean_environ(), "PYTHONUNBUFFERED": "1"},
            )
        if callable(self.log):
            self._log_thread = threading.Thread(
                target=_pass_on,
                args=[self._process.stdout, self.log],
                name="wamp-router-log",
                daemon=True,  # or it would keep us from the exit at which the router is stopped
            )
            self._log_thread.start()

    def wait_until_ready(self, timeout: float = 60) -> None:
        """Wait until all URLs take WAMP clients.

        :param timeout: Seconds. It takes 4 on an idle machine, 10 on a busy one.
        :raises RouterError: Crossbar ended before, with the last lines of its log; or the time
            is over.
        """
        deadline = time.monotonic() + timeout
        for endpoint in self._endpoints:
            while not ports.answers(endpoint):
                if self.wait(0.05) is not None:
                    raise RouterError(f"Crossbar ended before it was ready; {self.last_words()}")
                if time.monotonic() > deadline:
                    raise RouterError(
                        f"Crossbar is not ready on {endpoint.shown} after {timeout:g} s"
                    )

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until Crossbar has ended by itself; return its exit code, None if it has not."""
        if self._process is None:
            raise RuntimeError("this router was not started: start() it first")
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout)
        return None

    def stop(self, timeout: float = 10) -> None:
        """Stop Crossbar with SIGTERM. Does nothing if it does not run.

        :param timeout: Seconds until it is killed. It takes one.
        """
        self._end(lambda process: stop_process(process, timeout))

    def kill(self) -> None:
        """Kill Crossbar, controller and worker, with SIGKILL."""
        self._end(kill_process)

    def restart(self, timeout: float = 60) -> None:
        """Stop it, start it on the same URLs, and wait until it is ready."""
        self.stop()
        self.start()
        self.wait_until_ready(timeout)

    def last_words(self) -> str:
        """Return the end of its log, for an error about an unexpected end."""
        if not isinstance(self.log, Path):
            return "its log above says why"
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(["its last words:", *lines[-_LOG_LINES:]])

    def __enter__(self) -> DevRouter:
        self.start()
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _command(self, folder: str) -> list[str]:
        """Return the program to run and its arguments. ``config.json`` is in the folder."""
        return [str(self._crossbar), "start", "--cbdir", folder, *self._options]

    def _first(self, *schemes: str) -> str:
        for endpoint in self._endpoints:
            if endpoint.scheme in schemes:
                return endpoint.url
        raise AttributeError(f"this router has no {schemes[0]}:// URL")

    def _open_log(self) -> t.ContextManager[t.Any]:
        if not isinstance(self.log, Path):
            return contextlib.nullcontext(subprocess.PIPE if self.log else None)
        file = self.log.open("ab")
        self._log_start = file.tell()
        return file

    def _end(self, end: t.Callable[[subprocess.Popen[bytes]], None]) -> None:
        if self._process is None or self._owner != os.getpid():
            return  # a fork of the process that started it
        process, self._process = self._process, None
        atexit.unregister(self.stop)
        end(process)
        if self._log_thread is not None:
            self._log_thread.join()
        shutil.rmtree(self._cbdir, ignore_errors=True)
        # The worker may hold the ports a moment longer than the controller lives.
        for endpoint in self._endpoints:
            ports.wait_until_free(endpoint, timeout=5)


def _pass_on(stream: t.IO[bytes], tell: Echo) -> None:
    """Pass the log on by the line: Crossbar writes a line and its end in two goes."""
    with stream:
        for line in stream:
            tell(line.decode(errors="replace").rstrip("\n"))


def _find_crossbar() -> Path:
    crossbar = find_crossbar()
    if crossbar is None:
        raise RouterError(
            "there is no Crossbar.io on this machine: run `python -m flask_wamp.crossbar --build` "
            "once, or name one with FLASK_WAMP_CROSSBAR"
        )
    return crossbar
