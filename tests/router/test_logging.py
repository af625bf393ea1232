"""Logging: one line for each join, loss and refusal, nothing else, and no setup of handlers."""

from __future__ import annotations

import ast
import contextlib
import logging
import re
import typing as t
from pathlib import Path

import pytest
from flask import Flask

import flask_wamp
from flask_wamp import FlaskWAMP
from flask_wamp.crossbar import free_port
from flask_wamp.protocol import messages as m
from flask_wamp.transports import open_transport
from tests.conftest import eventually
from tests.support.memory import MemoryRouter
from tests.support.peers import PATIENCE, AutobahnPeer
from tests.support.scripts import run
from tests.support.sockets import Forwarder

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

MakeApp = t.Callable[..., Flask]
Join = t.Callable[..., tuple[Flask, FlaskWAMP]]

OFTEN = {"WAMP_RECONNECT_MIN": 0.01, "WAMP_RECONNECT_MAX": 0.05}


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows with each attempt to connect."""
    seen: list[object] = []

    def opening(url: t.Any, **options: t.Any) -> t.Any:
        seen.append(url)
        return open_transport(url, **options)

    monkeypatch.setattr("flask_wamp.peer.attempts.open_transport", opening)
    return seen


def some_more(attempts: list[object], count: int = 4) -> None:
    """Wait for some attempts to connect."""
    enough = len(attempts) + count
    eventually(lambda: len(attempts) >= enough, PATIENCE)


class Log:
    """The logged lines, which a test reads in order."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def says(self, *lines: str) -> None:
        """Wait until exactly these lines were logged since the last check. Each is a level and a pattern."""
        eventually(lambda: len(self._caplog.records) >= len(lines), PATIENCE)
        said = [f"{r.levelname} {r.getMessage()}" for r in self._caplog.records]
        assert len(said) == len(lines), said
        for line, pattern in zip(said, lines, strict=True):
            assert re.search(pattern, line), said
        assert all(r.name.split(".")[0] == "flask_wamp" for r in self._caplog.records)
        self._caplog.clear()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    caplog.set_level(logging.INFO)
    return Log(caplog)


@pytest.mark.router
@pytest.mark.parametrize("scheme", ["ws", "tcp"])
def test_a_line_for_each_join_loss_and_refusal(
    make_app: MakeApp,
    wamp_router: DevRouter,
    peer: AutobahnPeer,
    attempts: list[object],
    log: Log,
    scheme: str,
) -> None:
    port = free_port()
    if scheme == "ws":
        url, router = f"ws://127.0.0.1:{port}/ws", wamp_router.url[len("ws://") : -len("/ws")]
    else:
        url, router = f"tcp://127.0.0.1:{port}", wamp_router.rawsocket_url[len("tcp://") :]
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=url, **OFTEN))
    wamp.callee("com.example.here")(lambda: "here")
    wamp.callee("com.example.mine", invoke="single")(lambda: "mine")
    where = re.escape(url)

    wamp.start()
    some_more(attempts)
    log.says(f"^WARNING not joined to realm realm1 at {where}, trying again: .*refused")

    with Forwarder(f"tcp://{router}", port) as line:
        joined = (
            f"^INFO joined realm realm1 at {where} as session [0-9]+: 2 procedures and 0 topics$"
        )
        wamp.client.wait_until_joined(PATIENCE)
        log.says(joined)

        old = wamp.client.session_id
        session = wamp.client.peer.connection.session
        # After a join the client checks for other callees.
        eventually(lambda: not session._pending, PATIENCE)
        peer.call("wamp.session.kill", old, reason="com.example.kicked", message="go away")
        eventually(lambda: wamp.client.session_id not in (None, old), PATIENCE)
        wamp.client.wait_until_joined(PATIENCE)
        lost = f"^WARNING session {old} with realm realm1 at {where} is lost, 0 requests unanswered"
        log.says(f"{lost}, joining again: .*com.example.kicked: go away$", joined)

    # The connection breaks, and the port is closed.
    held = peer.register("com.example.other")
    line.cut()
    eventually(lambda: not wamp.client.joined, PATIENCE)
    some_more(attempts)
    log.says("^WARNING session .* is lost", "^WARNING not joined to .*refused")

    # A procedure that another app has registered meanwhile is logged once, not with every retry.
    eventually(lambda: not has_callees(peer, "com.example.mine"), PATIENCE)
    held = peer.register("com.example.mine")
    with Forwarder(f"tcp://{router}", port) as line:
        wamp.client.wait_until_joined(PATIENCE)
        log.says(
            "^ERROR com.example.mine was refused: wamp.error.procedure_already_exists.*realm1",
            "^INFO joined .*: 1 procedure and 0 topics, 1 refused$",
        )
        declaration = next(d for d in wamp.client.declarations if d.uri == "com.example.mine")
        eventually(lambda: declaration.refusals >= 2, PATIENCE)
        held.unregister()
        eventually(lambda: declaration.id, PATIENCE)
        log.says("^INFO the router has now accepted com.example.mine$")
        wamp.stop()
        line.cut()
    log.says()


def has_callees(peer: AutobahnPeer, uri: str) -> bool:
    return peer.call("wamp.registration.lookup", uri).value is not None


@pytest.mark.router
def test_a_realm_that_is_refused_is_a_single_line(
    make_app: MakeApp, wamp_router: DevRouter, attempts: list[object], log: Log
) -> None:
    url = wamp_router.rawsocket_url
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=url, WAMP_REALM="nowhere", **OFTEN))
    wamp.start()
    some_more(attempts)
    wamp.stop()
    log.says(
        "^WARNING not joined to realm nowhere at tcp://.*: wamp.error.no_such_realm: .*nowhere"
    )


@pytest.mark.router
def test_errors_that_the_caller_gets_are_not_logged(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer, log: Log
) -> None:
    held = peer.register("com.example.mine")
    _, wamp = join(wamp_router.url)
    log.says("^INFO joined")
    with contextlib.suppress(flask_wamp.ApplicationError):
        wamp.client.register(len, "com.example.mine", invoke="single")
    with contextlib.suppress(flask_wamp.ApplicationError):
        wamp.client.call("com.example.nobody")
    with contextlib.suppress(flask_wamp.InvalidURI):
        wamp.client.call("com..nobody")
    held.unregister()
    log.says()


QUIET = """
import sys
from flask import Flask
from flask_wamp import FlaskWAMP

app = Flask(__name__)
app.config["WAMP_ROUTER_URL"] = sys.argv[1]
wamp = FlaskWAMP(app)

@wamp.callee("com.quiet.add")
def add(a: int, b: int) -> int:
    return a + b

@wamp.subscriber("com.quiet.news")
def news(text: str) -> None: ...

with app.app_context():
    wamp.start()
    wamp.client.wait_until_joined(20)
    assert wamp.client.call("com.quiet.add", 1, 2) == 3
    wamp.client.with_options(exclude_me=False).publish("com.quiet.news", "x")
    wamp.stop()
"""


@pytest.mark.router
def test_a_normal_app_prints_nothing(wamp_router: DevRouter) -> None:
    done = run("-c", QUIET, wamp_router.rawsocket_url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.router
def test_problems_are_printed_in_one_line_without_any_setup() -> None:
    code = QUIET.replace("wait_until_joined(20)", "wait_until_joined(1)")
    done = run("-c", code, f"tcp://127.0.0.1:{free_port()}")
    first, *others = done.stderr.splitlines()
    assert first.startswith("not joined to realm realm1 at tcp://127.0.0.1:")
    assert others[0] == "Traceback (most recent call last):"  # of the script's own


# With a router in memory.


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryRouter:
    router = MemoryRouter()
    monkeypatch.setattr("flask_wamp.peer.attempts.open_transport", router.open)
    return router


def test_alternating_reasons_are_logged_once_each(
    make_app: MakeApp, memory: MemoryRouter, log: Log
) -> None:
    wamp = FlaskWAMP(make_app(**OFTEN))
    memory.down = True
    wamp.start()
    for attempt in range(1, 7):
        memory.wait_for_attempts(2 * attempt)
        memory.down = bool(attempt % 2)
        memory.abort = m.Abort({"message": "no"}, "wamp.error.not_authorized")
    memory.abort, memory.down = None, False
    wamp.client.wait_until_joined(PATIENCE)
    log.says("refused$", "wamp.error.not_authorized: no$", "^INFO joined")


def test_late_and_unknown_answers_are_logged_in_debug_mode(
    join: Join, memory: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    _, wamp = join("ws://router.in.memory/ws")
    held = memory.hold("com.example.held")
    with contextlib.suppress(flask_wamp.CallTimeout):
        wamp.client.with_options(timeout=0.05).call("com.example.held", "secret")
    held.get(timeout=PATIENCE).answer("secret")
    memory.send(m.Error(48, 999, {}, "wamp.error.x", ["secret"]))
    memory.send(m.Event(7, 8, {}, ["secret"]))
    memory.register("com.example.echo", lambda value: value)
    assert wamp.client.call("com.example.echo", 1) == 1
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.DEBUG]
    assert {line.partition(": ")[2] for line in said if line.startswith("dropped")} >= {
        "Result request_id=1",
        "Error request_id=999",
        "Event subscription_id=7 publication_id=8",
    }
    assert "secret" not in caplog.text


def test_a_protocol_violation_of_the_router_is_one_line(
    join: Join, memory: MemoryRouter, log: Log
) -> None:
    _, wamp = join("ws://router.in.memory/ws")
    log.says("^INFO joined")
    memory.send_bytes(b"\xc1")
    memory.wait_for(m.Hello, 2)
    wamp.client.wait_until_joined(PATIENCE)
    log.says("is lost, .*: the router broke the protocol: not a WAMP message", "^INFO joined")


# By reading the code.

#: Modules that are programs, and not parts of an app.
PROGRAMS = ("cli", "embedded")

SOURCES = sorted(Path(flask_wamp.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_loggers_are_ours_and_no_module_sets_up_logging(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name = node.func.attr
        if name == "basicConfig" and path.stem in PROGRAMS:
            continue
        assert name not in ("basicConfig", "addHandler", "setLevel", "dictConfig"), node.lineno
        if name == "getLogger" and path.stem not in ("_wampy", "_text"):
            (logger,) = node.args
            assert isinstance(logger, ast.Constant)
            assert re.fullmatch(r"flask_wamp(\.[a-z]+)?", str(logger.value))
