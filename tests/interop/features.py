"""What is tried with each peer: one function for each row of the table.

Each gets a :class:`Scene`: our app, the peer, and a URI prefix below which nothing is yet. It raises where
the feature does not work.
"""

from __future__ import annotations

import dataclasses
import threading
import time
import typing as t
from concurrent.futures import CancelledError

import pytest

from flask_wamp import ApplicationError, CallResult, CallTimeout, invocation
from flask_wamp.client import Client
from tests.support import peers

from .sides import Events, Ours

VALUES: list[t.Any] = [
    None,
    True,
    0,
    -1,
    2**53 - 1,
    1.5,
    -2.5e-7,
    "",
    'Grüße, 世界 🎉 \\ " \n \u0000',
    [],
    {},
    [[1, [2, {"three": [4]}]], {"five": None}],
    {"é": "ß", "": "empty", "nested": {"list": [1, "two", 3.5, None, False]}},
]
LARGE = [2**53 + 1, 2**63 - 1, -(2**63)]
BYTES = bytes(range(256))
MEGABYTE = "0123456789" * 100_000
ERROR: dict[str, t.Any] = {
    "uri": "com.interop.error.broken",
    "args": ["in half", 2],
    "kwargs": {"pieces": {"left": 1, "right": [2]}},
}
KEY = "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510"
PUBLIC_KEY = "1adfc8bfe1d35616e64dffbd900096f23b066f914c8c2ffbb66f6075b96e116d"


@dataclasses.dataclass(frozen=True)
class Scene:
    """One cell."""

    ours: Ours
    peer: peers.AutobahnPeer
    prefix: str

    @property
    def client(self) -> Client:
        """The app's, that waits as long as the cell does."""
        return self.ours.client.with_options(timeout=peers.patience())

    def uri(self, name: str) -> str:
        return f"{self.prefix}.{name}"


@dataclasses.dataclass(frozen=True)
class Feature:
    """A row of the table."""

    name: str
    section: str
    title: str
    run: t.Callable[[Scene], None]
    kills: bool = False
    """Whether the peer is gone afterwards."""
    once: bool = False
    """Whether one transport is enough: it takes a second."""
    authenticates: bool = False
    """Whether it needs a router with users."""


FEATURES: dict[str, Feature] = {}


def feature(section: str, title: str, **traits: bool) -> t.Any:
    """Make a row of a function."""

    def add(run: t.Callable[[Scene], None]) -> t.Callable[[Scene], None]:
        FEATURES[run.__name__] = Feature(run.__name__, section, title, run, **traits)
        return run

    return add


def error_of(f: t.Callable[[], t.Any]) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        f()
    return caught.value


def wait(event: threading.Event) -> None:
    assert event.wait(peers.patience()), "it did not happen in time"


def eventually(condition: t.Callable[[], t.Any]) -> None:
    deadline = time.monotonic() + peers.patience()
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        threading.Event().wait(0.01)


# The peer calls a handler of the app.

CALLS = "The peer calls the app"


def answers(scene: Scene, f: t.Callable[..., t.Any], *args: t.Any, **kwargs: t.Any) -> t.Any:
    """Register a handler, and have the peer call it."""
    scene.ours.callee(f, scene.uri("f"))
    return scene.peer.call(scene.uri("f"), *args, **kwargs)


def echoed(scene: Scene, value: t.Any) -> t.Any:
    """What comes back to the peer, after the handler has got the very same."""
    got: list[t.Any] = []

    def echo(value: t.Any) -> t.Any:
        got.append(value)
        return value

    scene.ours.callee(echo, scene.uri("echo"), validate=False)
    back = scene.peer.call(scene.uri("echo"), value).value
    assert got == [value]
    return back


@feature(CALLS, "positional arguments")
def calls_args(scene: Scene) -> None:
    assert answers(scene, lambda a, b: a - b, 5, 3).value == 2


@feature(CALLS, "keyword arguments")
def calls_kwargs(scene: Scene) -> None:
    def f(a: int, *, b: int = 0, c: str) -> list[t.Any]:
        return [a, b, c]

    assert answers(scene, f, 1, b=2, c="three").value == [1, 2, "three"]


@feature(CALLS, "no result")
def calls_none(scene: Scene) -> None:
    result = answers(scene, lambda: None)
    assert result.args in ([None], []), result
    assert result.kwargs == {}


@feature(CALLS, "several results, and results by keyword")
def calls_several(scene: Scene) -> None:
    result = answers(scene, lambda: CallResult(1, "two", three=3))
    assert (result.args, result.kwargs) == ([1, "two"], {"three": 3})


@feature(CALLS, "an error with arguments of both kinds")
def calls_error(scene: Scene) -> None:
    def f() -> None:
        raise ApplicationError(ERROR["uri"], *ERROR["args"], **ERROR["kwargs"])

    scene.ours.callee(f, scene.uri("f"))
    error = scene.peer.error(scene.uri("f"))
    assert (error.uri, list(error.args), error.kwargs) == tuple(ERROR.values())


@feature(CALLS, "an argument that fails validation")
def calls_invalid(scene: Scene) -> None:
    def f(count: int) -> None:
        raise AssertionError

    scene.ours.callee(f, scene.uri("f"))
    error = scene.peer.error(scene.uri("f"), "many")
    assert error.uri == "wamp.error.invalid_argument"
    assert error.kwargs["errors"][0]["loc"] == [0], error


@feature(CALLS, "a procedure that is not there")
def calls_unknown(scene: Scene) -> None:
    assert scene.peer.error(scene.uri("f")).uri == "wamp.error.no_such_procedure"


@feature(CALLS, "null, booleans, numbers, Unicode, nested lists and objects")
def calls_values(scene: Scene) -> None:
    assert echoed(scene, VALUES) == VALUES


@feature(CALLS, "integers of 64 bits")
def calls_large(scene: Scene) -> None:
    assert echoed(scene, LARGE) == LARGE


@feature(CALLS, "bytes")
def calls_bytes(scene: Scene) -> None:
    assert echoed(scene, BYTES) == BYTES


@feature(CALLS, "a payload of 1 MB")
def calls_megabyte(scene: Scene) -> None:
    assert echoed(scene, MEGABYTE) == MEGABYTE


def counting(n: int) -> t.Iterator[int]:
    yield from range(n)
    return "done"


@feature(CALLS, "progressive results, of a generator")
def calls_progress(scene: Scene) -> None:
    scene.ours.callee(counting, scene.uri("count"), validate=False)
    call = scene.peer.submit(scene.uri("count"), 3, progress=True)
    assert [call.progress() for _ in range(3)] == [0, 1, 2]
    assert call.wait().value == "done"


@feature(CALLS, "a generator, without asking for progress")
def calls_no_progress(scene: Scene) -> None:
    def count(n: int) -> t.Iterator[int]:
        yield from range(n)

    assert answers(scene, count, 3).value == [0, 1, 2]


@feature(CALLS, "canceling, ``killnowait``: the handler is interrupted")
def calls_cancel(scene: Scene) -> None:
    calls_and_cancels(scene, "killnowait")


@feature(CALLS, "canceling, ``kill``: the handler is interrupted")
def calls_kill(scene: Scene) -> None:
    calls_and_cancels(scene, "kill")


def calls_and_cancels(scene: Scene, mode: str) -> None:
    held = scene.ours.hold(scene.uri("hold"))
    call = scene.peer.submit(scene.uri("hold"))
    wait(held.started)
    call.cancel(mode)
    wait(held.interrupted)
    with pytest.raises((peers.Canceled, peers.RemoteError)) as caught:
        call.wait()
    if isinstance(caught.value, peers.RemoteError):
        assert caught.value.uri == "wamp.error.canceled"
    assert scene.peer.error(scene.uri("f")).uri == "wamp.error.no_such_procedure"  # it goes on


@feature(CALLS, "``options.timeout``: the handler is interrupted", once=True)
def calls_timeout(scene: Scene) -> None:
    held = scene.ours.hold(scene.uri("hold"))
    call = scene.peer.submit(scene.uri("hold"), options={"timeout": 1})
    wait(held.started)
    wait(held.interrupted)
    with pytest.raises(peers.RemoteError) as caught:
        call.wait()
    assert caught.value.uri in ("wamp.error.canceled", "wamp.error.timeout")


@feature(CALLS, "caller identification")
def calls_disclosed(scene: Scene) -> None:
    result = answers(scene, lambda: [invocation.caller, invocation.caller_authrole]).value
    assert result == [scene.peer.session_id, "anonymous"]


@feature(CALLS, "prefix registration")
def calls_prefix(scene: Scene) -> None:
    scene.ours.callee(lambda: invocation.procedure, scene.uri("p"), match="prefix")
    assert scene.peer.call(scene.uri("p.a.b")).value == scene.uri("p.a.b")


@feature(CALLS, "wildcard registration")
def calls_wildcard(scene: Scene) -> None:
    scene.ours.callee(lambda: invocation.procedure, scene.uri("w..get"), match="wildcard")
    assert scene.peer.call(scene.uri("w.seven.get")).value == scene.uri("w.seven.get")


@feature(CALLS, "vanishing mid-call: the handler is interrupted", kills=True)
def calls_vanish(scene: Scene) -> None:
    held = scene.ours.hold(scene.uri("hold"))
    scene.peer.submit(scene.uri("hold"))
    wait(held.started)
    scene.peer.kill()
    wait(held.interrupted)


@feature(CALLS, "the app stops: it finishes the call that it has in hand")
def calls_drained(scene: Scene) -> None:
    started, released = threading.Event(), threading.Event()

    def slow() -> str:
        started.set()
        wait(released)
        return "finished"

    with scene.ours.another() as app:
        app.callee(slow, scene.uri("slow"))
        app.callee(lambda: None, scene.uri("quick"))
        call = scene.peer.submit(scene.uri("slow"))
        wait(started)
        stopping = threading.Thread(target=app.stop)
        stopping.start()
        eventually(lambda: is_gone(scene, scene.uri("quick")))
        released.set()
        assert call.wait().value == "finished"
        stopping.join()


def is_gone(scene: Scene, procedure: str) -> bool:
    try:
        scene.peer.call(procedure)
    except peers.RemoteError as error:
        assert error.uri == "wamp.error.no_such_procedure"
        return True
    return False


@feature(CALLS, "the app is lost mid-call: the peer gets an error")
def calls_lost(scene: Scene) -> None:
    with scene.ours.another() as app:
        held = app.hold(scene.uri("hold"))
        call = scene.peer.submit(scene.uri("hold"))
        wait(held.started)
        app.drop()
        with pytest.raises(peers.RemoteError) as caught:
            call.wait()
    assert caught.value.uri == "wamp.error.canceled"


# The app calls a procedure of the peer.

CALLED = "The app calls the peer"


def procedure(scene: Scene, kind: str = "echo", **behaviour: t.Any) -> peers.Procedure:
    return scene.peer.register(scene.uri("f"), kind, **behaviour)


@feature(CALLED, "positional and keyword arguments")
def called_args(scene: Scene) -> None:
    f = procedure(scene)
    result = scene.client.call(scene.uri("f"), 1, "two", three=3)
    assert result == CallResult(1, "two", three=3)
    got = f.next()
    assert (got.args, got.kwargs) == ([1, "two"], {"three": 3})


@feature(CALLED, "no result")
def called_none(scene: Scene) -> None:
    procedure(scene, "give", given=[[], {}])
    assert scene.client.call(scene.uri("f")) is None


@feature(CALLED, "an error with arguments of both kinds")
def called_error(scene: Scene) -> None:
    procedure(scene, "fail", error=ERROR)
    error = error_of(lambda: scene.client.call(scene.uri("f")))
    assert (error.uri, list(error.args), error.kwargs) == tuple(ERROR.values())


@feature(CALLED, "null, booleans, numbers, Unicode, nested lists and objects")
def called_values(scene: Scene) -> None:
    called_with(scene, VALUES)


@feature(CALLED, "integers of 64 bits")
def called_large(scene: Scene) -> None:
    called_with(scene, LARGE)


@feature(CALLED, "bytes")
def called_bytes(scene: Scene) -> None:
    called_with(scene, BYTES)


@feature(CALLED, "a payload of 1 MB")
def called_megabyte(scene: Scene) -> None:
    called_with(scene, MEGABYTE)


def called_with(scene: Scene, value: t.Any) -> None:
    f = procedure(scene)
    assert scene.client.call(scene.uri("f"), value) == value
    assert f.next().value == value


@feature(CALLED, "from an HTTP view")
def called_view(scene: Scene) -> None:
    procedure(scene)
    response = scene.ours.app.test_client().get(f"/call/{scene.uri('f')}")
    assert response.get_json() == {"answer": "from a view"}


@feature(CALLED, "progressive results, as a stream")
def called_progress(scene: Scene) -> None:
    procedure(scene, "progress", items=[1, {"two": 2}, [3]])
    with scene.client.stream(scene.uri("f"), "done") as stream:
        assert list(stream) == [1, {"two": 2}, [3], "done"]


@feature(CALLED, "canceling: the caller goes on at once")
def called_cancel(scene: Scene) -> None:
    f = procedure(scene, "hold")
    future = scene.client.submit(scene.uri("f"))
    f.next()
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(peers.patience())
    f.release()
    assert procedure_works(scene)


@feature(CALLED, "canceling: the peer is interrupted")
def called_interrupt(scene: Scene) -> None:
    f = procedure(scene, "hold")
    future = scene.client.submit(scene.uri("f"))
    f.next()
    future.cancel()
    f.interrupted()


@feature(CALLED, "a timeout: the caller goes on in time")
def called_timeout(scene: Scene) -> None:
    f = procedure(scene, "hold")
    with pytest.raises(CallTimeout):
        scene.client.with_options(timeout=0.1).call(scene.uri("f"))
    f.next()
    f.release()
    assert procedure_works(scene)


def procedure_works(scene: Scene) -> bool:
    """Whether the peer goes on: a call that was given up has not cost it its session."""
    scene.peer.register(scene.uri("after"))
    return bool(scene.client.call(scene.uri("after"), "more") == "more")


@feature(CALLED, "caller identification")
def called_disclosed(scene: Scene) -> None:
    f = procedure(scene)
    scene.client.call(scene.uri("f"))
    details = f.next().details
    assert details["caller"] == scene.client.session_id
    assert details["caller_authrole"] == "anonymous"


@feature(CALLED, "prefix registration")
def called_prefix(scene: Scene) -> None:
    called_by_pattern(scene, scene.uri("p"), "prefix", scene.uri("p.a.b"))


@feature(CALLED, "wildcard registration")
def called_wildcard(scene: Scene) -> None:
    called_by_pattern(scene, scene.uri("w..get"), "wildcard", scene.uri("w.seven.get"))


def called_by_pattern(scene: Scene, pattern: str, match: str, uri: str) -> None:
    f = scene.peer.register(pattern, options={"match": match})
    assert scene.client.call(uri, "hello") == "hello"
    assert f.next().details["procedure"] == uri


@feature(CALLED, "a registration that both share, roundrobin")
def called_shared(scene: Scene) -> None:
    scene.ours.callee(lambda: "ours", scene.uri("f"), invoke="roundrobin")
    theirs = {"kind": "give", "given": [["theirs"], {}]}
    scene.peer.register(scene.uri("f"), options={"invoke": "roundrobin"}, **theirs)
    answers = [scene.client.call(scene.uri("f")) for _ in range(6)]
    assert sorted(answers) == ["ours"] * 3 + ["theirs"] * 3


@feature(CALLED, "a procedure that the peer has taken back")
def called_unregistered(scene: Scene) -> None:
    procedure(scene).unregister()
    error = error_of(lambda: scene.client.call(scene.uri("f")))
    assert error.uri == "wamp.error.no_such_procedure"


@feature(CALLED, "vanishing mid-call: the caller gets an error", kills=True)
def called_vanish(scene: Scene) -> None:
    f = procedure(scene, "hold")
    future = scene.client.submit(scene.uri("f"))
    f.next()
    scene.peer.kill()
    error = error_of(lambda: future.result(peers.patience()))
    assert error.uri in ("wamp.error.canceled", "wamp.error.no_such_procedure")


# The peer publishes to a subscriber of the app.

PUBLISHES = "The peer publishes to the app"


def published(scene: Scene, *args: t.Any, **kwargs: t.Any) -> peers.Received:
    events = scene.ours.subscribe(scene.uri("t"))
    scene.peer.publish(scene.uri("t"), *args, **kwargs)
    return events.next()


@feature(PUBLISHES, "positional and keyword payload")
def publishes_args(scene: Scene) -> None:
    event = published(scene, 1, "two", three=3)
    assert (event.args, event.kwargs) == ([1, "two"], {"three": 3})


@feature(PUBLISHES, "null, booleans, numbers, Unicode, nested lists and objects")
def publishes_values(scene: Scene) -> None:
    assert published(scene, VALUES).value == VALUES


@feature(PUBLISHES, "bytes")
def publishes_bytes(scene: Scene) -> None:
    assert published(scene, BYTES).value == BYTES


@feature(PUBLISHES, "a payload of 1 MB")
def publishes_megabyte(scene: Scene) -> None:
    assert published(scene, MEGABYTE).value == MEGABYTE


@feature(PUBLISHES, "acknowledged: the publication id is that of the event")
def publishes_acknowledged(scene: Scene) -> None:
    events = scene.ours.subscribe(scene.uri("t"))
    publication = scene.peer.publish(scene.uri("t"))
    events.next()
    assert events.publications == [publication]


@feature(PUBLISHES, "``exclude_me=False``: to itself too")
def publishes_to_itself(scene: Scene) -> None:
    own = scene.peer.subscribe(scene.uri("t"))
    events = scene.ours.subscribe(scene.uri("t"))
    scene.peer.publish(scene.uri("t"), "nobody else")
    scene.peer.publish(scene.uri("t"), "all", options={"exclude_me": False})
    assert own.next().value == "all"
    assert [events.next().value for _ in range(2)] == ["nobody else", "all"]


def only_the_last(scene: Scene, events: Events, options: dict[str, t.Any]) -> None:
    scene.peer.publish(scene.uri("t"), "hidden", options=options)
    scene.peer.publish(scene.uri("t"), "shown")
    assert events.next().value == "shown"


@feature(PUBLISHES, "``exclude``, ``eligible`` by session id")
def publishes_filtered(scene: Scene) -> None:
    events = scene.ours.subscribe(scene.uri("t"))
    ours, theirs = scene.client.session_id, scene.peer.session_id
    only_the_last(scene, events, {"exclude": [ours]})
    only_the_last(scene, events, {"eligible": [theirs]})
    scene.peer.publish(scene.uri("t"), "for us", options={"eligible": [ours]})
    assert events.next().value == "for us"


@feature(PUBLISHES, "a retained event")
def publishes_retained(scene: Scene) -> None:
    scene.peer.publish(scene.uri("t"), "kept", options={"retain": True})
    event = scene.ours.subscribe(scene.uri("t"), get_retained=True).next()
    assert (event.value, event.details["retained"]) == ("kept", True)


@feature(PUBLISHES, "prefix subscription")
def publishes_prefix(scene: Scene) -> None:
    events = scene.ours.subscribe(scene.uri("p"), match="prefix")
    scene.peer.publish(scene.uri("p.a.b"), 1)
    assert events.next().details["topic"] == scene.uri("p.a.b")


@feature(PUBLISHES, "wildcard subscription")
def publishes_wildcard(scene: Scene) -> None:
    events = scene.ours.subscribe(scene.uri("w..set"), match="wildcard")
    scene.peer.publish(scene.uri("w.seven.set"), 1)
    assert events.next().details["topic"] == scene.uri("w.seven.set")


@feature(PUBLISHES, "publisher identification")
def publishes_disclosed(scene: Scene) -> None:
    details = published(scene).details
    assert details["publisher"] == scene.peer.session_id
    assert details["publisher_authrole"] == "anonymous"


# The app publishes to a subscription of the peer.

PUBLISHED = "The app publishes to the peer"


def received(scene: Scene, *args: t.Any, **kwargs: t.Any) -> peers.Received:
    topic = scene.peer.subscribe(scene.uri("t"))
    scene.client.publish(scene.uri("t"), *args, **kwargs)
    return topic.next()


@feature(PUBLISHED, "positional and keyword payload")
def published_args(scene: Scene) -> None:
    event = received(scene, 1, "two", three=3)
    assert (event.args, event.kwargs) == ([1, "two"], {"three": 3})


@feature(PUBLISHED, "to a subscription without options")
def published_plain(scene: Scene) -> None:
    topic = scene.peer.command("subscribe", peers.Topic, uri=scene.uri("t"), options=None)
    topic.wait()
    scene.client.publish(scene.uri("t"), "plain")
    assert topic.next().value == "plain"


@feature(PUBLISHED, "null, booleans, numbers, Unicode, nested lists and objects")
def published_values(scene: Scene) -> None:
    assert received(scene, VALUES).value == VALUES


@feature(PUBLISHED, "bytes")
def published_bytes(scene: Scene) -> None:
    assert received(scene, BYTES).value == BYTES


@feature(PUBLISHED, "a payload of 1 MB")
def published_megabyte(scene: Scene) -> None:
    assert received(scene, MEGABYTE).value == MEGABYTE


@feature(PUBLISHED, "acknowledged")
def published_acknowledged(scene: Scene) -> None:
    topic = scene.peer.subscribe(scene.uri("t"))
    publisher = scene.client.with_options(acknowledge=True)
    assert isinstance(publisher.publish(scene.uri("t"), "sure"), int)
    assert topic.next().value == "sure"


@feature(PUBLISHED, "in order")
def published_in_order(scene: Scene) -> None:
    topic = scene.peer.subscribe(scene.uri("t"))
    for n in range(100):
        scene.client.publish(scene.uri("t"), n)
    assert [topic.next().value for _ in range(100)] == list(range(100))


@feature(PUBLISHED, "``exclude``, ``eligible`` by session id")
def published_filtered(scene: Scene) -> None:
    topic = scene.peer.subscribe(scene.uri("t"))
    client, theirs = scene.client, scene.peer.session_id
    client.with_options(exclude=[theirs]).publish(scene.uri("t"), "hidden")
    client.with_options(eligible=[client.session_id]).publish(scene.uri("t"), "hidden")
    client.with_options(eligible=[theirs]).publish(scene.uri("t"), "for them")
    assert topic.next().value == "for them"


@feature(PUBLISHED, "a retained event")
def published_retained(scene: Scene) -> None:
    client = scene.client.with_options(retain=True, acknowledge=True)
    client.publish(scene.uri("t"), "kept")
    assert scene.peer.subscribe(scene.uri("t"), get_retained=True).next().value == "kept"


@feature(PUBLISHED, "prefix subscription")
def published_prefix(scene: Scene) -> None:
    received_by_pattern(scene, scene.uri("p"), "prefix", scene.uri("p.a.b"))


@feature(PUBLISHED, "wildcard subscription")
def published_wildcard(scene: Scene) -> None:
    received_by_pattern(scene, scene.uri("w..set"), "wildcard", scene.uri("w.seven.set"))


def received_by_pattern(scene: Scene, pattern: str, match: str, uri: str) -> None:
    topic = scene.peer.subscribe(pattern, match=match)
    scene.client.publish(uri, 1)
    assert topic.next().details["topic"] == uri


@feature(PUBLISHED, "a topic that the peer has unsubscribed from")
def published_unsubscribed(scene: Scene) -> None:
    topic = scene.peer.subscribe(scene.uri("t"))
    scene.peer.command("withdraw", declared=topic.number).wait()
    other = scene.peer.subscribe(scene.uri("other"))
    scene.client.publish(scene.uri("t"), "for nobody")
    scene.client.publish(scene.uri("other"), "for them")
    assert other.next().value == "for them"
    assert topic.is_quiet()


@feature(PUBLISHED, "publisher identification")
def published_disclosed(scene: Scene) -> None:
    details = received(scene).details
    assert details["publisher"] == scene.client.session_id
    assert details["publisher_authrole"] == "anonymous"


# Sessions of the peer.

SESSIONS = "The peer joins and leaves"

CREDENTIALS: dict[str, dict[str, t.Any]] = {
    "ticket": {"authid": "ticket-user", "ticket": "ticket-secret"},
    "wampcra": {"authid": "cra-user", "secret": "cra-secret"},
    "salted": {"method": "wampcra", "authid": "cra-salted", "secret": "cra-secret"},
    "cryptosign": {"authid": "cryptosign-user", "key": KEY, "pubkey": PUBLIC_KEY},
    "scram": {"authid": "scram-argon2", "secret": "scram-secret"},
}


def visits(scene: Scene, name: str) -> None:
    """Have a session with these credentials call the app, which is told who it is."""

    def who() -> list[t.Any]:
        return [invocation.caller_authid, invocation.caller_authrole]

    auth = {"method": name, **CREDENTIALS[name]}
    scene.ours.callee(who, scene.uri("who"))
    assert scene.peer.visit(auth, scene.uri("who")).value == [auth["authid"], "user"]


@feature(SESSIONS, "ticket", authenticates=True)
def joins_ticket(scene: Scene) -> None:
    visits(scene, "ticket")


@feature(SESSIONS, "WAMP-CRA", authenticates=True)
def joins_wampcra(scene: Scene) -> None:
    visits(scene, "wampcra")


@feature(SESSIONS, "WAMP-CRA, salted", authenticates=True)
def joins_salted(scene: Scene) -> None:
    visits(scene, "salted")


@feature(SESSIONS, "cryptosign", authenticates=True)
def joins_cryptosign(scene: Scene) -> None:
    visits(scene, "cryptosign")


@feature(SESSIONS, "SCRAM", authenticates=True)
def joins_scram(scene: Scene) -> None:
    visits(scene, "scram")


@feature(SESSIONS, "a wrong secret is refused", authenticates=True)
def joins_refused(scene: Scene) -> None:
    auth = {"method": "wampcra", "authid": "cra-user", "secret": "wrong"}
    with pytest.raises((peers.RemoteError, RuntimeError), match=r"wamp\.error\.not_authorized"):
        scene.peer.visit(auth, scene.uri("who"))


@feature(SESSIONS, "leaving with GOODBYE: its procedures are gone", kills=True)
def leaves(scene: Scene) -> None:
    procedure(scene)
    assert scene.client.call(scene.uri("f"), 1) == 1
    scene.peer.leave()
    scene.peer.wait_until_lost()

    def gone() -> bool:
        error = error_of(lambda: scene.client.call(scene.uri("f")))
        return error.uri == "wamp.error.no_such_procedure"

    eventually(gone)
