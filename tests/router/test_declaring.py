"""Registering and subscribing while joined, and undoing it."""

from __future__ import annotations

import queue
import threading
import time
import typing as t

import pytest
from flask import Blueprint, Flask, g

from flask_wamp import ApplicationError, FlaskWAMP, callee, event, subscriber
from flask_wamp.peer.registrar import Acknowledgement, Registrar
from tests.conftest import eventually
from tests.support.peers import PATIENCE, AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]
MakeApp = t.Callable[..., Flask]


@pytest.fixture
def seen() -> queue.SimpleQueue[t.Any]:
    return queue.SimpleQueue()


def assert_no_procedure(peer: AutobahnPeer, uri: str) -> None:
    assert peer.error(uri).uri == "wamp.error.no_such_procedure"


# The decorators.


def test_functions_decorated_before_the_join_are_registered_at_the_join(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        @wamp.callee(".relative")
        @wamp.callee("com.elsewhere.absolute")
        def here(name: str = "you") -> str:
            return f"hello {name}"

    join(wamp_router.url, setup)
    for uri in ("com.example.here", "com.example.relative", "com.elsewhere.absolute"):
        assert peer.call(uri, "there").value == "hello there"


def test_functions_decorated_while_joined_are_registered_at_once(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    @wamp.callee
    def late() -> str:
        return "late"

    @wamp.subscriber
    def news(text: str) -> None:
        seen.put(text)

    assert peer.call("com.example.late").value == "late"
    peer.publish("com.example.news", "late, too")
    assert seen.get(timeout=PATIENCE) == "late, too"


@pytest.fixture
def entering(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is set while a session is entered: all is requested, but no thread sees it yet."""
    entering, restore = threading.Event(), Registrar.restore

    def slow(*args: t.Any) -> t.Any:
        follow_up = restore(*args)
        entering.set()
        time.sleep(0.3)
        return follow_up

    monkeypatch.setattr(Registrar, "restore", slow)
    return entering


def test_a_function_that_is_decorated_while_a_session_is_entered_is_registered(
    make_app: MakeApp, entering: threading.Event, wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=wamp_router.url))
    wamp.callee("com.example.early")(lambda: "early")
    wamp.start()
    assert entering.wait(PATIENCE)
    wamp.callee("com.example.late")(lambda: "late")
    wamp.client.wait_until_joined(PATIENCE)
    assert peer.call("com.example.early").value == "early"
    assert peer.call("com.example.late").value == "late"
    wamp.stop()


def test_a_procedure_that_is_withdrawn_while_a_session_is_entered_is_unregistered(
    make_app: MakeApp, entering: threading.Event, wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=wamp_router.url))
    wamp.callee("com.example.early")(lambda: "early")
    wamp.callee("com.example.other")(lambda: "other")
    wamp.start()
    assert entering.wait(PATIENCE)
    wamp.client.unregister("com.example.early")
    wamp.client.wait_until_joined(PATIENCE)
    eventually(lambda: peer.error("com.example.early").uri == "wamp.error.no_such_procedure")
    assert peer.call("com.example.other").value == "other"
    wamp.stop()


def test_a_client_that_is_stopped_while_it_registers_answers_calls(
    make_app: MakeApp,
    wamp_router: DevRouter,
    peer: AutobahnPeer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registered, resolve = threading.Event(), Acknowledgement.resolve

    def late(*args: t.Any) -> None:
        registered.set()
        time.sleep(0.5)
        resolve(*args)

    monkeypatch.setattr(Acknowledgement, "resolve", late)
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=wamp_router.url))
    wamp.callee("com.example.early")(lambda: "early")
    wamp.start()
    assert registered.wait(PATIENCE)
    call = peer.submit("com.example.early")
    peer.call("wamp.session.count")  # so the router has handled the call before
    wamp.stop()
    assert call.wait().value == "early"


def test_a_view_under_and_over_the_route(app: Flask, wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    @app.get("/under/<int:a>")
    @wamp.callee
    def under(a: int) -> dict[str, int]:
        return {"a": a}

    @wamp.callee
    @app.get("/over/<int:a>")
    def over(a: int) -> dict[str, int]:
        return {"a": a}

    for name in ("under", "over"):
        assert peer.call(f"com.example.{name}", 3).value == {"a": 3}
        assert app.test_client().get(f"/{name}/3").get_json() == {"a": 3}


class Counter:
    """Methods that the free decorators marked."""

    def __init__(self) -> None:
        self.count = 0

    @callee("com.counter.add")
    def add(self, by: int = 1) -> int:
        self.count += by
        return self.count

    @subscriber("com.counter.reset")
    def reset(self) -> None:
        self.count = 0
        g.wampy.publish("com.counter.was_reset")


def test_methods_of_an_object(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    was_reset = peer.subscribe("com.counter.was_reset")
    counter = wamp.include(Counter())
    assert peer.call("com.counter.add").value == 1
    assert peer.call("com.counter.add", by=2).value == 3
    peer.publish("com.counter.reset")
    was_reset.next()
    assert counter.count == 0


def test_marked_views_of_the_app_and_its_blueprints(
    make_app: t.Callable[..., Flask], wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    app = make_app(WAMP_ROUTER_URL=wamp_router.url)
    wamp = FlaskWAMP(app)
    blueprint = Blueprint("users", __name__, url_prefix="/users")

    @app.get("/votes")
    @callee
    def votes() -> int:
        return 3

    @blueprint.get("/count")
    @callee(".users.count")
    def count() -> int:
        return 7

    app.register_blueprint(blueprint)
    wamp.client.wait_until_joined(PATIENCE)
    assert peer.call("com.example.votes").value == 3
    assert peer.call("com.example.users.count").value == 7


def test_an_async_handler(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    pytest.importorskip("asgiref")

    @wamp.callee
    async def later(a: int) -> int:
        return a + 1

    assert peer.call("com.example.later", 1).value == 2


def test_each_handler_has_an_app_context_of_its_own(
    app: Flask, wamp: FlaskWAMP, peer: AutobahnPeer
) -> None:
    torn_down: queue.SimpleQueue[t.Any] = queue.SimpleQueue()

    @app.teardown_appcontext
    def teardown(error: BaseException | None) -> None:
        torn_down.put((g.pop("name", None), type(error).__name__))

    @wamp.callee
    def remember(name: str) -> t.Any:
        before = g.get("name")
        g.name = name
        return before

    @wamp.callee
    def fail() -> None:
        raise ApplicationError("com.shop.sold_out")

    assert peer.call("com.example.remember", "first").value is None
    assert peer.call("com.example.remember", "second").value is None
    peer.error("com.example.fail")
    got = [torn_down.get(timeout=PATIENCE) for _ in range(3)]
    assert got == [("first", "NoneType"), ("second", "NoneType"), (None, "ApplicationError")]
    del app.teardown_appcontext_funcs[:]


# At run time.


def test_register_and_unregister(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    wamp.client.register(lambda a, b: a + b, "com.example.add")
    assert peer.call("com.example.add", 1, 2).value == 3
    wamp.client.unregister("com.example.add")
    assert_no_procedure(peer, "com.example.add")
    wamp.client.register(lambda: "again", "com.example.add")
    assert peer.call("com.example.add").value == "again"


def test_running_calls_finish_after_unregistering(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow() -> str:
        entered.set()
        assert leave.wait(PATIENCE)
        return "finished"

    wamp.client.register(slow, "com.example.slow")
    call = peer.submit("com.example.slow")
    assert entered.wait(PATIENCE)
    wamp.client.unregister("com.example.slow")
    leave.set()
    assert call.wait().value == "finished"
    assert_no_procedure(peer, "com.example.slow")


def test_subscribe_and_unsubscribe(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    wamp.client.subscribe(lambda number: seen.put(("one", number)), "com.example.one")
    wamp.client.subscribe(lambda number: seen.put(("two", number)), "com.example.two")
    peer.publish("com.example.one", 1)
    assert seen.get(timeout=PATIENCE) == ("one", 1)
    wamp.client.unsubscribe("com.example.one")
    peer.publish("com.example.one", 2)
    peer.publish("com.example.two", 3)
    assert seen.get(timeout=PATIENCE) == ("two", 3)


def test_a_pattern_and_an_exact_topic_both_get_the_event(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    wamp.client.subscribe(lambda: seen.put("exact"), "com.example.tea")
    wamp.client.subscribe(lambda: seen.put("prefix"), "com.example", match="prefix")
    peer.publish("com.example.tea")
    assert {seen.get(timeout=PATIENCE) for _ in range(2)} == {"exact", "prefix"}


@pytest.mark.parametrize("delivery", ["every", "one"])
def test_two_subscribers_of_a_topic(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any], delivery: t.Any
) -> None:
    for number in (1, 2):
        wamp.subscriber("com.example.tea", delivery=delivery)(
            lambda text, number=number: seen.put((number, text))
        )
    eventually(lambda: peer.call("wamp.subscription.match", "com.example.tea").value)
    peer.publish("com.example.tea", "green")
    assert {seen.get(timeout=PATIENCE) for _ in range(2)} == {(1, "green"), (2, "green")}
    subscription = peer.call("wamp.subscription.match", "com.example.tea").value
    assert len(subscription) == 1


def test_a_subscriber_may_unsubscribe_itself(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    def once() -> None:
        g.wampy.unsubscribe(event.topic)
        seen.put("off")

    wamp.client.subscribe(once, "com.example.once")
    peer.publish("com.example.once")
    assert seen.get(timeout=PATIENCE) == "off"
    assert wamp.client.subscription_map == {}


def test_a_refused_registration_is_raised_and_forgotten(
    wamp: FlaskWAMP, peer: AutobahnPeer
) -> None:
    procedure = peer.register("com.example.taken")
    with pytest.raises(ApplicationError, match="already") as raised:
        wamp.client.register(lambda: 1, "com.example.taken", invoke="single")
    assert raised.value.uri == "wamp.error.procedure_already_exists"
    procedure.unregister()
    wamp.client.register(lambda: "ours", "com.example.taken", invoke="single")
    assert peer.call("com.example.taken").value == "ours"


def test_a_refused_decorator_is_logged_and_kept(
    wamp: FlaskWAMP, peer: AutobahnPeer, caplog: pytest.LogCaptureFixture
) -> None:
    peer.register("com.example.taken")
    wamp.callee("com.example.taken", invoke="single")(lambda: "ours")
    assert "com.example.taken was refused: wamp.error.procedure_already_exists" in caplog.text
    assert [d.uri for d in wamp.client.declarations] == ["com.example.taken"]


@pytest.mark.parametrize("invoke", ["single", "roundrobin", "random", "first", "last"])
def test_the_router_knows_every_policy_of_sharing(
    wamp: FlaskWAMP, peer: AutobahnPeer, invoke: str
) -> None:
    wamp.callee("com.example.shared", invoke=invoke)(lambda: "here")
    assert peer.call("com.example.shared").value == "here"
    registration = peer.call("wamp.registration.match", "com.example.shared").value
    assert peer.call("wamp.registration.get", registration).value["invoke"] == invoke


def test_force_reregister_takes_over_a_procedure(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    peer.register("com.example.taken")
    wamp.callee("com.example.taken", invoke="single", force_reregister=True)(lambda: "ours")
    assert peer.call("com.example.taken").value == "ours"


def test_a_revoked_registration_is_noticed(
    wamp: FlaskWAMP, peer: AutobahnPeer, caplog: pytest.LogCaptureFixture
) -> None:
    wamp.callee("com.example.taken", invoke="single")(lambda: "ours")
    peer.register("com.example.taken", options={"force_reregister": True})
    assert peer.call("com.example.taken", "theirs").value == "theirs"
    # Our session has read the earlier messages of the router before the answer to this call.
    wamp.client.call("com.example.taken", "theirs")
    assert "com.example.taken was taken away by the router" in caplog.text
    assert wamp.client.registration_map == {}


def test_two_workers_share_the_calls(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    for name in ("one", "two"):
        _, wamp = join(wamp_router.url)
        wamp.callee("com.example.who")(lambda name=name: name)
    assert sorted(peer.call("com.example.who").value for _ in range(4)) == [
        "one",
        "one",
        "two",
        "two",
    ]


def test_two_apps_have_separate_sessions(
    make_app: t.Callable[..., Flask], wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    wamp = FlaskWAMP()
    apps = [make_app(name, WAMP_ROUTER_URL=wamp_router.url) for name in ("one", "two")]
    for app in apps:
        wamp.init_app(app)
        with app.app_context():
            g.wampy.register(lambda name=app.name: name, f"com.example.{app.name}")
            g.wampy.wait_until_joined(PATIENCE)
    sessions = set()
    for app in apps:
        assert peer.call(f"com.example.{app.name}").value == app.name
        with app.app_context():
            sessions.add(g.wampy.session_id)
    assert len(sessions) == 2
