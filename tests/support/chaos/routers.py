"""The router of a run: Crossbar.io, ``flask wamp router``, or the embedded one, which the members start."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import typing as t
from pathlib import Path

from flask_wamp.crossbar import DevRouter, RouterError, free_port
from flask_wamp.router.process.place import Place
from flask_wamp.router.process.spawn import listens

from ..built_in import BuiltInRouter

CROSSBAR, BUILT_IN, EMBEDDED = "crossbar", "built-in", "embedded"

NAMES = (CROSSBAR, BUILT_IN, EMBEDDED)


class Router(t.Protocol):
    """The methods of a router that faults use."""

    @property
    def pid(self) -> int | None:
        """The leader of the router's process group, or None if no router is running."""

    def start(self) -> None:
        """Start it, unless it restarts by itself."""

    def wait_until_ready(self, timeout: float) -> None:
        """Wait until it accepts clients."""

    def kill(self) -> None:
        """Kill it, without GOODBYE."""

    def stop(self) -> None:
        """Let it send GOODBYE, and end."""


class EmbeddedRouter:
    """The embedded router of a socket. Members that join ``embedded:`` start and restart it.

    :param socket: The path of its socket.
    """

    def __init__(self, socket: Path) -> None:
        self._place = Place(str(socket))

    @property
    def url(self) -> str:
        """The ``WAMP_ROUTER_URL`` of its apps."""
        return f"embedded:{self._place.socket}"

    @property
    def socket_url(self) -> str:
        """The URL where it listens."""
        return f"unix://{self._place.socket}"

    @property
    def log(self) -> Path:
        """The path of its log file."""
        return Path(self._place.log)

    @property
    def pid(self) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            if listens(self._place):
                return int(json.loads(Path(self._place.info).read_bytes())["pid"])
        return None

    def start(self) -> None:
        """Do nothing: the members start it."""

    def wait_until_ready(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while self.pid is None:
            if time.monotonic() > deadline:
                raise RouterError(f"no member has started the embedded router within {timeout:g} s")
            time.sleep(0.01)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        pid = self.pid
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        while self.pid == pid:
            time.sleep(0.01)


class Chosen(t.NamedTuple):
    """The router of a run, and how its members join."""

    router: Router
    proxied: tuple[str, str, str]
    """The URLs of the members with ``json``, ``msgpack`` and ``raw``, each behind a proxy."""
    control: str
    """The URL of the member on a good connection."""
    apps: tuple[str, ...]
    """The URL of further members on good connections."""
    address_url: str
    """Its RawSocket URL, for clients other than members."""
    log: Path | None
    """Its log file, if it must not contain errors. A restart may truncate it."""
    is_ours: bool
    """Whether it is the library's own router: it starts within a second, and its records are checked."""


@contextlib.contextmanager
def running(name: str, folder: Path) -> t.Iterator[Chosen]:
    """Run a router. The first member starts an embedded one.

    :param folder: For logs and sockets.
    """
    if name == EMBEDDED:
        embedded = EmbeddedRouter(folder / "wamp.sock")
        unix = embedded.socket_url
        proxied, apps = (unix, unix, unix), (embedded.url,)
        try:
            yield Chosen(embedded, proxied, embedded.url, apps, unix, embedded.log, True)
        finally:
            embedded.stop()
        return
    websocket, rawsocket = f"ws://127.0.0.1:{free_port()}/ws", f"tcp://127.0.0.1:{free_port()}"
    urls, proxied = [websocket, rawsocket], (websocket, websocket, rawsocket)
    if name == BUILT_IN:
        with BuiltInRouter(urls, log=folder / "router.log") as built_in:
            yield Chosen(built_in, proxied, rawsocket, (), rawsocket, folder / "router.log", True)
    else:
        with DevRouter(urls, log=folder / "crossbar.log") as crossbar:
            yield Chosen(crossbar, proxied, rawsocket, (), rawsocket, None, False)
