"""The app context a handler runs in: fresh for each message, with ``g.wampy``, and torn down."""

from __future__ import annotations

import datetime as dt
import queue
import threading
import typing as t

import flask
import pytest
from flask import Flask, current_app, g, has_app_context, has_request_context
from flask.cli import with_appcontext

import flask_wamp
from flask_wamp import ApplicationError, FlaskWAMP, event, invocation
from flask_wamp.client.client import Client
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter

MakeApp = t.Callable[..., Flask]

# g.wampy in each kind of context.


def test_client_in_an_app_context(make_app: MakeApp) -> None:
    app = make_app()
    wamp = FlaskWAMP(app)
    with app.app_context():
        assert isinstance(g.wampy, Client)
        assert g.wampy is wamp.client


def test_client_in_a_request(serve: Serve, router: MemoryRouter) -> None:
    router.register("com.example.double", lambda x: x * 2)
    app, _ = serve()

    @app.get("/<int:x>")
    def view(x: int) -> str:
        return str(g.wampy.rpc.com.example.double(x))

    assert app.test_client().get("/21").text == "42"


def test_client_in_a_command(serve: Serve, router: MemoryRouter) -> None:
    router.register("com.example.double", lambda x: x * 2)
    app, _ = serve()

    @app.cli.command("double")
    @with_appcontext
    def double() -> None:
        print(g.wampy.call("com.example.double", 21))

    assert app.test_cli_runner().invoke(args=["double"]).output == "42\n"


def test_client_in_handlers(serve: Serve, router: MemoryRouter) -> None:
    seen: list[t.Any] = []
    came = threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        def call() -> int | None:
            seen.append(g.wampy)
            return t.cast("int | None", g.wampy.session_id)

        @wamp.subscriber(".topic")
        def on_topic() -> None:
            seen.append(g.wampy)
            came.set()

    _, wamp = serve(setup)
    assert router.call("com.example.call") == wamp.client.session_id
    router.publish("com.example.topic")
    assert came.wait(TIMEOUT)
    assert seen == [wamp.client, wamp.client]


def test_the_error_outside_a_context_says_what_to_do(make_app: MakeApp) -> None:
    FlaskWAMP(make_app())
    with pytest.raises(RuntimeError, match="application context"):
        g.wampy  # noqa: B018


# A fresh context for each message.


def test_context_is_fresh_and_of_the_right_app(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        def look() -> list[t.Any]:
            before = list(g)
            g.mark = "left behind"
            return [before, current_app.name, has_request_context()]

    serve(setup)
    for _ in range(3):
        assert router.call("com.example.look") == [[], "tests", False]


def test_the_handler_does_not_inherit_the_callers_context(
    serve: Serve, router: MemoryRouter
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        def inner() -> list[str]:
            return list(g)

        @wamp.callee
        def outer() -> t.Any:
            g.mark = "outer"
            return [g.wampy.rpc.com.example.inner(), g.mark]

    serve(setup)
    assert router.call("com.example.outer") == [[], "outer"]


def test_concurrent_handlers_have_separate_contexts(serve: Serve, router: MemoryRouter) -> None:
    barrier = threading.Barrier(4)

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        def mark(x: int) -> list[int]:
            g.mark = x
            barrier.wait(TIMEOUT)
            return [g.mark, invocation.args[0], x]

    serve(setup)
    answers = [router.invoke("com.example.mark", x) for x in range(4)]
    assert [answer.result(TIMEOUT).args for answer in answers] == [[[x] * 3] for x in range(4)]


# Teardown.


@pytest.mark.parametrize("kind", ["callee", "subscriber"])
def test_teardown_runs_and_gets_the_exception(
    serve: Serve, router: MemoryRouter, kind: str
) -> None:
    errors: list[BaseException | None] = []

    def handler(fail: bool) -> None:
        if fail:
            raise ApplicationError("com.example.error.x")

    app, wamp = serve(lambda wamp: getattr(wamp, kind)(".x")(handler))
    app.teardown_appcontext(errors.append)
    for fail in (False, True):
        if kind == "callee":
            router.invoke("com.example.x", fail).result(TIMEOUT)
        else:
            router.publish("com.example.x", fail)
    eventually(lambda: len(errors) == 2)
    assert errors[0] is None
    assert isinstance(errors[1], ApplicationError)


def test_teardown_gets_the_validation_error(serve: Serve, router: MemoryRouter) -> None:
    errors: list[BaseException | None] = []

    def handler(x: int) -> None: ...

    app, wamp = serve(lambda wamp: wamp.callee(".x")(handler))
    app.teardown_appcontext(errors.append)
    with pytest.raises(ApplicationError):
        router.call("com.example.x", "no number")
    wamp.stop()
    assert len(errors) == 1
    assert errors[0] is not None


def test_teardown_that_raises_does_not_lose_the_answer(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = serve(lambda wamp: wamp.callee(".x")(lambda: "answer"))

    @app.teardown_appcontext
    def broken(error: BaseException | None) -> None:
        raise KeyError("teardown")

    for _ in range(3):
        assert router.call("com.example.x") == "answer"
    assert "teardown" in caplog.text
    app.teardown_appcontext_funcs.clear()


def test_the_answer_is_sent_after_the_context_was_popped(
    serve: Serve, router: MemoryRouter
) -> None:
    # A caller that has the answer may rely on the work of teardown functions, such as a commit.
    torn_down: list[bool] = []
    app, _ = serve(lambda wamp: wamp.callee(".x")(lambda: None))
    app.teardown_appcontext(lambda error: torn_down.append(has_app_context()))
    router.call("com.example.x")
    assert torn_down == [True]


def test_signals_of_flask_are_sent(serve: Serve, router: MemoryRouter) -> None:
    pushed: list[Flask] = []
    app, _ = serve(lambda wamp: wamp.callee(".x")(lambda: None))
    with flask.appcontext_pushed.connected_to(lambda sender: pushed.append(sender), app):
        router.call("com.example.x")
    assert pushed == [app]


# invocation and event.


def test_the_invocation_contains_the_message(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee(".x", validate=False, concurrency=3)
        def x(*args: t.Any, **kwargs: t.Any) -> dict[str, t.Any]:
            age = dt.datetime.now(dt.timezone.utc) - invocation.received_at
            return {
                "procedure": invocation.procedure,
                "args": invocation.args,
                "kwargs": invocation.kwargs,
                "caller": [
                    invocation.caller,
                    invocation.caller_authid,
                    invocation.caller_authrole,
                ],
                "request_id": invocation.request_id,
                "recent": dt.timedelta(0) <= age < dt.timedelta(seconds=TIMEOUT),
                "deadline": invocation.deadline,
                "canceled": invocation.canceled,
                "concurrency": invocation.options["concurrency"],
                "repr": repr(invocation),
            }

    serve(setup)
    result = router.invoke("com.example.x", 1, a=2).result(TIMEOUT)
    request_id = router.sent(m.Yield)[-1].request_id
    assert result.args == [
        {
            "procedure": "com.example.x",
            "args": [1],
            "kwargs": {"a": 2},
            "caller": [router.session_id, "joe", "user"],
            "request_id": request_id,
            "recent": True,
            "deadline": None,
            "canceled": False,
            "concurrency": 3,
            "repr": f"<Invocation {request_id} of com.example.x>",
        }
    ]


def test_identities_that_are_not_disclosed_are_none(serve: Serve, router: MemoryRouter) -> None:
    router.disclose = False

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".x")(lambda: [invocation.caller_authid, invocation.caller_authrole])

    app, wamp = serve(setup)
    with app.app_context():
        assert g.wampy.rpc.com.example.x() == [None, None]


def test_the_procedure_of_a_pattern_is_the_called_uri(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".x", match="prefix")(lambda: [invocation.procedure, invocation.details])

    serve(setup)
    procedure, details = router.call("com.example.x.y.z")
    assert procedure == details["procedure"] == "com.example.x.y.z"


def test_the_event_contains_the_message(serve: Serve, router: MemoryRouter) -> None:
    seen: list[t.Any] = []

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.subscriber(".x", validate=False)
        def on_x(*args: t.Any, **kwargs: t.Any) -> None:
            seen.extend([event.topic, event.args, event.kwargs, event.publication])
            seen.extend([event.publisher, event.publisher_authid, event.publisher_authrole])
            seen.extend([event.retained, event.options["match"], event.received_at.tzinfo])
            seen.append(repr(event))

    serve(setup)
    number = router.publish("com.example.x", 1, a=2)
    eventually(lambda: len(seen) == 11)
    assert seen == [
        *("com.example.x", [1], {"a": 2}, number),
        *(router.session_id, "joe", "user"),
        *(False, "exact", dt.timezone.utc),
        f"<Event {number} on com.example.x>",
    ]


@pytest.mark.parametrize("name", ["invocation", "event"])
def test_the_error_outside_a_handler_says_what_to_do(name: str) -> None:
    proxy = getattr(flask_wamp, name)
    with pytest.raises(RuntimeError, match=f"Working outside of an {name}") as info:
        proxy.args  # noqa: B018
    assert {"invocation": "@wamp.callee", "event": "@wamp.subscriber"}[name] in str(info.value)
    assert not proxy


def test_proxies_are_unbound_in_the_other_kind_of_handler(
    serve: Serve, router: MemoryRouter
) -> None:
    seen: list[bool] = []

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".x")(lambda: seen.append(bool(invocation) and not event))
        wamp.subscriber(".x")(lambda: seen.append(bool(event) and not invocation))

    serve(setup)
    router.call("com.example.x")
    router.publish("com.example.x")
    assert eventually(lambda: seen == [True, True])


def test_proxies_are_unbound_after_the_handler(serve: Serve, router: MemoryRouter) -> None:
    bound: list[bool] = []
    app, wamp = serve(lambda wamp: wamp.callee(".x")(lambda: bound.append(bool(invocation))))
    app.teardown_appcontext(lambda error: bound.append(bool(invocation)))
    router.call("com.example.x")
    wamp.stop()
    assert bound == [True, False]


# The sender.

FORGED = [
    {"session": 1, "authid": "root", "authrole": "admin"},
    {"session": 7, "authid": "joe", "authrole": "user"},
]


@pytest.mark.parametrize("is_forwarded", [False, True])
def test_an_identity_is_that_of_the_sender(
    serve: Serve, router: MemoryRouter, is_forwarded: bool
) -> None:
    seen: queue.SimpleQueue[t.Any] = queue.SimpleQueue()

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".who")(lambda: seen.put(invocation.identity))
        wamp.subscriber(".news")(lambda: seen.put(event.identity))

    serve(setup)
    if is_forwarded:  # from a router whose forward_for ends with the link
        caller = {"caller": 1, "caller_authid": "root", "caller_authrole": "admin"}
        details = {**caller, "forward_for": FORGED}
        router.send(m.Invocation(9000, router.registration_id("com.example.who"), details))
        publisher = {"publisher": 1, "publisher_authid": "root", "publisher_authrole": "admin"}
        details = {**publisher, "forward_for": FORGED}
        router.send(m.Event(router.subscription_id("com.example.news"), 9000, details))
    else:
        router.call("com.example.who")
        router.publish("com.example.news")
    for _ in range(2):
        identity = seen.get(timeout=TIMEOUT)
        assert identity == flask_wamp.Identity("joe", "user")
        assert (identity.authmethod, identity.authprovider) == ("", "")  # the router has not told


def test_caller_that_is_not_disclosed_has_no_identity(serve: Serve, router: MemoryRouter) -> None:
    router.disclose = False
    serve(lambda wamp: wamp.callee(".who")(lambda: invocation.identity))
    assert router.call("com.example.who") is None


def test_a_trusted_link_names_the_original_caller(serve: Serve, router: MemoryRouter) -> None:
    router.options["forward_for"] = FORGED[:1]
    serve(
        lambda wamp: wamp.callee(".who")(lambda: invocation.caller_authid),
        WAMP_TRUSTED_LINKS=["user"],
    )
    assert router.call("com.example.who") == "root"
