"""The exceptions of handlers, and the errors that autobahn gets: each row of the table."""

from __future__ import annotations

import logging
import typing as t

import pydantic
import pytest
from flask import Flask, abort, g, make_response

from flask_wamp import ApplicationError, CallTimeout, FlaskWAMP
from tests.support.peers import AutobahnPeer, RemoteError

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Joined = tuple[Flask, FlaskWAMP]


class SoldOut(ApplicationError):
    """Without a URI of its own."""


class TooLate(ApplicationError):
    uri = "org.elsewhere.too_late"


class MuchTooLate(TooLate):
    pass


class HTTPGone(ApplicationError):
    """An exception whose name is hard to convert to snake case."""


Told = tuple[str, tuple[t.Any, ...], dict[str, t.Any]]


def told(error: RemoteError) -> Told:
    return error.uri, error.args, error.kwargs


RAISED: dict[str, tuple[t.Callable[[], t.Any], Told]] = {
    "application error": (
        lambda: ApplicationError("com.shop.sold_out", "tea", left=0),
        ("com.shop.sold_out", ("tea",), {"left": 0}),
    ),
    "application error without payload": (
        lambda: ApplicationError("com.shop.closed"),
        ("com.shop.closed", (), {}),
    ),
    "subclass without a uri": (
        lambda: SoldOut("tea", left=0),
        ("com.example.error.sold_out", ("tea",), {"left": 0}),
    ),
    "subclass of an acronym": (lambda: HTTPGone(), ("com.example.error.http_gone", (), {})),
    "subclass with a uri": (lambda: TooLate(5), ("org.elsewhere.too_late", (5,), {})),
    "subclass of one with a uri": (
        lambda: MuchTooLate(b"\x00", None),
        ("org.elsewhere.too_late", (b"\x00", None), {}),
    ),
    "call timeout": (
        lambda: CallTimeout("com.shop.slow", 2),
        ("wamp.error.timeout", ("com.shop.slow did not answer within 2 s",), {}),
    ),
}


@pytest.mark.parametrize(("make", "expected"), RAISED.values(), ids=RAISED)
def test_the_raised_exception_determines_the_error(
    wamp: FlaskWAMP, peer: AutobahnPeer, make: t.Callable[[], Exception], expected: Told
) -> None:
    @wamp.callee("com.example.fail")
    def fail() -> None:
        raise make()

    assert told(peer.error("com.example.fail")) == expected


def _http(code: int, name: str, description: t.Any) -> dict[str, t.Any]:
    return {"code": code, "name": name, "description": description}


ABORTED: dict[str, tuple[tuple[t.Any, ...], Told]] = {
    "401": ((401, "who are you?"), ("wamp.error.not_authorized", ("who are you?",), {})),
    "403": ((403, "not you"), ("wamp.error.not_authorized", ("not you",), {})),
    "404": (
        (404, "no such tea"),
        ("com.example.error.not_found", (), _http(404, "Not Found", "no such tea")),
    ),
    "418": (
        (418, "short and stout"),
        ("com.example.error.i_m_a_teapot", (), _http(418, "I'm a teapot", "short and stout")),
    ),
    "500": (
        (500, "broken"),
        (
            "com.example.error.internal_server_error",
            (),
            _http(500, "Internal Server Error", "broken"),
        ),
    ),
}


@pytest.mark.parametrize(("arguments", "expected"), ABORTED.values(), ids=ABORTED)
def test_abort_is_an_error(
    wamp: FlaskWAMP, peer: AutobahnPeer, arguments: tuple[t.Any, ...], expected: Told
) -> None:
    @wamp.callee("com.example.fail")
    def fail() -> None:
        abort(*arguments)

    assert told(peer.error("com.example.fail")) == expected


def test_abort_without_a_description_uses_that_of_werkzeug(
    wamp: FlaskWAMP, peer: AutobahnPeer
) -> None:
    @wamp.callee
    def fail() -> None:
        abort(403)

    error = peer.error("com.example.fail")
    assert error.uri == "wamp.error.not_authorized"
    assert "permission" in error.args[0]


def test_abort_with_a_response_is_that_response(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    @wamp.callee
    def fail() -> None:
        abort(make_response({"left": 0}, 409))

    error = peer.error("com.example.fail")
    assert told(error) == ("com.example.error.conflict", ({"left": 0},), _http(409, "Conflict", ""))


@pytest.mark.parametrize(
    ("fail", "uri"),
    [(lambda: abort(404), "error.not_found"), (lambda: SoldOut(), "error.sold_out")],
    ids=["abort", "subclass"],
)
def test_without_a_prefix_error_uris_begin_with_error(
    make_app: t.Callable[..., Flask],
    wamp_router: DevRouter,
    peer: AutobahnPeer,
    fail: t.Callable[[], t.Any],
    uri: str,
) -> None:
    app = make_app(WAMP_ROUTER_URL=wamp_router.url)
    del app.config["WAMP_URI_PREFIX"]
    wamp = FlaskWAMP(app)

    @wamp.callee("com.elsewhere.fail")
    def raise_it() -> None:
        raise fail()

    wamp.client.wait_until_joined(10)
    assert peer.error("com.elsewhere.fail").uri == uri


# Arguments.


class Order(pydantic.BaseModel):
    tea: str
    cups: int = 1


MISFITS: dict[str, tuple[list[t.Any], dict[str, t.Any], list[t.Any], str]] = {
    "wrong type": ([1, "x"], {}, [1], "int_parsing"),
    "wrong type by keyword": ([1], {"b": "x"}, ["b"], "int_parsing"),
    "missing": ([], {}, ["a"], "missing_argument"),
    "too many": ([1, 2, 3], {}, [2], "unexpected_positional_argument"),
    "unknown": ([1], {"c": 1}, ["c"], "unexpected_keyword_argument"),
    "twice": ([1, 2], {"a": 1}, ["a"], "multiple_argument_values"),
}


@pytest.mark.parametrize(("args", "kwargs", "loc", "kind"), MISFITS.values(), ids=MISFITS)
def test_arguments_that_fail_validation(
    wamp: FlaskWAMP,
    peer: AutobahnPeer,
    args: list[t.Any],
    kwargs: dict[str, t.Any],
    loc: list[t.Any],
    kind: str,
) -> None:
    @wamp.callee
    def add(a: int, b: int = 1) -> int:
        return a + b

    error = peer.error("com.example.add", *args, **kwargs)
    assert error.uri == "wamp.error.invalid_argument"
    assert error.args == ()
    (found,) = error.kwargs["errors"]
    assert found.keys() == {"loc", "msg", "type"}
    assert (found["loc"], found["type"]) == (loc, kind)
    assert found["msg"]


def test_all_invalid_arguments_are_listed(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    @wamp.callee
    def order(order: Order) -> str:
        return order.tea

    error = peer.error("com.example.order", {"cups": "many"})
    assert [e["loc"] for e in error.kwargs["errors"]] == [[0, "tea"], [0, "cups"]]
    assert "many" not in str(error)


def test_arguments_are_coerced(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    @wamp.callee
    def order(order: Order, times: int) -> list[t.Any]:
        return [type(order).__name__, order.cups, times]

    assert peer.call("com.example.order", {"tea": "green"}, times="2").value == ["Order", 1, 2]


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [([], {}), ([1, 2, 3], {}), ([1], {"c": 2})],
    ids=["missing", "too many", "unknown"],
)
def test_arguments_that_do_not_fit_an_unvalidated_signature(
    wamp: FlaskWAMP, peer: AutobahnPeer, args: list[t.Any], kwargs: dict[str, t.Any]
) -> None:
    @wamp.callee(validate=False)
    def add(a: int, b: int = 1) -> int:
        return a + b

    error = peer.error("com.example.add", *args, **kwargs)
    assert error.uri == "wamp.error.invalid_argument"
    (found,) = error.kwargs["errors"]
    assert "add()" in found["msg"]
    assert (found["loc"], found["type"]) == ([], "signature")


def test_unvalidated_arguments_come_as_they_are(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    @wamp.callee(validate=False)
    def double(a: int) -> int:
        return a * 2

    assert peer.call("com.example.double", "x").value == "xx"


def test_a_type_error_inside_the_function_is_a_bug(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    @wamp.callee(validate=False)
    def add(a: int) -> int:
        return a + 1

    assert peer.error("com.example.add", "x").uri == "wamp.error.runtime_error"


def test_a_validation_error_inside_the_function_is_a_bug(
    wamp: FlaskWAMP, peer: AutobahnPeer
) -> None:
    @wamp.callee
    def make(tea: t.Any) -> t.Any:
        return Order(tea=tea)

    assert peer.error("com.example.make", 3).uri == "wamp.error.runtime_error"


# Bugs.


def _secret(wamp: FlaskWAMP) -> None:
    @wamp.callee
    def secret() -> None:
        raise LookupError("the password is tea")


def test_the_error_of_a_bug_has_no_details_in_production(
    app: Flask, wamp: FlaskWAMP, peer: AutobahnPeer, caplog: pytest.LogCaptureFixture
) -> None:
    app.testing = False
    _secret(wamp)
    assert told(peer.error("com.example.secret")) == ("wamp.error.runtime_error", (), {})
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "com.example.secret" in record.getMessage()
    assert str(peer.session_id) in record.getMessage()
    assert "the password is tea" in caplog.text
    assert "Traceback" in caplog.text
    assert "in secret" in caplog.text


@pytest.mark.parametrize("mode", ["debug", "testing"])
def test_the_error_of_a_bug_has_details_in_debug_mode(
    app: Flask, wamp: FlaskWAMP, peer: AutobahnPeer, mode: str
) -> None:
    app.debug, app.testing = mode == "debug", mode == "testing"
    _secret(wamp)
    error = peer.error("com.example.secret")
    assert told(error) == ("wamp.error.runtime_error", ("LookupError: the password is tea",), {})


def test_expected_errors_are_not_logged_as_warnings(
    wamp: FlaskWAMP, peer: AutobahnPeer, caplog: pytest.LogCaptureFixture
) -> None:
    @wamp.callee
    def fail() -> None:
        raise SoldOut

    peer.error("com.example.fail")
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_an_error_of_another_peer_passes_through(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    error = {"uri": "com.shop.sold_out", "args": ["tea", b"\x00"], "kwargs": {"left": 0}}
    peer.register("com.shop.buy", "fail", error=error)

    @wamp.callee
    def buy() -> t.Any:
        return g.wampy.rpc.com.shop.buy()

    expected = ("com.shop.sold_out", ("tea", b"\x00"), {"left": 0})
    assert told(peer.error("com.example.buy")) == expected
