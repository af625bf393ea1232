"""Generators over HTTP: the same view as lines of JSON or Server-Sent Events; remote ones relayed."""

from __future__ import annotations

import threading
import typing as t

import pytest
from flask import Flask, Response, g, request

from flask_wamp import FlaskWAMP
from tests.support.peers import PATIENCE, AutobahnPeer

pytestmark = pytest.mark.router


@pytest.fixture
def closed(app: Flask, wamp: FlaskWAMP) -> threading.Event:
    """Set when the generator of ``/count`` was closed."""
    event = threading.Event()

    @app.get("/count/<int:upto>")
    @wamp.callee
    def count(upto: int) -> t.Any:
        try:
            for number in range(upto):
                yield {"n": number, "path": request.path if request else None}
            return "end"
        finally:
            event.set()

    @app.get("/relay/<int:upto>")
    def relay(upto: int) -> t.Any:
        return Response(g.wampy.stream("com.example.count", upto))

    return event


def test_lines_of_json(app: Flask, closed: threading.Event, peer: AutobahnPeer) -> None:
    response = app.test_client().get("/count/2")
    assert response.mimetype == "application/x-ndjson"
    lines = [app.json.loads(line) for line in response.text.splitlines()]
    assert lines == [{"n": 0, "path": "/count/2"}, {"n": 1, "path": "/count/2"}, "end"]
    assert peer.call("com.example.count", 2).value == "end"


def test_server_sent_events(app: Flask, closed: threading.Event) -> None:
    response = app.test_client().get("/count/1", headers={"Accept": "text/event-stream"})
    assert response.mimetype == "text/event-stream"
    assert response.text == 'data: {"n": 0, "path": "/count/1"}\n\ndata: "end"\n\n'


def test_a_client_that_leaves_closes_the_generator(app: Flask, closed: threading.Event) -> None:
    response = app.test_client().get("/count/1000", buffered=False)
    assert b'"n": 0' in next(response.iter_encoded())
    assert not closed.is_set()
    response.close()
    assert closed.is_set()


def test_a_remote_generator_is_relayed_and_closed(app: Flask, closed: threading.Event) -> None:
    response = app.test_client().get("/relay/1")
    assert response.text == '{"n": 0, "path": null}\n"end"\n'
    closed.clear()
    response = app.test_client().get("/relay/1000000", buffered=False)
    next(response.iter_encoded())
    response.close()
    assert closed.wait(PATIENCE)


def test_a_stream_relayed_over_http_is_relayed_over_wamp(
    app: Flask, wamp: FlaskWAMP, closed: threading.Event, peer: AutobahnPeer
) -> None:
    @app.get("/bare/<int:upto>")
    @wamp.callee
    def bare(upto: int) -> t.Any:
        return g.wampy.stream("com.example.count", upto)

    @app.get("/wrapped/<int:upto>")
    @wamp.callee
    def wrapped(upto: int) -> t.Any:
        return Response(g.wampy.stream("com.example.count", upto))

    for name in ("bare", "wrapped"):
        assert app.test_client().get(f"/{name}/1").text == '{"n": 0, "path": null}\n"end"\n'
        call = peer.submit(f"com.example.{name}", 1, progress=True)
        assert call.progress() == {"n": 0, "path": None}
        assert call.wait().value == "end"
        assert peer.call(f"com.example.{name}", 1).value == "end"
        closed.clear()
        call = peer.submit(f"com.example.{name}", 1000000, progress=True)
        assert call.progress() == {"n": 0, "path": None}
        call.cancel()
        assert closed.wait(PATIENCE)
    peer.register("com.shop.steps", "progress", items=[1, 2])
    wamp.callee("com.example.unended")(lambda: g.wampy.stream("com.shop.steps"))
    assert peer.call("com.example.unended").value == [1, 2]


def test_a_function_that_is_not_a_callee_is_not_changed(app: Flask) -> None:
    @app.get("/text")
    def text() -> t.Any:
        yield "a"
        yield "b"

    response = app.test_client().get("/text")
    assert (response.text, response.mimetype) == ("ab", "text/html")
