"""Keywords of a peer with the names of our own parameters: they are ordinary payload."""

from __future__ import annotations

import typing as t

import pytest

from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.support.memory import TIMEOUT, MemoryRouter

NAMES = ("self", "cls", "args", "kwargs", "f", "app", "message", "work", "options", "next_")

each_name = pytest.mark.parametrize("name", NAMES)


def plain(**keywords: t.Any) -> list[str]:
    return sorted(keywords)


async def coroutine(**keywords: t.Any) -> list[str]:
    return sorted(keywords)


@each_name
@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("f", [plain, coroutine])
def test_a_handler_gets_any_keyword(
    serve: Serve, router: MemoryRouter, f: t.Any, validate: bool, name: str
) -> None:
    serve(lambda wamp: wamp.callee("com.example.take", validate=validate)(f))
    answer = router.invoke("com.example.take", **{name: 1}).result(TIMEOUT)
    assert (type(answer), answer.args) == (m.Result, [[name]])


@each_name
@pytest.mark.parametrize("fails", [False, True])
def test_a_caller_gets_any_keyword(
    serve: Serve, router: MemoryRouter, fails: bool, name: str
) -> None:
    client, held = serve()[1].client, router.hold("com.example.held")
    future = client.submit("com.example.held")
    call = held.get(timeout=TIMEOUT)
    if fails:
        call.fail("com.example.error", **{name: 1})
        assert future.exception(TIMEOUT).kwargs == {name: 1}
    else:
        call.answer(**{name: 1})
        assert future.result(TIMEOUT).kwargs == {name: 1}
