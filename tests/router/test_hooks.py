"""Hooks around handlers: their order, what they may change, and that teardown always runs."""

from __future__ import annotations

import logging
import typing as t

import pytest
from flask import Blueprint, Flask, current_app, g

from flask_wamp import ApplicationError, CallResult, FlaskWAMP, WAMPBlueprint, event, invocation
from flask_wamp.handlers.context import Event, Invocation
from tests.support.notes import Notes, publish

pytestmark = pytest.mark.router

KINDS = pytest.mark.parametrize("kind", ["call", "event"])


@pytest.fixture
def notes() -> Notes:
    return Notes()


def add_hooks(scope: t.Any, name: str, note: Notes) -> None:
    """Add two hooks of each kind that record their names."""
    for number in (1, 2):
        label = f"{name} {number}"

        @scope.before_dispatch
        def before(message: t.Any, label: str = label) -> None:
            note(f"before {label}")

        @scope.after_dispatch
        def after(message: t.Any, result: t.Any, label: str = label) -> t.Any:
            note(f"after {label}")
            return result

        @scope.teardown_dispatch
        def teardown(message: t.Any, error: t.Any, label: str = label) -> None:
            note(f"teardown {label}")


def add_flasks_hooks(scope: t.Any, name: str, notes: list[str]) -> None:
    """Do the same on a Flask app or blueprint."""
    for number in (1, 2):
        label = f"{name} {number}"

        @scope.before_request
        def before(label: str = label) -> None:
            notes.append(f"before {label}")

        @scope.after_request
        def after(response: t.Any, label: str = label) -> t.Any:
            notes.append(f"after {label}")
            return response

        @scope.teardown_request
        def teardown(error: t.Any, label: str = label) -> None:
            notes.append(f"teardown {label}")


def order_of_flask() -> list[str]:
    """The order of hooks around a view in a nested blueprint."""
    notes: list[str] = []
    app, outer, inner = Flask("web"), Blueprint("outer", "web"), Blueprint("inner", "web")
    inner.get("/")(lambda: (notes.append("handler"), "")[1])
    for scope, name in ((app, "app"), (outer, "outer"), (inner, "inner")):
        add_flasks_hooks(scope, name, notes)
    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    app.test_client().get("/")
    return notes


def dispatch(wamp: FlaskWAMP, kind: str, scope: t.Any, handler: t.Callable[[], t.Any]) -> t.Any:
    """Call a handler of a scope, or publish an event for it."""
    if kind == "call":
        scope.callee("com.example.handler")(handler)
        return wamp.client.call("com.example.handler")
    scope.subscriber("com.example.handler")(handler)
    return publish(wamp, "com.example.handler")


# Order.


@KINDS
def test_hooks_run_in_flasks_order(wamp: FlaskWAMP, notes: Notes, kind: str) -> None:
    outer, inner = WAMPBlueprint("outer"), WAMPBlueprint("inner")
    for scope, name in ((wamp, "app"), (outer, "outer"), (inner, "inner")):
        add_hooks(scope, name, notes)
    outer.register_blueprint(inner)
    wamp.register_blueprint(outer)
    dispatch(wamp, kind, inner, lambda: notes("handler"))
    assert notes.until("teardown app 1") == order_of_flask()


def test_hooks_of_a_blueprint_are_its_own(wamp: FlaskWAMP, notes: Notes) -> None:
    blueprint = WAMPBlueprint("users")
    add_hooks(blueprint, "users", notes)
    wamp.register_blueprint(blueprint)
    assert dispatch(wamp, "call", wamp, lambda: "fine") == "fine"
    assert notes.rest == []


def test_hooks_added_after_the_first_call_run_too(wamp: FlaskWAMP, notes: Notes) -> None:
    dispatch(wamp, "call", wamp, lambda: notes("handler"))
    wamp.before_dispatch(lambda message: notes("before"))
    wamp.client.call("com.example.handler")
    assert notes.rest == ["handler", "before", "handler"]


def test_hooks_run_for_what_is_registered_at_run_time(wamp: FlaskWAMP, notes: Notes) -> None:
    add_hooks(wamp, "app", notes)
    wamp.client.register(lambda: notes("handler"), "com.example.late")
    wamp.client.call("com.example.late")
    assert notes.take(7)[2] == "handler"


def test_async_hooks(wamp: FlaskWAMP, notes: Notes) -> None:
    @wamp.before_dispatch
    async def before(message: Invocation) -> None:
        notes("before")

    @wamp.after_dispatch
    async def after(message: Invocation, result: str) -> str:
        return result.upper()

    @wamp.teardown_dispatch
    async def teardown(message: Invocation, error: t.Any) -> None:
        notes("teardown")

    assert dispatch(wamp, "call", wamp, lambda: "tea") == "TEA"
    assert notes.rest == ["before", "teardown"]


@pytest.mark.parametrize("add", ["before_dispatch", "after_dispatch", "teardown_dispatch"])
def test_a_hook_must_be_a_function(add: str) -> None:
    with pytest.raises(TypeError, match="a hook must be a function, not 'tea'"):
        getattr(FlaskWAMP(), add)("tea")


# The messages that hooks see.


def test_hooks_see_the_invocation_and_share_g_with_the_handler(
    app: Flask, wamp: FlaskWAMP, notes: Notes
) -> None:
    @wamp.before_dispatch
    def before(message: Invocation) -> None:
        assert isinstance(message, Invocation)
        assert message == invocation
        assert not event
        assert current_app == app
        g.user = message.kwargs["name"]
        notes([message.uri, message.procedure, message.args, message.options["concurrency"]])

    @wamp.after_dispatch
    def after(message: Invocation, result: str) -> str:
        return f"{g.user} {result}"

    @wamp.teardown_dispatch
    def teardown(message: Invocation, error: t.Any) -> None:
        notes([invocation.request_id == message.request_id, g.user])

    @wamp.callee("com.example.order", concurrency=2)
    def order(tea: str, name: str) -> str:
        return f"{g.user} {tea}"

    assert wamp.client.call("com.example.order", "green", name="Ada") == "Ada Ada green"
    assert notes.rest == [["com.example.order", "com.example.order", ["green"], 2], [True, "Ada"]]


def test_hooks_see_the_event(wamp: FlaskWAMP, notes: Notes) -> None:
    @wamp.before_dispatch
    def before(message: Event) -> None:
        assert isinstance(message, Event)
        assert message == event
        assert not invocation
        notes([message.uri, message.topic, message.args, message.options["delivery"]])

    @wamp.after_dispatch
    def after(message: Event, result: t.Any) -> None:
        notes(["after", result])

    wamp.subscriber("com.example.news")(lambda text: f"{text}?")
    publish(wamp, "com.example.news", "tea")
    assert notes.next() == ["com.example.news", "com.example.news", ["tea"], "every"]
    assert notes.next() == ["after", "tea?"]


# before_dispatch.


@pytest.mark.parametrize("answer", ["early", 0, False, "", []])
def test_the_return_value_of_a_before_hook_is_the_answer(
    wamp: FlaskWAMP, notes: Notes, answer: t.Any
) -> None:
    wamp.before_dispatch(lambda message: notes("first"))
    wamp.before_dispatch(lambda message: answer)
    add_hooks(wamp, "app", notes)
    assert dispatch(wamp, "call", wamp, lambda: notes("handler")) == answer
    assert notes.rest == ["first", "after app 2", "after app 1", "teardown app 2", "teardown app 1"]


def test_a_before_hook_may_drop_an_event(wamp: FlaskWAMP, notes: Notes) -> None:
    wamp.before_dispatch(lambda message: "seen" if message.args == ["old"] else None)
    wamp.after_dispatch(lambda message, result: notes(result))
    wamp.subscriber("com.example.news")(lambda text: text)
    publish(wamp, "com.example.news", "old")
    publish(wamp, "com.example.news", "new")
    assert notes.take(2) == ["seen", "new"]


def test_a_before_hook_that_raises_is_answered_as_an_error(wamp: FlaskWAMP, notes: Notes) -> None:
    @wamp.before_dispatch
    def refuse(message: t.Any) -> None:
        raise ApplicationError("com.example.error.closed")

    add_hooks(wamp, "app", notes)
    with pytest.raises(ApplicationError, match=r"com\.example\.error\.closed"):
        dispatch(wamp, "call", wamp, lambda: notes("handler"))
    assert notes.rest == ["teardown app 2", "teardown app 1"]


def test_before_hooks_run_before_validation(wamp: FlaskWAMP, notes: Notes) -> None:
    wamp.before_dispatch(lambda message: "early" if message.args == ["early"] else None)
    wamp.teardown_dispatch(lambda message, error: notes(type(error).__name__))
    wamp.callee("com.example.square")(_square)
    assert wamp.client.call("com.example.square", "early") == "early"
    with pytest.raises(ApplicationError, match="invalid_argument"):
        wamp.client.call("com.example.square", "x")
    assert notes.rest == ["NoneType", "InvalidArgument"]


def _square(x: float) -> float:
    return x * x


# after_dispatch.


def test_after_hooks_change_the_result_one_after_another(wamp: FlaskWAMP) -> None:
    wamp.after_dispatch(lambda message, result: [*result, "first"])
    wamp.after_dispatch(lambda message, result: [*result, "second"])
    assert dispatch(wamp, "call", wamp, lambda: ["handler"]) == ["handler", "second", "first"]


def test_an_after_hook_may_answer_with_several_values_or_none(wamp: FlaskWAMP) -> None:
    @wamp.after_dispatch
    def after(message: Invocation, result: t.Any) -> t.Any:
        return CallResult(1, 2, name=result) if result == "many" else None

    wamp.callee("com.example.echo")(lambda text: text)
    assert wamp.client.call("com.example.echo", "many") == CallResult(1, 2, name="many")
    assert wamp.client.call("com.example.echo", "none") is None


def test_an_after_hook_that_raises_is_answered_as_an_error(wamp: FlaskWAMP, notes: Notes) -> None:
    add_hooks(wamp, "app", notes)

    @wamp.after_dispatch
    def fail(message: t.Any, result: t.Any) -> None:
        raise ApplicationError("com.example.error.not_committed", result)

    with pytest.raises(ApplicationError, match=r"com\.example\.error\.not_committed: 'fine'"):
        dispatch(wamp, "call", wamp, lambda: "fine")
    assert notes.rest[-2:] == ["teardown app 2", "teardown app 1"]


def test_generators_run_inside_hooks_and_contexts(wamp: FlaskWAMP) -> None:
    wamp.after_dispatch(lambda message, result: {"counted": result})
    wamp.errorhandler(ZeroDivisionError)(lambda error: "too far")

    @wamp.callee("com.example.count")
    def count(upto: int) -> t.Iterator[float]:
        for n in range(upto):
            yield 6 / (3 - n)

    assert wamp.client.call("com.example.count", 2) == {"counted": [2, 3]}
    assert wamp.client.call("com.example.count", 9) == {"counted": "too far"}


def test_after_hooks_do_not_run_for_an_error(wamp: FlaskWAMP, notes: Notes) -> None:
    add_hooks(wamp, "app", notes)
    with pytest.raises(ApplicationError, match="ZeroDivisionError"):
        dispatch(wamp, "call", wamp, lambda: 1 / 0)
    assert notes.rest == ["before app 1", "before app 2", "teardown app 2", "teardown app 1"]


# teardown_dispatch.


@KINDS
@pytest.mark.parametrize("well", [True, False])
def test_all_teardown_hooks_run_even_when_they_raise(
    app: Flask,
    wamp: FlaskWAMP,
    notes: Notes,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    well: bool,
) -> None:
    blueprint = WAMPBlueprint("users")
    wamp.register_blueprint(blueprint)
    app.teardown_appcontext(lambda error: notes(["context", type(error)]) if "own" in g else None)
    for scope in (wamp, wamp, blueprint, blueprint):

        @scope.teardown_dispatch
        def teardown(message: t.Any, error: t.Any) -> None:
            notes(["hook", type(error)])
            raise LookupError("in teardown")

    def handler() -> str:
        g.own = True
        if not well:
            raise KeyError("tea")
        return "fine"

    if kind == "call" and not well:
        with pytest.raises(ApplicationError, match="KeyError"):
            dispatch(wamp, kind, blueprint, handler)
    else:
        answer = dispatch(wamp, kind, blueprint, handler)
        assert answer == ("fine" if kind == "call" else None)
    error = type(None) if well else KeyError
    assert notes.take(5) == [["hook", error]] * 4 + [["context", error]]
    failed = [r for r in caplog.records if "a teardown hook failed" in r.getMessage()]
    assert len(failed) == 4
    assert all(record.levelno == logging.ERROR and record.exc_info for record in failed)


def test_teardown_hooks_learn_of_errors_that_were_returned(wamp: FlaskWAMP, notes: Notes) -> None:
    wamp.teardown_dispatch(lambda message, error: notes(error.uri))
    with pytest.raises(ApplicationError):
        dispatch(wamp, "call", wamp, lambda: current_app.response_class("gone", 410))
    assert notes.rest == ["com.example.error.gone"]


def test_a_caller_gets_an_error_if_the_context_cannot_be_created(
    wamp: FlaskWAMP, app: Flask
) -> None:
    class Broken(type(app.session_interface)):  # type: ignore[misc]
        def open_session(self, app: t.Any, request: t.Any) -> t.Any:
            raise ConnectionError("no session store")

    app.session_interface = Broken()
    wamp.callee("com.example.handler", request_context=True)(lambda: "fine")
    with pytest.raises(ApplicationError, match="no session store"):
        wamp.client.call("com.example.handler")
