"""Background tasks on the workers of an app: after HTTP views, and wrong uses."""

from __future__ import annotations

import threading
import typing as t
import urllib.request

import pytest
from flask import Flask, abort, g, has_request_context, stream_with_context
from werkzeug.serving import make_server

from flask_wamp import ApplicationError, FlaskWAMP, background_tasks, invocation
from tests.app.conftest import Serve
from tests.support.memory import TIMEOUT, MemoryRouter
from tests.support.told import Told

MakeApp = t.Callable[..., Flask]


class Site:
    """An app with the extension whose views tests add."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.wamp = FlaskWAMP(app)

    def view(self, f: t.Callable[..., t.Any]) -> None:
        """Use a function as the view at ``/``."""
        self.app.add_url_rule("/", view_func=f)

    def get(self) -> int:
        """Request the view without a server. Return the status."""
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


def test_runs_after_an_exception_that_the_app_handles(site: Site, told: Told) -> None:
    site.app.register_error_handler(KeyError, lambda error: "never mind")

    @site.view
    def view() -> t.NoReturn:
        background_tasks.add(told.put, "ran")
        raise KeyError

    assert site.get() == 200
    assert told.next() == "ran"


def test_the_last_response_decides(site: Site, told: Told) -> None:
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


def test_a_view_called_by_a_handler_is_a_separate_request(
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
    """The only worker of the site runs jobs one after another."""
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


def test_runs_again_after_a_stop(site: Site, told: Told) -> None:
    @site.view
    def view() -> str:
        background_tasks.add(told.put, "ran")
        return "ok"

    for _ in range(2):
        site.get()
        assert told.next() == "ran"
        site.wamp.stop()


# Misuse.


def test_the_error_outside_an_answer_says_what_to_do(site: Site) -> None:
    with pytest.raises(RuntimeError, match="handler or an HTTP view"):
        background_tasks.add(print)
    with site.app.app_context(), pytest.raises(RuntimeError, match="call f directly"):
        background_tasks.add(print)


def test_the_error_of_an_app_without_the_extension_says_so(make_app: MakeApp) -> None:
    with make_app().test_request_context(), pytest.raises(RuntimeError, match="FlaskWAMP"):
        background_tasks.add(print)


def test_a_task_that_is_not_a_function_is_refused(site: Site) -> None:
    with site.app.test_request_context():
        with pytest.raises(TypeError, match=r"add\(f, 1, 2\)"):
            background_tasks.add(print("now"))  # type: ignore[arg-type, func-returns-value]
        with pytest.raises(ValueError, match="'fiber'.*'thread', 'process'"):
            background_tasks.add(print, executor="fiber")
