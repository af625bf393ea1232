"""Processes that serve: a process that only uses the client joins without serving."""

from __future__ import annotations

import threading
import typing as t

import pytest
from flask import Flask, g

from flask_wamp import FlaskWAMP, NotJoined
from flask_wamp.protocol import messages as m
from tests.conftest import eventually
from tests.support.memory import MemoryRouter

MakeApp = t.Callable[..., Flask]


@pytest.fixture
def shop(make_app: MakeApp, router: MemoryRouter) -> tuple[Flask, FlaskWAMP, threading.Event]:
    """An app in a process without a recognized server, and whether its job has run."""
    router.register("com.example.price", lambda: 3)
    router.register("wamp.registration.count_callees", lambda number: 1)  # no successor to wait for
    app = make_app(WAMP_ROUTER_URL="ws://router.in.memory/ws")
    app.testing = False
    wamp = FlaskWAMP(app)
    ran = threading.Event()

    @app.get("/price")
    def price() -> dict[str, int]:
        return {"price": g.wampy.call("com.example.price")}

    @wamp.callee
    def order() -> str:
        return "ordered"

    @wamp.subscriber
    def news() -> None:
        pass

    @wamp.subscriber(".mail", delivery="one")
    def mail() -> None:
        pass

    wamp.schedule.every(0.01).seconds.do(ran.set)
    return app, wamp, ran


Shop = tuple[Flask, FlaskWAMP, threading.Event]

SHARED = "com.example.flask_wamp.deliver.exact.com.example.mail"


def use(app: Flask) -> None:
    with app.app_context():
        assert g.wampy.call("com.example.price") == 3


def assert_serves(router: MemoryRouter, ran: threading.Event) -> None:
    eventually(lambda: {"com.example.order", SHARED} <= router.procedures)
    eventually(lambda: {"com.example.news", "com.example.mail"} <= router.topics)
    assert ran.wait(10)


def assert_serves_nothing(router: MemoryRouter, ran: threading.Event) -> None:
    assert router.sent(m.Register) == []
    assert not {"com.example.news", "com.example.mail"} & router.topics
    assert not ran.is_set()


def test_using_the_client_joins_without_serving(shop: Shop, router: MemoryRouter) -> None:
    app, wamp, ran = shop
    use(app)
    use(app)
    assert_serves_nothing(router, ran)
    router.drop()
    router.wait_for(m.Hello, 2)
    eventually(lambda: wamp.client.joined)
    assert_serves_nothing(router, ran)


@pytest.mark.parametrize(
    "use_it",
    [
        lambda client: client.publish("com.example.said", 1),
        lambda client: client.submit("com.example.price").result(10),
        lambda client: list(client.stream("com.example.price")),
        lambda client: client.events("com.example.said").close(),
        lambda client: client.wait_until_joined(10),
    ],
    ids=["publish", "submit", "stream", "events", "wait_until_joined"],
)
def test_every_kind_of_use_joins_without_serving(
    shop: Shop, router: MemoryRouter, use_it: t.Callable[[t.Any], object]
) -> None:
    app, wamp, ran = shop
    with app.app_context():
        use_it(g.wampy)
    assert len(router.sent(m.Hello)) == 1
    assert_serves_nothing(router, ran)


def test_a_client_without_start_serves_only_run_time_registrations(
    shop: Shop, router: MemoryRouter
) -> None:
    app, wamp, ran = shop
    heard: list[str] = []
    with app.app_context():
        g.wampy.register(lambda: "before", "com.example.before")
        use(app)
        g.wampy.register(lambda: "after", "com.example.after")
        g.wampy.subscribe(heard.append, "com.example.heard")
    assert router.call("com.example.before") == "before"
    assert router.call("com.example.after") == "after"
    router.drop()
    eventually(lambda: "com.example.after" in router.procedures)
    router.publish("com.example.heard", "hello")
    eventually(lambda: heard == ["hello"])
    assert router.procedures == {"com.example.before", "com.example.after"}
    with app.app_context():
        g.wampy.unregister("com.example.after")
    assert router.procedures == {"com.example.before"}


def test_start_serves_in_the_existing_session(shop: Shop, router: MemoryRouter) -> None:
    app, wamp, ran = shop
    with app.app_context():
        g.wampy.register(lambda: "by hand", "com.example.by_hand")
    use(app)
    wamp.start()
    wamp.client.wait_until_joined(10)
    assert "com.example.order" in router.procedures  # at once, not eventually
    assert_serves(router, ran)
    assert router.call("com.example.order") == "ordered"
    assert router.call("com.example.by_hand") == "by hand"
    assert len(router.sent(m.Hello)) == 1
    registered = [message.procedure for message in router.sent(m.Register)]
    assert len(registered) == len(set(registered))
    router.drop()
    assert_serves(router, ran)


def test_start_while_the_client_joins_without_serving(shop: Shop, router: MemoryRouter) -> None:
    app, wamp, ran = shop
    router.silent = True
    waiting = threading.Thread(target=use, args=[app])
    waiting.start()
    router.wait_for(m.Hello)
    wamp.start()
    router.welcome()
    waiting.join()
    assert_serves(router, ran)
    assert len(router.sent(m.Hello)) == 1


def test_wait_until_joined_includes_the_registrations_of_start(
    shop: Shop, router: MemoryRouter
) -> None:
    app, wamp, ran = shop
    use(app)
    router.silent = True
    wamp.start()
    with pytest.raises(NotJoined, match="has not registered .*com.example.order"):
        wamp.client.wait_until_joined(0.01)


def test_late_declarations_are_not_served_before_start(shop: Shop, router: MemoryRouter) -> None:
    app, wamp, ran = shop
    use(app)

    @wamp.callee
    def late() -> str:
        return "late"

    assert_serves_nothing(router, ran)
    wamp.start()
    wamp.client.wait_until_joined(10)
    assert router.call("com.example.late") == "late"


def test_first_use_serves_while_testing(shop: Shop, router: MemoryRouter) -> None:
    app, wamp, ran = shop
    app.testing = True
    use(app)
    assert_serves(router, ran)


@pytest.mark.parametrize("autostart", ["auto", "lazy"])
def test_first_request_serves(make_app: MakeApp, router: MemoryRouter, autostart: str) -> None:
    app = make_app(WAMP_ROUTER_URL="ws://router.in.memory/ws", WAMP_AUTOSTART=autostart)
    app.testing = False
    wamp = FlaskWAMP(app)
    app.add_url_rule("/", view_func=wamp.callee("com.example.index")(lambda: "hello"))
    with app.app_context():
        wamp.client.wait_until_joined(10)
    assert router.procedures == set()
    app.test_client().get("/")
    eventually(lambda: router.procedures == {"com.example.index"})


def test_request_after_stop_does_not_start_again(shop: Shop, router: MemoryRouter) -> None:
    app, wamp, ran = shop
    router.register("com.example.price", lambda: 3)
    http = app.test_client()
    assert http.get("/price").json == {"price": 3}
    assert_serves(router, ran)
    wamp.stop()
    assert http.get("/price").status_code == 503
    assert len(router.sent(m.Hello)) == 1
    wamp.start()
    assert http.get("/price").json == {"price": 3}
    assert len(router.sent(m.Hello)) == 2


def test_a_stopped_client_does_not_join_without_start(shop: Shop, router: MemoryRouter) -> None:
    """stop() ends serving. A client that is used afterwards does not serve."""
    app, wamp, ran = shop
    wamp.start()
    wamp.client.wait_until_joined(10)
    wamp.stop()
    assert router.procedures == set()
    with pytest.raises(NotJoined, match="stopped"):
        use(app)


# A failure at the start.


@pytest.fixture
def broken(make_app: MakeApp, router: MemoryRouter) -> tuple[Flask, FlaskWAMP]:
    """An app that cannot serve: one URI is declared twice, which its start finds."""
    app = make_app(WAMP_ROUTER_URL="ws://router.in.memory/ws")
    app.testing = False
    wamp = FlaskWAMP(app)
    from flask_wamp import callee

    app.add_url_rule("/1", "one", callee("com.example.same")(lambda: "1"))
    app.add_url_rule("/2", "two", callee("com.example.same")(lambda: "2"))
    return app, wamp


def test_every_use_raises_the_error_of_the_start(
    broken: tuple[Flask, FlaskWAMP], router: MemoryRouter
) -> None:
    app, wamp = broken
    for use_it in (
        wamp.start,
        wamp.start,
        lambda: wamp.client.call("com.example.price"),
        lambda: wamp.client.publish("com.example.said"),
        lambda: wamp.client.wait_until_joined(1),
    ):
        with pytest.raises(ValueError, match="declared twice"):
            use_it()
    for _ in range(2):
        assert app.test_client().get("/1").status_code == 500
    assert router.attempts == 0
