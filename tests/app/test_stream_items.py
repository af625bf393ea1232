"""An item that cannot be sent ends its stream, over WAMP and HTTP. Earlier items are sent."""

from __future__ import annotations

import json
import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP
from flask_wamp.exceptions import SerializationError
from tests.app.conftest import Serve
from tests.support.memory import TIMEOUT, MemoryRouter

BAD: dict[str, t.Any] = {
    "large integer": 2**70,
    "nested large integer": [{"x": -(2**70)}],
    "nan": float("nan"),
    "infinity": [float("inf")],
    "key": {1: "x"},
    "object": object(),
}


def stream(app: Flask, wamp: FlaskWAMP, bad: t.Any, ended: list[str]) -> None:
    @app.get("/items")
    @wamp.callee
    def items() -> t.Iterator[t.Any]:
        try:
            yield {"first": b"\x00"}
            yield bad
            yield "never"
        finally:
            ended.append("ended")


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_over_wamp(serve: Serve, router: MemoryRouter, bad: t.Any) -> None:
    ended: list[str] = []
    app, wamp = serve()
    stream(app, wamp, bad, ended)
    answer = router.invoke("com.example.items")
    assert answer.result(TIMEOUT).error == "wamp.error.runtime_error"
    assert [each.args for each in answer.progress] == [[{"first": b"\x00"}]]
    assert ended == ["ended"]


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_over_http(serve: Serve, bad: t.Any) -> None:
    ended: list[str] = []
    app, wamp = serve()
    stream(app, wamp, bad, ended)
    response = app.test_client().get("/items", buffered=False)
    lines = response.iter_encoded()
    assert json.loads(next(lines)) == {"first": "\0AA=="}
    with pytest.raises(SerializationError):
        next(lines)
    response.close()
    assert ended == ["ended"]
