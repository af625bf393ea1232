"""Arguments against annotations: coerced, refused, or left alone."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import functools
import typing as t
from typing import Annotated

import pydantic
import pytest
from flask import current_app

from flask_wamp import ApplicationError, FlaskWAMP, callee
from tests.app.conftest import Serve
from tests.support.memory import MemoryRouter

INVALID = "wamp.error.invalid_argument"


class User(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(ge=0)


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Color(enum.Enum):
    RED = "red"


@pytest.fixture
def handle(serve: Serve, router: MemoryRouter) -> t.Callable[..., t.Any]:
    """Register a function; return what calls it."""

    def handle(f: t.Callable[..., t.Any], **options: t.Any) -> t.Callable[..., t.Any]:
        serve(lambda wamp: wamp.callee(".f", **options)(f))
        return functools.partial(router.call, "com.example.f")

    return handle


Handle = t.Callable[..., t.Callable[..., t.Any]]


def errors(call: t.Callable[[], t.Any]) -> list[dict[str, t.Any]]:
    """What is wrong with the arguments of a call."""
    with pytest.raises(ApplicationError) as info:
        call()
    assert info.value.uri == INVALID
    assert info.value.args == ()
    assert list(info.value.kwargs) == ["errors"]
    found = t.cast("list[dict[str, t.Any]]", info.value.kwargs["errors"])
    assert all(set(error) == {"loc", "msg", "type"} for error in found)
    return found


# Coercion.


def test_arguments_are_coerced(handle: Handle) -> None:
    def f(a: int, b: float, c: dt.date, d: Color, e: list[int], g: bytes = b"") -> list[str]:
        return [type(x).__name__ for x in (a, b, c, d, *e, g)]

    call = handle(f)
    assert call("1", 2, "2024-05-06", "red", ["1"], b"x") == (
        ["int", "float", "date", "Color", "int", "bytes"]
    )


def test_models_are_made(handle: Handle) -> None:
    def f(user: User, point: Point, users: dict[str, User]) -> list[t.Any]:
        return [user.name, point.x + point.y, users["x"].age]

    assert handle(f)(
        {"name": "joe", "age": "5"}, {"x": "1"}, users={"x": {"name": "", "age": 7}}
    ) == (["joe", 1, 7])


def test_types_defined_beside_the_decorator(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        class Local(pydantic.BaseModel):
            value: int

        @wamp.callee
        def f(x: Local) -> int:
            return x.value

        @callee(".marked")
        def g(x: Local) -> int:
            return x.value

        wamp.include(g)

        @wamp.callee
        def h(x: Annotated[list[Local], pydantic.Field(max_length=1)]) -> int:
            return x[0].value

    serve(setup)
    assert router.call("com.example.f", {"value": "1"}) == 1
    assert router.call("com.example.marked", {"value": "2"}) == 2
    assert router.call("com.example.h", [{"value": "3"}]) == 3
    assert errors(lambda: router.call("com.example.h", [{"value": 3}] * 2))


def test_arguments_without_annotations_are_left_alone(handle: Handle) -> None:
    def f(a, b=None, *rest, **options):  # type: ignore[no-untyped-def]
        return [a, b, list(rest), options]

    call = handle(f)
    assert call("1", {"x": 1}, 2, 3, c=4) == ["1", {"x": 1}, [2, 3], {"c": 4}]


def test_return_annotation_is_not_looked_at(handle: Handle) -> None:
    def f() -> NoSuchType:  # type: ignore[name-defined]  # noqa: F821
        return 1

    assert handle(f)() == 1


def test_annotations_of_the_function_stay_as_they_are(handle: Handle) -> None:
    def f(x: int) -> int:
        return x

    f.__annotations__ = before = {"x": int, "return": int}
    assert handle(f)("1") == 1
    assert f.__annotations__ is before
    assert before == {"x": int, "return": int}


def test_default_none_does_not_make_none_valid(handle: Handle) -> None:
    def f(x: int = None) -> int:  # type: ignore[assignment]
        return x

    call = handle(f)
    assert call() is None
    assert errors(lambda: call(None))


# Signatures.


def test_defaults_keyword_only_and_the_rest(handle: Handle) -> None:
    def f(a: int, /, b: int = 2, *rest: int, c: int, d: int = 4, **options: int) -> list[t.Any]:
        return [a, b, list(rest), c, d, options]

    call = handle(f)
    assert call("1", c="3") == [1, 2, [], 3, 4, {}]
    assert call(1, 2, "3", 4, c=5, d="6", e="7") == [1, 2, [3, 4], 5, 6, {"e": 7}]
    assert errors(lambda: call(1))[0]["type"] == "missing_keyword_only_argument"
    assert errors(lambda: call(1, 2, "x", c=1))[0]["loc"] == [2]


@pytest.mark.parametrize(
    ("args", "kwargs", "kind"),
    [
        ((), {}, "missing_argument"),
        ((1, 2, 3), {}, "unexpected_positional_argument"),
        ((1,), {"c": 3}, "unexpected_keyword_argument"),
        ((1,), {"a": 1}, "multiple_argument_values"),
    ],
)
def test_arguments_that_do_not_fit_the_signature(
    handle: Handle, args: t.Any, kwargs: t.Any, kind: str
) -> None:
    def f(a: int, b: int = 0) -> None: ...

    call = handle(f)
    assert kind in [error["type"] for error in errors(lambda: call(*args, **kwargs))]


@pytest.mark.parametrize("args", [(), (1, 2, 3)])
def test_signature_counts_without_validation(handle: Handle, args: t.Any) -> None:
    def f(a: int, b: int = 0) -> None: ...

    async def g(a: int, b: int = 0) -> None: ...

    for function in (f, g):
        call = handle(function, validate=False)
        [error] = errors(functools.partial(call, *args))
        assert error["type"] == "signature"
        assert "argument" in error["msg"]


def test_bound_method(serve: Serve, router: MemoryRouter) -> None:
    class Service:
        factor = 3

        def times(self, x: int) -> int:
            return x * self.factor

        @classmethod
        def name(cls, suffix: str = "") -> str:
            return cls.__name__ + suffix

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".times")(Service().times)
        wamp.callee(".name")(Service.name)

    serve(setup)
    assert router.call("com.example.times", "5") == 15
    assert router.call("com.example.name", suffix="!") == "Service!"


def test_partial_and_callable_object(serve: Serve, router: MemoryRouter) -> None:
    class Times:
        def __call__(self, x: int, y: int = 2) -> int:
            return x * y

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".object")(Times())
        wamp.callee(".partial")(functools.partial(Times(), y=5))

    serve(setup)
    assert router.call("com.example.object", "3") == 6
    assert router.call("com.example.partial", "3") == 15


def test_decorated_function_keeps_its_signature(handle: Handle) -> None:
    def f(x: int) -> int:
        return x

    @functools.wraps(f)
    def wrapper(*args: t.Any, **kwargs: t.Any) -> t.Any:
        return [f(*args, **kwargs)]

    call = handle(wrapper)
    assert call("5") == [5]
    assert errors(lambda: call("x"))


def test_async_handler(serve: Serve, router: MemoryRouter) -> None:
    pytest.importorskip("asgiref")

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        async def double(x: int) -> list[t.Any]:
            return [x * 2, current_app.name]

        @wamp.callee(validate=False)
        async def raw(x: t.Any) -> t.Any:
            return x

        @wamp.callee
        async def broken() -> None:
            raise ApplicationError("com.example.error.x")

    serve(setup)
    assert router.call("com.example.double", "4") == [8, "tests"]
    assert router.call("com.example.raw", "4") == "4"
    with pytest.raises(ApplicationError, match="com.example.error.x"):
        router.call("com.example.broken")


# What the caller is told.


def test_every_error_has_its_place(handle: Handle) -> None:
    def f(user: User, count: int) -> None: ...

    found = errors(lambda: handle(f)({"age": -1}, "many"))
    assert [(error["loc"], error["type"]) for error in found] == [
        ([0, "name"], "missing"),
        ([0, "age"], "greater_than_equal"),
        ([1], "int_parsing"),
    ]


def test_what_was_given_is_not_echoed(handle: Handle) -> None:
    def f(password: int, user: User) -> None: ...

    found = errors(lambda: handle(f)("hunter2", {"name": ["hunter2"], "age": "hunter2"}))
    assert len(found) == 3
    assert "hunter2" not in str(found)


def even(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value


def test_validator_of_the_users_own(handle: Handle) -> None:
    def f(x: Annotated[int, pydantic.AfterValidator(even)]) -> int:
        return x

    call = handle(f)
    assert call(4) == 4
    [error] = errors(lambda: call(3))
    assert "must be even" in error["msg"]


def test_type_error_inside_the_handler_is_a_defect(handle: Handle) -> None:
    def f(x: int) -> None:
        len(x)  # type: ignore[arg-type]

    for validate in (True, False):
        with pytest.raises(ApplicationError, match="runtime_error"):
            handle(f, validate=validate)(1)


def test_validation_error_inside_the_handler_is_a_defect(handle: Handle) -> None:
    def f() -> None:
        User.model_validate({})

    with pytest.raises(ApplicationError, match="runtime_error"):
        handle(f)()


# Turned off.


def test_without_validation_arguments_come_as_they_are(handle: Handle) -> None:
    def f(x: int, user: User) -> list[t.Any]:
        return [x, user]

    assert handle(f, validate=False)("1", {"name": 5}) == ["1", {"name": 5}]


@pytest.mark.parametrize(("default", "validate", "expected"), [
    (False, None, "1"), (False, True, 1), (True, None, 1), (True, False, "1"),
])  # fmt: skip
def test_default_of_the_app(
    serve: Serve, router: MemoryRouter, default: bool, validate: bool | None, expected: t.Any
) -> None:
    def f(x: int) -> int:
        return x

    serve(lambda wamp: wamp.callee(".f", validate=validate)(f), WAMP_VALIDATE=default)
    assert router.call("com.example.f", "1") == expected


def test_http_route_calls_the_plain_function(serve: Serve, router: MemoryRouter) -> None:
    seen: list[t.Any] = []

    def setup(wamp: FlaskWAMP) -> None:
        app = next(iter(wamp._apps))

        @app.get("/f/<x>")
        @wamp.callee
        def f(x: int) -> str:
            seen.append(x)
            return "ok"

    app, _ = serve(setup)
    app.test_client().get("/f/5")
    router.call("com.example.f", "5")
    assert seen == ["5", 5]
