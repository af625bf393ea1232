"""Whatever the app's code raises, the reader continues, the peer joins again, and a stop ends."""

from __future__ import annotations

import contextlib
import io
import logging
import subprocess
import sys
import textwrap
import threading
import typing as t

import pytest
from flask import g

from flask_wamp import ApplicationError, FlaskWAMP, NotJoined
from flask_wamp.coordination.leases import Leases
from flask_wamp.peer.connection import Connection
from flask_wamp.peer.peer import Peer
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually, our_threads
from tests.support.memory import TIMEOUT, MemoryRouter
from tests.support.socket_router import SocketRouter

QUICK = {"WAMP_RECONNECT_MIN": 0.001, "WAMP_RECONNECT_MAX": 0.001}


@contextlib.contextmanager
def handling(emit: t.Callable[[logging.LogRecord], None]) -> t.Iterator[None]:
    """Add a log handler for the duration of the block."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            emit(record)

    handler, logger = Handler(), logging.getLogger("flask_wamp")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def declare(wamp: FlaskWAMP) -> None:
    @wamp.callee
    def add(a: int, b: int) -> int:
        return a + b

    @wamp.callee
    def echo(text: str) -> str:
        return text


def send_oversize(router: MemoryRouter) -> None:
    """Make the reader log something while it handles a message."""
    answer = router.invoke("com.example.echo", "x" * 3000).result(TIMEOUT)
    assert isinstance(answer, m.Error)


# Log handlers.


def test_log_handler_may_publish(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve(declare, WAMP_MAX_MESSAGE_SIZE=2000)
    with handling(
        lambda record: wamp.client.publish("com.example.logs", record.levelname) and None
    ):
        send_oversize(router)
        assert router.call("com.example.add", 1, 2) == 3
    eventually(lambda: ["WARNING"] in [message.args for message in router.sent(m.Publish)])


def test_log_handler_that_calls_does_not_block_the_reader(
    serve: Serve, router: MemoryRouter
) -> None:
    """It can't get an answer, because the thread that logs would have to read it."""
    _, wamp = serve(declare, WAMP_MAX_MESSAGE_SIZE=2000, WAMP_CALL_TIMEOUT=60.0)
    errors: list[Exception] = []

    def emit(record: logging.LogRecord) -> None:
        try:
            wamp.client.call("com.example.add", 1, 2)
        except RuntimeError as error:
            errors.append(error)

    with handling(emit):
        send_oversize(router)
        assert router.call("com.example.add", 1, 2) == 3
    assert "cannot wait" in str(errors[0])


def test_log_handler_may_publish_while_the_session_is_lost(
    serve: Serve, router: MemoryRouter
) -> None:
    """It would wait for a session, which the thread that logs would have to join."""
    _, wamp = serve(declare, WAMP_CONNECT_TIMEOUT=60.0, WAMP_CALL_TIMEOUT=60.0, **QUICK)
    errors: list[Exception] = []

    def emit(record: logging.LogRecord) -> None:
        try:
            wamp.client.publish("com.example.logs", record.levelname)
        except NotJoined as error:
            errors.append(error)

    session, logger = wamp.client.session_id, logging.getLogger("flask_wamp")
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        with handling(emit):
            router.drop()
            eventually(lambda: wamp.client.session_id not in (None, session), TIMEOUT)
            wamp.client.wait_until_joined(TIMEOUT)
    finally:
        logger.setLevel(level)
    assert errors  # the loss was logged without a session
    eventually(lambda: ["INFO"] in [message.args for message in router.sent(m.Publish)])


def fail_at(where: str, error: BaseException) -> t.ContextManager[object]:
    """Let a log handler or a filter raise an exception, or close stderr."""

    def emit(record: logging.LogRecord) -> None:
        raise error

    if where == "handler":
        return handling(emit)
    stack = contextlib.ExitStack()
    logger = logging.getLogger("flask_wamp")
    if where == "filter":
        for each in (logger, logging.getLogger("flask_wamp.connection")):
            each.addFilter(emit)  # type: ignore[arg-type]
            stack.callback(each.removeFilter, emit)  # type: ignore[arg-type]
        return stack
    closed = io.StringIO()
    closed.close()
    handler = logging.StreamHandler(closed)
    logger.addHandler(handler)
    stack.callback(logger.removeHandler, handler)
    stderr, sys.stderr = sys.stderr, closed
    stack.callback(setattr, sys, "stderr", stderr)
    return stack


BROKEN = [
    ("handler", ValueError("a log handler's")),
    ("handler", KeyboardInterrupt("a log handler's")),
    ("handler", MemoryError("a log handler's")),
    ("filter", RuntimeError("a filter's")),
    ("stderr", ValueError()),
]


@pytest.mark.parametrize(("where", "error"), BROKEN, ids=lambda value: str(value) or "closed")
def test_the_reader_survives_a_failing_log_handler(
    serve: Serve, router: MemoryRouter, where: str, error: BaseException
) -> None:
    _, wamp = serve(declare, WAMP_MAX_MESSAGE_SIZE=2000)
    session = wamp.client.session_id
    with fail_at(where, error):
        send_oversize(router)
        assert router.call("com.example.add", 1, 2) == 3
    assert wamp.client.session_id == session


@pytest.mark.parametrize(("where", "error"), BROKEN, ids=lambda value: str(value) or "closed")
def test_the_peer_joins_again_despite_a_failing_log_handler(
    serve: Serve, router: MemoryRouter, where: str, error: BaseException
) -> None:
    _, wamp = serve(declare, **QUICK)
    session = wamp.client.session_id
    with fail_at(where, error):
        router.down = True  # a failed attempt is logged too
        attempts = router.attempts
        router.drop()
        eventually(lambda: router.attempts > attempts + 2)
        router.down = False
        wamp.client.wait_until_joined(TIMEOUT)
        assert router.call("com.example.add", 1, 2) == 3
    assert wamp.client.session_id != session
    assert wamp.health()["joined"]


def test_the_client_joins_despite_a_failing_log_handler(join: t.Any, router: MemoryRouter) -> None:
    """Each line of a join may be logged, at whatever level."""
    logger = logging.getLogger("flask_wamp")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        with fail_at("handler", ValueError("a log handler's")):
            for setup in (declare, lambda wamp: None):
                _, wamp = join("ws://router.in.memory/ws", setup)
                assert wamp.client.joined
                wamp.stop()
    finally:
        logger.setLevel(level)


def test_a_refused_procedure_is_tried_again_despite_a_failing_log_handler(
    serve: Serve, router: MemoryRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_wamp.peer.registrar.RETRY_MIN", 0.01)
    router.refuse("com.example.add")
    with fail_at("handler", ValueError("a log handler's")):
        _, wamp = serve(declare)
        assert "com.example.add" in wamp.health()["procedures"]["refused"]
        router.refused.clear()
        eventually(lambda: not wamp.health()["procedures"]["refused"])
        assert router.call("com.example.add", 1, 2) == 3


def test_health_shows_a_thread_that_has_ended(serve: Serve) -> None:
    _, wamp = serve(declare)
    peer = wamp.client.peer
    assert peer is not None and peer.is_alive
    peer._timer.stop()
    health = wamp.health()
    assert not health["joined"]
    assert "has ended" in health["failure"]


# Listeners.


class Listener:
    """Raises an exception in each of its methods."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.asked: list[str] = []

    def joined(self, connection: Connection) -> None:
        self.asked.append("joined")
        raise self.error

    def lost(self) -> None:
        self.asked.append("lost")
        raise self.error

    def leave(self, deadline: float) -> None:
        self.asked.append("leave")
        raise self.error


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt()], ids=repr)
def test_listener_that_raises_does_not_block_the_others(
    serve: Serve, router: MemoryRouter, error: BaseException
) -> None:
    first, second = Listener(error), Listener(error)

    def setup(wamp: FlaskWAMP) -> None:
        declare(wamp)
        wamp.client.add_listener(lambda host: first)
        wamp.client.add_listener(lambda host: second)

    _, wamp = serve(setup, **QUICK)
    router.drop()
    eventually(lambda: second.asked.count("joined") == 2)
    wamp.client.wait_until_joined(TIMEOUT)
    assert router.call("com.example.add", 1, 2) == 3
    wamp.stop()
    assert first.asked == second.asked == ["joined", "lost", "joined", "leave"]
    assert type(router.messages[-1]) is m.Goodbye


def test_stop_does_not_wait_forever_for_a_listener(serve: Serve, router: MemoryRouter) -> None:
    gate = threading.Event()

    class Stuck(Listener):
        def leave(self, deadline: float) -> None:
            assert gate.wait(TIMEOUT)

    def setup(wamp: FlaskWAMP) -> None:
        declare(wamp)
        wamp.client.add_listener(lambda host: Stuck(ValueError()))

    _, wamp = serve(setup, WAMP_DRAIN_TIMEOUT=0.2)
    wamp.stop()
    assert type(router.messages[-1]) is m.Goodbye
    gate.set()
    eventually(lambda: not our_threads())


def test_a_removed_listener_is_not_notified(serve: Serve, router: MemoryRouter) -> None:
    listener = Listener(KeyError())
    _, wamp = serve(declare, **QUICK)
    peer = wamp.client.peer
    assert peer is not None
    peer.add_listener("a key", lambda host: listener)
    assert peer.listener("a key") is listener
    peer.remove_listener("a key", 0.0)
    peer.remove_listener("a key", 0.0)
    session = wamp.client.session_id
    router.drop()
    eventually(lambda: wamp.client.session_id not in (None, session))
    wamp.client.wait_until_joined(TIMEOUT)
    assert peer.listener("a key") is None
    assert listener.asked == ["joined", "leave"]


def test_only_a_listener_that_others_need_is_created_during_the_stop(
    serve: Serve, router: MemoryRouter
) -> None:
    found: list[object] = []

    class Leaving(Listener):
        def leave(self, deadline: float) -> None:
            peer = t.cast(Peer, wamp.client.peer)
            peer.add_listener("late", lambda host: Listener(KeyError()))
            found.extend([Leases.of(peer), peer.listener("late")])

    def setup(wamp: FlaskWAMP) -> None:
        wamp.client.add_listener(lambda host: Leaving(KeyError()))

    _, wamp = serve(setup)
    wamp.stop()
    assert [type(each) for each in found] == [Leases, type(None)]


# Declarations.


def test_a_timer_of_an_old_session_sends_nothing_in_the_new_one(
    serve: Serve, router: MemoryRouter
) -> None:
    router.refuse("com.example.add")
    _, wamp = serve(declare, **QUICK)
    peer = wamp.client.peer
    assert peer is not None and peer.connection is not None
    old = peer.connection.session
    router.drop()
    eventually(lambda: peer.connection is not None and peer.connection.session is not old)
    wamp.client.wait_until_joined(TIMEOUT)
    [refused] = [d for d in wamp.client.declarations if d.refused]
    count = len(router.sent(m.Register))
    peer.registrar._ask_again(refused, old)  # as the timer does
    wamp.client.with_options(acknowledge=True).publish("com.example.after")
    assert len(router.sent(m.Register)) == count


def test_a_procedure_that_cannot_be_registered_does_not_delay_others(
    serve: Serve, router: MemoryRouter
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee("com.example." + "x" * 3000)(lambda: None)
        declare(wamp)

    _, wamp = serve(setup, WAMP_MAX_MESSAGE_SIZE=2000)
    assert router.call("com.example.add", 1, 2) == 3
    assert len(wamp.health()["procedures"]["refused"]) == 1


# The stop.

#: The calls of processes that leave, and the router's answers.
META = {
    "wamp.session.add_testament": None,
    "wamp.session.flush_testaments": 1,
    "wamp.registration.count_callees": 1,
}


def answer_meta(router: MemoryRouter) -> None:
    """Let the router answer the calls of processes that leave."""
    for procedure, answer in META.items():
        router.register(procedure, lambda *args, answer=answer, **kwargs: answer)


class Companion:
    """Starts and stops with the client, and raises when it stops."""

    def stop(self, deadline: float) -> None:
        raise SystemExit("a companion's")

    def forget_parents(self) -> None: ...


def test_stop_never_raises_and_completes(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve(declare)
    wamp.client.closeables.insert(0, Companion())
    wamp.stop()
    assert type(router.messages[-1]) is m.Goodbye
    eventually(lambda: not our_threads())


def test_stop_starts_no_thread(
    serve: Serve, router: MemoryRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        declare(wamp)
        for name in ("a", "b", "c"):
            wamp.subscriber(f".{name}", delivery="one")(lambda: None)
        wamp.schedule.every(1000).seconds.do(lambda: None)

    answer_meta(router)
    _, wamp = serve(setup)
    wamp.client.with_options(unless_stopped=True).testament("com.example.gone")
    started: list[str] = []

    def start(thread: threading.Thread) -> None:
        started.append(thread.name)
        raise RuntimeError("can't create new thread at interpreter shutdown")

    eventually(lambda: wamp.health()["in_hand"]["running"] == 0)
    monkeypatch.setattr(threading.Thread, "start", start)
    wamp.stop()
    assert {name.rstrip("0123456789") for name in started} <= {"wamp-worker-"}
    assert type(router.messages[-1]) is m.Goodbye


AT_EXIT = """
    import sys
    from flask import Flask
    from flask_wamp import FlaskWAMP, signals

    app = Flask("at_exit")
    app.config.update(WAMP_ROUTER_URL=sys.argv[1], WAMP_URI_PREFIX="com.example", WAMP_AUTOSTART=False)
    wamp = FlaskWAMP(app)
    wamp.subscriber(".news", delivery="one")(lambda: None)
    wamp.schedule.every(1000).seconds.do(print)
    wamp.start()
    wamp.client.wait_until_joined(10)
    wamp.client.with_options(unless_stopped=True).testament("com.example.gone")
"""


def test_a_process_that_exits_sends_goodbye() -> None:
    """From Python 3.12 on, no thread can be started any more when this stop runs."""
    with SocketRouter() as router:
        answer_meta(router)
        command = [sys.executable, "-c", textwrap.dedent(AT_EXIT), router.url]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in ended.stderr
        assert len(router.sent(m.Goodbye)) == 1


# Waiting events and calls.


def test_the_bytes_of_waiting_events_are_limited(serve: Serve, router: MemoryRouter) -> None:
    gate, begun = threading.Event(), threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.subscriber(".news", validate=False)
        def news(text: str) -> None:
            begun.set()
            assert gate.wait(TIMEOUT)

    _, wamp = serve(setup)
    text = "x" * 1024 * 1024

    def arrived() -> int:
        health = wamp.health()
        dropped = health["topics"]["dropped"].get("com.example.news", 0)
        return int(dropped + sum(health["in_hand"].values()))

    for number in range(80):
        router.publish("com.example.news", text)
        if number % 16 == 15:  # the router cuts off a client that does not read 64 MiB
            eventually(lambda number=number: arrived() > number)
    eventually(lambda: wamp.health()["topics"]["dropped"].get("com.example.news", 0) >= 14)
    gate.set()
    eventually(lambda: wamp.health()["in_hand"] == {"running": 0, "waiting": 0})


def test_calls_are_refused_if_all_threads_wait(
    serve: Serve, router: MemoryRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty handlers call their own process, which has only three threads."""

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        def outer() -> str:
            try:
                return str(g.wampy.call("com.example.inner"))
            except ApplicationError as error:
                return error.uri

        @wamp.callee(validate=False)
        def inner() -> str:
            return "inner"

    monkeypatch.setattr("flask_wamp.peer.starvation.PATIENCE", 0.01)
    _, wamp = serve(setup, WAMP_WORKERS=1, WAMP_CALL_TIMEOUT=60.0)
    wamp.client.pool.max_threads = 3
    answers = [router.invoke("com.example.outer") for _ in range(50)]
    said = [answer.result(TIMEOUT) for answer in answers]
    results = {answer.args[0] if isinstance(answer, m.Result) else answer.error for answer in said}
    assert results <= {"inner", "wamp.error.unavailable"}
    assert wamp.client.pool.threads <= 5  # including the two that read
    assert router.call("com.example.outer") == "inner"


@pytest.mark.parametrize("answer", [None, "two", [1], {"a": 1}, 1.5, True])
def test_stop_survives_an_invalid_count_of_the_router(
    serve: Serve, router: MemoryRouter, answer: object
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".shared", invoke="roundrobin")(lambda: None)

    router.register("wamp.registration.count_callees", lambda *args: answer)
    _, wamp = serve(setup, WAMP_LINGER=0.2)
    wamp.stop()
    assert type(router.messages[-1]) is m.Goodbye
