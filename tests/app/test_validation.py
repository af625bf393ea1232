"""Validation of arguments: converted, refused, or not changed."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import math
import tracemalloc
import typing as t
from typing import Annotated

import msgspec
import pydantic
import pytest
from flask import current_app
from typing_extensions import TypedDict

from flask_wamp import ApplicationError, FlaskWAMP, callee
from flask_wamp.handlers.validation import (
    MAX_ERRORS,
    MAX_TEXT,
    InvalidArgument,
    make_validator,
)
from tests.app.conftest import Serve
from tests.conftest import eventually
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
    """Register a function. Return a function that calls it."""

    def handle(f: t.Callable[..., t.Any], **options: t.Any) -> t.Callable[..., t.Any]:
        serve(lambda wamp: wamp.callee(".f", **options)(f))
        return functools.partial(router.call, "com.example.f")

    return handle


Handle = t.Callable[..., t.Callable[..., t.Any]]


def errors(call: t.Callable[[], t.Any]) -> list[dict[str, t.Any]]:
    """Return the errors of a call's arguments."""
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


def test_models_are_created(handle: Handle) -> None:
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


def test_return_annotations_are_ignored(handle: Handle) -> None:
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
def test_the_signature_applies_without_validation(handle: Handle, args: t.Any) -> None:
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


# The error that the caller gets.


def test_every_error_has_its_location(handle: Handle) -> None:
    def f(user: User, count: int) -> None: ...

    found = errors(lambda: handle(f)({"age": -1}, "many"))
    assert [(error["loc"], error["type"]) for error in found] == [
        ([0, "name"], "missing"),
        ([0, "age"], "greater_than_equal"),
        ([1], "int_parsing"),
    ]


def test_the_input_is_not_repeated_in_errors(handle: Handle) -> None:
    def f(password: int, user: User) -> None: ...

    found = errors(lambda: handle(f)("hunter2", {"name": ["hunter2"], "age": "hunter2"}))
    assert len(found) == 3
    assert "hunter2" not in str(found)


def even(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value


def test_a_validator_of_the_user(handle: Handle) -> None:
    def f(x: Annotated[int, pydantic.AfterValidator(even)]) -> int:
        return x

    call = handle(f)
    assert call(4) == 4
    [error] = errors(lambda: call(3))
    assert "must be even" in error["msg"]


def test_a_type_error_inside_the_handler_is_a_bug(handle: Handle) -> None:
    def f(x: int) -> None:
        len(x)  # type: ignore[arg-type]

    for validate in (True, False):
        with pytest.raises(ApplicationError, match="runtime_error"):
            handle(f, validate=validate)(1)


def test_a_validation_error_inside_the_handler_is_a_bug(handle: Handle) -> None:
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


# Many errors.


class Item(pydantic.BaseModel):
    a: int
    b: int
    c: int
    d: int
    e: int


class Basket(pydantic.BaseModel):
    items: list[Item]
    by_name: dict[str, list[Item]] = {}


class Row(TypedDict):
    a: int
    b: int


class Node(pydantic.BaseModel):
    value: int
    children: list[Node] = []
    named: dict[str, Node] = {}


def _of_list(xs: list[Item]) -> None: ...
def _of_tuple(xs: tuple[Item, ...]) -> None: ...
def _of_set(xs: set[int]) -> None: ...
def _of_frozenset(xs: frozenset[int]) -> None: ...
def _of_deque(xs: collections.deque[Item]) -> None: ...
def _of_sequence(xs: t.Sequence[Item]) -> None: ...
def _of_lists(xs: list[list[Item]]) -> None: ...
def _of_rows(xs: list[Row]) -> None: ...
def _of_optional(xs: list[Item] | None = None) -> None: ...
def _of_union(xs: list[Item | Row]) -> None: ...
def _of_basket(xs: Basket) -> None: ...
def _of_nodes(xs: Node) -> None: ...
def _of_dict(xs: dict[str, Item]) -> None: ...
def _of_mapping(xs: t.Mapping[str, Item]) -> None: ...
def _of_dicts(xs: dict[str, dict[str, Item]]) -> None: ...
def _of_ordered(xs: collections.OrderedDict[str, Item]) -> None: ...
def _of_defaults(xs: collections.defaultdict[str, list[Item]]) -> None: ...
def _of_many(*xs: Item) -> None: ...
def _of_keywords(**xs: Item) -> None: ...
def _of_none() -> None: ...


MANY = 30_000
KEYS = {f"k{number}": {} for number in range(MANY)}
LIST: list[t.Any] = [{}] * MANY

AMPLIFIERS: dict[str, tuple[t.Callable[..., t.Any], t.Sequence[t.Any], dict[str, t.Any]]] = {
    "list": (_of_list, [LIST], {}),
    "tuple": (_of_tuple, [LIST], {}),
    "set": (_of_set, [["x"] * MANY], {}),
    "frozenset": (_of_frozenset, [["x"] * MANY], {}),
    "deque": (_of_deque, [LIST], {}),
    "sequence": (_of_sequence, [LIST], {}),
    "lists": (_of_lists, [[LIST[:100]] * 300], {}),
    "rows": (_of_rows, [LIST], {}),
    "optional": (_of_optional, [LIST], {}),
    "union": (_of_union, [LIST], {}),
    "model": (_of_basket, [{"items": LIST}], {}),
    "model with dictionary": (_of_basket, [{"items": [], "by_name": {"x": LIST}}], {}),
    "recursive list": (_of_nodes, [{"value": 1, "children": LIST}], {}),
    "recursive dictionary": (_of_nodes, [{"value": 1, "named": KEYS}], {}),
    "dictionary": (_of_dict, [KEYS], {}),
    "mapping": (_of_mapping, [KEYS], {}),
    "ordered dictionary": (_of_ordered, [KEYS], {}),
    "dictionary with defaults": (_of_defaults, [{"k": LIST}], {}),
    "dictionaries": (_of_dicts, [{str(number): KEYS for number in range(3)}], {}),
    "arguments": (_of_many, LIST, {}),
    "keywords": (_of_keywords, [], KEYS),
    "too many arguments": (_of_none, LIST, {}),
    "too many keywords": (_of_none, [], KEYS),
}


@pytest.mark.parametrize(("f", "args", "kwargs"), AMPLIFIERS.values(), ids=AMPLIFIERS)
def test_many_errors_take_little_memory(
    f: t.Callable[..., t.Any], args: t.Sequence[t.Any], kwargs: dict[str, t.Any]
) -> None:
    validate = make_validator(f)
    with pytest.raises(InvalidArgument):
        validate((), {"xs": 1})  # creates what is created only once
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgument) as raised:
            validate(tuple(args), kwargs)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    found = raised.value.errors
    assert 0 < len(found) <= MAX_ERRORS + 1
    assert len(msgspec.json.encode(found)) < 50_000
    assert used < 8 * 2**20
    # What pydantic has collected outside of Python's memory.
    left_out = found[-1]["msg"].split() if len(found) > MAX_ERRORS or not found[0]["loc"] else "0"
    assert int(left_out[0]) < 5000


def test_errors_beyond_the_first_hundred_are_counted() -> None:
    def f(xs: dict[str, Item]) -> None: ...

    with pytest.raises(InvalidArgument) as raised:
        make_validator(f)(({str(number): {} for number in range(40)},), {})
    *shown, last = raised.value.errors
    assert len(shown) == MAX_ERRORS
    assert last == {"loc": [], "msg": "100 more errors are left out", "type": "too_many_errors"}


def test_long_keys_are_shortened() -> None:
    def f(xs: dict[str, int]) -> None: ...

    with pytest.raises(InvalidArgument) as raised:
        make_validator(f)(({"x" * 100_000: "y"},), {})
    [error] = raised.value.errors
    assert error["loc"][1] == "x" * (MAX_TEXT - 3) + "..."


LARGE: dict[str, tuple[t.Callable[..., t.Any], t.Sequence[t.Any], dict[str, t.Any]]] = {
    "dictionary": (_of_dict, [{str(n): dict.fromkeys("abcde", n) for n in range(1001)}], {}),
    "arguments": (_of_many, [dict.fromkeys("abcde", n) for n in range(1001)], {}),
    "keywords": (_of_keywords, [], {str(n): dict.fromkeys("abcde", n) for n in range(1001)}),
}


@pytest.mark.parametrize(("f", "args", "kwargs"), LARGE.values(), ids=LARGE)
def test_large_payloads_that_fit_are_validated_in_full(
    f: t.Callable[..., t.Any], args: t.Sequence[t.Any], kwargs: dict[str, t.Any]
) -> None:
    found_args, found_kwargs = make_validator(f)(tuple(args), kwargs)
    items = [*found_args, *found_kwargs.values()]
    if f is _of_dict:
        items = list(items[0].values())
    assert [item.a for item in items] == list(range(1001))
    assert {type(item) for item in items} == {Item}


def test_a_large_dictionary_may_have_limits_of_its_own() -> None:
    def f(
        xs: Annotated[dict[str, int], pydantic.Field(min_length=150, max_length=250)],
    ) -> None: ...

    validate = make_validator(f)
    assert validate(({str(n): str(n) for n in range(201)},), {})[0][0]["200"] == 200
    for number, kind in ((149, "too_short"), (251, "too_long")):
        with pytest.raises(InvalidArgument) as raised:
            validate(({str(n): n for n in range(number)},), {})
        assert [error["type"] for error in raised.value.errors] == [kind]


def test_a_bad_event_is_a_short_line_in_the_log(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    serve(lambda wamp: wamp.subscriber(".f")(_of_dict))
    with caplog.at_level("WARNING", "flask_wamp.dispatch"):
        router.publish("com.example.f", KEYS)
        eventually(lambda: caplog.records)
    assert len(caplog.records[0].getMessage()) < 2000


# NaN and infinity: MsgPack and CBOR have them, JSON does not.


class Price(pydantic.BaseModel):
    amount: float


class Measured(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(allow_inf_nan=True)
    value: float


def _of_float(xs: float) -> None: ...
def _of_floats(xs: list[float | None]) -> None: ...
def _of_price(xs: Price) -> None: ...
def _of_decimal(xs: decimal.Decimal) -> None: ...
def _of_allowed(xs: Annotated[float, pydantic.Field(allow_inf_nan=True)]) -> None: ...
def _of_measured(xs: Measured) -> None: ...
def _of_anything(xs: t.Any) -> None: ...


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_float_is_a_finite_number(number: float) -> None:
    for f, payload in (
        (_of_float, number),
        (_of_floats, [1.0, number]),
        (_of_price, {"amount": number}),
        (_of_decimal, number),
    ):
        with pytest.raises(InvalidArgument) as raised:
            make_validator(f)((payload,), {})
        assert raised.value.errors[0]["type"] == "finite_number"
    for f, payload in (
        (_of_allowed, number),
        (_of_measured, {"value": number}),
        (_of_anything, number),
    ):
        assert make_validator(f)((payload,), {})


def test_a_default_is_validated_if_its_field_requires_it() -> None:
    def f(
        x: Annotated[int, pydantic.Field(validate_default=True, ge=10)] = 42,
        y: Annotated[int, pydantic.Field(validate_default=True, ge=10)] = 3,
    ) -> None: ...

    validate = make_validator(f)
    assert validate((), {"y": 10}) == ((), {"x": 42, "y": 10})
    with pytest.raises(InvalidArgument) as raised:
        validate((), {})
    assert [error["loc"] for error in raised.value.errors] == [["y"]]
