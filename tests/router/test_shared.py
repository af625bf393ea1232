"""Several callees of one procedure: which of them get calls, and which are refused."""

from __future__ import annotations

import collections
import functools
import itertools
import threading
import typing as t

import pytest
from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP, signals
from flask_wamp.handlers.registry import INVOKES
from flask_wamp.peer import reregister as take_over
from tests.conftest import eventually
from tests.support.peers import PATIENCE, AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]
URI = "com.example.shared"
EXISTS = "wamp.error.procedure_already_exists"
OTHER_POLICY = "wamp.error.procedure_exists_with_different_invocation_policy"


@pytest.fixture(scope="module")
def another(wamp_router: DevRouter) -> t.Iterator[AutobahnPeer]:
    with AutobahnPeer(wamp_router.rawsocket_url) as peer:
        yield peer


@pytest.fixture
def theirs(another: AutobahnPeer) -> t.Iterator[AutobahnPeer]:
    """A callee that is not a Flask app."""
    yield another
    another.reset()


@pytest.fixture
def refusals() -> t.Iterator[list[tuple[str, str]]]:
    """The payloads of the signal."""
    found: list[tuple[str, str]] = []

    def receive(sender: Flask, uri: str, error: t.Any, **payload: t.Any) -> None:
        found.append((uri, error.uri))

    with signals.registration_refused.connected_to(receive):
        yield found


@pytest.fixture
def share(join: Join, wamp_router: DevRouter) -> t.Callable[..., FlaskWAMP]:
    """Make an app of that name that registers the procedure, with options; it answers its name."""

    def share(name: str, **options: t.Any) -> FlaskWAMP:
        _, wamp = join(wamp_router.rawsocket_url)
        wamp.callee(URI, **options)(lambda: name)
        return wamp

    return share


Share = t.Callable[..., FlaskWAMP]


def who(peer: AutobahnPeer, count: int) -> list[str]:
    """Return the callees of a number of calls."""
    return [peer.call(URI).value for _ in range(count)]


def refused(wamp: FlaskWAMP) -> str:
    """Return the reason of the refusal in the health."""
    found: str = wamp.health()["procedures"]["refused"].get(URI, "")
    return found


# Policies.


def share_among_three(share: Share, theirs: AutobahnPeer, invoke: str) -> list[t.Any]:
    """An app, autobahn and another app, in this order; each can be asked to unregister."""
    first = share("one", invoke=invoke)
    second = theirs.register(URI, "give", given=[["two"], {}], options={"invoke": invoke})
    third = share("three", invoke=invoke)
    return [first, second, third]


def test_roundrobin(share: Share, theirs: AutobahnPeer, peer: AutobahnPeer) -> None:
    share_among_three(share, theirs, "roundrobin")
    assert collections.Counter(who(peer, 9)) == {"one": 3, "two": 3, "three": 3}


def test_random(share: Share, theirs: AutobahnPeer, peer: AutobahnPeer) -> None:
    share_among_three(share, theirs, "random")
    answers = (peer.call(URI).value for _ in range(200))
    found: set[str] = set()
    for answer in answers:
        found.add(answer)
        if len(found) == 3:
            break
    assert found == {"one", "two", "three"}


def test_first(share: Share, theirs: AutobahnPeer, peer: AutobahnPeer) -> None:
    first, second, _ = share_among_three(share, theirs, "first")
    assert who(peer, 3) == ["one"] * 3
    first.client.unregister(URI)
    assert who(peer, 3) == ["two"] * 3
    second.unregister()
    assert who(peer, 3) == ["three"] * 3


def test_last(share: Share, theirs: AutobahnPeer, peer: AutobahnPeer) -> None:
    _, second, third = share_among_three(share, theirs, "last")
    assert who(peer, 3) == ["three"] * 3
    third.client.unregister(URI)
    assert who(peer, 3) == ["two"] * 3
    second.unregister()
    assert who(peer, 3) == ["one"] * 3


def test_single(
    share: Share, theirs: AutobahnPeer, peer: AutobahnPeer, refusals: list[t.Any]
) -> None:
    registration = theirs.register(URI, "give", given=[["theirs"], {}])
    ours = share("ours", invoke="single")
    assert EXISTS in refused(ours)
    eventually(lambda: refusals == [(URI, EXISTS)], PATIENCE)
    assert who(peer, 2) == ["theirs"] * 2
    registration.unregister()
    eventually(lambda: not refused(ours), PATIENCE)  # it is tried again
    assert who(peer, 2) == ["ours"] * 2


@pytest.mark.parametrize(
    ("present", "late"),
    [(a, b) for a, b in itertools.permutations(INVOKES, 2) if "first" in (a, b)],
)
def test_another_policy_is_refused_and_shown_in_health(
    share: Share, theirs: AutobahnPeer, refusals: list[t.Any], present: str, late: str
) -> None:
    theirs.register(URI, "give", given=[["theirs"], {}], options={"invoke": present})
    ours = share("ours", invoke=late)
    uri = EXISTS if present == "single" else OTHER_POLICY
    assert uri in refused(ours)
    assert ours.health()["procedures"]["registered"] == 0
    eventually(lambda: refusals == [(URI, uri)], PATIENCE)
    ours.client.unregister(URI)
    with pytest.raises(ApplicationError) as raised:
        ours.client.register(lambda: None, URI, invoke=late)
    assert raised.value.uri == uri


def test_callees_of_a_pattern_share_too(
    join: Join, wamp_router: DevRouter, theirs: AutobahnPeer, peer: AutobahnPeer
) -> None:
    _, wamp = join(wamp_router.rawsocket_url)
    wamp.callee(".<int:x>.shared")(lambda x: ["ours", x])
    options = {"match": "wildcard", "invoke": "roundrobin"}
    theirs.register("com.example..shared", "give", given=[["theirs"], {}], options=options)
    found = [peer.call("com.example.7.shared").value for _ in range(4)]
    assert found.count(["ours", 7]) == found.count("theirs") == 2


# Concurrency.


@pytest.mark.parametrize("invoke", INVOKES)
def test_concurrency_is_enforced_here(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer, invoke: str
) -> None:
    """Crossbar ignores it for some policies, and loses count. So the option is not sent to it."""
    running: collections.Counter[int] = collections.Counter()
    most: collections.Counter[int] = collections.Counter()
    lock, leave = threading.Lock(), threading.Event()

    def work(number: int) -> None:
        with lock:
            running[number] += 1
            most[number] = max(most[number], running[number])
        assert leave.wait(PATIENCE)
        with lock:
            running[number] -= 1

    apps = []
    for number in range(1 if invoke == "single" else 2):
        _, wamp = join(wamp_router.rawsocket_url)
        wamp.callee(URI, invoke=invoke, concurrency=2)(functools.partial(work, number))
        apps.append(wamp)

    def in_hand() -> list[int]:
        return [sum(wamp.health()["in_hand"].values()) for wamp in apps]

    calls = [peer.submit(URI) for _ in range(12)]
    eventually(lambda: sum(in_hand()) == 12, PATIENCE)
    expected = {number: min(2, got) for number, got in enumerate(in_hand()) if got}
    eventually(lambda: running == expected, PATIENCE)
    leave.set()
    for call in calls:
        call.wait()
    assert most == expected


# force_reregister.


@pytest.mark.parametrize("invoke", INVOKES)
def test_force_reregister_takes_over_a_procedure_that_is_not_shared(
    share: Share, theirs: AutobahnPeer, peer: AutobahnPeer, invoke: str
) -> None:
    theirs.register(URI, "give", given=[["theirs"], {}])
    ours = share("ours", invoke=invoke, force_reregister=True)
    assert who(peer, 3) == ["ours"] * 3
    assert not refused(ours)


def test_force_reregister_takes_over_from_one_callee_with_another_policy(
    share: Share, theirs: AutobahnPeer, peer: AutobahnPeer
) -> None:
    theirs.register(URI, "give", given=[["theirs"], {}], options={"invoke": "roundrobin"})
    share("ours", invoke="single", force_reregister=True)
    assert who(peer, 3) == ["ours"] * 3


def test_workers_that_all_use_force_keep_sharing(share: Share, peer: AutobahnPeer) -> None:
    for name in ("a", "b", "c"):
        share(name, force_reregister=True)
    assert sorted(who(peer, 3)) == ["a", "b", "c"]


@pytest.mark.parametrize("may_ask", [True, False])
def test_force_reregister_takes_over_nothing_from_several_callees(
    join: Join,
    wamp_router: DevRouter,
    share: Share,
    peer: AutobahnPeer,
    refusals: list[t.Any],
    monkeypatch: pytest.MonkeyPatch,
    may_ask: bool,
) -> None:
    """Crossbar would remove every second one, and never answer."""
    if not may_ask:
        monkeypatch.setattr(take_over, "LOOKUP", "com.example.nobody_tells")
    shared = [share(name) for name in ("a", "b", "c")]

    def declare(wamp: FlaskWAMP) -> None:
        wamp.callee(URI, invoke="single", force_reregister=True)(lambda: "new")
        wamp.callee("com.example.here")(lambda: "here")

    _, late = join(wamp_router.rawsocket_url, declare)
    assert peer.call("com.example.here").value == "here"
    why = "3 callees share it" if may_ask else "nobody_tells says wamp.error.no_such_procedure"
    assert why in refused(late)
    eventually(lambda: refusals == [(URI, OTHER_POLICY)], PATIENCE)
    assert sorted(who(peer, 3)) == ["a", "b", "c"]
    for wamp in shared[1:] if may_ask else shared:
        wamp.client.unregister(URI)
    eventually(lambda: not refused(late), PATIENCE)
    assert who(peer, 2) == ["new", "new"]
    assert shared[0].client.registration_map == {}


def test_the_other_callees_continue_when_one_is_killed(
    share: Share, wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    share("ours")
    with AutobahnPeer(wamp_router.rawsocket_url) as dying:
        options = {"invoke": "roundrobin"}
        dying.register(URI, "give", given=[["theirs"], {}], options=options)
        assert set(who(peer, 2)) == {"ours", "theirs"}
        dying.kill()
        number = peer.call("wamp.registration.lookup", URI).value
        eventually(
            lambda: peer.call("wamp.registration.count_callees", number).value == 1, PATIENCE
        )
    assert who(peer, 3) == ["ours"] * 3
