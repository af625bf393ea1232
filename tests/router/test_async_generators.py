"""``async def`` generators: over WAMP and HTTP, in threads and under gevent, alone and concurrently."""

from __future__ import annotations

import asyncio
import functools
import sys
import typing as t

import pytest
from flask import Flask, g, request

from flask_wamp import ApplicationError, FlaskWAMP, invocation
from flask_wamp.concurrency.threads import is_monkey_patched
from tests.support.notes import Notes
from tests.support.peers import PATIENCE, AutobahnPeer

pytestmark = pytest.mark.router

URI = "com.example.count"


@pytest.fixture
def notes(app: Flask, wamp: FlaskWAMP) -> Notes:
    """The notes of an asynchronous generator that is both a view and a procedure."""
    notes = Notes()

    @app.get("/count/<int:upto>")
    @wamp.callee(URI)
    async def count(upto: int) -> t.AsyncIterator[t.Any]:
        try:
            for number in range(upto):
                await asyncio.sleep(0.001)
                yield [number, request.path if request else invocation.procedure]
        finally:
            await asyncio.sleep(0.001)
            assert g.wampy is not None  # in its context
            notes("closed")

    return notes


def test_over_wamp(wamp: FlaskWAMP, peer: AutobahnPeer, notes: Notes) -> None:
    call = peer.submit(URI, 2, progress=True)
    assert [call.progress() for _ in range(2)] == [[0, URI], [1, URI]]
    assert call.wait().value is None
    assert wamp.client.call(URI, 3) == [[0, URI], [1, URI], [2, URI]]
    assert notes.take(2) == ["closed"] * 2


def test_over_http(app: Flask, notes: Notes) -> None:
    for _ in range(2):
        response = app.test_client().get("/count/2")
        assert response.mimetype == "application/x-ndjson"
        assert response.text == '[0, "/count/2"]\n[1, "/count/2"]\n'
        assert notes.next() == "closed"
    response = app.test_client().get("/count/1", headers={"Accept": "text/event-stream"})
    assert response.text == 'data: [0, "/count/1"]\n\n'


def test_views_with_decorators_in_any_order(app: Flask, wamp: FlaskWAMP) -> None:
    def logged(f: t.Any) -> t.Any:
        @functools.wraps(f)
        def view(*args: t.Any, **kwargs: t.Any) -> t.Any:
            return f(*args, **kwargs)

        return view

    @wamp.callee
    @app.get("/outer")
    async def outer() -> t.AsyncIterator[int]:
        yield 1

    @app.get("/wrapped")
    @logged
    @wamp.callee
    async def wrapped() -> t.AsyncIterator[int]:
        yield 2

    client = app.test_client()
    assert [client.get(path).text for path in ("/outer", "/wrapped")] == ["1\n", "2\n"]
    assert client.get("/nowhere").status_code == 404


def test_a_client_that_leaves_closes_the_generator(
    app: Flask, wamp: FlaskWAMP, peer: AutobahnPeer, notes: Notes
) -> None:
    response = app.test_client().get("/count/100000", buffered=False)
    assert b"[0, " in next(response.iter_encoded())
    response.close()
    assert notes.next() == "closed"
    with wamp.client.stream(URI, 100000) as stream:
        assert next(stream) == [0, URI]
    assert notes.next() == "closed"
    call = peer.submit(URI, 100000, progress=True)
    assert call.progress() == [0, URI]
    call.cancel()
    assert notes.next() == "closed"


def test_a_cancel_while_the_generator_waits(wamp: FlaskWAMP) -> None:
    notes = Notes()

    @wamp.callee
    async def slow() -> t.AsyncIterator[int]:
        try:
            notes("began")
            await asyncio.sleep(0.5 if not is_monkey_patched() else PATIENCE)
            yield 1
            notes("went on")
        finally:
            await asyncio.sleep(0.001)
            notes("unwound")

    stream = wamp.client.stream("com.example.slow")
    assert notes.next() == "began"
    stream.close()
    assert notes.next() == "unwound"


def test_a_generator_that_fails(wamp: FlaskWAMP) -> None:
    @wamp.callee
    async def broken() -> t.AsyncIterator[int]:
        yield 1
        raise ApplicationError("com.example.error.broken")

    stream = wamp.client.stream("com.example.broken")
    assert next(stream) == 1
    with pytest.raises(ApplicationError, match=r"error\.broken"):
        next(stream)


def test_many_generators_run_concurrently(wamp: FlaskWAMP) -> None:
    """Each runs in its own event loop, and so do generators inside."""
    wamp.callee("com.example.square")(lambda x: x * x)

    async def steps(loops: list[t.Any]) -> t.AsyncIterator[int]:
        for number in range(3):
            await asyncio.sleep(0.001)
            loops.append(asyncio.get_running_loop())
            yield number

    @wamp.callee
    async def outer(x: int) -> t.AsyncIterator[int]:
        loops: list[t.Any] = []
        async for number in steps(loops):
            loops.append(asyncio.get_running_loop())
            yield g.wampy.call("com.example.square", x + number)
        left = steps(loops)  # never read to its end: the loop ends it
        await left.__anext__()
        assert len(set(loops)) == 1

    streams = [wamp.client.stream("com.example.outer", x) for x in range(20)]
    expected = [[(x + number) ** 2 for number in range(3)] for x in range(20)]
    assert [list(stream) for stream in streams] == expected
    assert sys.get_asyncgen_hooks() == (None, None)
    if is_monkey_patched():
        import greenlet

        assert greenlet.gettrace() is None


def test_coroutines_iterate_concurrently(wamp: FlaskWAMP) -> None:
    """A generator that started in one loop is not closed when another loop ends."""

    async def steps() -> t.AsyncIterator[int]:
        for number in range(5):
            await asyncio.sleep(0.001)
            yield number

    @wamp.callee
    async def total(pause: float) -> int:
        await asyncio.sleep(pause)
        return sum([number async for number in steps()])

    futures = [wamp.client.submit("com.example.total", x % 7 / 1000) for x in range(40)]
    assert [future.result(PATIENCE) for future in futures] == [10] * 40
    assert sys.get_asyncgen_hooks() == (None, None)
