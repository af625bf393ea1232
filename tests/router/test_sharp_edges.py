"""Messages that Crossbar answers by closing the session, or never: they are not sent, or do no harm.

Source of most: tried with Crossbar 26.10.1.
"""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import logging
import math
import queue
import threading
import types
import typing as t

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_wamp import (
    ApplicationError,
    CallTimeout,
    FlaskWAMP,
    InvalidURI,
    SessionLost,
    WAMPError,
    invocation,
)
from flask_wamp.client.client import Client
from flask_wamp.peer.declarations import ActiveMessage, Outcome, Registration, Success
from flask_wamp.protocol import session_events
from flask_wamp.protocol.session import Session
from flask_wamp.protocol.uris import MATCHES
from flask_wamp.signals import session_lost
from tests.conftest import eventually
from tests.support.peers import PATIENCE, AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]

ECHO = "com.other.echo"


@pytest.fixture(params=["ws-json", "ws-msgpack", "tcp-msgpack", "tcp-cbor"])
def wamp(request: pytest.FixtureRequest, join: Join, wamp_router: DevRouter) -> FlaskWAMP:
    """An extension that has joined, over each transport and with each serializer."""
    transport, _, serializer = request.param.partition("-")
    url = wamp_router.url if transport == "ws" else wamp_router.rawsocket_url
    return join(url, WAMP_SERIALIZERS=[serializer])[1]


@pytest.fixture
def client(wamp: FlaskWAMP) -> Client:
    """Its client."""
    return wamp.client


@pytest.fixture
def other(join: Join, wamp_router: DevRouter) -> Client:
    """Another app's client with an echo procedure for any keyword, which autobahn does not support."""
    client = join(wamp_router.rawsocket_url, WAMP_SERIALIZERS=["cbor"])[1].client
    client.register(lambda *args, **kwargs: [args, kwargs], ECHO, validate=False)
    return client


@contextlib.contextmanager
def unharmed(client: Client) -> t.Iterator[None]:
    """Check that the session is the same afterwards, and works."""
    session_id = client.session_id
    assert session_id is not None
    yield
    # The router handles this after all earlier messages, and could not if it had ended the session.
    assert client.call(ECHO, 1) == [[1], {}]
    assert client.session_id == session_id


# URIs.

BAD_URIS: list[t.Any] = [
    "",
    "#",
    " ",
    "com.exa#mple",
    "com.exa mple",
    "com.example\n",
    "com.exa\u2003mple",
    "com.exa\x1cmple",
    "\0",
    "\0Y29tLng=",
    "com.\0.x",
    "com.\ud800",
]

BAD_EXACT: list[t.Any] = ["com..x", ".com", "com.", ".", None, 5, b"com.x", ["com.x"], {}]


@pytest.mark.parametrize("form", ["call", "submit", "publish", "acknowledged", "wampy"])
def test_a_bad_uri_is_not_sent(client: Client, other: Client, form: str) -> None:
    for uri in [*BAD_URIS, *BAD_EXACT]:
        if uri == ".com" and form != "wampy":
            continue  # below the prefix
        with unharmed(client), pytest.raises(ValueError) as raised:
            use(client, form)(uri)
        assert isinstance(raised.value, InvalidURI) or form == "wampy", uri


def use(client: Client, form: str) -> t.Callable[[t.Any], t.Any]:
    if form == "wampy":
        return lambda uri: client.send_message(types.SimpleNamespace(message=[48, 1, {}, uri]))
    if form == "acknowledged":
        return client.with_options(acknowledge=True).publish
    return t.cast("t.Callable[[t.Any], t.Any]", getattr(client, form))


@pytest.mark.parametrize("match", MATCHES)
def test_a_bad_uri_is_not_declared(client: Client, other: Client, match: str) -> None:
    with unharmed(client):
        for uri in BAD_URIS + [uri for uri in BAD_EXACT if match == "exact" and uri != ".com"]:
            for declare in (client.register, client.subscribe):
                with pytest.raises((ValueError, TypeError)):
                    declare(lambda: None, uri, match=match)
        assert client.declarations == []


#: Unusual URIs that may be sent, by match.
STRANGE_URIS: list[tuple[str, str]] = [
    ("com.\U0001f600.\u200b", "exact"),
    ("com.*?,;:/\\'\"<>", "exact"),
    ("com.\x01\x7f", "exact"),
    ("com." + "x" * 100_000, "exact"),
    ("wamp.session.count", "exact"),
    ("wamp.error.x", "exact"),
    ("wamp", "exact"),
    ("WAMP.x", "exact"),
    ("crossbar.x", "exact"),
    ("wamp.", "prefix"),
    ("com.strange.", "prefix"),
    ("com", "prefix"),
    ("com.strange..x", "wildcard"),
    ("wamp..x", "wildcard"),
]


def test_a_strange_uri_is_answered(client: Client, other: Client) -> None:
    """The router answers with an error at most, as for reserved URIs."""
    client.register(lambda: None, "com.strange.x")
    for uri, match in STRANGE_URIS:
        with unharmed(client):
            ask_for(client, uri, match)


def ask_for(client: Client, uri: str, match: str) -> None:
    if match == "exact":
        client.publish(uri)
        for ask in (client.call, client.with_options(acknowledge=True).publish):
            with contextlib.suppress(ApplicationError):
                ask(uri, 1)
    if "<" in uri:  # which names a part, where something is declared
        return
    with contextlib.suppress(ApplicationError):
        client.register(lambda: None, uri, match=match, validate=False)
        client.unregister(uri, match)
    with contextlib.suppress(ApplicationError):
        client.subscribe(lambda *args: None, uri, match=match, validate=False)
        client.unsubscribe(uri, match)


def test_the_router_refuses_reserved_uris(client: Client, other: Client) -> None:
    with unharmed(client):
        with pytest.raises(ApplicationError, match=r"wamp\.error\.invalid_uri"):
            client.register(lambda: None, "wamp.mine")
        with pytest.raises(ApplicationError, match=r"wamp\.error\.invalid_uri"):
            client.with_options(acknowledge=True).publish("wamp.mine")
        assert client.publish("wamp.mine") is None


# Options.

BAD_DECLARING: list[dict[str, t.Any]] = [
    {"match": "regex"},
    {"match": ["exact"]},
    {"invoke": "load"},
    {"invoke": "partitioned"},
    {"invoke": 5},
    {"concurrency": 0},
    {"concurrency": -1},
    {"concurrency": "5"},
    {"concurrency": True},
    {"timeout": -1},
    {"timeout": "5"},
    {"timeout": math.nan},
    {"unknown": 1},
    {"get_retained": 1},
    {"get_retained": None},
    {"force_reregister": "yes"},
    {"request_context": "yes"},
    {"validate": 1},
]


def test_bad_options_of_declarations(wamp: FlaskWAMP, client: Client, other: Client) -> None:
    for options in BAD_DECLARING:
        (name,) = options
        with unharmed(client):
            for declare in (client.register, client.subscribe):
                with pytest.raises((TypeError, ValueError), match=name):
                    declare(lambda: None, "com.example.x", **options)
            with pytest.raises((TypeError, ValueError), match=name):
                wamp.callee("com.example.x", **options)(lambda: None)
            with pytest.raises((TypeError, ValueError), match=name):
                wamp.subscriber("com.example.x", **options)(lambda: None)
        assert client.declarations == []


def test_bad_messages_of_wampy(client: Client, other: Client) -> None:
    for message in (
        [1, "realm1", {}],
        [6, {}, "wamp.close.normal"],
        [64, 1, {"match": "regex"}, "com.example.x"],
        [70, 1, {}],
        [48, 1, {"cancel_mode": "skip"}, ECHO],
        [16, 1, {"exclude": ["x"]}, "com.example.x"],
        [16, 1, {"retain": "yes"}, "com.example.x"],
        [48, 1, {}, ECHO, [math.nan]],
        [16, 1, {}, "com.example.x", [], {"a": {1: 2}}],
    ):
        with unharmed(client), pytest.raises((TypeError, WAMPError)):
            client.send_message(types.SimpleNamespace(message=message))


def test_options_of_publish_that_are_not_a_dictionary(client: Client, other: Client) -> None:
    with unharmed(client), pytest.raises(TypeError, match="must be a dictionary"):
        client.publish(topic="com.example.x", options=5)


# Declaring.


def test_declaring_twice(client: Client, other: Client) -> None:
    with unharmed(client):
        for match in MATCHES:
            client.register(lambda: None, "com.example.twice", match=match)
            client.subscribe(lambda: None, "com.example.twice", match=match)
        for match in MATCHES:
            with pytest.raises(ValueError, match="declared twice"):
                client.register(lambda: None, "com.example.twice", match=match)
            client.subscribe(lambda: None, "com.example.twice", match=match)  # both get events
        for match in MATCHES:
            client.unregister("com.example.twice", match)
            client.unsubscribe("com.example.twice", match)


# Payloads.


def deep(levels: int) -> t.Any:
    value: t.Any = 1
    for _ in range(levels):
        value = [value]
    return value


#: Values that come back unchanged. In JSON, strings that begin with NUL are bytes.
STRANGE: dict[str, t.Any] = {
    "largest": 2**64 - 1,
    "smallest": -(2**63),
    "beyond 53 bits": 2**53 + 1,
    "minus zero": -0.0,
    "tiny": 5e-324,
    "huge": 1.7e308,
    "deep": deep(98),
    "empty key": {"": {"": []}},
    "NUL inside": "a\0b",
    "other planes": "\U0001f600\u2028\ufeff",
    "controls": "\x01\x1f\x7f",
    "bytes": b"\0\xff",
    "no bytes": b"",
    "none": None,
}


def test_a_strange_payload_everywhere(wamp: FlaskWAMP, client: Client, other: Client) -> None:
    seen: queue.SimpleQueue[t.Any] = queue.SimpleQueue()

    @wamp.callee("com.example.give", validate=False)
    def give(given: t.Any) -> t.Any:
        return given

    @wamp.callee("com.example.fail", validate=False)
    def fail(given: t.Any) -> None:
        raise ApplicationError("com.example.error.x", given, given=given)

    @wamp.callee("com.example.yield", validate=False)
    def generate(given: t.Any) -> t.Any:
        yield given
        yield given

    wamp.subscriber("com.example.news", validate=False)(lambda given: seen.put(given))
    for value in STRANGE.values():
        with unharmed(client):
            assert client.call(ECHO, value, a=value) == [[value], {"a": value}]
            assert other.call("com.example.give", value) == value
            assert other.call("com.example.yield", value) == [value, value]
            with pytest.raises(ApplicationError) as raised:
                other.call("com.example.fail", value)
            assert (raised.value.args, raised.value.kwargs) == ((value,), {"given": value})
            other.publish("com.example.news", value)
            assert seen.get(timeout=PATIENCE) == value


def test_keywords_of_any_name(wamp: FlaskWAMP, client: Client, other: Client) -> None:
    seen: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
    wamp.callee("com.example.give", validate=False)(lambda *a, **k: [a, k])
    wamp.subscriber("com.example.news", validate=False)(lambda *a, **k: seen.put([a, k]))
    for name in ("self", "uri", "procedure", "topic", "options", "work", "", "a b"):
        kwargs = {name: 1}
        with unharmed(client):
            assert client.call(ECHO, **kwargs) == [[], kwargs]
            assert client.rpc.com.other.echo(**kwargs) == [[], kwargs]
            assert client.submit(ECHO, **kwargs).result(PATIENCE) == [[], kwargs]
            assert other.call("com.example.give", **kwargs) == [[], kwargs]
            client.with_options(exclude_me=False).publish("com.example.news", **kwargs)
            assert seen.get(timeout=PATIENCE) == [(), kwargs]


BAD: list[t.Any] = [{1: 1}, math.nan, math.inf, 2**64, "\ud800", {"\udfff": 1}, object(), deep(900)]


def test_progress_that_cannot_be_sent(
    wamp: FlaskWAMP, client: Client, peer: AutobahnPeer, other: Client
) -> None:
    raised: queue.SimpleQueue[Exception] = queue.SimpleQueue()
    bad: t.Any = None

    @wamp.callee("com.example.yield")
    def generate() -> t.Any:
        yield 1
        yield bad

    @wamp.callee("com.example.progress")
    def progress() -> None:
        try:
            invocation.progress(bad)
        except WAMPError as error:
            raised.put(error)

    for bad in BAD:  # noqa: B007
        with unharmed(client):
            call = peer.submit("com.example.yield", progress=True)
            assert call.progress() == 1
            with pytest.raises(Exception, match="runtime_error"):
                call.wait()
            call = peer.submit("com.example.progress", progress=True)
            call.wait()
            assert call.is_quiet()
            raised.get(timeout=PATIENCE)


def raw_publish(client: Client, topic: str, args: list[t.Any], kwargs: t.Any) -> None:
    """Publish values that our client refuses."""
    assert client.peer is not None
    connection = client.peer.connection
    assert connection is not None
    connection.ask(Session.publish, topic, args, kwargs, {})


RAW: dict[str, tuple[list[t.Any], t.Any]] = {
    "integer keys": ([{1: 2}], {}),
    "integer keywords": ([], {1: 2}),
    "nan": ([math.nan], {"a": {"b": [math.inf, -math.inf]}}),
    "date": ([dt.datetime.now(dt.timezone.utc)], {}),
    "set": ([{1, 2}], {}),
    "bignum": ([2**200], {}),
    "no bytes": (["\0no Base64"], {"\0YWJj": 1}),
    "deep": ([deep(600)], {}),
}


@pytest.mark.parametrize("serializer", ["msgpack", "cbor"])
def test_unusual_payloads_of_other_peers_do_no_harm(
    wamp: FlaskWAMP,
    client: Client,
    other: Client,
    join: Join,
    wamp_router: DevRouter,
    serializer: str,
) -> None:
    seen: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
    wamp.subscriber("com.example.news", validate=False)(lambda *args, **kwargs: seen.put(args))
    hostile = join(wamp_router.rawsocket_url, WAMP_SERIALIZERS=[serializer])[1].client
    for args, kwargs in RAW.values():
        hostile.wait_until_joined(PATIENCE)
        with unharmed(client):
            with contextlib.suppress(WAMPError):  # they may lose their own session for it
                raw_publish(hostile, "com.example.news", args, kwargs)
                hostile.call(ECHO)
            other.publish("com.example.news", "the last")
            while seen.get(timeout=PATIENCE) != ("the last",):
                pass


def test_nan_of_another_peer_is_an_ordinary_argument(
    wamp: FlaskWAMP, client: Client, other: Client, on_crossbar: bool
) -> None:
    # JSON has no NaN. Crossbar sends one anyway, which a browser cannot decode. The built-in router
    # drops the event.
    is_dropped = client.settings.serializers == ["json"] and not on_crossbar
    seen: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
    wamp.subscriber("com.example.news", validate=False)(lambda value: seen.put(value))
    with unharmed(client):
        raw_publish(other, "com.example.news", [[math.nan, math.inf, b"abc"]], {})
        other.publish("com.example.news", "the last")
        if not is_dropped:
            assert repr(seen.get(timeout=PATIENCE)) == "[nan, inf, b'abc']"
        assert seen.get(timeout=PATIENCE) == "the last"


# Answers that come late, or never.


@pytest.fixture
def stubborn(
    monkeypatch: pytest.MonkeyPatch, join: Join, wamp_router: DevRouter
) -> tuple[Client, threading.Event]:
    """A callee without INTERRUPT, for which Crossbar does not answer CANCEL."""
    roles = copy.deepcopy(session_events.ROLES)
    del roles["callee"]["features"]["call_canceling"]
    release = threading.Event()

    def hold() -> str:
        release.wait(PATIENCE)
        return "late"

    with monkeypatch.context() as patch:
        patch.setattr("flask_wamp.protocol.session.ROLES", roles)
        client = join(wamp_router.rawsocket_url)[1].client
    client.register(hold, "com.stubborn.hold")
    return client, release


def test_the_late_answer_of_a_timed_out_call_is_dropped(
    client: Client,
    other: Client,
    stubborn: tuple[Client, threading.Event],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "flask_wamp")
    callee, release = stubborn
    with unharmed(client), unharmed(callee):
        with pytest.raises(CallTimeout):
            client.with_options(timeout=0.2).call("com.stubborn.hold")
        futures = [client.submit("com.stubborn.hold") for _ in range(3)]
        assert all(future.cancel() for future in futures)
        release.set()
        eventually(lambda: not callee.pool.running)
    said = [r.getMessage() for r in caplog.records if "nobody waits for it" in r.getMessage()]
    assert all(r.levelno == logging.DEBUG for r in caplog.records if r.getMessage() in said)
    assert all("request_id=" in each for each in said)


def test_a_result_that_the_router_cannot_forward(client: Client, other: Client) -> None:
    """Crossbar drops a CBOR date for a caller that has another serializer; with CBOR, we refuse it."""

    def give(work: ActiveMessage) -> Outcome:
        return Success([dt.datetime.now(dt.timezone.utc)])

    other.declare(Registration("com.other.date", give))
    with unharmed(client), unharmed(other), pytest.raises((CallTimeout, ApplicationError)) as info:
        client.with_options(timeout=0.3).call("com.other.date")
    assert getattr(info.value, "uri", None) in (None, "wamp.error.invalid_argument")


def test_answers_that_cross_a_cancel(
    wamp: FlaskWAMP, client: Client, other: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """YIELD after INTERRUPT, RESULT after CANCEL: either may be faster."""
    wamp.callee("com.example.give")(lambda number: number)
    for caller, procedure in ((other, "com.example.give"), (client, ECHO)):
        with unharmed(client), unharmed(other):
            for mode in ("kill", "killnowait"):
                calling = caller.with_options(cancel_mode=mode)
                futures = [calling.submit(procedure, number) for number in range(100)]
                for future in futures[::2]:
                    future.cancel()
                assert len([f.result(PATIENCE) for f in futures[1::2]]) == 50


# Sessions that the router ends.

KILLS: dict[str, t.Callable[[AutobahnPeer, dict[str, t.Any]], object]] = {
    "kill": lambda peer, us: peer.call("wamp.session.kill", us["session"]),
    "kill with a reason": lambda peer, us: peer.call(
        "wamp.session.kill", us["session"], reason="com.example.kicked", message="go away"
    ),
    "kill_by_authid": lambda peer, us: peer.call("wamp.session.kill_by_authid", us["authid"]),
}


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
def test_a_killed_session_is_restored_completely(
    wamp: FlaskWAMP,
    client: Client,
    peer: AutobahnPeer,
    caplog: pytest.LogCaptureFixture,
    kill: t.Callable[[AutobahnPeer, dict[str, t.Any]], object],
) -> None:
    seen: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
    lost: queue.SimpleQueue[dict[str, t.Any]] = queue.SimpleQueue()
    wamp.callee("com.example.here")(lambda: "here")
    wamp.callee("com.example.all", match="prefix", invoke="single")(lambda: "all")
    wamp.subscriber("com.example.news")(lambda text: seen.put(text))
    held = peer.register("com.shop.hold", "hold")
    waiting = client.submit("com.shop.hold")
    held.next()
    old = client.session_id
    us = peer.call("wamp.session.get", old).value

    def on_lost(sender: Flask, **payload: t.Any) -> None:
        lost.put(payload)

    with session_lost.connected_to(on_lost):
        kill(peer, us)
        with pytest.raises(SessionLost, match="the router ended the session"):
            waiting.result(PATIENCE)
        payload = lost.get(timeout=PATIENCE)
    assert (payload["session_id"], payload["unanswered"]) == (old, 1)
    eventually(lambda: client.session_id not in (None, old), PATIENCE)
    client.wait_until_joined(PATIENCE)
    assert peer.call("com.example.here").value == "here"
    assert peer.call("com.example.all.of.it").value == "all"
    peer.publish("com.example.news", "again")
    assert seen.get(timeout=PATIENCE) == "again"
    assert lost.empty()
    health = wamp.health()
    assert (health["reconnects"], health["procedures"]["registered"]) == (1, 2)
    if kill is KILLS["kill with a reason"]:
        assert "com.example.kicked: go away" in caplog.text


# Any payload.

TEXTS = st.text(st.characters(), max_size=5) | st.sampled_from(["\0", "\0YWJj", "\ud800", "a"])
VALUES: st.SearchStrategy[t.Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | TEXTS
    | st.binary(max_size=4)
    | st.datetimes()
    | st.decimals()
    | st.uuids()
    | st.builds(object),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(TEXTS | st.integers() | st.none(), values, max_size=3)
        | st.sets(st.integers(), max_size=2)
        | st.tuples(values)
    ),
    max_leaves=6,
)
URIS = (
    st.lists(st.sampled_from(["com", "any", "", "x", " ", "#", "\0", "\ud800", "ü", "wamp"]))
    .map(".".join)
    .filter(lambda uri: not uri.startswith("com.other"))
) | TEXTS
NAMES = ("acknowledge", "exclude", "exclude_me", "exclude_authid", "eligible", "retain")
NAMES += ("disclose_me", "eligible_authrole", "cancel_mode", "unknown")
OPTIONS = st.dictionaries(
    st.sampled_from(NAMES),
    VALUES | st.lists(TEXTS | st.integers(-1, 2**53), max_size=2) | st.booleans(),
    max_size=2,
)
DECLARING = st.fixed_dictionaries(
    {},
    optional={
        "match": st.sampled_from([*MATCHES, "x", None]),
        "validate": st.booleans(),
        "concurrency": st.integers(-1, 2),
        "force_reregister": st.booleans(),
        "get_retained": st.booleans(),
    },
)
ALLOWED = (WAMPError, TypeError, ValueError)


@pytest.mark.slow
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_any_payload(wamp: FlaskWAMP, client: Client, other: Client, data: st.DataObject) -> None:
    given_value: list[t.Any] = wamp.__dict__.setdefault("_given_in_test", [])
    if not given_value:
        given_value.append(None)
        declare_mirrors(wamp, given_value)
    uri, args = data.draw(URIS), data.draw(st.lists(VALUES, max_size=2))
    kwargs = data.draw(st.dictionaries(TEXTS, VALUES, max_size=2))
    options, declaring = data.draw(OPTIONS), data.draw(DECLARING)
    with unharmed(client):
        with contextlib.suppress(*ALLOWED):
            client.with_options(**options).publish(uri, *args, **kwargs)
        with contextlib.suppress(*ALLOWED):
            client.with_options(acknowledge=True).publish(uri, *args, **kwargs)
        with contextlib.suppress(*ALLOWED):
            client.with_options(**options).call(uri, *args, **kwargs)
        with contextlib.suppress(*ALLOWED):
            client.call(ECHO, *args, **kwargs)
        with contextlib.suppress(*ALLOWED):
            client.register(lambda *a, **k: None, uri, **declaring)
            client.unregister(uri, declaring.get("match", "exact"))
        with contextlib.suppress(*ALLOWED):
            client.subscribe(lambda *a, **k: None, uri, **declaring)
            client.unsubscribe(uri, declaring.get("match", "exact"))
        given_value[0] = [uri, args, kwargs]
        for name in ("result", "error", "progress"):
            with contextlib.suppress(ApplicationError):
                other.call(f"com.example.mirror.{name}")


def declare_mirrors(wamp: FlaskWAMP, given_value: list[t.Any]) -> None:
    """Procedures that return their arguments."""

    @wamp.callee("com.example.mirror.result")
    def result() -> t.Any:
        return given_value[0]

    @wamp.callee("com.example.mirror.error")
    def error() -> None:
        uri, args, kwargs = given_value[0]
        raise ApplicationError(uri, *args, **kwargs)

    @wamp.callee("com.example.mirror.progress")
    def progress() -> t.Any:
        yield given_value[0]
