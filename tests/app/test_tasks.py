"""Background tasks on the workers of an app: after handlers, when they run and in what context."""

from __future__ import annotations

import asyncio
import threading
import typing as t

import pytest
from flask import Flask, current_app, g, has_request_context, request

from flask_wamp import ApplicationError, FlaskWAMP, background_tasks, event, invocation
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter
from tests.support.told import Told

MakeApp = t.Callable[..., Flask]


# After a handler.


def test_runs_after_the_answer(serve: Serve, router: MemoryRouter, told: Told) -> None:
    gate = threading.Event()

    def task(x: int, *, y: int) -> None:
        told.put("begun")
        assert gate.wait(TIMEOUT)
        told.put((x, y))

    def add(x: int) -> str:
        background_tasks.add(task, x, y=2)
        told.put("handled")
        return "answered"

    serve(lambda wamp: wamp.callee(".add")(add))
    assert router.call("com.example.add", 1) == "answered"
    assert [told.next(), told.next()] == ["handled", "begun"]
    assert told.empty()
    gate.set()
    assert told.next() == (1, 2)


@pytest.mark.parametrize("error", [ValueError("no"), ApplicationError("com.example.error.no")])
def test_does_not_run_after_an_error(
    serve: Serve, router: MemoryRouter, told: Told, error: Exception
) -> None:
    def fail() -> None:
        background_tasks.add(told.put, "failed")
        raise error

    def succeed() -> None:
        background_tasks.add(told.put, "succeeded")

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".fail")(fail)
        wamp.callee(".succeed")(succeed)

    serve(setup, WAMP_WORKERS=1)
    with pytest.raises(ApplicationError):
        router.call("com.example.fail")
    router.call("com.example.succeed")
    assert told.next() == "succeeded"
    assert told.empty()


def test_a_status_of_400_or_more_is_an_error(
    serve: Serve, router: MemoryRouter, told: Told
) -> None:
    def view(status: int) -> tuple[str, int]:
        background_tasks.add(told.put, status)
        return "answer", status

    app, wamp = serve()
    app.add_url_rule("/<int:status>", view_func=wamp.callee(".view")(view))
    with pytest.raises(ApplicationError):
        router.call("com.example.view", 404)
    assert router.call("com.example.view", 201) == "answer"
    assert told.next() == 201
    assert told.empty()


def test_runs_after_the_result_of_an_error_handler(
    serve: Serve, router: MemoryRouter, told: Told
) -> None:
    def fail() -> None:
        background_tasks.add(told.put, "ran")
        raise KeyError("x")

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".fail")(fail)
        wamp.errorhandler(KeyError)(lambda error: "handled")

    serve(setup)
    assert router.call("com.example.fail") == "handled"
    assert told.next() == "ran"


def test_does_not_run_when_the_result_cannot_be_sent(
    serve: Serve, router: MemoryRouter, told: Told
) -> None:
    def add(good: bool) -> t.Any:
        background_tasks.add(told.put, good)
        return 1 if good else object()

    serve(lambda wamp: wamp.callee(".add")(add))
    with pytest.raises(ApplicationError):
        router.call("com.example.add", False)
    router.call("com.example.add", True)
    assert told.next() is True


def test_runs_after_an_event(serve: Serve, router: MemoryRouter, told: Told) -> None:
    def on_event(well: bool) -> None:
        background_tasks.add(lambda: told.put((event.args, event.publisher_authid, well)))
        if not well:
            raise ValueError("no")

    serve(lambda wamp: wamp.subscriber(".topic")(on_event))
    router.publish("com.example.topic", False)
    router.publish("com.example.topic", True)
    assert told.next() == ([True], "joe", True)
    assert told.empty()


def test_tasks_of_one_answer_run_in_order(serve: Serve, router: MemoryRouter, told: Told) -> None:
    inside = threading.Lock()

    def task(x: int) -> None:
        assert inside.acquire(blocking=False), "another one runs"
        told.put(x)
        inside.release()

    def add() -> None:
        for x in range(20):
            background_tasks.add(task, x)

    serve(lambda wamp: wamp.callee(".add")(add))
    router.call("com.example.add")
    assert [told.next() for _ in range(20)] == list(range(20))


def test_a_failing_task_does_not_stop_the_next(
    serve: Serve, router: MemoryRouter, told: Told
) -> None:
    def fail() -> None:
        raise SystemExit("out")

    def add() -> None:
        background_tasks.add(fail)
        background_tasks.add(told.put, "next")

    serve(lambda wamp: wamp.callee(".add")(add))
    router.call("com.example.add")
    assert told.next() == "next"


def test_a_progressive_handler_may_add(serve: Serve, router: MemoryRouter, told: Told) -> None:
    def count() -> t.Iterator[int]:
        background_tasks.add(told.put, "after")
        yield 1
        assert told.empty()

    serve(lambda wamp: wamp.callee(".count")(count))
    assert router.call("com.example.count") is None  # its items have already been sent
    assert told.next() == "after"


def test_async_handlers_and_tasks(serve: Serve, router: MemoryRouter, told: Told) -> None:
    async def task(x: int) -> None:
        await asyncio.sleep(0)
        told.put((x, invocation.procedure, g.wampy.joined))

    async def add(x: int) -> None:
        await asyncio.sleep(0)
        background_tasks.add(task, x)

    serve(lambda wamp: wamp.callee(".add")(add))
    router.call("com.example.add", 3)
    assert told.next() == (3, "com.example.add", True)


# Its context.


def test_a_task_has_its_own_context(serve: Serve, router: MemoryRouter, told: Told) -> None:
    def task() -> None:
        told.put(("task", g.get("value"), has_request_context()))
        g.value = "the task's"

    def add() -> None:
        g.value = "the handler's"
        background_tasks.add(task)

    app, _ = serve(lambda wamp: wamp.callee(".add")(add))
    app.teardown_appcontext(lambda error: told.put(("torn down", g.get("value"), error)))
    router.call("com.example.add")
    assert told.next() == ("torn down", "the handler's", None)
    assert told.next() == ("task", None, False)
    assert told.next() == ("torn down", "the task's", None)


def test_teardown_gets_the_error(
    serve: Serve, router: MemoryRouter, told: Told, failed: Told
) -> None:
    problem = ValueError("no")

    def task() -> None:
        g.in_task = True
        raise problem

    app, _ = serve(lambda wamp: wamp.callee(".add")(lambda: background_tasks.add(task)))

    @app.teardown_appcontext
    def teardown(error: BaseException | None) -> None:
        if "in_task" in g:
            told.put(error)
            raise RuntimeError("the teardown fails too")

    router.call("com.example.add")
    assert told.next() is problem
    assert failed.next() == (app, task, problem, True)


def test_a_task_has_the_invocation_and_the_client(
    serve: Serve, router: MemoryRouter, told: Told
) -> None:
    def task() -> None:
        told.put((invocation.procedure, invocation.args, invocation.caller_authid))
        told.put(g.wampy.call("com.example.double", 4))
        invocation.progress("too late")

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".add")(lambda x: background_tasks.add(task))
        wamp.callee(".double")(lambda x: 2 * x)

    serve(setup, WAMP_WORKERS=1)
    answer = router.invoke("com.example.add", 3)
    assert answer.result(TIMEOUT).args == [None]
    assert told.next() == ("com.example.add", [3], "joe")
    assert told.next() == 8
    assert answer.progress == []


def test_the_message_is_released_after_the_task(
    serve: Serve, router: MemoryRouter, told: Told
) -> None:
    app, _ = serve(
        lambda wamp: wamp.callee(".add")(lambda: background_tasks.add(told.put, 1)), WAMP_WORKERS=1
    )
    app.add_url_rule("/", view_func=lambda: str(background_tasks.add(task)))

    def task() -> None:
        told.put((bool(invocation), bool(event)))

    router.call("com.example.add")
    told.next()
    app.test_client().get("/")
    assert told.next() == (False, False)


def test_a_handler_with_a_request_context_runs_tasks_after_its_message(
    serve: Serve, router: MemoryRouter, told: Told
) -> None:
    gate = threading.Event()

    def add() -> dict[str, bool]:
        background_tasks.add(lambda: told.put((invocation.procedure, has_request_context())))
        if request.get_json()["bad"]:
            raise ValueError("no")
        told.put("handled")
        gate.wait(TIMEOUT)
        return {"json": True}

    serve(lambda wamp: wamp.callee(".add", request_context=True)(add))
    with pytest.raises(ApplicationError):
        router.call("com.example.add", bad=True)
    answer = router.invoke("com.example.add", bad=False)
    assert told.next() == "handled"
    assert told.empty()
    gate.set()
    assert answer.result(TIMEOUT).args == [{"json": True}]
    assert told.next() == ("com.example.add", False)


def test_a_task_may_add_tasks(serve: Serve, router: MemoryRouter, told: Told) -> None:
    def first(well: bool) -> None:
        background_tasks.add(second, well)
        told.put(("first", well))
        if not well:
            raise ValueError("no")

    def second(well: bool) -> None:
        told.put(("second", well, invocation.procedure))

    def add() -> None:
        background_tasks.add(first, False)
        background_tasks.add(first, True)

    serve(lambda wamp: wamp.callee(".add")(add))
    router.call("com.example.add")
    assert [told.next(), told.next()] == [("first", False), ("first", True)]
    assert told.next() == ("second", True, "com.example.add")


def test_two_apps_at_once(make_app: MakeApp, told: Told) -> None:
    """A view that pushes another app's context leaves its task with that app."""
    one, two = make_app("one"), make_app("two")
    wamp = FlaskWAMP()
    wamp.init_app(one)
    wamp.init_app(two)

    def view() -> str:
        background_tasks.add(lambda: told.put(current_app.name))
        with two.app_context():
            background_tasks.add(lambda: told.put(current_app.name))
        return "ok"

    one.add_url_rule("/", view_func=view)
    one.test_client().get("/")
    assert {told.next(), told.next()} == {"one", "two"}


# Limits.


def test_the_number_of_waiting_tasks_is_limited(
    serve: Serve, router: MemoryRouter, told: Told
) -> None:
    """Tasks that take long, added faster than they end, must not fill the memory."""
    gate = threading.Event()

    def add(count: int) -> None:
        for _ in range(count):
            background_tasks.add(gate.wait, TIMEOUT)

    app, _ = serve(lambda wamp: wamp.callee(".add")(add), WAMP_MAX_PENDING=5)
    app.add_url_rule("/add", view_func=lambda: (background_tasks.add(told.put, "view"), "")[1])
    try:
        for _ in range(2):
            with pytest.raises(ApplicationError) as refused:
                router.call("com.example.add", 6)
            assert refused.value.uri == "wamp.error.unavailable"
        router.call("com.example.add", 5)
        with pytest.raises(ApplicationError, match=r"5 background tasks are waiting already"):
            router.call("com.example.add", 1)
        assert app.test_client().get("/add").status_code == 503
    finally:
        gate.set()
    eventually(lambda: app.test_client().get("/add").status_code == 200)
    assert told.next() == "view"
