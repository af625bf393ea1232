"""Invalid values and handlers that misbehave: an error, and the session stays."""

from __future__ import annotations

import logging
import queue
import typing as t

import pydantic
import pytest
from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP, InvalidURI, SerializationError
from tests.conftest import eventually
from tests.support.peers import PATIENCE, AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]


def _endless() -> list[t.Any]:
    endless: list[t.Any] = []
    endless.append(endless)
    return endless


def _deep() -> list[t.Any]:
    deep: list[t.Any] = []
    for _ in range(5000):
        deep = [deep]
    return deep


class Secretive:
    def __repr__(self) -> str:
        raise LookupError("no")


BAD: dict[str, tuple[t.Any, str]] = {
    "integer keys": ({1: "one"}, "keys"),
    "none as key": ({"a": [{None: 1}]}, "keys"),
    "bytes as key": ({b"a": 1}, "keys"),
    "nan": (float("nan"), "NaN"),
    "nested nan": ({"a": [1.0, float("nan")]}, "NaN"),
    "infinity": ([float("-inf")], "infinity"),
    "object": (object(), "cannot be sent"),
    "nested object": ([{"a": {"b": object()}}], "cannot be sent"),
    "object without a repr": (Secretive(), "cannot be sent"),
    "function": (len, "cannot be sent"),
    "large integer": (2**64, "64 bits"),
    "small integer": ([-(2**63) - 1], "64 bits"),
    "endless": (_endless(), "nested"),
    "deep": (_deep(), "nested"),
    "surrogate": ("\ud800", "surrogates"),
}


@pytest.fixture(params=["json", "msgpack", "cbor"])
def wamp(request: pytest.FixtureRequest, join: Join, wamp_router: DevRouter) -> FlaskWAMP:
    """An extension that has joined with one serializer."""
    return join(wamp_router.url, WAMP_SERIALIZERS=[request.param])[1]


@pytest.mark.parametrize(("value", "why"), BAD.values(), ids=BAD)
def test_bad_values_as_arguments(
    wamp: FlaskWAMP, peer: AutobahnPeer, value: t.Any, why: str
) -> None:
    peer.register("com.shop.echo")
    client, session_id = wamp.client, wamp.client.session_id
    for use in (client.call, client.submit, client.publish):
        with pytest.raises(SerializationError, match=why):
            use("com.shop.echo", value)
        with pytest.raises(SerializationError, match=why):
            use("com.shop.echo", 1, good=2, bad=value)
    assert client.call("com.shop.echo", "good") == "good"
    assert client.session_id == session_id


@pytest.mark.parametrize(("value", "why"), BAD.values(), ids=BAD)
def test_bad_values_in_results_and_errors(
    wamp: FlaskWAMP, peer: AutobahnPeer, value: t.Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    @wamp.callee("com.example.give")
    def give() -> t.Any:
        return value

    @wamp.callee("com.example.fail")
    def fail() -> None:
        raise ApplicationError("com.shop.sold_out", value)

    wamp.callee("com.example.here")(lambda: "here")
    session_id = wamp.client.session_id
    assert peer.error("com.example.give").uri == "wamp.error.runtime_error"
    assert peer.error("com.example.fail").uri == "wamp.error.runtime_error"
    assert why in caplog.text
    assert peer.call("com.example.here").value == "here"
    assert wamp.client.session_id == session_id


@pytest.fixture
def one(join: Join, wamp_router: DevRouter) -> FlaskWAMP:
    """An extension with a single worker, which must survive."""
    return join(wamp_router.rawsocket_url, WAMP_WORKERS=1)[1]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, RecursionError])
def test_a_handler_cannot_end_its_worker(
    one: FlaskWAMP, peer: AutobahnPeer, kind: type[BaseException], caplog: t.Any
) -> None:
    @one.callee
    def end() -> None:
        raise kind("the end")

    one.callee("com.example.here")(lambda: "here")
    error = peer.error("com.example.end")
    assert error.uri == "wamp.error.runtime_error"
    assert error.args == (f"{kind.__name__}: the end",)
    assert "the end" in caplog.text
    assert peer.call("com.example.here").value == "here"


def test_a_subscriber_cannot_end_its_worker(
    one: FlaskWAMP, peer: AutobahnPeer, caplog: pytest.LogCaptureFixture
) -> None:
    seen: queue.SimpleQueue[int] = queue.SimpleQueue()

    @one.subscriber
    def news(number: int) -> None:
        if not number:
            raise SystemExit("the end")
        seen.put(number)

    for number in range(3):
        peer.publish("com.example.news", number)
    assert [seen.get(timeout=PATIENCE) for _ in range(2)] == [1, 2]
    assert "the end" in caplog.text
    assert "Traceback" in caplog.text


EVENTS: dict[str, tuple[list[t.Any], dict[str, t.Any]]] = {
    "missing": ([], {}),
    "too many": ([1, 2], {}),
    "unknown": ([1], {"other": 1}),
    "wrong type": (["x"], {}),
}


@pytest.mark.parametrize(("args", "kwargs"), EVENTS.values(), ids=EVENTS)
def test_an_event_that_does_not_fit_is_logged(
    one: FlaskWAMP,
    peer: AutobahnPeer,
    caplog: pytest.LogCaptureFixture,
    args: list[t.Any],
    kwargs: dict[str, t.Any],
) -> None:
    seen: queue.SimpleQueue[int] = queue.SimpleQueue()

    @one.subscriber
    def news(number: int) -> None:
        seen.put(number)

    session_id = one.client.session_id
    peer.publish("com.example.news", *args, **kwargs)
    peer.publish("com.example.news", 7)
    assert seen.get(timeout=PATIENCE) == 7
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert "com.example.news" in record.getMessage()
    assert "'loc'" in record.getMessage()
    assert one.client.session_id == session_id


@pytest.mark.parametrize("uri", ["", "com..shop", "com shop", "com.#", "com."])
def test_an_invalid_uri_cannot_be_declared(one: FlaskWAMP, peer: AutobahnPeer, uri: str) -> None:
    session_id = one.client.session_id
    with pytest.raises(InvalidURI, match="not a valid procedure"):
        one.client.register(len, uri)
    with pytest.raises(InvalidURI, match="not a valid topic"):
        one.client.subscribe(len, uri)
    with pytest.raises(InvalidURI):
        one.callee(uri)(lambda: 1)
    assert one.client.declarations == []
    one.callee("com.example.here")(lambda: "here")
    assert peer.call("com.example.here").value == "here"
    assert one.client.session_id == session_id


def test_an_invalid_error_uri_is_a_bug(
    one: FlaskWAMP, peer: AutobahnPeer, caplog: pytest.LogCaptureFixture
) -> None:
    @one.callee
    def fail() -> None:
        raise ApplicationError("not a uri", 1)

    session_id = one.client.session_id
    assert peer.error("com.example.fail").uri == "wamp.error.runtime_error"
    assert "'not a uri' is not a valid error URI" in caplog.text
    assert one.client.session_id == session_id


def test_a_refused_registration_does_not_end_the_session(
    one: FlaskWAMP, caplog: pytest.LogCaptureFixture
) -> None:
    session_id = one.client.session_id
    with pytest.raises(ApplicationError, match=r"wamp\.error"):
        one.client.register(len, "wamp.session.count")
    one.callee("wamp.session.list")(len)
    eventually(lambda: "wamp.session.list was refused" in caplog.text)
    assert one.client.session_id == session_id


class Hollow(Exception):
    def __str__(self) -> str:
        raise LookupError("no text")


class Broken(pydantic.BaseModel):
    @pydantic.model_serializer
    def dump(self) -> t.Any:
        raise LookupError("no data")


def _raise(error: BaseException) -> t.Any:
    raise error


UNANSWERABLE: dict[str, t.Callable[[], t.Any]] = {
    "an error without a text": lambda: _raise(Hollow()),
    "a result that cannot be dumped": lambda: Broken(),
    "an error that cannot be dumped": lambda: _raise(ApplicationError("com.shop.x", Broken())),
    "a result that is too deep": _deep,
    "an endless error": lambda: _raise(ApplicationError("com.shop.x", _endless())),
}


@pytest.mark.parametrize("handler", UNANSWERABLE.values(), ids=UNANSWERABLE)
def test_a_caller_always_gets_an_answer(
    one: FlaskWAMP, peer: AutobahnPeer, handler: t.Callable[[], t.Any]
) -> None:
    one.callee("com.example.fail")(lambda: handler())
    one.callee("com.example.here")(lambda: "here")
    assert peer.error("com.example.fail").uri == "wamp.error.runtime_error"
    assert peer.call("com.example.here").value == "here"


@pytest.mark.parametrize("kind", [LookupError, SystemExit])
def test_a_failing_teardown_does_not_lose_the_answer(
    join: Join,
    wamp_router: DevRouter,
    peer: AutobahnPeer,
    caplog: pytest.LogCaptureFixture,
    kind: type[BaseException],
) -> None:
    app, wamp = join(wamp_router.rawsocket_url)

    @app.teardown_appcontext
    def fail(error: BaseException | None) -> None:
        raise kind("in teardown")

    wamp.callee("com.example.fine")(lambda: "fine")
    assert peer.call("com.example.fine").value == "fine"
    assert "in teardown" in caplog.text
    del app.teardown_appcontext_funcs[:]
