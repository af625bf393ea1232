"""The meta API of a real router, with a session of autobahn."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP
from flask_wamp.client.meta import Meta
from tests.conftest import eventually
from tests.support.peers import AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

NOBODY = 12345


@pytest.fixture
def meta(wamp: FlaskWAMP) -> Meta:
    """The meta API of the router."""
    return wamp.client.meta


def uri_of(f: t.Callable[..., t.Any], *args: t.Any) -> str | None:
    """Return the error URI of a call that fails."""
    with pytest.raises(ApplicationError) as raised:
        f(*args)
    return raised.value.uri


def test_sessions(wamp: FlaskWAMP, meta: Meta, peer: AutobahnPeer) -> None:
    ids = {wamp.client.session_id, peer.session_id}
    assert ids <= set(meta.sessions.list())
    assert ids <= set(meta.sessions.list(["anonymous"]))
    assert meta.sessions.list("nobody") == []
    assert meta.sessions.count() >= 2
    assert meta.sessions.count("nobody") == 0
    other = meta.sessions.get(peer.session_id)
    assert (other.id, other.authid, other.authrole) == (
        peer.session_id,
        peer.authid,
        "anonymous",
    )
    assert (other.authmethod, other.authprovider) == ("anonymous", "static")
    assert other.transport is not None
    assert other.transport.framing == "rawsocket"
    assert other.transport.is_secure is False
    assert other in meta.sessions.all()
    assert uri_of(meta.sessions.get, NOBODY) == "wamp.error.no_such_session"


def test_a_router_with_a_store_has_subscriptions_without_subscribers(
    join: t.Callable[..., tuple[Flask, FlaskWAMP]], historian: DevRouter
) -> None:
    _, wamp = join(historian.rawsocket_url)
    assert uri_of(wamp.client.meta.sessions.get, NOBODY) == "wamp.error.no_such_session"
    with AutobahnPeer(historian.rawsocket_url) as peer:
        peer.subscribe("com.kept")
        peer.subscribe("com.past.", match="prefix")
        subscriptions = wamp.client.meta.subscriptions
        number = subscriptions.lookup("com.kept")
        assert number is not None
        assert subscriptions.list_subscribers(number) == [peer.session_id]
        assert subscriptions.count_subscribers(number) == 1
    eventually(lambda: subscriptions.count_subscribers(number) == 0)


def test_kill(meta: Meta, wamp_router: DevRouter) -> None:
    assert uri_of(meta.sessions.kill, NOBODY) == "wamp.error.no_such_session"
    with AutobahnPeer(wamp_router.rawsocket_url) as victim:
        meta.sessions.kill(victim.session_id, reason="com.example.kicked", message="go away")
        victim.wait_until_lost()
        eventually(lambda: victim.session_id not in meta.sessions.list())


def test_kill_by_authid(meta: Meta, wamp_router: DevRouter) -> None:
    assert meta.sessions.kill_by_authid("nobody") == []
    assert meta.sessions.kill_by_authrole("nobody", reason="com.example.kicked") == []
    with AutobahnPeer(wamp_router.rawsocket_url) as victim:
        assert meta.sessions.kill_by_authid(victim.authid) == [victim.session_id]
        victim.wait_until_lost()


def test_sign_out(wamp: FlaskWAMP, wamp_router: DevRouter) -> None:
    assert wamp.sign_out("nobody") == 0
    with AutobahnPeer(wamp_router.rawsocket_url) as victim:
        assert victim.authid is not None
        assert wamp.sign_out(victim.authid) == 1
        victim.wait_until_lost()


def test_registrations(wamp: FlaskWAMP, meta: Meta, peer: AutobahnPeer) -> None:
    peer.register("com.teas.", options={"match": "prefix", "invoke": "roundrobin"})
    wamp.client.register(lambda: None, "com.teas.", match="prefix")
    number = meta.registrations.lookup("com.teas.", match="prefix")
    assert number is not None
    assert meta.registrations.match("com.teas.green") == number
    assert meta.registrations.lookup("com.teas.green") is None
    assert meta.registrations.match("com.coffees") is None
    info = meta.registrations.get(number)
    assert (info.id, info.uri, info.match, info.invoke) == (
        number,
        "com.teas.",
        "prefix",
        "roundrobin",
    )
    assert info.created is not None
    assert info.created.tzinfo is not None
    assert info in meta.registrations.all()
    assert number in meta.registrations.list()
    assert number in (its := meta.registrations.list(peer.session_id))
    assert meta.registrations.count(peer.session_id) == len(its)
    callees = {peer.session_id, wamp.client.session_id}
    assert set(meta.registrations.list_callees(number)) == callees
    assert meta.registrations.count_callees(number) == 2
    assert uri_of(meta.registrations.get, NOBODY) == "wamp.error.no_such_registration"
    assert uri_of(meta.registrations.list_callees, NOBODY) == "wamp.error.no_such_registration"
    assert uri_of(meta.registrations.list, NOBODY) == "wamp.error.no_such_session"


def test_subscriptions(meta: Meta, peer: AutobahnPeer) -> None:
    peer.subscribe("com.teas.green")
    peer.subscribe("com..green", match="wildcard")
    number = meta.subscriptions.lookup("com.teas.green")
    wildcard = meta.subscriptions.lookup("com..green", match="wildcard")
    assert number is not None
    assert wildcard is not None
    assert meta.subscriptions.match("com.teas.green") == [number, wildcard]
    assert meta.subscriptions.match("com.coffees") == []
    info = meta.subscriptions.get(number)
    assert (info.id, info.uri, info.match) == (number, "com.teas.green", "exact")
    assert info in meta.subscriptions.all()
    assert {number, wildcard} <= set(its := meta.subscriptions.list(peer.session_id))
    assert meta.subscriptions.count(peer.session_id) == len(its)
    assert meta.subscriptions.list_subscribers(wildcard) == [peer.session_id]
    assert meta.subscriptions.count_subscribers(number) == 1
    assert uri_of(meta.subscriptions.get, NOBODY) == "wamp.error.no_such_subscription"


def test_the_error_of_a_missing_permission_names_it(
    join: t.Callable[..., tuple[Flask, FlaskWAMP]], historian: DevRouter
) -> None:
    _, wamp = join(historian.rawsocket_url, WAMP_REALM="strict")
    for ask in (
        wamp.client.meta.sessions.list,
        wamp.client.meta.registrations.all,
        lambda: wamp.client.history("com.kept"),
    ):
        with pytest.raises(ApplicationError) as raised:
            ask()
        assert raised.value.uri == "wamp.error.not_authorized"
        assert "Add this to the permissions of the role" in raised.value.args[0]


def test_autobahn_sees_our_session(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    assert wamp.client.session_id in peer.call("wamp.session.list").value
    mine = peer.call("wamp.session.get", wamp.client.session_id).value
    assert mine["authrole"] == "anonymous"
