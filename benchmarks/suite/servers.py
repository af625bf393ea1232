"""Routers and other servers of events. Each runs in separate processes until its ``with`` block ends."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

from flask_wamp.crossbar import DevRouter, free_port

from . import machine
from .stand_in import TIMEOUT

_XCONN = machine.ROOT / "tests" / "interop" / "drivers" / "xconn_router.py"
_SOCKETIO = machine.CLIENTS / "socketio_app.py"
_FLOOR = machine.CLIENTS / "event_floor.py"


class Running(t.NamedTuple):
    """A server that accepts connections."""

    urls: t.Mapping[str, str]
    """By scheme: ``ws``, ``tcp``, ``unix``."""
    pid: int
    """Its first process; others are children of it."""

    @property
    def port(self) -> int:
        """The port of its WebSockets."""
        return int(self.urls["ws"].rpartition(":")[2].partition("/")[0])


class Server(t.NamedTuple):
    """A kind of server, and how to start it."""

    name: str
    start: t.Callable[[], t.ContextManager[Running]]
    schemes: tuple[str, ...] = ("unix", "tcp", "ws")
    """The transports over which calls are measured."""
    speaks_wamp: bool = True


def _urls(folder: str) -> dict[str, str]:
    return {
        "unix": f"unix://{folder}/router.sock",
        "tcp": f"tcp://127.0.0.1:{free_port()}",
        "ws": f"ws://127.0.0.1:{free_port()}/ws",
    }


def wait_for_line(process: subprocess.Popen[bytes], word: bytes) -> None:
    """Read what a process prints until a line with this word."""
    assert process.stdout is not None
    while word not in (line := process.stdout.readline()):
        if not line:
            raise EOFError(f"{process.args!r} has ended")


@contextlib.contextmanager
def _built_in() -> t.Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder:
        urls = _urls(folder)
        command = ["-m", "flask_wamp.router", *(f"--url={url}" for url in urls.values())]
        with machine.running(command, pin=False) as process:
            wait_for_line(process, b"ready")
            yield Running(urls, process.pid)


@contextlib.contextmanager
def _crossbar() -> t.Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder:
        urls = _urls(folder)
        with DevRouter([*urls.values()], log=Path(folder, "log"), log_level="error") as router:
            assert router.pid is not None
            yield Running(urls, router.pid)


@contextlib.contextmanager
def _on_a_port(program: Path, *arguments: str) -> t.Iterator[Running]:
    port = free_port()
    command = [str(program), str(port), *arguments]
    with machine.running(command, pin=False, stdin=subprocess.PIPE) as process:
        wait_for_line(process, b"ready")
        machine.wait_for_port(port, time.monotonic() + TIMEOUT)
        yield Running({"ws": f"ws://127.0.0.1:{port}/ws"}, process.pid)


BUILT_IN = Server("ours", _built_in)
CROSSBAR = Server("Crossbar.io", _crossbar)
XCONN = Server("xconn router", lambda: _on_a_port(_XCONN, "realm1"), ("ws",))
SOCKETIO = Server(
    "Flask-SocketIO, gevent", lambda: _on_a_port(_SOCKETIO), ("ws",), speaks_wamp=False
)
FLOOR = Server("bare loop", lambda: _on_a_port(_FLOOR), ())

EVERYBODY = (BUILT_IN, CROSSBAR, XCONN, SOCKETIO, FLOOR)
