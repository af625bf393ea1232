"""The parameters that a payload fills: not those of decorators or of the app, and no defaults."""

from __future__ import annotations

import functools
import typing as t

import pytest
from flask import Flask, request
from pydantic import Field

from flask_wamp import ApplicationError, FlaskWAMP, callee
from tests.app.conftest import Serve
from tests.support.memory import MemoryRouter

if t.TYPE_CHECKING:
    from decimal import Decimal

MakeApp = t.Callable[..., Flask]
Function = t.Callable[..., t.Any]
Call = t.Callable[..., t.Any]


@pytest.fixture
def handle(serve: Serve, router: MemoryRouter) -> t.Callable[..., Call]:
    """Serve a function. Return a function that calls it."""

    def handle(f: Function, **options: t.Any) -> Call:
        serve(lambda wamp: wamp.callee(".f", **options)(f))
        return functools.partial(router.call, "com.example.f")

    return handle


Handle = t.Callable[..., Call]


def errors(call: t.Callable[[], t.Any]) -> list[tuple[t.Any, str]]:
    """Return the errors of a call's arguments: location and type."""
    with pytest.raises(ApplicationError) as raised:
        call()
    assert raised.value.uri == "wamp.error.invalid_argument"
    return [(error["loc"], error["type"]) for error in raised.value.kwargs["errors"]]


# Decorators that fill arguments.


def token_required(f: Function) -> Function:
    @functools.wraps(f)
    def decorated(*args: t.Any, **kwargs: t.Any) -> t.Any:
        return f("ann", *args, **kwargs)

    return decorated


def use_kwargs(f: Function) -> Function:
    """A decorator like that of webargs: the parsed values are keywords."""

    @functools.wraps(f)
    def decorated(*args: t.Any, **kwargs: t.Any) -> t.Any:
        parsed = request.get_json()["name"] if request else "ann"
        return f(*args, **{**kwargs, "user": parsed})

    return decorated


def narrowing(f: Function) -> Function:
    @functools.wraps(f)
    def decorated(count: int) -> t.Any:
        return f("ann", count)

    return decorated


def passing(f: Function) -> Function:
    @functools.wraps(f)
    def decorated(*args: t.Any, **kwargs: t.Any) -> t.Any:
        return f(*args, **kwargs)

    return decorated


def profile(user: str, count: int) -> list[t.Any]:
    return [user, count]


@pytest.mark.parametrize("validate", [True, False])
def test_decorator_that_fills_the_first_argument(handle: Handle, validate: bool) -> None:
    call = handle(token_required(profile), validate=validate)
    assert call(count=3) == ["ann", 3]
    assert errors(call)
    assert errors(lambda: call(user="eve", count=3)) == [(["user"], "multiple_argument_values")]


def test_decorator_that_fills_keywords(handle: Handle) -> None:
    def order(count: int, *, user: str) -> list[t.Any]:
        return [user, count]

    call = handle(use_kwargs(order))
    assert call("3") == call(count=3) == ["ann", 3]
    assert call(count=3, user="eve") == ["ann", 3]
    assert (["count"], "missing_argument") in errors(call)


def test_types_are_checked_below_a_wrapper(handle: Handle) -> None:
    call = handle(token_required(profile))
    assert errors(lambda: call(count="x")) == [(["count"], "int_parsing")]


def test_missing_argument_below_a_wrapper_that_fills_nothing(handle: Handle) -> None:
    call = handle(passing(passing(profile)))
    assert call("eve", "3") == ["eve", 3]
    assert errors(lambda: call("eve")) == [(["count"], "missing_argument")]
    assert errors(lambda: call("eve", "x")) == [([1], "int_parsing")]


def test_the_signature_of_the_outermost_decorator_applies(handle: Handle) -> None:
    call = handle(passing(narrowing(profile)))
    assert call("3") == ["ann", 3]
    assert errors(lambda: call(3, 4)) == [([1], "unexpected_positional_argument")]
    assert errors(call) == [(["count"], "missing_argument")]


@pytest.mark.parametrize("validate", [True, False])
def test_filled_parameters_are_not_in_the_payload(handle: Handle, validate: bool) -> None:
    call = handle(token_required(profile), filled=["user"], validate=validate)
    assert call(3) == call(count=3) == ["ann", 3]
    assert errors(lambda: call(3, user="eve")) == [(["user"], "unexpected_keyword_argument")]


def test_filled_view_takes_its_payload_from_the_request(handle: Handle) -> None:
    call = handle(use_kwargs(lambda user: user), filled=["user"], request_context=True)
    assert call(name="ann") == "ann"


def test_an_unknown_filled_parameter(make_app: MakeApp) -> None:
    with pytest.raises(ValueError, match="filled='usr': the function has no such parameter"):
        FlaskWAMP(make_app()).callee(".f", filled=["usr"])(profile)
    with pytest.raises(ValueError, match="filled='user' must be a list of parameter names"):
        FlaskWAMP(make_app()).callee(".f", filled="user")(profile)  # type: ignore[call-overload]


def test_type_error_of_the_handler_is_its_own(handle: Handle) -> None:
    def broken(user: str, count: int) -> t.Any:
        return profile(user)  # type: ignore[call-arg]

    call = handle(token_required(broken))
    with pytest.raises(ApplicationError) as raised:
        call(count=3)
    assert raised.value.uri == "wamp.error.runtime_error"


# Parameters of the app.


@pytest.mark.parametrize("validate", [True, False])
def test_a_caller_cannot_set_a_parameter_with_an_underscore(handle: Handle, validate: bool) -> None:
    def f(name: str, _admin: bool = False, count: int = 1) -> list[t.Any]:
        return [name, _admin, count]

    call = handle(f, validate=validate)
    assert call("ann", 2) == ["ann", False, 2]
    assert call(name="ann") == ["ann", False, 1]
    assert errors(lambda: call("ann", _admin=True)) == [(["_admin"], "unexpected_keyword_argument")]
    assert errors(lambda: call("ann", 2, True))


@pytest.mark.parametrize("validate", [True, False])
def test_keyword_only_and_with_more_keywords(handle: Handle, validate: bool) -> None:
    def f(*args: t.Any, _db: str = "app's", **kwargs: t.Any) -> list[t.Any]:
        return [args, _db, kwargs]

    call = handle(f, validate=validate)
    assert call(1, x=2) == [[1], "app's", {"x": 2}]
    assert errors(lambda: call(_db="mine")) == [(["_db"], "unexpected_keyword_argument")]


def test_decorator_may_set_a_default(handle: Handle) -> None:
    def with_limit(f: Function) -> Function:
        @functools.wraps(f)
        def decorated(*args: t.Any, **kwargs: t.Any) -> t.Any:
            kwargs.setdefault("limit", 50)
            return f(*args, **kwargs)

        return decorated

    def search(text: str, limit: int = 10) -> list[t.Any]:
        return [text, limit]

    call = handle(with_limit(search))
    assert call("tea") == ["tea", 50]
    assert call("tea", limit="5") == ["tea", 5]


def test_pydantic_defaults_and_mutable_defaults(handle: Handle) -> None:
    def f(a: int = Field(default=1, gt=0), b: list[int] = [], c: str = "c") -> list[t.Any]:  # noqa: B006
        b.append(a)
        return [a, b, c]

    call = handle(f)
    assert call() == [1, [1], "c"]
    assert call() == [1, [1], "c"]
    assert errors(lambda: call(0)) == [([0], "greater_than")]


# Annotations that are strings.


def unresolvable(price: Decimal) -> None: ...


def test_annotation_for_type_checkers_only_is_an_error_at_the_start(
    router: MemoryRouter, make_app: MakeApp
) -> None:
    wamp = FlaskWAMP(make_app())
    wamp.callee(unresolvable)
    with pytest.raises(
        NameError, match=r"unresolvable \(.*test_signatures.py:\d+\): .*'Decimal'"
    ) as e:
        wamp.start()
    assert "validate=False" in str(e.value)
    assert router.attempts == 0


def test_annotation_while_joined(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve()
    with pytest.raises(NameError, match="'Decimal'"):
        wamp.subscriber(unresolvable)
    assert router.topics == set()


def test_an_unvalidated_handler_may_have_unresolvable_annotations(
    serve: Serve, router: MemoryRouter
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".a", validate=False)(unresolvable)
        wamp.on_session_join(lambda session: None)

    serve(setup)
    assert router.call("com.example.a", 1) is None


def test_annotation_of_a_class_that_is_defined_later(serve: Serve, router: MemoryRouter) -> None:
    serve(lambda wamp: wamp.include(later))
    assert router.call("com.example.later", "7") == 7


@callee
def later(x: Later) -> int:
    return x


Later = int
