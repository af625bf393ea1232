"""Background tasks on the workers of an app: when they run, in what context, and how they end."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import typing as t
import urllib.request

import pytest
from flask import Flask, abort, current_app, g, has_request_context, request, stream_with_context
from werkzeug.serving import make_server

from flask_wamp import (
    ApplicationError,
    FlaskWAMP,
    TaskAborted,
    background_tasks,
    event,
    invocation,
    signals,
)
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter

MakeApp = t.Callable[..., Flask]


class Told(queue.SimpleQueue[t.Any]):
    """What tasks tell the test."""

    def next(self) -> t.Any:
        """Wait for the next thing."""
        return self.get(timeout=TIMEOUT)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def failed() -> t.Iterator[Told]:
    """What is sent with the signal: ``(app, task, error, whether in an app context)``."""
    told = Told()

    def receive(sender: Flask, task: t.Any, error: BaseException) -> None:
        told.put((sender, task, error, current_app._get_current_object() is sender))  # type: ignore[attr-defined]

    with signals.task_failed.connected_to(receive):
        yield told


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


def test_runs_after_what_an_error_handler_answers(
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


def test_one_that_fails_does_not_stop_the_next(
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
    assert router.call("com.example.count") == [1]
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


def test_context_is_its_own(serve: Serve, router: MemoryRouter, told: Told) -> None:
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


def test_invocation_is_readable_and_the_client_is_there(
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


def test_message_is_not_left_behind(serve: Serve, router: MemoryRouter, told: Told) -> None:
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


def test_of_a_handler_with_a_request_context_the_message_counts(
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


# After an HTTP view.


class Site:
    """An app with the extension whose views tests add."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.wamp = FlaskWAMP(app)

    def view(self, f: t.Callable[..., t.Any]) -> None:
        """Make a function the view at ``/``."""
        self.app.add_url_rule("/", view_func=f)

    def get(self) -> int:
        """Its status, asked for without a server."""
        return self.app.test_client().get("/").status_code


@pytest.fixture
def site(make_app: MakeApp) -> Site:
    return Site(make_app(WAMP_WORKERS=1, WAMP_AUTOSTART=False))


def test_runs_after_a_view_in_the_test_client(site: Site, told: Told) -> None:
    def task() -> None:
        told.put(("task", has_request_context(), g.get("value")))

    @site.view
    def view() -> str:
        g.value = "the view's"
        background_tasks.add(task)
        told.put("view")
        return "ok"

    assert site.get() == 200
    assert [told.next(), told.next()] == ["view", ("task", False, None)]


@pytest.mark.parametrize("status", [400, 404, 500])
def test_does_not_run_after_a_bad_status(site: Site, told: Told, status: int) -> None:
    @site.view
    def view() -> tuple[str, int]:
        background_tasks.add(told.put, "ran")
        return "no", status

    assert site.get() == status
    assert_nothing_runs(site, told)


def test_does_not_run_after_an_http_exception(site: Site, told: Told) -> None:
    @site.view
    def view() -> t.NoReturn:
        background_tasks.add(told.put, "ran")
        abort(409)

    assert site.get() == 409
    assert_nothing_runs(site, told)


@pytest.mark.parametrize("propagates", [True, False])
def test_does_not_run_after_an_exception(site: Site, told: Told, propagates: bool) -> None:
    site.app.config["PROPAGATE_EXCEPTIONS"] = propagates

    @site.view
    def view() -> t.NoReturn:
        background_tasks.add(told.put, "ran")
        raise ZeroDivisionError

    if propagates:
        with pytest.raises(ZeroDivisionError):
            site.get()
    else:
        assert site.get() == 500
    assert_nothing_runs(site, told)


def test_runs_after_an_exception_that_the_app_answers_well(site: Site, told: Told) -> None:
    site.app.register_error_handler(KeyError, lambda error: "never mind")

    @site.view
    def view() -> t.NoReturn:
        background_tasks.add(told.put, "ran")
        raise KeyError

    assert site.get() == 200
    assert told.next() == "ran"


def test_the_last_response_counts(site: Site, told: Told) -> None:
    @site.view
    def view() -> str:
        background_tasks.add(told.put, "ran")
        return "ok"

    site.app.after_request(lambda response: site.app.make_response(("no", 403)))
    assert site.get() == 403
    assert_nothing_runs(site, told)


def test_an_after_request_function_that_raises_makes_an_error(site: Site, told: Told) -> None:
    site.app.config["PROPAGATE_EXCEPTIONS"] = False

    @site.view
    def view() -> str:
        background_tasks.add(told.put, "ran")
        return "ok"

    @site.app.after_request
    def after(response: t.Any) -> t.NoReturn:
        raise ZeroDivisionError

    assert site.get() == 500
    assert_nothing_runs(site, told)


def test_a_before_request_function_may_add(site: Site, told: Told) -> None:
    site.app.before_request(lambda: background_tasks.add(told.put, "ran"))
    site.view(lambda: "ok")
    assert site.get() == 200
    assert told.next() == "ran"


def test_a_view_called_by_a_handler_is_a_request_of_its_own(
    serve: Serve, router: MemoryRouter, told: Told
) -> None:
    def view() -> str:
        background_tasks.add(lambda: told.put(bool(invocation)))
        return "ok"

    def handler() -> t.NoReturn:
        assert app.test_client().get("/").status_code == 200
        raise ValueError("no")

    app, _ = serve(lambda wamp: wamp.callee(".handler")(handler))
    app.add_url_rule("/", view_func=view)
    with pytest.raises(ApplicationError):
        router.call("com.example.handler")
    assert told.next() is False


def assert_nothing_runs(site: Site, told: Told) -> None:
    """The one worker of the site takes jobs in turn."""
    assert site.wamp.client.pool.submit(lambda: told.put("later"))
    assert told.next() == "later"
    assert told.empty()


@pytest.fixture
def url(site: Site) -> t.Iterator[str]:
    """The site on a real server."""
    server = make_server("127.0.0.1", 0, site.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.port}/"
    server.shutdown()
    thread.join(TIMEOUT)
    server.server_close()


def test_a_server_sends_the_response_first(site: Site, url: str, told: Told) -> None:
    gate, sent = threading.Event(), threading.Event()

    def task() -> None:
        assert gate.wait(TIMEOUT)
        told.put("task")

    def body() -> t.Iterator[bytes]:
        yield b"first"
        assert sent.wait(TIMEOUT)
        yield b"last"

    @site.view
    def view() -> t.Any:
        background_tasks.add(told.put, "begun")
        background_tasks.add(task)
        return body(), 200, {"Content-Length": "9"}

    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        assert response.read(5) == b"first"
        assert told.empty()
        sent.set()
        assert response.read() == b"last"
    assert told.next() == "begun"
    assert told.empty()
    gate.set()
    assert told.next() == "task"


def test_a_view_may_add_while_it_streams(site: Site, url: str, told: Told) -> None:
    @site.view
    def view() -> t.Any:
        def body() -> t.Iterator[bytes]:
            background_tasks.add(told.put, "after")
            yield b"streamed"

        return stream_with_context(body())

    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        assert response.read() == b"streamed"
    assert told.next() == "after"


# Misuse.


def test_outside_of_an_answer_it_says_what_to_do(site: Site) -> None:
    with pytest.raises(RuntimeError, match="handler or an HTTP view"):
        background_tasks.add(print)
    with site.app.app_context(), pytest.raises(RuntimeError, match="call f itself"):
        background_tasks.add(print)


def test_an_app_without_the_extension_is_told(make_app: MakeApp) -> None:
    with make_app().test_request_context(), pytest.raises(RuntimeError, match="FlaskWAMP"):
        background_tasks.add(print)


def test_what_is_no_function_is_refused(site: Site) -> None:
    with site.app.test_request_context():
        with pytest.raises(TypeError, match=r"add\(f, 1, 2\)"):
            background_tasks.add(print("now"))  # type: ignore[arg-type, func-returns-value]
        with pytest.raises(ValueError, match="'fiber'.*'thread', 'process'"):
            background_tasks.add(print, executor="fiber")


# Errors and the end.


def test_an_error_is_logged_and_signalled(
    serve: Serve, router: MemoryRouter, failed: Told, caplog: pytest.LogCaptureFixture
) -> None:
    problem = ValueError("the reason")

    def task() -> None:
        raise problem

    app, _ = serve(lambda wamp: wamp.callee(".add")(lambda: background_tasks.add(task)))
    with caplog.at_level(logging.ERROR, "flask_wamp.tasks"):
        router.call("com.example.add")
        assert failed.next() == (app, task, problem, True)
    [record] = [record for record in caplog.records if record.name == "flask_wamp.tasks"]
    assert record.levelno == logging.ERROR
    assert "test_an_error_is_logged_and_signalled.<locals>.task" in record.getMessage()
    assert "com.example.add" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is problem


def test_a_receiver_that_fails_changes_nothing(
    serve: Serve, router: MemoryRouter, told: Told
) -> None:
    def task() -> None:
        raise ValueError("no")

    def add() -> None:
        background_tasks.add(task)
        background_tasks.add(told.put, "next")

    def receive(sender: Flask, **payload: t.Any) -> None:
        raise RuntimeError("the receiver fails")

    serve(lambda wamp: wamp.callee(".add")(add))
    with signals.task_failed.connected_to(receive):
        router.call("com.example.add")
        assert told.next() == "next"


def test_stop_runs_what_waits(serve: Serve, router: MemoryRouter, told: Told) -> None:
    gate = threading.Event()

    def task(x: int) -> None:
        if x == 0:
            told.put("begun")
            assert gate.wait(TIMEOUT)
        told.put((x, g.wampy.call("com.example.peer", x)))

    def add() -> None:
        for x in range(3):
            background_tasks.add(task, x)

    router.register("com.example.peer", lambda x: x + 1)
    app, wamp = serve(lambda wamp: wamp.callee(".add")(add), WAMP_WORKERS=1)
    router.call("com.example.add")
    assert told.next() == "begun"
    stopping = stop_in_background(app, wamp)
    gate.set()
    stopping.join(TIMEOUT)
    assert [told.next() for _ in range(3)] == [(0, 1), (1, 2), (2, 3)]


def test_stop_runs_what_is_added_while_it_waits(
    serve: Serve, router: MemoryRouter, told: Told
) -> None:
    gate = threading.Event()

    def task() -> None:
        background_tasks.add(told.put, "the task's task")
        told.put(("task", g.wampy.call("com.example.peer")))

    def add() -> str:
        told.put("handler")
        assert gate.wait(TIMEOUT)
        background_tasks.add(task)
        return "answered"

    router.register("com.example.peer", lambda: "peer")
    app, wamp = serve(lambda wamp: wamp.callee(".add")(add))
    answer = router.invoke("com.example.add")
    assert told.next() == "handler"
    stopping = stop_in_background(app, wamp)
    eventually(lambda: not wamp.client.declarations or wamp.client.declarations[0].id is None)
    gate.set()
    assert answer.result(TIMEOUT).args == ["answered"]
    stopping.join(TIMEOUT)
    assert [told.next(), told.next()] == [("task", "peer"), "the task's task"]


def test_stop_waits_no_longer_than_the_limit(
    serve: Serve, router: MemoryRouter, told: Told, failed: Told
) -> None:
    gate = threading.Event()

    def running() -> None:
        told.put("begun")
        gate.wait(TIMEOUT)
        raise ValueError("nobody is told twice")

    def waiting() -> None:
        told.put("waiting ran")

    def add() -> None:
        background_tasks.add(running)
        background_tasks.add(waiting)

    app, wamp = serve(
        lambda wamp: wamp.callee(".add")(add), WAMP_DRAIN_TIMEOUT=0.05, WAMP_WORKERS=1
    )
    router.call("com.example.add")
    assert told.next() == "begun"
    wamp.stop()
    lost = [failed.next(), failed.next()]
    assert {task for _, task, _, _ in lost} == {running, waiting}
    assert all(isinstance(error, TaskAborted) and in_context for _, _, error, in_context in lost)
    assert "WAMP_DRAIN_TIMEOUT" in str(lost[0][2])
    gate.set()
    eventually(lambda: not any(thread.name == "wamp-worker-1" for thread in threading.enumerate()))
    assert told.empty()
    assert failed.empty()


def test_a_task_may_stop_the_client(
    serve: Serve, router: MemoryRouter, told: Told, failed: Told
) -> None:
    def shut_down() -> None:
        wamp.stop()
        told.put("stopped")

    _, wamp = serve(lambda wamp: wamp.callee(".shut_down")(lambda: background_tasks.add(shut_down)))
    router.call("com.example.shut_down")
    assert told.next() == "stopped"
    assert failed.empty()


def test_runs_again_after_a_stop(site: Site, told: Told) -> None:
    @site.view
    def view() -> str:
        background_tasks.add(told.put, "ran")
        return "ok"

    for _ in range(2):
        site.get()
        assert told.next() == "ran"
        site.wamp.stop()


def stop_in_background(app: Flask, wamp: FlaskWAMP) -> threading.Thread:
    def stop() -> None:
        with app.app_context():
            wamp.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    return thread
