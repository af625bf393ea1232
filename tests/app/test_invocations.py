"""Running invocations: concurrent, limited, nested, timed out, canceled, and their answers."""

from __future__ import annotations

import threading
import time
import typing as t

import pytest
from flask import g

from flask_wamp import ApplicationError, CallResult, FlaskWAMP, invocation
from flask_wamp.concurrency.threads import is_monkey_patched
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.app.test_pool import Gate, Gauge
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter

UNAVAILABLE = "wamp.error.unavailable"


def answered(answer: t.Any) -> t.Any:
    """The single result, or the error URI."""
    message = answer.result(TIMEOUT)
    return message.error if isinstance(message, m.Error) else message.args[0]


# Concurrency.


def test_reader_never_waits_for_a_handler(serve: Serve, router: MemoryRouter) -> None:
    gate = Gate()

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".slow")(gate)
        wamp.callee(".fast")(lambda: "fast")

    serve(setup)
    slow = router.invoke("com.example.slow")
    assert gate.began.wait(TIMEOUT)
    assert router.call("com.example.fast") == "fast"
    gate.may_end.set()
    assert answered(slow) is None


def test_no_more_handlers_run_than_there_are_workers(serve: Serve, router: MemoryRouter) -> None:
    gauge, gate = Gauge(), threading.Event()

    def busy() -> None:
        with gauge:
            assert gate.wait(TIMEOUT)

    serve(lambda wamp: wamp.callee(".busy")(busy), WAMP_WORKERS=3)
    answers = [router.invoke("com.example.busy") for _ in range(10)]
    eventually(lambda: gauge.inside == 3)
    gate.set()
    assert [answered(answer) for answer in answers] == [None] * 10
    assert gauge.most == 3


def test_calls_over_the_limit_are_refused_at_once(serve: Serve, router: MemoryRouter) -> None:
    gate, ran = threading.Event(), []

    def busy(x: int) -> int:
        ran.append(x)
        assert gate.wait(TIMEOUT)
        return x

    config = {"WAMP_WORKERS": 2, "WAMP_MAX_PENDING": 3}
    serve(lambda wamp: wamp.callee(".busy")(busy), **config)
    answers = [router.invoke("com.example.busy", x) for x in range(2)]
    eventually(lambda: len(ran) == 2)
    answers += [router.invoke("com.example.busy", x) for x in range(2, 8)]
    refused = [answer.result(TIMEOUT) for answer in answers[5:]]
    assert [message.error for message in refused] == [UNAVAILABLE] * 3
    assert "too many calls are waiting for com.example.busy" in refused[0].args[0]
    gate.set()
    assert [answered(answer) for answer in answers[:5]] == [0, 1, 2, 3, 4]
    assert sorted(ran) == [0, 1, 2, 3, 4]


def test_concurrency_of_a_procedure_is_enforced_here(serve: Serve, router: MemoryRouter) -> None:
    gauge, gate = Gauge(), threading.Event()

    def busy() -> None:
        with gauge:
            assert gate.wait(TIMEOUT)

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".busy", concurrency=2)(busy)
        wamp.callee(".other")(lambda: "other")

    serve(setup)
    answers = [router.invoke("com.example.busy") for _ in range(6)]
    eventually(lambda: gauge.inside == 2)
    assert router.call("com.example.other") == "other"
    gate.set()
    assert [answered(answer) for answer in answers] == [None] * 6
    assert gauge.most == 2
    assert "concurrency" not in router.sent(m.Register)[0].options


def test_calls_over_the_limit_of_a_procedure_are_refused(
    serve: Serve, router: MemoryRouter
) -> None:
    gate = Gate()
    config = {"WAMP_MAX_PENDING": 1}
    serve(lambda wamp: wamp.callee(".busy", concurrency=1)(gate), **config)
    first = router.invoke("com.example.busy")
    assert gate.began.wait(TIMEOUT)
    second, third = router.invoke("com.example.busy"), router.invoke("com.example.busy")
    assert answered(third) == UNAVAILABLE
    gate.may_end.set()
    assert (answered(first), answered(second)) == (None, None)


def test_nested_calls_do_not_starve(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        def deep(level: int) -> int:
            if level == 0:
                return 0
            return 1 + int(g.wampy.rpc.com.example.deep(level - 1))

    serve(setup, WAMP_WORKERS=4, WAMP_CALL_TIMEOUT=60)
    answers = [router.invoke("com.example.deep", 9) for _ in range(50)]
    assert [answer.result(60).args for answer in answers] == [[9]] * 50


# Deadlines.


def test_deadline_answers_the_caller(serve: Serve, router: MemoryRouter, caplog: t.Any) -> None:
    gate, seen = Gate(), []

    def slow() -> None:
        seen.append((invocation.deadline, time.monotonic()))
        gate()
        seen.append(invocation.canceled)

    serve(lambda wamp: wamp.callee(".slow", timeout=0.05)(slow))
    message = router.invoke("com.example.slow").result(TIMEOUT)
    assert message.error == "wamp.error.timeout"
    assert message.args == ["com.example.slow took too long"]
    [(deadline, now)] = seen
    assert 0 < deadline - now <= 0.05
    gate.may_end.set()
    if not is_monkey_patched():  # a thread cannot be ended: its result is dropped
        eventually(lambda: seen[1:] == [True])
        eventually(lambda: "its result is dropped" in caplog.text)
    assert len(router.sent(m.Error)) == 1


def test_a_handler_that_meets_its_deadline(serve: Serve, router: MemoryRouter) -> None:
    serve(lambda wamp: wamp.callee(".fast", timeout=30)(lambda: "in time"))
    assert router.call("com.example.fast") == "in time"


def test_deadline_passes_in_the_queue(serve: Serve, router: MemoryRouter) -> None:
    gate, ran = Gate(), []

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".block")(gate)
        wamp.callee(".late", timeout=0.05)(lambda: ran.append(1))

    _, wamp = serve(setup, WAMP_WORKERS=1)
    blocking = router.invoke("com.example.block")
    assert gate.began.wait(TIMEOUT)
    assert answered(router.invoke("com.example.late")) == "wamp.error.timeout"
    gate.may_end.set()
    assert answered(blocking) is None
    wamp.stop()
    assert ran == []


# Cancellation.


def test_an_interrupt_answers_the_caller_and_cancels_the_handler(
    serve: Serve, router: MemoryRouter
) -> None:
    began, told = threading.Event(), threading.Event()

    def patient() -> str:
        began.set()
        try:  # under gevent it is ended there
            eventually(lambda: invocation.canceled, TIMEOUT)
        finally:
            assert invocation.canceled
            told.set()
        return "nobody wants this"

    serve(lambda wamp: wamp.callee(".patient")(patient))
    answer = router.invoke("com.example.patient")
    assert began.wait(TIMEOUT)
    answer.interrupt()
    assert answered(answer) == "wamp.error.canceled"
    assert told.wait(TIMEOUT)
    assert router.sent(m.Yield) == []


def test_interrupt_of_a_queued_call(serve: Serve, router: MemoryRouter) -> None:
    gate, ran = Gate(), []

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".block")(gate)
        wamp.callee(".late")(lambda: ran.append(1))

    _, wamp = serve(setup, WAMP_WORKERS=1)
    router.invoke("com.example.block")
    assert gate.began.wait(TIMEOUT)
    late = router.invoke("com.example.late")
    late.interrupt()
    assert answered(late) == "wamp.error.canceled"
    gate.may_end.set()
    wamp.stop()
    assert ran == []


def test_interrupt_that_comes_too_late_is_ignored(serve: Serve, router: MemoryRouter) -> None:
    serve(lambda wamp: wamp.callee(".x")(lambda: 1))
    answer = router.invoke("com.example.x")
    assert answered(answer) == 1
    answer.interrupt()
    assert router.call("com.example.x") == 1
    assert router.sent(m.Error) == []


# Errors that callers get.


@pytest.mark.parametrize(("testing", "args"), [(True, ["KeyError: 'secret'"]), (False, [])])
def test_a_bug_is_logged_in_full_and_sent_only_in_debug_mode(
    serve: Serve, router: MemoryRouter, caplog: t.Any, testing: bool, args: list[str]
) -> None:
    def broken() -> None:
        raise KeyError("secret")

    app, _ = serve(lambda wamp: wamp.callee(".broken")(broken))
    app.testing = testing
    message = router.invoke("com.example.broken").result(TIMEOUT)
    assert (message.error, message.args) == ("wamp.error.runtime_error", args)
    assert "KeyError: 'secret'" in caplog.text
    assert "in broken" in caplog.text


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_handler_cannot_exit_the_process(
    serve: Serve, router: MemoryRouter, error: type[BaseException]
) -> None:
    def broken() -> None:
        raise error

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".broken")(broken)
        wamp.callee(".fine")(lambda: "fine")

    serve(setup)
    assert answered(router.invoke("com.example.broken")) == "wamp.error.runtime_error"
    assert router.call("com.example.fine") == "fine"


UNSENDABLE: dict[str, t.Any] = {
    "object": object(),
    "nan": float("nan"),
    "integer keys": {1: 2},
    "lone surrogate": "\ud800",
    "several": CallResult(1, x=object()),
}


@pytest.mark.parametrize("value", UNSENDABLE.values(), ids=UNSENDABLE)
@pytest.mark.parametrize("serializer", ["msgpack", "json"])
def test_result_that_cannot_be_sent(
    serve: Serve, router: MemoryRouter, caplog: t.Any, value: t.Any, serializer: str
) -> None:
    router.serializer = serializer
    serve(lambda wamp: wamp.callee(".x")(lambda: value))
    message = router.invoke("com.example.x").result(TIMEOUT)
    assert message.error == "wamp.error.runtime_error"
    assert "com.example.x" in caplog.text
    assert len(router.transports) == 1  # the session lives on


def test_error_that_cannot_be_sent(serve: Serve, router: MemoryRouter, caplog: t.Any) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        for name, error in (
            ("payload", ApplicationError("com.example.error.x", object())),
            ("uri", ApplicationError("not a uri")),
            ("surrogate", ApplicationError("com.example.error.x", "\ud800")),
        ):
            wamp.callee(f".{name}")(raiser(error))

    serve(setup)
    for name in ("payload", "uri", "surrogate"):
        assert answered(router.invoke(f"com.example.{name}")) == "wamp.error.runtime_error"


def raiser(error: Exception) -> t.Callable[[], None]:
    def f() -> None:
        raise error

    return f


def test_result_over_the_limit(serve: Serve, router: MemoryRouter) -> None:
    serve(lambda wamp: wamp.callee(".x")(lambda n: "x" * n), WAMP_MAX_MESSAGE_SIZE=4096)
    assert router.call("com.example.x", 4000) == "x" * 4000
    message = router.invoke("com.example.x", 5000).result(TIMEOUT)
    assert message.error == "wamp.error.payload_size_exceeded"
    assert router.call("com.example.x", 1) == "x"


# Progress.


def test_progress_is_sent_if_the_caller_requested_it(serve: Serve, router: MemoryRouter) -> None:
    def steps() -> str:
        for number in range(3):
            invocation.progress(number, of=3)
        return "done"

    app, _ = serve(lambda wamp: wamp.callee(".steps")(steps))
    answer = router.invoke("com.example.steps")
    assert answered(answer) == "done"
    assert [(each.args, each.kwargs) for each in answer.progress] == [
        ([number], {"of": 3}) for number in range(3)
    ]
    with app.app_context():
        assert g.wampy.rpc.com.example.steps() == "done"  # without receive_progress
    assert len([each for each in router.sent(m.Yield) if each.options.get("progress")]) == 3


def test_generator_sends_progress_and_its_return_value(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        def count(upto: int) -> t.Iterator[int]:
            yield from range(upto)
            return "end"  # type: ignore[return-value]

    serve(setup)
    answer = router.invoke("com.example.count", 3)
    assert answered(answer) == "end"
    assert [each.args for each in answer.progress] == [[0], [1], [2]]


def test_generator_that_raises_is_an_error(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        def count() -> t.Iterator[int]:
            yield 1
            raise ApplicationError("com.example.error.x")

    serve(setup)
    answer = router.invoke("com.example.count")
    assert answered(answer) == "com.example.error.x"
    assert len(answer.progress) == 1


def test_a_flood_of_calls_to_one_procedure_does_not_delay_another(
    serve: Serve, router: MemoryRouter
) -> None:
    begun, gate, order = threading.Event(), threading.Event(), []

    def slow(number: int) -> None:
        begun.set()
        gate.wait(TIMEOUT)
        order.append(number)

    def other() -> None:
        order.append("other")

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(slow)
        wamp.callee(other)

    _, wamp = serve(setup, WAMP_WORKERS=1, WAMP_MAX_PENDING=6)
    first = router.invoke("com.example.slow", 0)
    assert begun.wait(TIMEOUT)
    flood = [router.invoke("com.example.slow", number) for number in range(1, 20)]
    for answer in flood[6:]:
        assert answer.result(TIMEOUT).error == UNAVAILABLE
    full = wamp.health()["in_hand"]["waiting"]
    answer = router.invoke("com.example.other")  # the queue is full of other calls
    eventually(lambda: wamp.health()["in_hand"]["waiting"] > full)
    gate.set()
    for each in (answer, first, *flood[:6]):
        assert isinstance(each.result(TIMEOUT), m.Result)
    assert order.index("other") <= 2
