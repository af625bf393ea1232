"""``async def`` handlers are canceled when the caller no longer waits, in threads and greenlets."""

from __future__ import annotations

import asyncio
import threading
import typing as t

import pytest

from flask_wamp import ApplicationError, CallResult, FlaskWAMP
from flask_wamp.middlewares import Timeout
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter

FOREVER = 3600.0


class Sleeper:
    """A coroutine that sleeps until it is canceled."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.ended = threading.Event()
        self.late = threading.Event()

    async def __call__(self) -> str:
        self.began.set()
        try:
            await asyncio.sleep(FOREVER)
        finally:
            self.ended.set()
        self.late.set()
        return "late"


@pytest.fixture
def sleeper() -> Sleeper:
    return Sleeper()


def declare(wamp: FlaskWAMP, sleeper: Sleeper, **options: t.Any) -> None:
    """Serve the coroutine, and a procedure that answers at once."""

    @wamp.callee(".sleep", **options)
    async def sleep() -> str:
        return await sleeper()

    wamp.callee(".quick")(lambda: "quick")


def assert_ended(sleeper: Sleeper, router: MemoryRouter) -> None:
    assert sleeper.ended.wait(TIMEOUT)
    assert router.call("com.example.quick") == "quick"
    assert not sleeper.late.is_set()


def test_cancel_cancels_the_task(
    serve: Serve, router: MemoryRouter, sleeper: Sleeper, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "flask_wamp.dispatch")
    serve(lambda wamp: declare(wamp, sleeper))
    answer = router.invoke("com.example.sleep")
    assert sleeper.began.wait(TIMEOUT)
    answer.interrupt()
    assert answer.result(TIMEOUT).error == "wamp.error.canceled"
    assert_ended(sleeper, router)
    eventually(lambda: "was canceled" in caplog.text)
    assert "Traceback" not in caplog.text


def test_a_timeout_cancels_the_task(serve: Serve, router: MemoryRouter, sleeper: Sleeper) -> None:
    serve(lambda wamp: declare(wamp, sleeper, timeout=0.05))
    assert router.invoke("com.example.sleep").result(TIMEOUT).error == "wamp.error.timeout"
    assert_ended(sleeper, router)


def test_the_middleware_cancels_the_task(
    serve: Serve, router: MemoryRouter, sleeper: Sleeper, caplog: pytest.LogCaptureFixture
) -> None:
    serve(lambda wamp: declare(wamp, sleeper, middlewares=[Timeout(0.05)]))
    assert router.invoke("com.example.sleep").result(TIMEOUT).error == "wamp.error.timeout"
    assert_ended(sleeper, router)
    eventually(lambda: "took too long and was ended" in caplog.text)


def test_the_middleware_cancels_the_task_of_an_event(
    serve: Serve, router: MemoryRouter, sleeper: Sleeper
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        declare(wamp, Sleeper())

        @wamp.subscriber(".news", middlewares=[Timeout(0.05)])
        async def news() -> None:
            await sleeper()

    serve(setup)
    router.publish("com.example.news")
    assert_ended(sleeper, router)


def test_an_asynchronous_generator_is_canceled_while_it_computes_an_item(
    serve: Serve, router: MemoryRouter, sleeper: Sleeper
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        declare(wamp, Sleeper())

        @wamp.callee(".items")
        async def items() -> t.AsyncIterator[str]:
            yield "first"
            yield await sleeper()

    serve(setup)
    answer = router.invoke("com.example.items")
    assert sleeper.began.wait(TIMEOUT)
    answer.interrupt()
    assert answer.result(TIMEOUT).error == "wamp.error.canceled"
    assert_ended(sleeper, router)


def test_an_async_hook_is_canceled(serve: Serve, router: MemoryRouter, sleeper: Sleeper) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".slow", timeout=0.05)(lambda: "late")
        declare(wamp, Sleeper())

        @wamp.before_dispatch
        async def before(message: t.Any) -> None:
            if message.uri == "com.example.slow":
                await sleeper()

    serve(setup)
    assert router.invoke("com.example.slow").result(TIMEOUT).error == "wamp.error.timeout"
    assert_ended(sleeper, router)


def test_a_handler_may_catch_the_cancellation(serve: Serve, router: MemoryRouter) -> None:
    """A task may catch its cancellation. Its result is then dropped."""
    ended = threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee(".stubborn", timeout=0.05)
        async def stubborn() -> str:
            try:
                await asyncio.sleep(FOREVER)
            except asyncio.CancelledError:
                await asyncio.sleep(0)
            ended.set()
            return "all the same"

        @wamp.callee(".own")
        async def own() -> t.Any:
            inner = asyncio.ensure_future(asyncio.sleep(FOREVER))
            await asyncio.sleep(0)
            inner.cancel()
            try:
                await inner
            except asyncio.CancelledError:
                return CallResult("a task of its own was canceled")

    serve(setup)
    answer = router.invoke("com.example.stubborn").result(TIMEOUT)
    assert isinstance(answer, m.Error)
    assert ended.wait(TIMEOUT)
    assert router.call("com.example.own") == "a task of its own was canceled"


def test_a_handler_that_cancels_itself_has_failed(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee(".f")
        async def f() -> None:
            raise asyncio.CancelledError

    serve(setup)
    with pytest.raises(ApplicationError, match="runtime_error"):
        router.call("com.example.f")
