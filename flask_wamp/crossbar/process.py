"""Run a Crossbar node that ends with this process."""

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
    """A Crossbar node on this machine, for development and tests.

    ::

        with DevRouter("ws://127.0.0.1:8080/ws", "realm1") as router:
            router.wait()

    You can stop or kill it and start it again on the same URLs. Start it from the main thread, see
    :func:`spawn_bound`.

    :param urls: One or several router URLs. Each gets a transport.
    :param realm: The realm to serve.
    :param crossbar: Crossbar's executable. :func:`find_crossbar` finds it by default.
    :param log: A file to which Crossbar's log is appended, or a function that is called with each of its
        lines, on another thread. By default, the log goes to the output of this process.
    :param log_level: Crossbar's log level: ``error``, ``warn``, ``info`` or ``debug``.
    :param color: Whether the log has colors. By default, it has colors if the output is a terminal.
    :param config: A complete configuration of a node, instead of the one made from ``options``. ``urls`` are
        then the URLs to wait for.
    :param options: The arguments of :func:`node_config`.
    :raises RouterError: A URL cannot be served, or Crossbar is not installed.
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
        """The URLs for logs, without passwords."""
        return [endpoint.shown for endpoint in self._endpoints]

    @property
    def pid(self) -> int | None:
        """The process id of Crossbar's controller. None if it was not started."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether Crossbar is running. It may not be ready yet."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start Crossbar, without waiting until it is ready.

        :raises RouterError: A port is in use, so nothing was started.
        """
        if self.running:
            raise RuntimeError("this router is running already. Call stop() before start()")
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
                daemon=True,  # otherwise, the interpreter would wait for it before it stops the router
            )
            self._log_thread.start()

    def wait_until_ready(self, timeout: float = 60) -> None:
        """Wait until clients can join at all URLs.

        :param timeout: Seconds. Crossbar takes 4 on an idle machine, and 10 on a busy one.
        :raises RouterError: Crossbar is not ready in time, or it has ended. The text then contains the last
            lines of its log.
        """
        deadline = time.monotonic() + timeout
        for endpoint in self._endpoints:
            while not ports.answers(endpoint):
                if self.wait(0.05) is not None:
                    raise RouterError(f"Crossbar ended before it was ready; {self.log_tail()}")
                if time.monotonic() > deadline:
                    raise RouterError(
                        f"Crossbar is not ready on {endpoint.shown} after {timeout:g} s"
                    )

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until Crossbar ends by itself. Return its exit code, or None if it still runs."""
        if self._process is None:
            raise RuntimeError("this router was not started. Call start() first")
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout)
        return None

    def stop(self, timeout: float = 10) -> None:
        """Stop Crossbar with SIGTERM. Does nothing if it is not running.

        :param timeout: Seconds after which it is killed. It usually ends after one second.
        """
        self._end(lambda process: stop_process(process, timeout))

    def kill(self) -> None:
        """Kill Crossbar's controller and worker with SIGKILL."""
        self._end(kill_process)

    def restart(self, timeout: float = 60) -> None:
        """Stop Crossbar, start it again on the same URLs, and wait until it is ready."""
        self.stop()
        self.start()
        self.wait_until_ready(timeout)

    def log_tail(self) -> str:
        """Return the last lines of the log, for an error if Crossbar has ended unexpectedly."""
        if not isinstance(self.log, Path):
            return "see its log above"
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(["the last lines of its log are:", *lines[-_LOG_LINES:]])

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
        """Return the program to run, with its arguments. ``config.json`` is in the folder."""
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
            return  # this process is a fork of the process that has started the router
        process, self._process = self._process, None
        atexit.unregister(self.stop)
        end(process)
        if self._log_thread is not None:
            self._log_thread.join()
        shutil.rmtree(self._cbdir, ignore_errors=True)
        # The worker may end, and free the ports, slightly later than the controller.
        for endpoint in self._endpoints:
            ports.wait_until_free(endpoint, timeout=5)


def _pass_on(stream: t.IO[bytes], echo: Echo) -> None:
    """Pass the log on line by line, because Crossbar writes a line and its end separately."""
    with stream:
        for line in stream:
            echo(line.decode(errors="replace").rstrip("\n"))


def _find_crossbar() -> Path:
    crossbar = find_crossbar()
    if crossbar is None:
        raise RouterError(
            "Crossbar.io is not installed on this machine. Run `python -m flask_wamp.crossbar --build` once, "
            "or set FLASK_WAMP_CROSSBAR to the path of a crossbar executable"
        )
    return crossbar
