"""Decorators: with and without parentheses, URIs, stacking, and marked functions."""

from __future__ import annotations

import queue
import threading
import typing as t

import pytest
from flask import Blueprint, Flask, current_app

from flask_wamp import FlaskWAMP, InvalidURI, callee, subscriber
from flask_wamp.protocol import messages as m
from tests.app import marked
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter

MakeApp = t.Callable[..., Flask]


def add(a: int, b: int = 1) -> int:
    return a + b


# URIs.


@pytest.mark.parametrize(
    ("decorate", "uri"),
    [
        (lambda wamp: wamp.callee(add), "com.example.add"),
        (lambda wamp: wamp.callee()(add), "com.example.add"),
        (lambda wamp: wamp.callee(".sum")(add), "com.example.sum"),
        (lambda wamp: wamp.callee(".math.sum")(add), "com.example.math.sum"),
        (lambda wamp: wamp.callee("math.sum")(add), "math.sum"),
        (lambda wamp: wamp.callee(uri=".sum")(add), "com.example.sum"),
        (lambda wamp: wamp.callee(invoke="single")(add), "com.example.add"),
        (lambda wamp: wamp.callee(".f")(lambda a, b=1: a + b), "com.example.f"),
    ],
)
def test_uri_of_a_procedure(serve: Serve, router: MemoryRouter, decorate: t.Any, uri: str) -> None:
    serve(decorate)
    assert router.procedures == {uri}
    assert router.call(uri, 1, b=2) == 3


@pytest.mark.parametrize(
    ("decorate", "topic"),
    [
        (lambda wamp, f: wamp.subscriber(f), "com.example.on_news"),
        (lambda wamp, f: wamp.subscriber()(f), "com.example.on_news"),
        (lambda wamp, f: wamp.subscriber(".news")(f), "com.example.news"),
        (lambda wamp, f: wamp.subscriber(topic="org.news")(f), "org.news"),
        (lambda wamp, f: wamp.consume(topic="org.news")(f), "org.news"),
        (lambda wamp, f: wamp.consume(f), "com.example.on_news"),
    ],
)
def test_topic_of_a_subscriber(
    serve: Serve, router: MemoryRouter, decorate: t.Any, topic: str
) -> None:
    came = threading.Event()

    def on_news(text: str) -> None:
        assert text == "hello"
        came.set()

    serve(lambda wamp: decorate(wamp, on_news))
    assert router.topics == {topic}
    router.publish(topic, "hello")
    assert came.wait(TIMEOUT)


def test_uris_without_a_prefix(serve: Serve, router: MemoryRouter, make_app: MakeApp) -> None:
    app = make_app()
    app.config["WAMP_URI_PREFIX"] = None
    wamp = FlaskWAMP(app)
    wamp.callee(add)
    wamp.callee(".math.add")(add)
    wamp.start()
    wamp.client.wait_until_joined(10)
    assert router.procedures == {"add", "math.add"}


@pytest.mark.parametrize("uri", ["com..x", "com.x ", "#", ".", "", "com.x."])
def test_invalid_uri_is_refused_when_decorating(make_app: MakeApp, uri: str) -> None:
    wamp = FlaskWAMP(make_app())
    for decorator, what in ((wamp.callee, "procedure"), (wamp.subscriber, "topic")):
        with pytest.raises(InvalidURI, match=f"is not a valid {what}"):
            decorator(uri)(add)


def test_invalid_uri_before_init_app_is_refused_there(make_app: MakeApp) -> None:
    wamp = FlaskWAMP()
    wamp.callee("com..x")(add)
    with pytest.raises(InvalidURI):
        wamp.init_app(make_app())


def test_function_without_a_name_needs_a_uri(make_app: MakeApp) -> None:
    wamp = FlaskWAMP(make_app())
    with pytest.raises(ValueError, match="has no name of its own; give a URI"):
        wamp.callee(lambda: None)


@pytest.mark.parametrize("thing", [1, "text", None, Flask])
def test_only_functions_are_decorated(make_app: MakeApp, thing: t.Any) -> None:
    wamp = FlaskWAMP(make_app())
    with pytest.raises(TypeError, match="only functions can be decorated"):
        wamp.callee(".x")(thing)


# Options.


def test_options_on_the_wire(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".a")(add)
        options = {"match": "prefix", "invoke": "last"}
        wamp.callee(".b", concurrency=2, timeout=3, validate=False, **options)(add)
        wamp.subscriber(".c")(add)
        wamp.subscriber(".d", match="wildcard", concurrency=2)(add)
        wamp.subscriber(".e", get_retained=True)(add)

    serve(setup)
    assert [message.options for message in router.sent(m.Register)] == [
        {"invoke": "roundrobin"},
        {"match": "prefix", "invoke": "last"},
    ]
    assert [message.options for message in router.sent(m.Subscribe)] == [
        {},
        {"match": "wildcard"},
        {"get_retained": True},
    ]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"match": "regex"}, "match='regex' must be one of 'exact', 'prefix', 'wildcard'"),
        ({"invoke": "load"}, "invoke='load' must be one of 'single'"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"concurrency": 1.5}, "concurrency=1.5"),
        ({"concurrency": True}, "concurrency=True"),
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": -1}, "timeout=-1"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"timeout": "1"}, "timeout='1'"),
    ],
)
def test_wrong_option_of_a_callee(options: dict[str, t.Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        FlaskWAMP().callee(**options)(add)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"match": "exactly"}, "match='exactly'"),
        ({"concurrency": -1}, "concurrency=-1"),
        ({"delivery": "some"}, "delivery='some' must be one of 'every', 'one'"),
    ],
)
def test_wrong_option_of_a_subscriber(options: dict[str, t.Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        FlaskWAMP().subscriber(**options)(add)


@pytest.mark.parametrize("name", ["invok", "topic"])
def test_unknown_option(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        FlaskWAMP().callee(**{name: 1})(add)


# Stacking.


@pytest.mark.parametrize("route_on_top", [True, False])
def test_with_a_route(serve: Serve, router: MemoryRouter, route_on_top: bool) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        app = next(iter(wamp._apps))
        decorators = [app.get("/add/<int:a>/<int:b>"), wamp.callee]

        def add(a: int, b: int = 1) -> dict[str, int]:
            return {"sum": a + b}

        for decorate in reversed(decorators) if route_on_top else decorators:
            add = decorate(add)

    app, _ = serve(setup)
    assert app.test_client().get("/add/1/2").get_json() == {"sum": 3}
    assert router.call("com.example.add", 1, b=5) == {"sum": 6}


def test_two_decorators_make_two_registrations(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(wamp.callee(".plus")(wamp.subscriber(".plus")(add)))

    serve(setup)
    assert router.procedures == {"com.example.add", "com.example.plus"}
    assert router.topics == {"com.example.plus"}
    assert router.call("com.example.plus", 1) == router.call("com.example.add", 1) == 2


def test_one_uri_with_two_matches(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".x", match="prefix")(add)
        wamp.callee(".x", match="wildcard")(add)

    serve(setup)
    assert len(router.sent(m.Register)) == 2


WHEN = ["before init_app", "after init_app", "joined"]


@pytest.mark.parametrize("when", WHEN)
def test_duplicate_names_both_functions(router: MemoryRouter, make_app: MakeApp, when: str) -> None:
    def first() -> None: ...
    def second() -> None: ...

    wamp = FlaskWAMP() if when == "before init_app" else FlaskWAMP(make_app())
    wamp.callee(".same")(first)
    if when == "joined":
        wamp.start()
        wamp.client.wait_until_joined(10)
    with pytest.raises(ValueError, match=r"com\.example\.same") as info:
        wamp.callee("com.example.same")(second)
        wamp.init_app(make_app())
    assert f"{__name__}.test_duplicate_names_both_functions.<locals>.first" in str(info.value)
    assert ".second" in str(info.value)


# Several handlers of a topic.


@pytest.mark.parametrize("when", WHEN)
def test_two_subscribers_of_a_topic_share_a_subscription(
    router: MemoryRouter, make_app: MakeApp, when: str
) -> None:
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()
    wamp = FlaskWAMP() if when == "before init_app" else FlaskWAMP(make_app())
    wamp.subscriber(".same")(lambda text: seen.put(f"first {text}"))
    if when == "joined":
        wamp.start()
        wamp.client.wait_until_joined(10)
    wamp.subscriber("com.example.same", concurrency=2)(lambda text: seen.put(f"second {text}"))
    if when == "before init_app":
        wamp.init_app(make_app())
    wamp.start()
    wamp.client.wait_until_joined(10)
    assert [message.topic for message in router.sent(m.Subscribe)] == ["com.example.same"]
    for text in ("a", "b"):
        router.publish("com.example.same", text)
    assert {seen.get(timeout=TIMEOUT) for _ in range(4)} == {
        f"{which} {text}" for which in ("first", "second") for text in "ab"
    }


def test_subscriber_does_not_wait_for_another_of_its_topic(
    serve: Serve, router: MemoryRouter
) -> None:
    gate, came = threading.Event(), threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        wamp.subscriber(".same")(lambda: gate.wait(TIMEOUT))
        wamp.subscriber(".same")(came.set)

    serve(setup)
    router.publish("com.example.same")
    assert came.wait(TIMEOUT)
    gate.set()


def test_subscriber_that_fails_leaves_the_others_alone(serve: Serve, router: MemoryRouter) -> None:
    came = threading.Event()

    def fail() -> None:
        raise KeyError

    def setup(wamp: FlaskWAMP) -> None:
        wamp.subscriber(".same")(fail)
        wamp.subscriber(".same")(came.set)

    serve(setup)
    router.publish("com.example.same")
    assert came.wait(TIMEOUT)


def test_only_subscribers_with_get_retained_get_the_retained_event(
    serve: Serve, router: MemoryRouter
) -> None:
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()

    def setup(wamp: FlaskWAMP) -> None:
        wamp.subscriber(".same")(lambda text: seen.put(f"plain {text}"))
        wamp.subscriber(".same", get_retained=True)(lambda text: seen.put(f"retained {text}"))

    _, wamp = serve(setup)
    [subscribe] = router.sent(m.Subscribe)
    assert subscribe.options == {"get_retained": True}
    id_ = wamp.client.subscription_map["com.example.same"]
    router.send(m.Event(id_, 1, {"retained": True}, ["old"], {}))
    assert seen.get(timeout=TIMEOUT) == "retained old"
    router.send(m.Event(id_, 2, {}, ["new"], {}))
    assert {seen.get(timeout=TIMEOUT) for _ in range(2)} == {"plain new", "retained new"}
    assert seen.empty()


def test_subscribers_of_a_topic_after_a_lost_session(serve: Serve, router: MemoryRouter) -> None:
    seen: queue.SimpleQueue[int] = queue.SimpleQueue()

    def setup(wamp: FlaskWAMP) -> None:
        wamp.subscriber(".same")(lambda: seen.put(1))
        wamp.subscriber(".same")(lambda: seen.put(2))

    _, wamp = serve(setup)
    session_id = wamp.client.session_id
    router.drop()
    eventually(lambda: wamp.client.session_id not in (None, session_id))
    wamp.client.wait_until_joined(10)
    router.publish("com.example.same")
    assert {seen.get(timeout=TIMEOUT) for _ in range(2)} == {1, 2}


def test_subscriber_that_is_declared_twice(make_app: MakeApp) -> None:
    wamp = FlaskWAMP(make_app())
    wamp.subscriber(".same")(add)
    place = rf"by {__name__}.add \({__file__}:\d+\)"
    with pytest.raises(ValueError, match=rf"is declared twice: {place} and {place}$"):
        wamp.subscriber("com.example.same")(add)
    with pytest.raises(ValueError, match="is declared twice"):
        wamp.subscriber(".same", delivery="one")(lambda: None)


def test_subscribers_at_run_time(serve: Serve, router: MemoryRouter) -> None:
    seen: queue.SimpleQueue[int] = queue.SimpleQueue()
    client = serve(lambda wamp: wamp.subscriber(".same")(lambda: seen.put(1)))[1].client
    client.subscribe(lambda: seen.put(2), "com.example.same")
    router.publish("com.example.same")
    assert {seen.get(timeout=TIMEOUT) for _ in range(2)} == {1, 2}
    client.unsubscribe("com.example.same")
    assert router.topics == set()


# Registering while joined.


def test_decorating_while_joined_registers_at_once(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve()
    wamp.callee(".late")(add)
    assert router.call("com.example.late", 1) == 2
    came = threading.Event()
    wamp.subscriber(".late")(lambda: came.set())
    router.publish("com.example.late")
    assert came.wait(TIMEOUT)


def test_refusal_while_joined_is_logged(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    router.refuse("com.example.add")
    _, wamp = serve()
    wamp.callee(add)
    assert "com.example.add was refused: wamp.error.not_authorized: 'not today'" in caplog.text


# The free decorators.


def test_marked_views_are_found_at_the_start(router: MemoryRouter, make_app: MakeApp) -> None:
    app = make_app()
    wamp = FlaskWAMP(app)
    blueprint = Blueprint("blueprint", __name__, url_prefix="/blueprint")

    @app.get("/view")
    @callee
    def view() -> str:
        return current_app.name

    @blueprint.get("/deep")
    @callee(".blueprint.deep")
    @subscriber(".deep")
    def deep() -> str:
        return "deep"

    app.register_blueprint(blueprint)
    wamp.start()
    wamp.client.wait_until_joined(10)
    assert router.procedures == {"com.example.view", "com.example.blueprint.deep"}
    assert router.topics == {"com.example.deep"}
    assert router.call("com.example.blueprint.deep") == "deep"
    assert app.test_client().get("/blueprint/deep").text == "deep"


def test_marked_views_are_found_once(router: MemoryRouter, make_app: MakeApp) -> None:
    app = make_app()
    wamp = FlaskWAMP(app)
    app.add_url_rule("/a", "a", callee(add))
    app.add_url_rule("/b", "b", app.view_functions["a"])
    for _ in range(2):
        wamp.start()
        wamp.client.wait_until_joined(10)
        assert router.procedures == {"com.example.add"}
        wamp.stop()


def test_module_is_included(serve: Serve, router: MemoryRouter) -> None:
    serve(lambda wamp: wamp.include(marked))
    assert router.procedures == {"com.example.free", "com.example.twice", "com.other.twice"}
    assert router.topics == {"com.example.news"}
    assert router.call("com.other.twice", 4) == 8


def test_function_is_included(serve: Serve, router: MemoryRouter) -> None:
    serve(lambda wamp: wamp.include(marked.free))
    assert router.procedures == {"com.example.free"}


class Counter:
    def __init__(self, start: int) -> None:
        self.value = start

    @callee(".counter.add")
    def add(self, amount: int = 1) -> int:
        self.value += amount
        return self.value

    @callee
    @staticmethod
    def static(x: int) -> int:
        return x

    @property
    def trap(self) -> t.NoReturn:
        raise AssertionError("looking for marks ran a property")


def test_methods_of_an_object_are_included(serve: Serve, router: MemoryRouter) -> None:
    counter = Counter(10)

    def setup(wamp: FlaskWAMP) -> None:
        assert wamp.include(counter) is counter

    serve(setup)
    assert router.call("com.example.counter.add", 5) == 15
    assert router.call("com.example.counter.add") == counter.value == 16


def test_including_nothing_says_what_to_do(make_app: MakeApp) -> None:
    wamp = FlaskWAMP(make_app())
    for thing in (marked.unmarked, object(), threading):
        with pytest.raises(ValueError, match=r"Decorate its functions with flask_wamp\.callee"):
            wamp.include(thing)


def test_marking_something_twice_for_two_apps(router: MemoryRouter, make_app: MakeApp) -> None:
    one, two = FlaskWAMP(make_app("one")), FlaskWAMP(make_app("two"))
    for wamp in (one, two):
        wamp.include(marked.free)
        wamp.start()
        wamp.client.wait_until_joined(10)
    assert {router.call("com.example.free", 1) for _ in range(2)} == {2}
