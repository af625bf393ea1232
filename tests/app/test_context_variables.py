"""Each message is handled in its own context: context variables end with the message."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
import typing as t

import pytest

from flask_wamp import FlaskWAMP
from tests.app.conftest import Serve
from tests.support.memory import TIMEOUT, MemoryRouter

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")

URI = "com.example.f"


def swap(value: str) -> str:
    """Set the variable, and return its previous value."""
    found = user.get()
    user.set(value)
    return found


def sync(wamp: FlaskWAMP) -> None:
    wamp.callee(URI)(swap)


def asynchronous(wamp: FlaskWAMP) -> None:
    @wamp.callee(URI)
    async def f(value: str) -> str:
        await asyncio.sleep(0)
        return swap(value)


def generator(wamp: FlaskWAMP) -> None:
    @wamp.callee(URI)
    def f(value: str) -> t.Iterator[None]:
        found = swap(value)
        yield None
        return found


def async_generator(wamp: FlaskWAMP) -> None:
    @wamp.callee(URI)
    async def f(value: str) -> t.AsyncIterator[str]:
        yield swap(value)


def hook(wamp: FlaskWAMP) -> None:
    wamp.before_dispatch(lambda message: swap(message.args[0]))
    wamp.callee(URI)(lambda value: value)


def queued(wamp: FlaskWAMP) -> None:
    wamp.callee(URI, concurrency=1)(swap)


def in_a_request(wamp: FlaskWAMP) -> None:
    wamp.callee(URI, request_context=True)(swap)


KINDS = [sync, asynchronous, generator, async_generator, hook, queued, in_a_request]


@pytest.mark.parametrize("declare", KINDS)
@pytest.mark.parametrize("workers", [1, 4])
def test_context_variables_of_a_call_are_not_seen_by_other_calls(
    serve: Serve, router: MemoryRouter, declare: t.Callable[[FlaskWAMP], None], workers: int
) -> None:
    serve(declare, WAMP_WORKERS=workers)
    answers = [router.invoke(URI, f"user {number}") for number in range(20)]
    for answer in answers:
        result = answer.result(TIMEOUT)
        found = [*[p.args for p in answer.progress if p.args != [None]], result.args][0]
        assert found == ["nobody"]
    assert router.invoke(URI, "last").result(TIMEOUT) is not None
    assert user.get() == "nobody"


@pytest.mark.parametrize("concurrency", [1, 3])
def test_context_variables_of_an_event_are_not_seen_by_other_events(
    serve: Serve, router: MemoryRouter, concurrency: int
) -> None:
    found: queue.SimpleQueue[str] = queue.SimpleQueue()

    def setup(wamp: FlaskWAMP) -> None:
        wamp.subscriber(".news", concurrency=concurrency)(lambda value: found.put(swap(value)))
        wamp.callee(URI)(swap)

    serve(setup, WAMP_WORKERS=1)
    for number in range(20):
        router.publish("com.example.news", f"user {number}")
    assert [found.get(timeout=TIMEOUT) for _ in range(20)] == ["nobody"] * 20
    assert router.call(URI, "x") == "nobody"


def test_a_call_sees_the_context_variables_of_its_hooks(serve: Serve, router: MemoryRouter) -> None:
    torn_down: queue.SimpleQueue[str] = queue.SimpleQueue()

    def setup(wamp: FlaskWAMP) -> None:
        wamp.before_dispatch(lambda message: user.set("ann") and None)
        wamp.teardown_dispatch(lambda message, error: torn_down.put(user.get()))
        wamp.callee(URI)(lambda: user.get())

    serve(setup)
    assert router.call(URI) == "ann"
    assert torn_down.get(timeout=TIMEOUT) == "ann"


def test_nested_calls_in_one_process_have_separate_context_variables(
    serve: Serve, router: MemoryRouter
) -> None:
    """The inner one runs while the outer one waits, perhaps in the same thread."""
    began, go_on = threading.Event(), threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee(".outer")
        def outer() -> list[str]:
            user.set("outer")
            inner = wamp.client.call("com.example.inner")
            return [inner, user.get()]

        @wamp.callee(".inner")
        def inner() -> str:
            began.set()
            assert go_on.wait(TIMEOUT)
            return swap("inner")

    serve(setup, WAMP_WORKERS=1)
    answer = router.invoke("com.example.outer")
    assert began.wait(TIMEOUT)
    go_on.set()
    assert answer.result(TIMEOUT).args == [["nobody", "outer"]]
