"""``async def`` handlers: in threads and under gevent, alone and concurrently."""

from __future__ import annotations

import asyncio
import threading
import typing as t

import pytest
from flask import Flask, abort, g, has_request_context

from flask_wamp import ApplicationError, FlaskWAMP, event, invocation
from flask_wamp.concurrency.threads import is_monkey_patched
from tests.support.notes import Notes, publish
from tests.support.peers import PATIENCE

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

URI = "com.example.handler"


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.mark.parametrize("in_request", [False, True])
def test_an_async_handler(app: Flask, wamp: FlaskWAMP, in_request: bool) -> None:
    wamp.callee("com.example.square")(lambda x: x * x)
    wamp.before_dispatch(lambda message: setattr(g, "user", "Ada"))

    @wamp.callee(URI, request_context=in_request)
    async def handler(x: int) -> t.Any:
        await asyncio.sleep(0)
        nested = g.wampy.call("com.example.square", x)
        return [nested, g.user, invocation.procedure, has_request_context()]

    assert wamp.client.call(URI, "3") == [9, "Ada", URI, in_request]


def test_an_async_handler_that_fails(wamp: FlaskWAMP) -> None:
    @wamp.callee(URI)
    async def handler() -> None:
        await asyncio.sleep(0)
        abort(403, "not you")

    with pytest.raises(ApplicationError) as raised:
        wamp.client.call(URI)
    error = raised.value
    assert (error.uri, error.args) == ("wamp.error.not_authorized", ("not you",))


def test_an_async_subscriber(wamp: FlaskWAMP, notes: Notes) -> None:
    @wamp.subscriber("com.example.news")
    async def news(text: str) -> None:
        await asyncio.sleep(0)
        notes([text, event.topic])

    publish(wamp, "com.example.news", "tea")
    assert notes.next() == ["tea", "com.example.news"]


def test_async_handlers_run_concurrently(wamp: FlaskWAMP) -> None:
    both = threading.Barrier(2)

    @wamp.callee(URI)
    async def handler() -> str:
        both.wait(PATIENCE)
        return "together"

    futures = [wamp.client.submit(URI) for _ in range(2)]
    assert [future.result(PATIENCE) for future in futures] == ["together"] * 2


def test_async_handlers_have_separate_event_loops(wamp: FlaskWAMP) -> None:
    wamp.callee("com.example.square")(lambda x: x * x)

    @wamp.callee(URI)
    async def handler(x: int) -> t.Any:
        loop, here = asyncio.get_running_loop(), []
        for _ in range(5):
            await asyncio.sleep(x % 3 / 1000)
            square = g.wampy.call("com.example.square", x)
            here.append(asyncio.get_running_loop() is loop)
            await asyncio.sleep(0)
        return [square, *here]

    futures = [wamp.client.submit(URI, x) for x in range(20)]
    found = [future.result(PATIENCE) for future in futures]
    assert found == [[x * x, *[True] * 5] for x in range(20)]
    if is_monkey_patched():
        import greenlet

        assert greenlet.gettrace() is None


def test_async_handlers_that_call_each_other_do_not_starve(
    join: t.Callable[..., tuple[Flask, FlaskWAMP]], wamp_router: DevRouter
) -> None:
    _, wamp = join(wamp_router.rawsocket_url, WAMP_WORKERS=1)

    @wamp.callee(URI)
    async def handler(depth: int) -> int:
        return 1 + g.wampy.call(URI, depth - 1) if depth else 0

    assert wamp.client.call(URI, 5) == 5


def test_a_deadline_of_an_async_handler(wamp: FlaskWAMP, notes: Notes) -> None:
    @wamp.callee(URI, timeout=0.1)
    async def handler() -> None:
        try:
            await asyncio.sleep(60)
            notes("went on")
        finally:
            notes("unwound")

    with pytest.raises(ApplicationError, match="timeout"):
        wamp.client.call(URI)
    assert notes.until("unwound") == ["unwound"]
