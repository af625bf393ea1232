"""Error handlers, their order, and the logging of errors."""

from __future__ import annotations

import logging
import typing as t

import pytest
from flask import Flask, abort, g, jsonify
from werkzeug.exceptions import Conflict, Forbidden, HTTPException

from flask_wamp import ApplicationError, FlaskWAMP, WAMPBlueprint, invocation
from flask_wamp.handlers.validation import InvalidArgument
from tests.support.notes import Notes, publish
from tests.support.peers import AutobahnPeer

pytestmark = pytest.mark.router


class ShopError(Exception):
    pass


class SoldOut(ShopError):
    pass


class Closed(ApplicationError):
    """Without a URI of its own."""


Records = t.Callable[[], list[logging.LogRecord]]
NamesAll = t.Callable[[logging.LogRecord], bool]


def raising(error: BaseException | type[BaseException]) -> t.Callable[[], t.Any]:
    """A handler that raises."""

    def handler() -> t.NoReturn:
        raise error

    return handler


def call(wamp: FlaskWAMP, error: t.Any, scope: t.Any = None) -> t.Any:
    """Call a handler that raises."""
    (scope or wamp).callee("com.example.fail")(raising(error))
    return wamp.client.call("com.example.fail")


def failure(wamp: FlaskWAMP, error: t.Any, scope: t.Any = None) -> ApplicationError:
    """The error that such a call gets."""
    with pytest.raises(ApplicationError) as raised:
        call(wamp, error, scope)
    return raised.value


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Records:
    """What handlers have logged."""
    caplog.set_level(logging.DEBUG, "flask_wamp")
    return lambda: [r for r in caplog.records if r.name == "flask_wamp.dispatch"]


# The order.


def test_the_handler_of_the_nearest_class_is_called(wamp: FlaskWAMP) -> None:
    wamp.errorhandler(Exception)(lambda error: "any")
    wamp.errorhandler(ShopError)(lambda error: f"shop: {error}")
    wamp.errorhandler(KeyError)(lambda error: "key")
    assert call(wamp, SoldOut("tea")) == "shop: tea"


def test_the_handler_of_the_base_class_is_called_without_a_nearer_one(wamp: FlaskWAMP) -> None:
    wamp.errorhandler(Exception)(lambda error: type(error).__name__)
    wamp.errorhandler(KeyError)(lambda error: "key")
    assert call(wamp, SoldOut("tea")) == "SoldOut"


def test_handlers_of_inner_blueprints_come_first(wamp: FlaskWAMP) -> None:
    outer, inner = WAMPBlueprint("outer"), WAMPBlueprint("inner")
    outer.register_blueprint(inner)
    wamp.register_blueprint(outer)
    wamp.errorhandler(SoldOut)(lambda error: "app")
    outer.errorhandler(ShopError)(lambda error: "outer")
    outer.errorhandler(KeyError)(lambda error: "outer")
    inner.errorhandler(KeyError)(lambda error: "inner")
    for uri, scope, error in [
        ("com.example.a", wamp, SoldOut()),
        ("com.example.b", outer, SoldOut()),
        ("com.example.c", inner, SoldOut()),
        ("com.example.d", inner, KeyError()),
    ]:
        scope.callee(uri)(raising(error))
    answers = [wamp.client.call(f"com.example.{name}") for name in "abcd"]
    assert answers == ["app", "outer", "outer", "inner"]


def test_the_error_handler_of_another_blueprint_is_not_called(wamp: FlaskWAMP) -> None:
    other = WAMPBlueprint("other")
    wamp.register_blueprint(other)
    other.errorhandler(Exception)(lambda error: "other")
    assert failure(wamp, SoldOut()).uri == "wamp.error.runtime_error"


def test_flasks_error_handlers_are_not_called(app: Flask, wamp: FlaskWAMP, notes: Notes) -> None:
    for kind in (Exception, HTTPException, ShopError, 404):
        app.register_error_handler(kind, lambda error: notes(error) or ("flask", 200))
    wamp.callee("com.example.http", request_context=True)(lambda: abort(404))
    assert failure(wamp, SoldOut()).uri == "wamp.error.runtime_error"
    with pytest.raises(ApplicationError, match="not_found"):
        wamp.client.call("com.example.http")
    assert notes.rest == []


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.mark.parametrize(
    ("kind", "error", "expected"),
    [
        (Forbidden, Forbidden("not you"), "not you"),
        (HTTPException, Conflict("twice"), "twice"),
        (ApplicationError, Closed("at night"), "Closed: 'at night'"),
    ],
)
def test_errors_for_the_caller_are_handled_too(
    wamp: FlaskWAMP, kind: type[Exception], error: Exception, expected: str
) -> None:
    wamp.errorhandler(kind)(lambda error: getattr(error, "description", None) or str(error))
    assert call(wamp, error) == expected


def test_arguments_that_do_not_fit_are_handled_too(wamp: FlaskWAMP) -> None:
    wamp.errorhandler(InvalidArgument)(lambda error: [e["loc"] for e in error.errors])

    @wamp.callee("com.example.square")
    def square(x: float) -> float:
        return x * x

    assert wamp.client.call("com.example.square", "x") == [[0]]


def test_errors_of_before_hooks_are_handled_and_those_of_after_hooks_are_not(
    wamp: FlaskWAMP,
) -> None:
    @wamp.before_dispatch
    def before(message: t.Any) -> None:
        if message.args:
            raise SoldOut

    @wamp.after_dispatch
    def after(message: t.Any, result: t.Any) -> str:
        if not message.args:
            raise SoldOut
        return f"{result}, after"

    wamp.errorhandler(SoldOut)(lambda error: "handled")
    wamp.callee("com.example.fine")(lambda *args: "fine")
    assert wamp.client.call("com.example.fine", 1) == "handled, after"
    with pytest.raises(ApplicationError, match="SoldOut"):
        wamp.client.call("com.example.fine")


@pytest.mark.parametrize("given", [SoldOut("x"), BaseException, 404, "SoldOut"])
def test_errorhandler_takes_a_class_of_exceptions(given: t.Any) -> None:
    with pytest.raises(TypeError, match="a class of exceptions"):
        FlaskWAMP().errorhandler(given)


# The answer.


@pytest.mark.parametrize("value", ["fallback", None, {"left": 0}, 0])
def test_the_return_value_of_an_error_handler_is_the_result(wamp: FlaskWAMP, value: t.Any) -> None:
    wamp.errorhandler(SoldOut)(lambda error: value)
    assert call(wamp, SoldOut()) == value


def test_an_error_handler_may_return_a_response(wamp: FlaskWAMP) -> None:
    @wamp.errorhandler(SoldOut)
    def sold_out(error: SoldOut) -> t.Any:
        response = jsonify(left=0)
        response.status_code = 410
        return response

    error = failure(wamp, SoldOut())
    assert (error.uri, error.args) == ("com.example.error.gone", ({"left": 0},))


@pytest.mark.parametrize("how", ["returns", "raises"])
@pytest.mark.parametrize(
    ("made", "uri"),
    [
        (lambda: ApplicationError("org.shop.sold_out", "tea", left=0), "org.shop.sold_out"),
        (lambda: Closed("tea", left=0), "com.example.error.closed"),
    ],
    ids=["with a uri", "without"],
)
def test_an_error_handler_may_return_or_raise_an_application_error(
    wamp: FlaskWAMP, how: str, made: t.Callable[[], ApplicationError], uri: str
) -> None:
    @wamp.errorhandler(SoldOut)
    def sold_out(error: SoldOut) -> t.Any:
        if how == "raises":
            raise made() from error
        return made()

    error = failure(wamp, SoldOut())
    assert (error.uri, error.args, error.kwargs) == (uri, ("tea",), {"left": 0})


def test_an_error_handler_may_raise_the_same_error_again(wamp: FlaskWAMP) -> None:
    @wamp.errorhandler(SoldOut)
    def sold_out(error: SoldOut) -> t.Any:
        raise error

    assert failure(wamp, SoldOut("tea")).args == ("SoldOut: tea",)


def test_an_error_handler_runs_in_the_handlers_context(app: Flask, wamp: FlaskWAMP) -> None:
    wamp.before_dispatch(lambda message: setattr(g, "user", "Ada"))
    wamp.errorhandler(SoldOut)(lambda error: [g.user, invocation.procedure])
    assert call(wamp, SoldOut()) == ["Ada", "com.example.fail"]


def test_an_error_handler_may_be_async(wamp: FlaskWAMP) -> None:
    @wamp.errorhandler(SoldOut)
    async def sold_out(error: SoldOut) -> str:
        return "none left"

    assert call(wamp, SoldOut()) == "none left"


def test_errors_of_event_handlers_are_handled(wamp: FlaskWAMP, notes: Notes) -> None:
    wamp.errorhandler(SoldOut)(lambda error: notes(str(error)))
    wamp.subscriber("com.example.news")(raising(SoldOut("tea")))
    publish(wamp, "com.example.news")
    assert notes.next() == "tea"


def test_handled_errors_are_not_logged(wamp: FlaskWAMP, records: Records) -> None:
    wamp.errorhandler(SoldOut)(lambda error: "handled")
    call(wamp, SoldOut())
    assert records() == []


# Logging.

EXPECTED = [
    ApplicationError("org.shop.sold_out", "tea"),
    Closed("at night"),
    Forbidden("not you"),
    Conflict("twice"),
]


@pytest.mark.parametrize("error", EXPECTED, ids=lambda error: type(error).__name__)
def test_expected_errors_are_logged_in_a_line(
    wamp: FlaskWAMP, records: Records, names_all: NamesAll, error: Exception
) -> None:
    failure(wamp, error)
    (record,) = records()
    assert (record.levelname, record.exc_info) == ("INFO", None)
    assert str(error) in record.getMessage()
    assert names_all(record)


@pytest.fixture
def names_all(wamp: FlaskWAMP, notes: Notes) -> NamesAll:
    """Return whether a record contains the caller, the procedure and the request id."""
    wamp.teardown_dispatch(lambda message, error: notes(message.request_id))

    def look(record: logging.LogRecord) -> bool:
        who = f"from {wamp.client.session_id}"
        return f"<Invocation {notes.next()} of com.example.fail> {who}" in record.getMessage()

    return look


def test_arguments_that_do_not_fit_are_expected(
    wamp: FlaskWAMP, records: Records, names_all: NamesAll
) -> None:
    wamp.callee("com.example.fail")(lambda: None)
    with pytest.raises(ApplicationError, match="invalid_argument"):
        wamp.client.call("com.example.fail", "unexpected")
    (record,) = records()
    assert (record.levelname, record.exc_info) == ("INFO", None)
    assert names_all(record)


def test_unexpected_errors_are_logged_in_full(
    wamp: FlaskWAMP,
    caplog: pytest.LogCaptureFixture,
    records: Records,
    names_all: NamesAll,
) -> None:
    failure(wamp, SoldOut("tea"))
    (record,) = records()
    assert record.levelname == "ERROR"
    assert record.exc_info
    assert names_all(record)
    for text in ("Traceback", "in handler", "raise error", "SoldOut: tea"):
        assert text in caplog.text


def test_unexpected_errors_of_events_are_logged_in_full(
    wamp: FlaskWAMP,
    peer: AutobahnPeer,
    notes: Notes,
    records: Records,
) -> None:
    wamp.teardown_dispatch(lambda message, error: notes(error))
    wamp.subscriber("com.example.news")(raising(SoldOut("tea")))
    number = peer.publish("com.example.news")
    assert isinstance(notes.next(), SoldOut)
    (record,) = records()
    assert record.levelname == "ERROR"
    assert record.exc_info
    said = record.getMessage()
    assert f"<Event {number} on com.example.news> from {peer.session_id}" in said


def test_the_error_of_an_error_handler_is_logged_with_its_cause(
    wamp: FlaskWAMP, caplog: pytest.LogCaptureFixture
) -> None:
    @wamp.errorhandler(SoldOut)
    def sold_out(error: SoldOut) -> None:
        raise LookupError("no fallback")

    assert failure(wamp, SoldOut("tea")).uri == "wamp.error.runtime_error"
    assert "SoldOut: tea" in caplog.text
    assert "During handling of the above exception" in caplog.text
    assert "LookupError: no fallback" in caplog.text
