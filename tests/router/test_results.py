"""The return values of handlers, and the results that autobahn gets: each row of the table."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import typing as t
import uuid

import pydantic
import pytest
from flask import Flask, Response, jsonify, make_response, render_template_string
from flask.json.provider import DefaultJSONProvider

from flask_wamp import ApplicationError, CallResult, FlaskWAMP
from tests.support.peers import AutobahnPeer, Received

pytestmark = pytest.mark.router


class Poll(pydantic.BaseModel):
    name: str
    closes: dt.date


@dataclasses.dataclass
class Point:
    x: int
    y: float


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


WHEN = dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=dt.timezone.utc)
NUMBER = uuid.UUID("12345678-1234-5678-1234-567812345678")

VALUES: dict[str, tuple[t.Any, t.Any]] = {
    "none": (None, None),
    "true": (True, True),
    "integer": (42, 42),
    "float": (0.25, 0.25),
    "text": ("grüß 🎉", "grüß 🎉"),
    "empty text": ("", ""),
    "dict": ({"a": 1, "b": None}, {"a": 1, "b": None}),
    "empty dict": ({}, {}),
    "list": ([1, "two"], [1, "two"]),
    "tuple": ((1, "two"), [1, "two"]),
    "tuple like a view's": (("body", 201), ["body", 201]),
    "set": ({7}, [7]),
    "frozenset": (frozenset("a"), ["a"]),
    "bytes": (b"\x00\xff", b"\x00\xff"),
    "bytearray": (bytearray(b"ab"), b"ab"),
    "datetime": (WHEN, "2024-05-06T07:08:09+00:00"),
    "date": (dt.date(2024, 5, 6), "2024-05-06"),
    "time": (dt.time(7, 8), "07:08:00"),
    "timedelta": (dt.timedelta(minutes=1), 60.0),
    "decimal": (decimal.Decimal("1.10"), "1.10"),
    "uuid": (NUMBER, "12345678-1234-5678-1234-567812345678"),
    "enum": (Color.RED, "red"),
    "int enum": (Level.HIGH, 3),
    "pydantic model": (
        Poll(name="tea", closes=dt.date(2024, 5, 6)),
        {"name": "tea", "closes": "2024-05-06"},
    ),
    "dataclass": (Point(1, 2.5), {"x": 1, "y": 2.5}),
    "nested mixture": (
        {"points": (Point(1, 0.5),), "at": [WHEN, {Color.RED}], "raw": {"b": b"\x01"}},
        {
            "points": [{"x": 1, "y": 0.5}],
            "at": ["2024-05-06T07:08:09+00:00", ["red"]],
            "raw": {"b": b"\x01"},
        },
    ),
    "list of models": (
        [Poll(name="tea", closes=dt.date(2024, 5, 6))],
        [{"name": "tea", "closes": "2024-05-06"}],
    ),
}


@pytest.mark.parametrize(("value", "received"), VALUES.values(), ids=VALUES)
def test_a_value_is_one_positional_value(
    wamp: FlaskWAMP, peer: AutobahnPeer, value: t.Any, received: t.Any
) -> None:
    @wamp.callee("com.example.give")
    def give() -> t.Any:
        return value

    result = peer.call("com.example.give")
    assert result.args == [received]
    assert result.kwargs == {}


CALL_RESULTS: dict[str, tuple[CallResult, list[t.Any], dict[str, t.Any]]] = {
    "several": (CallResult(1, "two"), [1, "two"], {}),
    "keywords": (CallResult(total=3), [], {"total": 3}),
    "both": (CallResult(1, at=WHEN), [1], {"at": "2024-05-06T07:08:09+00:00"}),
    "nothing": (CallResult(), [], {}),
}


@pytest.mark.parametrize(("value", "args", "kwargs"), CALL_RESULTS.values(), ids=CALL_RESULTS)
def test_a_call_result_becomes_args_and_kwargs(
    wamp: FlaskWAMP,
    peer: AutobahnPeer,
    value: CallResult,
    args: list[t.Any],
    kwargs: dict[str, t.Any],
) -> None:
    @wamp.callee("com.example.give")
    def give() -> CallResult:
        return value

    assert peer.call("com.example.give")[:2] == (args, kwargs)


@pytest.mark.parametrize("answer", [lambda: (jsonify(1), 201), lambda: (Response("x"), 200, {})])
def test_only_a_view_may_return_a_tuple_with_a_response(
    wamp: FlaskWAMP, answer: t.Callable[[], t.Any], caplog: pytest.LogCaptureFixture
) -> None:
    @wamp.callee("com.example.tuple")
    def handler() -> t.Any:
        return answer()

    with pytest.raises(ApplicationError) as raised:
        wamp.client.call("com.example.tuple")
    assert raised.value.uri == "wamp.error.runtime_error"
    assert "Only a handler that is also a view may return (response, status)" in caplog.text


RESPONSES: dict[str, tuple[t.Callable[[], t.Any], t.Any]] = {
    "jsonify": (
        lambda: jsonify(a=1, at=WHEN.date()),
        {"a": 1, "at": "Mon, 06 May 2024 00:00:00 GMT"},
    ),
    "json": (lambda: Response("[1, 2]", mimetype="application/json"), [1, 2]),
    "json of another name": (lambda: Response("{}", mimetype="application/hal+json"), {}),
    "text": (lambda: Response("grüß", mimetype="text/plain"), "grüß"),
    "html": (lambda: make_response("<p>hello</p>"), "<p>hello</p>"),
    "bytes": (lambda: Response(b"\x89PNG", mimetype="image/png"), b"\x89PNG"),
    "streamed": (lambda: Response(iter(["a", "b"]), mimetype="text/plain"), "ab"),
    "created": (lambda: make_response({"id": 7}, 201), {"id": 7}),
    "rendered": (lambda: render_template_string("<b>{{ 1 + 1 }}</b>"), "<b>2</b>"),
}


@pytest.mark.parametrize(("respond", "received"), RESPONSES.values(), ids=RESPONSES)
def test_a_response_is_its_body(
    wamp: FlaskWAMP, peer: AutobahnPeer, respond: t.Callable[[], t.Any], received: t.Any
) -> None:
    @wamp.callee("com.example.respond")
    def handler() -> t.Any:
        return respond()

    assert peer.call("com.example.respond").value == received


def view_result(
    app: Flask, wamp: FlaskWAMP, peer: AutobahnPeer, returned: t.Any
) -> tuple[Received, t.Any]:
    """Return the answers over WAMP and HTTP of a function that is also a view."""

    @app.get("/view")
    @wamp.callee
    def view() -> t.Any:
        return returned

    return peer.call("com.example.view"), app.test_client().get("/view")


def test_a_view_may_return_body_and_status(app: Flask, wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    result, response = view_result(app, wamp, peer, ({"id": 7}, 201))
    assert result.value == {"id": 7} == response.get_json()
    assert response.status_code == 201


def test_a_view_may_return_body_status_and_headers(
    app: Flask, wamp: FlaskWAMP, peer: AutobahnPeer
) -> None:
    result, response = view_result(app, wamp, peer, ("tea", "202 ACCEPTED", {"X-Kind": "green"}))
    assert result.value == "tea" == response.text
    assert response.headers["X-Kind"] == "green"


def test_a_view_may_return_body_and_headers(
    app: Flask, wamp: FlaskWAMP, peer: AutobahnPeer
) -> None:
    result, _ = view_result(app, wamp, peer, ("tea", {"X-Kind": "green"}))
    assert result.value == "tea"


def test_a_view_may_return_a_plain_value(app: Flask, wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    result, response = view_result(app, wamp, peer, {"a": [1]})
    assert result.value == {"a": [1]} == response.get_json()


FAILED: dict[str, tuple[t.Any, str, tuple[t.Any, ...], dict[str, t.Any]]] = {
    "text": (
        ("gone for good", 410),
        "com.example.error.gone",
        (),
        {"code": 410, "name": "Gone", "description": "gone for good"},
    ),
    "json": (
        ({"left": 0}, 409),
        "com.example.error.conflict",
        ({"left": 0},),
        {"code": 409, "name": "Conflict", "description": ""},
    ),
    "server error": (
        ("later", 503),
        "com.example.error.service_unavailable",
        (),
        {"code": 503, "name": "Service Unavailable", "description": "later"},
    ),
    "forbidden": (("not you", 403), "wamp.error.not_authorized", ("not you",), {}),
}


@pytest.mark.parametrize(("returned", "uri", "args", "kwargs"), FAILED.values(), ids=FAILED)
def test_a_status_of_400_or_more_is_an_error(
    app: Flask,
    wamp: FlaskWAMP,
    peer: AutobahnPeer,
    returned: t.Any,
    uri: str,
    args: tuple[t.Any, ...],
    kwargs: dict[str, t.Any],
) -> None:
    @app.get("/view")
    @wamp.callee
    def view() -> t.Any:
        return returned

    error = peer.error("com.example.view")
    assert (error.uri, error.args, error.kwargs) == (uri, args, kwargs)
    assert app.test_client().get("/view").status_code == returned[1]


def test_a_response_of_400_or_more_is_an_error(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    @wamp.callee
    def teapot() -> Response:
        return make_response({"leaves": 3}, 418)

    error = peer.error("com.example.teapot")
    assert error.uri == "com.example.error.i_m_a_teapot"
    assert error.args == ({"leaves": 3},)
    assert error.kwargs["code"] == 418


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


class MoneyProvider(DefaultJSONProvider):
    @staticmethod
    def default(value: t.Any) -> t.Any:
        if isinstance(value, Money):
            return f"{value.cents / 100:.2f}"
        return DefaultJSONProvider.default(value)


def test_the_apps_json_provider_converts_types(
    app: Flask, wamp: FlaskWAMP, peer: AutobahnPeer
) -> None:
    app.json = MoneyProvider(app)

    @wamp.callee
    def price() -> dict[str, Money]:
        return {"price": Money(150)}

    assert peer.call("com.example.price").value == {"price": "1.50"}


def test_a_generator_sends_progressive_results(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    @wamp.callee
    def count(upto: int) -> t.Iterator[int]:
        yield from range(upto)
        return "done"

    call = peer.submit("com.example.count", 3, progress=True)
    assert call.wait().value == "done"
    assert [call.progress() for _ in range(3)] == [0, 1, 2]


def test_a_generator_without_progress_returns_all_items(
    wamp: FlaskWAMP, peer: AutobahnPeer
) -> None:
    @wamp.callee
    def count(upto: int) -> t.Iterator[int]:
        yield from range(upto)

    assert peer.call("com.example.count", 3).value == [0, 1, 2]
