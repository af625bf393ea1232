"""Peers that send unusual values wherever they can: only their own messages fail.

Every message that another peer can cause, with every unusual value in every field that it controls, in every
serializer. Afterwards the session is the same, every call was answered once, others are served, and neither
memory nor the log have grown much.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import queue
import threading
import tracemalloc
import typing as t

import pytest
from flask import g

from flask_wamp import FlaskWAMP, invocation
from flask_wamp.exceptions import WAMPError
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.hostile import array, encode, messages, odd_values
from tests.support.memory import TIMEOUT, Held, MemoryRouter

SERIALIZERS = ("msgpack", "json", "cbor")

MAX_LOG = 300_000
"""The number of log characters that a few thousand unusual messages may cause."""

MAX_GROWTH = 8_000_000
"""The number of bytes by which the process may grow."""

FIRST = 1_000_000
"""The request ids of hostile messages begin here."""

LAST = "last"
"""The only argument of the event that follows all others."""

each_serializer = pytest.mark.parametrize("name", SERIALIZERS)


def add(a: int, b: int = 1) -> int:
    return a + b


def take_all(*args: t.Any, **kwargs: t.Any) -> str:
    return f"{invocation.caller_authid!r} {len(args)} {len(kwargs)}"[:100]


def take_message(name: str = "", **more: t.Any) -> str:
    return name


class Target:
    """An app that is attacked."""

    def __init__(
        self, serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.router = router
        self.caplog = caplog
        self.events = 0
        self.last = threading.Event()
        caplog.set_level(logging.INFO)
        self.app, self.wamp = serve(self._declare, WAMP_CALL_TIMEOUT=TIMEOUT)
        self.app.testing = False
        self.session_id = self.wamp.client.session_id
        for procedure in ("typed", "in_request"):  # imports and objects of the first call
            router.call(f"com.example.{procedure}", "x")
        tracemalloc.start()
        self._before = self._memory()

    def _declare(self, wamp: FlaskWAMP) -> None:
        wamp.callee("com.example.add")(add)
        wamp.callee("com.example.take_all", validate=False)(take_all)
        wamp.callee("com.example.typed")(take_message)
        wamp.callee("com.example.in_request", request_context=True)(take_all)
        for topic in ("com.example.all", "com.example.typed"):
            wamp.subscriber(topic, validate=topic.endswith("typed"))(self._on_event)

    def _on_event(self, *args: t.Any, **kwargs: t.Any) -> None:
        self.events += 1
        if args == (LAST,):
            self.last.set()

    def registration(self, uri: str) -> int:
        """The id of a registration."""
        return self.router.registration_id(uri)

    def subscription(self, uri: str) -> int:
        """The id of a subscription."""
        return self.router.subscription_id(uri)

    def answers(self) -> list[int]:
        """The request ids of the invocations that were answered."""
        answered: list[t.Any] = self.router.sent(m.Yield) + self.router.sent(m.Error)
        return [each.request_id for each in answered if each.request_id >= FIRST]

    def check(self) -> None:
        """Check that others are served in the same session, and that nothing has accumulated."""
        assert self.router.call("com.example.add", 1) == 2
        assert self.wamp.client.session_id == self.session_id
        assert not self.router.sent(m.Abort)
        assert self.wamp.client._state.peer.lost == 0
        log = [record.getMessage() for record in self.caplog.records]
        assert sum(map(len, log)) < MAX_LOG
        assert all(text.isprintable() for text in log)
        assert not [
            each
            for each in self.caplog.records
            if each.levelno >= logging.ERROR and "cannot handle" in each.msg
        ]
        self.caplog.clear()
        self.router.messages.clear()
        gc.collect()
        assert self._memory() - self._before < MAX_GROWTH

    def _memory(self) -> int:
        return tracemalloc.get_traced_memory()[0]


@pytest.fixture
def target(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture, name: str
) -> t.Iterator[Target]:
    router.serializer = name
    yield Target(serve, router, caplog)
    tracemalloc.stop()


def ids() -> t.Iterator[int]:
    return itertools.count(FIRST)


@each_serializer
@pytest.mark.parametrize("procedure", ["take_all", "typed", "in_request"])
def test_unusual_calls_are_answered_once(target: Target, name: str, procedure: str) -> None:
    numbers = ids()
    registration = target.registration(f"com.example.{procedure}")
    for message in messages(name, "invocation", lambda: [68, next(numbers), registration]):
        target.router.send_bytes(message.data)
    end = next(numbers)
    eventually(lambda: len(target.answers()) >= end - FIRST)
    assert sorted(target.answers()) == list(range(FIRST, end))
    target.check()


@each_serializer
def test_unusual_events_are_handled_or_dropped(target: Target, name: str) -> None:
    numbers = ids()
    with target.app.app_context():
        stream = g.wampy.events("com.example.all")
    for topic in ("com.example.all", "com.example.typed"):
        subscription = target.subscription(topic)
        for message in messages(name, "event", lambda s=subscription: [36, s, next(numbers)]):
            target.router.send_bytes(message.data)
        target.router.publish(topic, LAST)
        assert target.last.wait(TIMEOUT)
        target.last.clear()
        while stream.next(0.0) is not None:
            pass
        target.check()
    assert target.events > 100
    stream.close()


def sent_call(router: MemoryRouter, held: queue.Queue[Held]) -> int:
    """Wait for a call; return its request id."""
    held.get(timeout=TIMEOUT)
    request_id: int = router.sent(m.Call)[-1].request_id
    return request_id


@each_serializer
@pytest.mark.parametrize("kind", ["result", "progress", "error"])
def test_unusual_answers_affect_only_their_callers(target: Target, name: str, kind: str) -> None:
    client, held = target.wamp.client, target.router.hold("com.example.held")
    futures: list[t.Any] = []

    def head() -> list[int]:
        futures.append(client.submit("com.example.held"))
        number = sent_call(target.router, held)
        return [8, 48, number] if kind == "error" else [50, number]

    uri = "com.example.error" if kind == "error" else None
    details = {"progress": True} if kind == "progress" else {}
    for message in messages(name, "error" if uri else "result", head, uri, details):
        target.router.send_bytes(message.data)
        if kind == "progress":
            number = target.router.sent(m.Call)[-1].request_id
            target.router.send(m.Result(number, {}, ["last"]))
    for future in futures:
        with contextlib.suppress(WAMPError):
            future.result(TIMEOUT)
        assert future.done()
        if kind != "progress":
            assert future.exception() is None or isinstance(future.exception(), WAMPError)
    futures.clear()
    target.check()


@each_serializer
def test_unusual_progressive_results_end_only_their_stream(target: Target, name: str) -> None:
    client, held = target.wamp.client, target.router.hold("com.example.held")
    for what, value in odd_values(name).items():
        stream = client.stream("com.example.held")
        number = sent_call(target.router, held)
        parts = [encode(name, part) for part in (50, number, {"progress": True})]
        target.router.send_bytes(array(name, [*parts, array(name, [value])]))
        target.router.send_bytes(array(name, [*parts, value]))
        target.router.send(m.Result(number, {}, ["last"]))
        with contextlib.suppress(WAMPError):
            assert list(stream), what
    target.check()


@each_serializer
def test_unusual_interrupts_are_harmless(target: Target, name: str) -> None:
    numbers = ids()
    for message in messages(name, "interrupt", lambda: [69, next(numbers)]):
        target.router.send_bytes(message.data)
    target.check()


@each_serializer
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_sizes_at_the_limit(
    serve: Serve, router: MemoryRouter, name: str, over: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The configured limit, and those of the framings in the middle of it."""
    router.serializer, got = name, queue.Queue[int]()

    def take(text: str) -> int:
        got.put(len(text))
        return len(text)

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee("com.example.take")(take)
        wamp.subscriber("com.example.take")(take)

    limit = 2**17
    _, wamp = serve(setup, WAMP_MAX_MESSAGE_SIZE=limit)
    session_id = wamp.client.session_id
    callee = router.registration_id("com.example.take")
    subscription = router.subscription_id("com.example.take")
    for size in (2**8, 2**16, limit):
        heads = ([68, FIRST + size, callee], [36, subscription, FIRST])
        for head in heads:
            parts = [encode(name, part) for part in (*head, {})]
            data = padded(name, parts, size + over)
            router.send_bytes(data)
            if size + over <= limit:
                assert got.get(timeout=TIMEOUT) > 0
    answer = router.wait_for(m.Error) if over == 1 else router.wait_for(m.Yield, 3)
    assert over < 1 or answer.error == "wamp.error.payload_size_exceeded"
    assert got.empty()
    assert wamp.client.session_id == session_id
    assert wamp.client._state.peer.lost == 0


def padded(name: str, parts: list[bytes], size: int) -> bytes:
    """A message of exactly this size, with one string in its payload."""
    length = size
    while len(data := array(name, [*parts, array(name, [encode(name, "x" * length)])])) != size:
        length -= len(data) - size
    return data
