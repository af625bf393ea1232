"""Sessions that join and leave a real router: autobahn, with and without GOODBYE, and a browser's cookie."""

from __future__ import annotations

import json
import queue
import typing as t

import pytest
from flask import Flask
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from flask_wamp import FlaskWAMP, SessionInfo, event
from tests.support.peers import PATIENCE, AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

COOKIE = "session=secret-cookie"

Seen = queue.Queue[tuple[str, SessionInfo, t.Any]]


@pytest.fixture
def seen(wamp: FlaskWAMP) -> Seen:
    """The sessions that joined and left, and the contents of the events."""
    seen: Seen = queue.Queue()

    @wamp.on_session_join
    def joined(session: SessionInfo) -> None:
        seen.put(("joined", session, event.args))

    @wamp.on_session_leave
    def left(session: SessionInfo) -> None:
        seen.put(("left", session, event.args))

    return seen


def next_of(seen: Seen, session_id: int) -> tuple[str, SessionInfo]:
    """Return the next item of one session. Sessions of other tests may leave too."""
    while True:
        what, session, args = seen.get(timeout=PATIENCE)
        assert args == [session]
        if session.id == session_id:
            return what, session


def test_autobahn_joins_and_leaves(seen: Seen, wamp_router: DevRouter) -> None:
    with AutobahnPeer(wamp_router.rawsocket_url) as peer:
        what, session = next_of(seen, peer.session_id)
        assert (what, session.authid, session.authrole) == ("joined", peer.authid, "anonymous")
        assert session.transport is not None
        assert session.transport.framing == "rawsocket"
    assert next_of(seen, peer.session_id) == ("left", session)


def test_autobahn_is_killed(seen: Seen, wamp_router: DevRouter) -> None:
    with AutobahnPeer(wamp_router.url) as peer:
        assert next_of(seen, peer.session_id)[0] == "joined"
        peer.kill()
        what, session = next_of(seen, peer.session_id)
        assert (what, session.authid) == ("left", peer.authid)


def test_an_earlier_session_leaves_with_the_data_of_the_event(
    wamp: FlaskWAMP, wamp_router: DevRouter, on_crossbar: bool
) -> None:
    seen: Seen = queue.Queue()
    with AutobahnPeer(wamp_router.rawsocket_url) as peer:
        wamp.on_session_leave(lambda session: seen.put(("left", session, [session])))
    _, session = next_of(seen, peer.session_id)
    # In the specification it contains the authid and the role. Crossbar sends only the session id.
    who = {} if on_crossbar else {"authid": peer.authid, "authrole": "anonymous"}
    assert session == SessionInfo(
        peer.session_id, **who, details={"session": peer.session_id, **who}
    )


def test_a_cookie_is_not_kept(
    wamp: FlaskWAMP, seen: Seen, wamp_router: DevRouter, on_crossbar: bool
) -> None:
    with connect(
        wamp_router.url,
        subprotocols=[Subprotocol("wamp.2.json")],
        additional_headers={"Cookie": COOKIE},
    ) as browser:
        browser.send(json.dumps([1, "realm1", {"roles": {"caller": {}}}]))
        _, session_id, _ = json.loads(browser.recv())
        what, session = next_of(seen, session_id)
        sessions = wamp.client.meta.sessions
        assert (what, session) == ("joined", sessions.get(session_id))
        assert session.transport is not None
        assert session.transport.framing == "websocket"
        assert COOKIE not in repr((session, session.details, session.transport.details))
        headers = sessions.get(session_id, headers=True).http_headers
        if on_crossbar:
            assert headers is not None
            assert headers["cookie"] == COOKIE
        else:
            assert headers is None  # the built-in router shows no headers


def test_a_role_without_the_right(
    join: t.Callable[..., tuple[Flask, FlaskWAMP]], historian: DevRouter
) -> None:
    _, wamp = join(
        historian.rawsocket_url, lambda wamp: wamp.on_session_join(print), WAMP_REALM="strict"
    )
    refused = wamp.health()["topics"]["refused"]["wamp.session.on_join"]
    assert "wamp.error.not_authorized" in refused
