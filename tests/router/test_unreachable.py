"""A router whose host cannot be reached: packets are dropped without an error."""

from __future__ import annotations

import socket
import time
import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, NotJoined, SessionLost
from tests.conftest import eventually
from tests.support import netns
from tests.support.peers import PATIENCE, AutobahnPeer
from tests.support.sockets import Forwarder

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]
MakeApp = t.Callable[..., Flask]

SOON = 5.0
"""Seconds within which everything ends here. Other timeouts would take 30."""


@pytest.fixture(scope="module")
def module_host() -> t.Iterator[netns.Host]:
    """A host that can become unreachable."""
    reason = netns.why_not()
    if reason is not None:
        pytest.skip(reason)
    with netns.Host() as host:
        yield host


@pytest.fixture
def host(module_host: netns.Host) -> t.Iterator[netns.Host]:
    """The same, there."""
    yield module_host
    module_host.deliver()


@pytest.fixture(params=["ws", "tcp"])
def far_url(
    host: netns.Host, wamp_router: DevRouter, request: pytest.FixtureRequest
) -> t.Iterator[str]:
    """The URL of the router, on that host."""
    url = wamp_router.url if request.param == "ws" else wamp_router.rawsocket_url
    behind = url.replace("ws://", "tcp://").removesuffix("/ws")
    with host.inside():
        line = Forwarder(behind, host=host.address)
    with line:
        yield url.replace(behind.removeprefix("tcp://"), line.url.removeprefix("tcp://"))
        host.deliver()
        line.cut()


def test_an_unreachable_router_is_lost_and_joined_again(
    join: Join, host: netns.Host, far_url: str, peer: AutobahnPeer
) -> None:
    config = {"WAMP_HEARTBEAT": 0.8, "WAMP_CONNECT_TIMEOUT": 0.5, "WAMP_CALL_TIMEOUT": 30}
    _, wamp = join(far_url, lambda wamp: wamp.callee("com.example.here")(lambda: "here"), **config)
    held = peer.register("com.shop.held", "hold")
    call = wamp.client.submit("com.shop.held")
    held.next()
    host.drop()
    started = time.monotonic()
    with pytest.raises(SessionLost, match="silent for too long"):
        call.result(SOON)
    print(f"noticed after {time.monotonic() - started:.2f} s of 0.8 s")
    eventually(lambda: "timed out" in str(wamp.health()["failure"]), SOON)
    with pytest.raises(NotJoined, match="timed out"):
        wamp.client.call("com.shop.held")
    host.deliver()
    started = time.monotonic()
    wamp.client.wait_until_joined(PATIENCE)
    print(f"back after {time.monotonic() - started:.2f} s")
    # The router still has the old session, which will never answer, because it has not noticed the loss.
    assert wamp.health()["procedures"]["registered"] == 1
    wamp.stop()


@pytest.mark.parametrize("form", ["ws://{}:8080/ws", "wss://{}:8080/ws", "tcp://{}:8080"])
def test_stopping_does_not_wait_for_a_missing_host(
    make_app: MakeApp, host: netns.Host, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    host.drop()
    url = form.format(host.address)
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=url, WAMP_CONNECT_TIMEOUT=30))
    wamp.start()
    eventually(lambda: _connecting_to(host.address))
    started = time.monotonic()
    wamp.stop()
    took = time.monotonic() - started
    print(f"stopped after {took:.3f} s")
    assert took < SOON
    assert not _connecting_to(host.address)
    assert caplog.text == ""


def test_stopping_does_not_wait_for_an_unreachable_host(
    join: Join, host: netns.Host, far_url: str
) -> None:
    _, wamp = join(far_url, WAMP_HEARTBEAT=60, WAMP_DRAIN_TIMEOUT=0.5)
    wamp.callee("com.example.here")(lambda: "here")
    host.drop()
    call = wamp.client.with_options(timeout=60).submit("com.shop.nobody")
    started = time.monotonic()
    wamp.stop()
    took = time.monotonic() - started
    print(f"stopped after {took:.2f} s")
    assert took < SOON
    assert isinstance(call.exception(SOON), SessionLost)


def _connecting_to(address: str) -> bool:
    """Whether a socket of this machine waits for an answer to its SYN."""
    remote = socket.inet_aton(address)[::-1].hex().upper()
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[2].startswith(remote) and line.split()[3] == "02" for line in lines)
