"""The routers, each as a real process that is started when a cell needs it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import typing as t
from pathlib import Path
from urllib.parse import urlsplit

from flask_wamp.crossbar import DevRouter, free_port
from tests.support import peers
from tests.support.built_in import BuiltInRouter
from tests.support.configured_router import principals_of
from tests.support.nodes import AUTH_CONFIG

from . import install
from .names import BUILT_IN, CROSSBAR, XCONN_ROUTER

DRIVERS = Path(__file__).parent / "drivers"

URLs = dict[str, str]
"""By transport, ``ws`` and ``rawsocket``."""


class Routers:
    """The routers that run.

    :param make_crossbar: Starts a Crossbar.
    :param folder: For the files of the built-in router.
    """

    def __init__(self, make_crossbar: t.Callable[..., DevRouter], folder: Path) -> None:
        self._make_crossbar = make_crossbar
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._urls: dict[str, URLs] = {}

    def url(self, router: str, transport: str) -> str:
        """The URLs of a router."""
        if router not in self._urls:
            start = {
                BUILT_IN: self._start_built_in,
                CROSSBAR: self._start_crossbar,
                XCONN_ROUTER: self._start_xconn,
            }[router]
            self._urls[router] = start()
        return self._urls[router][transport]

    def close(self) -> None:
        """Stop the routers that no fixture stops."""
        self._stack.close()

    def _start_built_in(self) -> URLs:
        urls = _free_urls()
        path = self._folder / "principals.json"
        path.write_text(json.dumps({"principals": _principals()}))
        router = BuiltInRouter(
            list(urls.values()), log=self._folder / "log", arguments=[f"--principals={path}"]
        )
        self._stack.enter_context(router)
        return urls

    def _start_crossbar(self) -> URLs:
        urls = _free_urls()
        ws, rawsocket = (urlsplit(url).port for url in urls.values())
        config = json.loads(AUTH_CONFIG.read_text().replace('"PORT"', str(rawsocket)))
        (worker,) = config["workers"]
        (universal,) = worker["transports"]
        # On a port for both transports, Crossbar does not disable Nagle's algorithm: 40 ms for most cells.
        endpoint = {**universal["endpoint"], "port": ws}
        web = {"type": "web", "endpoint": endpoint, "paths": universal.pop("websocket")}
        worker["transports"].append(web)
        self._make_crossbar(list(urls.values()), config=config)
        return urls

    def _start_xconn(self) -> URLs:
        port = free_port()
        command = [str(install.xconn()), str(DRIVERS / "xconn_router.py"), str(port), "realm1"]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._stack.callback(_end, process)
        assert process.stdout is not None
        while (line := process.stdout.readline()) != b"ready\n":
            assert line, "xconn's router did not start"
        return {"ws": f"ws://127.0.0.1:{port}/ws"}


def _free_urls() -> URLs:
    return {"ws": f"ws://127.0.0.1:{free_port()}/ws", "rawsocket": f"tcp://127.0.0.1:{free_port()}"}


def _principals() -> dict[str, t.Any]:
    """The users of Crossbar, in the form of the built-in router's file."""
    (worker,) = json.loads(AUTH_CONFIG.read_text())["workers"]
    (transport,) = worker["transports"]
    return principals_of(transport["rawsocket"]["auth"])


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()
    try:
        process.wait(peers.PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
