"""The results of ``yield`` and ``invocation.progress``, with and without ``receive_progress``."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from flask import Flask

from flask_wamp import CallResult, FlaskWAMP, SerializationError, invocation
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.support.memory import TIMEOUT, MemoryRouter


@dataclasses.dataclass
class Step:
    number: int


def reports() -> None:
    invocation.progress(1)
    invocation.progress(2)


def reports_and_returns() -> str:
    reports()
    return "end"


def yields() -> t.Any:
    yield 1
    yield 2


def yields_and_returns() -> t.Any:
    yield from yields()
    return "end"


def yields_and_reports() -> t.Any:
    invocation.progress("reported")
    yield 1


def yields_nothing() -> t.Any:
    yield from ()


def yields_none() -> t.Any:
    yield None


def yields_results() -> t.Any:
    yield CallResult(1, 2, x=3)
    yield Step(4)


def returns_a_generator() -> t.Any:
    return yields_and_returns()


#: A handler; its progressive results and its result with receive_progress; its result without it.
HANDLERS: dict[t.Callable[[], t.Any], tuple[list[t.Any], t.Any, t.Any]] = {
    # Without receive_progress, reported progress is dropped, and never becomes the result.
    reports: ([1, 2], None, None),
    reports_and_returns: ([1, 2], "end", "end"),
    # The yielded items are the result if there is no other.
    yields: ([1, 2], None, [1, 2]),
    yields_and_returns: ([1, 2], "end", "end"),
    yields_and_reports: (["reported", 1], None, [1]),
    yields_nothing: ([], (), []),
    yields_none: ([None], None, [None]),
    yields_results: (
        [((1, 2), {"x": 3}), {"number": 4}],
        None,
        [{"args": [1, 2], "kwargs": {"x": 3}}, {"number": 4}],
    ),
    returns_a_generator: ([1, 2], "end", "end"),
}


def payload(message: m.Result) -> t.Any:
    """Return its only value, or all values."""
    if len(message.args) == 1 and not message.kwargs:
        return message.args[0]
    return (tuple(message.args), message.kwargs) if message.args else ()


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.__name__)
def test_progress_is_sent_only_if_the_caller_requested_it(
    serve: Serve, router: MemoryRouter, handler: t.Callable[[], t.Any]
) -> None:
    _, wamp = serve(lambda wamp: wamp.callee(".handler")(handler))
    come, last, all_of_it = HANDLERS[handler]
    answer = router.invoke("com.example.handler")
    assert payload(answer.result(TIMEOUT)) == last
    assert [payload(each) for each in answer.progress] == come
    sent = len(router.sent(m.Yield))
    assert wamp.client.call("com.example.handler") == all_of_it
    assert len(router.sent(m.Yield)) == sent + 1


def test_progress_after_the_end_is_dropped(serve: Serve, router: MemoryRouter) -> None:
    kept: list[t.Any] = []

    def keeps() -> str:
        kept.append(invocation._get_current_object())  # type: ignore[attr-defined]
        return "end"

    serve(lambda wamp: wamp.callee(".keeps")(keeps))
    answer = router.invoke("com.example.keeps")
    assert payload(answer.result(TIMEOUT)) == "end"
    kept[0].progress("too late")
    assert router.invoke("com.example.keeps").result(TIMEOUT)
    assert not answer.progress


def test_progress_that_cannot_be_sent_raises_in_the_handler(
    serve: Serve, router: MemoryRouter
) -> None:
    """Without receive_progress nothing is done, not even that."""
    raised: list[Exception] = []

    def handler() -> None:
        try:
            invocation.progress(object())
        except SerializationError as error:
            raised.append(error)

    _, wamp = serve(lambda wamp: wamp.callee(".handler")(handler))
    wamp.client.call("com.example.handler")
    assert not raised
    router.invoke("com.example.handler").result(TIMEOUT)
    assert len(raised) == 1


def test_types_of_the_app_are_sent(serve: Serve, router: MemoryRouter) -> None:
    class Own:
        pass

    def setup(wamp: FlaskWAMP) -> None:
        wamp.encoder(Own)(lambda own: "own")

        @wamp.callee
        def handler() -> t.Any:
            invocation.progress(Own(), named=Own())
            yield Own()

    serve(setup)
    answer = router.invoke("com.example.handler")
    assert answer.result(TIMEOUT)
    assert [payload(each) for each in answer.progress] == [(("own",), {"named": "own"}), "own"]


def test_progress_outside_an_invocation_is_an_error() -> None:
    with Flask(__name__).test_request_context("/"):
        assert not invocation
        with pytest.raises(RuntimeError, match="invocation"):
            invocation.progress(1)
