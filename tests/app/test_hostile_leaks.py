"""Without debug mode, a caller learns only that a bug occurred."""

from __future__ import annotations

import typing as t

import pydantic
import pytest

from flask_wamp import FlaskWAMP, background_tasks
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve, Setup
from tests.support.memory import TIMEOUT, MemoryRouter
from tests.support.told import Told

SECRET = "hush-hush"
NAME = "com.example.leak"


Live = t.Callable[[Setup], None]


@pytest.fixture
def live(serve: Serve) -> Live:
    """Serve as in production: neither ``debug`` nor ``testing``."""

    def live(setup: Setup) -> None:
        app, _ = serve(setup)
        app.testing = False

    return live


class HushHushError(Exception):
    """Not even the name of the exception is sent."""


def fail(*_: t.Any, **__: t.Any) -> t.Any:
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        raise HushHushError(SECRET) from error


async def fail_async() -> t.Any:
    fail()


def generate() -> t.Iterator[int]:
    yield 1
    fail()


class Unprintable:
    """A result whose own code fails."""

    def __str__(self) -> str:
        return str(fail())

    __repr__ = __str__

    def model_dump(self) -> t.Any:
        return fail()


def in_handler(wamp: FlaskWAMP) -> None:
    wamp.callee(NAME)(lambda: fail())


def in_async_handler(wamp: FlaskWAMP) -> None:
    wamp.callee(NAME)(fail_async)


def in_generator(wamp: FlaskWAMP) -> None:
    wamp.callee(NAME)(generate)


def in_before(wamp: FlaskWAMP) -> None:
    wamp.before_dispatch(fail)
    wamp.callee(NAME)(lambda: 1)


def in_after(wamp: FlaskWAMP) -> None:
    wamp.after_dispatch(fail)
    wamp.callee(NAME)(lambda: 1)


def in_middleware(wamp: FlaskWAMP) -> None:
    wamp.middleware(fail)
    wamp.callee(NAME)(lambda: 1)


def in_request_context(wamp: FlaskWAMP) -> None:
    wamp.callee(NAME, request_context=True)(lambda: fail())


def in_error_handler(wamp: FlaskWAMP) -> None:
    @wamp.errorhandler(ZeroDivisionError)
    def handle(error: Exception) -> t.Any:
        fail()

    wamp.callee(NAME)(lambda: 1 // 0)


def in_result(wamp: FlaskWAMP) -> None:
    wamp.callee(NAME)(lambda: Unprintable())


def of_unknown_type(wamp: FlaskWAMP) -> None:
    wamp.callee(NAME)(lambda: {SECRET: object()})


def system_exit(wamp: FlaskWAMP) -> None:
    @wamp.callee(NAME)
    def leave() -> None:
        raise SystemExit(SECRET)


FAILING = {
    f.__name__: f
    for f in (
        in_handler,
        in_async_handler,
        in_generator,
        in_before,
        in_after,
        in_middleware,
        in_request_context,
        in_error_handler,
        in_result,
        of_unknown_type,
        system_exit,
    )
}


def everything(message: m.Result | m.Error) -> str:
    return repr(message).lower()


@pytest.mark.parametrize("setup", FAILING.values(), ids=FAILING)
def test_the_caller_learns_only_that_it_failed(
    live: Live, router: MemoryRouter, caplog: pytest.LogCaptureFixture, setup: t.Any
) -> None:
    if setup is in_async_handler:
        pytest.importorskip("asgiref")
    live(setup)
    answer = router.invoke(NAME).result(TIMEOUT)
    assert isinstance(answer, m.Error)
    assert (answer.error, answer.args, answer.kwargs) == ("wamp.error.runtime_error", [], {})
    assert "hush" not in everything(answer)
    assert NAME in caplog.text, "the log has it"


def test_a_teardown_that_fails_reaches_only_the_log(live: Live, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.teardown_dispatch(fail)
        wamp.callee(NAME)(lambda: 1)

    live(setup)
    assert "hush" not in everything(router.invoke(NAME).result(TIMEOUT))


def test_the_error_of_a_background_task_reaches_only_the_log(
    live: Live, router: MemoryRouter, caplog: pytest.LogCaptureFixture, failed: Told
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(NAME)(lambda: background_tasks.add(fail) and None)

    live(setup)
    answer = router.invoke(NAME).result(TIMEOUT)
    assert isinstance(answer, m.Result)
    failed.next()
    assert not any("hush" in repr(message).lower() for message in router.messages)
    assert SECRET in caplog.text


def validated(kind: type[Exception]) -> t.Any:
    def check(value: str) -> str:
        raise kind(f"must not be so{'' if kind is ValueError else SECRET}")

    return t.Annotated[str, pydantic.AfterValidator(check)]


def test_the_caller_gets_the_message_of_a_validator_without_the_input(
    live: Live, router: MemoryRouter
) -> None:
    def check(a: str) -> str:
        return a

    check.__annotations__["a"] = validated(ValueError)
    live(lambda wamp: wamp.callee(NAME)(check))
    answer = router.invoke(NAME, SECRET).result(TIMEOUT)
    assert answer.error == "wamp.error.invalid_argument"
    assert "must not be so" in everything(answer)
    assert "hush" not in everything(answer)


@pytest.mark.parametrize("kind", [KeyError, TypeError, RuntimeError, HushHushError])
def test_other_errors_of_a_validator_are_bugs(
    live: Live, router: MemoryRouter, kind: type[Exception]
) -> None:
    def check(a: str) -> str:
        return a

    check.__annotations__["a"] = validated(kind)
    live(lambda wamp: wamp.callee(NAME)(check))
    answer = router.invoke(NAME, "x").result(TIMEOUT)
    assert (answer.error, answer.args, answer.kwargs) == ("wamp.error.runtime_error", [], {})


def test_types_do_not_repeat_the_input(live: Live, router: MemoryRouter) -> None:
    def count(a: int, b: dict[str, int], c: t.Literal["x"]) -> int:
        return a

    count.__annotations__.update(a=int, b=dict[str, int], c=t.Literal["x"])
    live(lambda wamp: wamp.callee(NAME)(count))
    answer = router.invoke(NAME, SECRET, {"k": SECRET}, SECRET, {"b": SECRET}).result(TIMEOUT)
    assert answer.error == "wamp.error.invalid_argument"
    assert "hush" not in everything(answer)
