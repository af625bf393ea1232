"""``g.wampy.testament``: the calls to the router, in which session, and withdrawn testaments."""

from __future__ import annotations

import os
import threading
import typing as t

import pytest
from flask import Flask, g

from flask_wamp import ApplicationError, CallTimeout, FlaskWAMP, InvalidURI, SerializationError
from flask_wamp.client.client import Client
from flask_wamp.client.testaments import ADD, FLUSH, MOST
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter

TOPIC = "com.example.gone"

Call = tuple[str, list[t.Any], dict[str, t.Any]]
Calls = t.Callable[[], list[Call]]


@pytest.fixture
def calls(router: MemoryRouter) -> Calls:
    """The calls about testaments: procedure and arguments."""
    router.register(ADD, lambda *args, **kwargs: 1)
    router.register(FLUSH, lambda **kwargs: 1)

    def calls() -> list[Call]:
        sent = router.sent(m.Call)
        return [(c.procedure, c.args, c.kwargs) for c in sent if c.procedure in (ADD, FLUSH)]

    return calls


@pytest.fixture
def client(serve: Serve, calls: Calls) -> Client:
    """A client that has joined."""
    return serve()[1].client


def add(topic: str, *args: t.Any, **kwargs: t.Any) -> Call:
    return (ADD, [topic, list(args), kwargs], {})


def flush(scope: str = "destroyed") -> Call:
    return (FLUSH, [], {"scope": scope})


def test_testament_is_given(client: Client, calls: Calls) -> None:
    will = client.testament(TOPIC, 1, by={"name": "tea"})
    assert (will.topic, will.args, will.kwargs) == (TOPIC, (1,), {"by": {"name": "tea"}})
    assert calls() == [add(TOPIC, 1, by={"name": "tea"})]


def test_options(client: Client, calls: Calls) -> None:
    client.with_options(
        eligible=[1], retain=True, acknowledge=True, exclude_me=False, disclose_me=True
    ).testament(TOPIC)
    client.with_options(scope="detached").testament(TOPIC)
    assert [kwargs for _, _, kwargs in calls()] == [
        {"publish_options": {"eligible": [1], "exclude": [], "retain": True}},
        {"scope": "detached"},
    ]


def test_the_same_testament_twice_is_one(client: Client, calls: Calls) -> None:
    will = client.testament(TOPIC, 1)
    assert client.testament(TOPIC, 1) is will
    assert client.testament(TOPIC, 2) is not will
    assert client.with_options(retain=True).testament(TOPIC, 1) is not will
    assert len(calls()) == 3


def test_a_request_may_make_a_testament(serve: Serve, calls: Calls) -> None:
    app, _ = serve()

    @app.before_request
    def will() -> None:
        g.wampy.testament(TOPIC, os.getpid())

    for _ in range(3):
        app.test_client().get("/")
    assert calls() == [add(TOPIC, os.getpid())]


def test_from_many_threads_at_once(client: Client, calls: Calls) -> None:
    barrier = threading.Barrier(8)
    wills: list[t.Any] = []

    def make() -> None:
        barrier.wait(TIMEOUT)
        wills.append(client.testament(TOPIC, {"a": [1]}))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(will) for will in wills}) == 1
    assert len(calls()) == 1
    assert client.flush_testaments() == 1


def test_too_many_testaments_raise(client: Client, calls: Calls) -> None:
    wills = [client.testament(TOPIC, number) for number in range(MOST)]
    with pytest.raises(RuntimeError, match="not in each request"):
        client.testament(TOPIC, MOST)
    assert client.testament(TOPIC, 1) is wills[1]
    wills[0].remove()
    client.testament(TOPIC, MOST)


def test_testaments_are_made_again_after_a_reconnect(
    client: Client, router: MemoryRouter, calls: Calls
) -> None:
    client.testament(TOPIC, 1)
    client.testament(TOPIC, 2)
    for count in (4, 6):
        router.drop()
        eventually(lambda count=count: len(calls()) == count)
    assert calls() == [add(TOPIC, 1), add(TOPIC, 2)] * 3


def test_a_testament_may_be_made_without_a_session(
    make_app: t.Callable[..., Flask], router: MemoryRouter, calls: Calls
) -> None:
    app = make_app(WAMP_ROUTER_URL="ws://router.in.memory/ws")
    wamp = FlaskWAMP(app)
    wamp.client.testament(TOPIC)
    removed = wamp.client.testament(TOPIC, "never")
    removed.remove()
    assert router.attempts == 0
    wamp.start()
    wamp.client.wait_until_joined(TIMEOUT)
    eventually(lambda: calls() == [add(TOPIC)])
    wamp.stop()
    wamp.start()
    eventually(lambda: calls() == [add(TOPIC)] * 2)


def test_a_testament_may_be_made_while_the_router_is_down(
    client: Client, router: MemoryRouter, calls: Calls
) -> None:
    router.down = True
    router.drop()
    eventually(lambda: not client.joined)
    client.testament(TOPIC)
    router.down = False
    eventually(lambda: calls() == [add(TOPIC)])


def test_remove(client: Client, calls: Calls) -> None:
    first, second = client.testament(TOPIC, 1), client.testament(TOPIC, 2)
    client.with_options(scope="detached").testament(TOPIC, 3)
    first.remove()
    first.remove()
    assert calls()[3:] == [flush(), add(TOPIC, 2)]
    second.remove()
    assert calls()[5:] == [flush()]


def test_removed_testaments_are_not_made_again(
    client: Client, router: MemoryRouter, calls: Calls
) -> None:
    first = client.testament(TOPIC, 1)
    client.testament(TOPIC, 2)
    first.remove()
    router.drop()
    eventually(lambda: len(calls()) == 5)
    assert calls()[-1] == add(TOPIC, 2)


def test_flush(client: Client, router: MemoryRouter, calls: Calls) -> None:
    client.testament(TOPIC, 1)
    client.with_options(scope="detached").testament(TOPIC, 2)
    assert client.flush_testaments() == 2
    assert client.flush_testaments() == 0
    assert calls()[2:] == [flush("destroyed"), flush("detached")]


def test_stop_leaves_them_to_the_router(client: Client, router: MemoryRouter, calls: Calls) -> None:
    client.testament(TOPIC)
    client.stop()
    router.wait_for(m.Goodbye)
    assert calls() == [add(TOPIC)]


def test_stop_withdraws_testaments_of_other_scopes(
    client: Client, router: MemoryRouter, calls: Calls
) -> None:
    client.testament(TOPIC, "gone")
    client.with_options(unless_stopped=True).testament(TOPIC, "lost")
    client.stop()
    router.wait_for(m.Goodbye)
    assert calls() == [add(TOPIC, "gone"), add(TOPIC, "lost"), flush(), add(TOPIC, "gone")]


# Failures.


def test_a_missing_permission_is_named(client: Client, router: MemoryRouter, calls: Calls) -> None:
    router.refuse(ADD)
    for _ in range(2):
        with pytest.raises(ApplicationError, match=f'"uri": "{ADD}"') as raised:
            client.testament(TOPIC)
        assert raised.value.uri == "wamp.error.not_authorized"
    assert len(calls()) == 2
    router.drop()
    client.wait_until_joined(TIMEOUT)
    assert len(calls()) == 2, "what was refused is not given again"


def test_a_testament_that_cannot_be_sent_is_not_kept(client: Client, calls: Calls) -> None:
    with pytest.raises(SerializationError, match="object"):
        client.testament(TOPIC, object())
    with pytest.raises(InvalidURI):
        client.testament("not a topic")
    assert client.flush_testaments() == 0
    assert calls() == []


def test_no_answer(client: Client, router: MemoryRouter, calls: Calls) -> None:
    router.hold(ADD)
    with pytest.raises(CallTimeout, match=ADD):
        client.with_options(timeout=0.05).testament(TOPIC)


def test_session_lost_meanwhile(client: Client, router: MemoryRouter, calls: Calls) -> None:
    held = router.hold(ADD)
    done = threading.Event()

    def make() -> None:
        client.testament(TOPIC)
        done.set()

    thread = threading.Thread(target=make)
    thread.start()
    held.get(timeout=TIMEOUT)
    router.drop()
    assert done.wait(TIMEOUT)
    thread.join()
    held.get(timeout=TIMEOUT).answer(1)  # the next session has it
