"""A lease at the end of its session, on a router in memory."""

from __future__ import annotations

import sys
import threading
import typing as t

from flask_wamp import FlaskWAMP
from flask_wamp.coordination.lease import Lease
from flask_wamp.coordination.leases import Leases
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import MemoryRouter

URI = "com.example.flask_wamp.lease.test"


def lease_of(wamp: FlaskWAMP) -> Lease:
    assert wamp.client.peer is not None
    return Leases.of(wamp.client.peer).add(URI)


class AskInBetween:
    """A lock that requests the lease when its holder releases it, as a quick timer may do."""

    def __init__(self, lock: threading.Lock, lease: Lease) -> None:
        self._lock, self._lease, self.asked = lock, lease, False

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()
        if not self.asked and sys._getframe(1).f_code.co_name == "_release":
            self.asked = True
            self._lease.ask()


def test_request_while_the_session_ends_is_ignored(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve()
    lease = lease_of(wamp)
    eventually(lambda: lease.held)
    lease._lock = lock = t.cast(t.Any, AskInBetween(lease._lock, lease))
    router.drop()
    eventually(lambda: lock.asked)
    eventually(lambda: lease.held)
    assert URI in router.procedures


def test_request_on_a_closed_connection_is_ignored(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve()
    lease = lease_of(wamp)
    eventually(lambda: lease.held)
    connection = lease._connection
    assert connection is not None
    connection.close()
    lease._release(wanted=True)
    lease.ask()
    eventually(lambda: wamp.client.joined and lease._connection is not connection)
    eventually(lambda: lease.held)


def test_pauses_grow_while_a_member_returns_the_lease(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve()
    lease = lease_of(wamp)
    eventually(lambda: lease.held)
    peer, pauses = lease._peer, []

    class RecordingPeer:
        settings, pool, session_id = peer.settings, peer.pool, peer.session_id

        def call_at(self, deadline: float, function: t.Callable[[], None]) -> object:
            pauses.append(lease._not_before)
            return peer.call_at(deadline, function)

    lease._peer = t.cast(t.Any, RecordingPeer())
    for _ in range(12):
        lease.give_back()
    gaps = [after - before for before, after in zip(pauses, pauses[1:], strict=False)]
    assert 0.5 < gaps[0] < 10
    assert pauses[-1] - pauses[0] < 45  # GIVEN_BACK_MAX and its jitter
    assert max(gaps) > gaps[0]
    lease.confirm()
    lease.give_back()
    assert pauses[-1] < pauses[-2]
