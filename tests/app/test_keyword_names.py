"""Keywords of a peer may have any name, also that of a parameter of the library or of Python."""

from __future__ import annotations

import typing as t

import pytest

from flask_wamp import ApplicationError, CallResult, FlaskWAMP, callee, invocation
from tests.app.conftest import Serve
from tests.support.memory import MemoryRouter

NAMES = [
    "self",
    "cls",
    "f",
    "func",
    "args",
    "kwargs",
    "message",
    "next_",
    "app",
    "work",
    "value",
    "uri",
]


class Service:
    """Handlers that are methods."""

    @callee(".method")
    def method(self, **kwargs: t.Any) -> t.Any:
        return kwargs

    @callee(".async_method")
    async def async_method(self, **kwargs: t.Any) -> t.Any:
        return kwargs


def declare(wamp: FlaskWAMP, validate: bool) -> None:
    @wamp.callee(validate=validate)
    def plain(**kwargs: t.Any) -> t.Any:
        return kwargs

    @wamp.callee(validate=validate)
    async def coroutine(**kwargs: t.Any) -> t.Any:
        return kwargs

    @wamp.callee(validate=validate)
    def generator(**kwargs: t.Any) -> t.Iterator[t.Any]:
        yield 1
        return kwargs

    @wamp.callee(validate=validate, request_context=True)
    def in_a_request(**kwargs: t.Any) -> t.Any:
        return kwargs

    @wamp.callee(validate=validate)
    def progress(**kwargs: t.Any) -> t.Any:
        invocation.progress(**kwargs)
        return CallResult(**kwargs).kwargs

    @wamp.callee(validate=validate)
    def fails(**kwargs: t.Any) -> t.Any:
        raise ApplicationError("com.example.error.x", **kwargs)

    wamp.include(Service())


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_any_keyword(serve: Serve, router: MemoryRouter, name: str, validate: bool) -> None:
    serve(lambda wamp: declare(wamp, validate))
    kwargs = {name: 1}
    for each in ("plain", "coroutine", "generator", "in_a_request", "progress"):
        assert router.call(f"com.example.{each}", **kwargs) == kwargs
    with pytest.raises(ApplicationError) as raised:
        router.call("com.example.fails", **kwargs)
    assert raised.value.kwargs == kwargs
    for each in ("method", "async_method"):
        if name != "self":
            assert router.call(f"com.example.{each}", **kwargs) == kwargs
            continue
        with pytest.raises(ApplicationError) as raised:  # Python cannot pass it to a method
            router.call(f"com.example.{each}", **kwargs)
        assert raised.value.uri == "wamp.error.invalid_argument"
