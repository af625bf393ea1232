"""Leases: one process at a time has it, and another takes over within two seconds."""

from __future__ import annotations

import copy
import logging
import queue
import threading
import time
import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP
from flask_wamp.coordination.lease import Lease
from flask_wamp.coordination.leases import Leases
from flask_wamp.coordination.signing import Signer
from flask_wamp.crossbar import free_port, node_config
from tests.conftest import eventually
from tests.support.members import Members
from tests.support.peers import AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter
    from flask_wamp.testing import MakeRouter

pytestmark = pytest.mark.router

PATIENCE = 10.0
TAKEOVER = 2.0
URI = "com.example.flask_wamp.lease.test"

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]


class Wanting:
    """Requests a lease in an app's process, and records its changes."""

    def __init__(self, wamp: FlaskWAMP, uri: str = URI, **callbacks: t.Any) -> None:
        self.notes: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self.lease: Lease
        self._arguments = {"uri": uri, **callbacks}
        wamp.client.add_listener(self._make)

    def _make(self, peer: t.Any) -> Wanting:
        self.lease = Leases.of(peer).add(
            on_acquired=lambda: self._note("acquired"),
            on_lost=lambda: self._note("lost"),
            **self._arguments,
        )
        return self

    def _note(self, what: str) -> None:
        self.notes.put((what, threading.current_thread().name))

    def next(self) -> str:
        what, thread = self.notes.get(timeout=PATIENCE)
        assert thread.startswith("wamp-worker")
        return what

    def joined(self, connection: t.Any) -> None:
        pass

    def lost(self) -> None:
        pass

    def leave(self, deadline: float) -> None:
        self.lease.release()


@pytest.fixture
def url(wamp_router: DevRouter) -> str:
    return wamp_router.rawsocket_url


@pytest.fixture(scope="module")
def closed_router(make_wamp_router: MakeRouter) -> DevRouter:
    """A router that permits neither the meta API nor a lease called ``denied``."""
    url = f"tcp://127.0.0.1:{free_port()}"
    config = copy.deepcopy(node_config([url]))
    nothing = dict.fromkeys(("call", "register", "publish", "subscribe"), False)
    config["workers"][0]["realms"][0]["roles"][0]["permissions"][1:] = [
        {"uri": "wamp.", "match": "prefix", "allow": nothing},
        {"uri": "com.example.flask_wamp.lease.denied", "match": "exact", "allow": nothing},
    ]
    return make_wamp_router([url], config=config)


def test_one_process_has_the_lease_and_announces_it(
    join: Join, url: str, peer: AutobahnPeer
) -> None:
    (_, first), (_, second) = join(url), join(url)
    one = Wanting(first)
    assert one.next() == "acquired"
    two = Wanting(second, state=lambda: {"a": 1})
    eventually(lambda: two.lease.held_elsewhere)
    assert one.lease.held
    assert not two.lease.held
    assert peer.call(URI).args == [{"session": first.client.session_id}]  # and no more
    assert two.notes.empty()


def test_a_process_that_leaves_releases_the_lease_first(join: Join, url: str) -> None:
    (_, first), (_, second) = join(url), join(url)
    one = Wanting(first)
    assert one.next() == "acquired"
    two = Wanting(second)
    eventually(lambda: two.lease.held_elsewhere)
    gate = threading.Event()
    first.client.pool.submit(lambda: gate.wait(PATIENCE))  # it drains for long
    stopping = threading.Thread(target=first.stop)
    stopping.start()
    assert one.next() == "lost"
    assert two.next() == "acquired"
    assert stopping.is_alive()
    gate.set()
    stopping.join(PATIENCE)


def test_a_refused_lease_is_not_an_error(
    join: Join, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    (_, first), (_, second) = join(url), join(url)
    assert Wanting(first).next() == "acquired"
    two = Wanting(second)
    eventually(lambda: two.lease.held_elsewhere)
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    health = second.health()
    assert health["procedures"]["refused"] == health["topics"]["refused"] == {}


def test_a_lost_session_loses_the_lease_at_once(join: Join, url: str) -> None:
    _, wamp = join(url)
    one = Wanting(wamp)
    assert one.next() == "acquired"
    peer = wamp.client.peer
    assert peer is not None
    assert peer.connection is not None
    peer.connection.close()
    assert one.next() == "lost"
    assert one.next() == "acquired"  # in the next session
    assert one.lease.held


def test_a_process_whose_lease_was_taken_requests_it_again(
    join: Join, url: str, peer: AutobahnPeer
) -> None:
    _, wamp = join(url)
    one = Wanting(wamp)
    assert one.next() == "acquired"
    robber = peer.register(URI, options={"force_reregister": True})
    assert one.next() == "lost"
    assert not one.lease.held
    eventually(lambda: one.lease.held_elsewhere)
    robber.unregister()
    assert one.next() == "acquired"


def test_the_holder_notifies_the_others(join: Join, url: str) -> None:
    (_, first), (_, second) = join(url), join(url)
    state = {"a": 1.5}
    one = Wanting(first, state=lambda: state, on_state=lambda state: pytest.fail("told itself"))
    assert one.next() == "acquired"
    told: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
    two = Wanting(second, on_state=told.put)
    assert told.get(timeout=PATIENCE) == {"a": 1.5}
    one.lease.share_state({"b": None})
    assert told.get(timeout=PATIENCE) == {"b": None}
    two.lease.share_state({"c": 1})  # it is not the holder, so its state is not published
    first.stop()
    assert two.next() == "acquired"
    assert told.empty()


def test_outsiders_can_neither_read_nor_forge_messages(
    join: Join, url: str, peer: AutobahnPeer
) -> None:
    """They may call, publish and subscribe there."""
    signer = Signer(lambda: [b"secret"])
    (_, first), (_, second) = join(url), join(url)
    said = peer.subscribe(URI)
    one = Wanting(first, state=lambda: {"a": 1}, signer=signer)
    assert one.next() == "acquired"
    told: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
    two = Wanting(second, on_state=told.put, signer=signer)
    assert told.get(timeout=PATIENCE) == {"a": 1}
    eventually(lambda: two.lease.held_elsewhere)
    for forged in (
        [{"job": None}],
        Signer().sign_now(f"{URI}:state", {"job": None}),
        Signer(lambda: [b"guessed"]).sign_now(f"{URI}:state", {"job": None}),
        signer.sign_now(f"{URI}:other", {"job": None}),
        signer.sign(f"{URI}:state", [0.0, {"job": None}]),  # sent again after decades
        signer.sign(f"{URI}:state", {"job": None}),
    ):
        peer.publish(URI, *forged, options={"exclude_me": False})
        assert len(said.next().args) == len(forged)
        assert peer.call(URI, *forged).args == [{"session": first.client.session_id}]
    one.lease.share_state({"b": 2.0})
    assert told.get(timeout=PATIENCE) == {"b": 2.0}  # and nothing before
    assert told.empty()


def test_a_released_lease_goes_to_another_process(join: Join, url: str) -> None:
    (_, first), (_, second) = join(url), join(url)
    one = Wanting(first)
    assert one.next() == "acquired"
    two = Wanting(second)
    eventually(lambda: two.lease.held_elsewhere)
    one.lease.give_back()
    assert one.next() == "lost"
    assert two.next() == "acquired"
    second.stop()
    assert one.next() == "acquired"  # it still requests the lease


def test_a_lease_is_taken_again_only_if_no_other_process_has_it(join: Join, url: str) -> None:
    (_, first), (_, second) = join(url), join(url)
    one = Wanting(first)
    assert one.next() == "acquired"
    one.lease.release()
    assert one.lease.reacquire()
    assert one.lease.held
    one.lease.release()
    two = Wanting(second)
    assert two.next() == "acquired"
    assert not one.lease.reacquire()
    assert not one.lease.held


def test_another_process_gets_the_lease_without_the_meta_api(
    join: Join, closed_router: DevRouter, caplog: pytest.LogCaptureFixture
) -> None:
    (_, first), (_, second) = join(closed_router.rawsocket_url), join(closed_router.rawsocket_url)
    one = Wanting(first)
    assert one.next() == "acquired"
    two = Wanting(second)
    eventually(lambda: two.lease.held_elsewhere)
    one.lease.release()
    released = time.monotonic()
    assert two.next() == "acquired"
    took = time.monotonic() - released
    print(f"taken over after {took:.3f} s, without the meta API")
    assert took < TAKEOVER
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_a_missing_permission_for_the_lease_is_logged(
    join: Join, closed_router: DevRouter, caplog: pytest.LogCaptureFixture
) -> None:
    _, wamp = join(closed_router.rawsocket_url)
    Wanting(wamp, "com.example.flask_wamp.lease.denied")
    eventually(lambda: "cannot acquire the lease" in caplog.text)
    assert "wamp.error.not_authorized" in caplog.text
    assert wamp.health()["joined"]


@pytest.mark.slow
def test_ten_holders_are_killed(url: str) -> None:
    took = []
    with Members(url, "--lease", URI) as members:
        members.start(4)
        for killed in range(10):
            (holder,) = members.wait(lambda: members.said("acquired")[killed:])  # noqa: B023
            at = time.monotonic()
            members.all[holder["pid"]].kill()
            successor = members.wait(lambda: members.said("acquired")[killed + 1 :])[0]  # noqa: B023
            took.append(successor["at"] - at)
            members.start()
        assert (
            members.said("lost") == []
        )  # a killed process publishes nothing, and no other process had it
    print(f"taken over after {min(took):.3f} to {max(took):.3f} s")
    assert min(took) > 0  # never two at once
    assert max(took) < TAKEOVER
