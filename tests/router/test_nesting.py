"""Handlers that call, also their own process."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask, g

from flask_wamp import ApplicationError, CallTimeout, FlaskWAMP
from tests.support.peers import PATIENCE, AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]

DEPTH = 10


def _down(wamp: FlaskWAMP) -> None:
    """A procedure that calls itself through the router, and returns the depth."""

    @wamp.callee
    def down(levels: int) -> int:
        return 1 + g.wampy.rpc.com.example.down(levels - 1) if levels else 0


@pytest.fixture(params=["url", "rawsocket_url"])
def narrow(request: pytest.FixtureRequest, join: Join, wamp_router: DevRouter) -> FlaskWAMP:
    """An extension with four workers."""
    return join(getattr(wamp_router, request.param), WAMP_WORKERS=4)[1]


def test_a_handler_calls_back_into_its_own_process(narrow: FlaskWAMP, peer: AutobahnPeer) -> None:
    _down(narrow)
    assert peer.call("com.example.down", DEPTH).value == DEPTH


def test_fifty_calls_of_ten_levels_on_four_workers(narrow: FlaskWAMP, peer: AutobahnPeer) -> None:
    _down(narrow)
    calls = [peer.submit("com.example.down", DEPTH) for _ in range(50)]
    assert [call.wait().value for call in calls] == [DEPTH] * 50


def test_one_worker_is_enough(join: Join, wamp_router: DevRouter, peer: AutobahnPeer) -> None:
    _, wamp = join(wamp_router.url, WAMP_WORKERS=1)
    _down(wamp)
    calls = [peer.submit("com.example.down", DEPTH) for _ in range(5)]
    assert [call.wait().value for call in calls] == [DEPTH] * 5


def test_two_peers_call_each_other_back_and_forth(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    peer.register("com.shop.ping", "relay", to="com.example.pong")

    @wamp.callee
    def pong(left: int) -> int:
        return 1 + g.wampy.rpc.com.shop.ping(left - 1) if left else 0

    assert peer.call("com.example.pong", DEPTH).value == DEPTH


def test_a_handler_calls_many_at_once(narrow: FlaskWAMP, peer: AutobahnPeer) -> None:
    @narrow.callee
    def square(x: int) -> int:
        return x * x

    @narrow.callee
    def squares(upto: int) -> int:
        futures = [g.wampy.submit("com.example.square", x) for x in range(upto)]
        return sum(future.result(PATIENCE) for future in futures)

    assert peer.call("com.example.squares", 20).value == sum(x * x for x in range(20))


def test_a_subscriber_calls_and_publishes(narrow: FlaskWAMP, peer: AutobahnPeer) -> None:
    peer.register("com.shop.echo")
    answers = peer.subscribe("com.example.answer")

    @narrow.subscriber
    def question(number: int) -> None:
        g.wampy.publish("com.example.answer", g.wampy.rpc.com.shop.echo(number))

    for number in range(20):
        peer.publish("com.example.question", number)
    assert [answers.next().value for _ in range(20)] == list(range(20))


def test_an_error_ten_levels_down_reaches_the_caller(narrow: FlaskWAMP, peer: AutobahnPeer) -> None:
    @narrow.callee
    def dig(levels: int) -> t.Any:
        if not levels:
            raise ApplicationError("com.example.error.rock", "hard", depth=DEPTH)
        return g.wampy.rpc.com.example.dig(levels - 1)

    error = peer.error("com.example.dig", DEPTH)
    assert (error.uri, error.args) == ("com.example.error.rock", ("hard",))
    assert error.kwargs == {"depth": DEPTH}


def test_a_call_that_can_never_be_answered_times_out(narrow: FlaskWAMP, peer: AutobahnPeer) -> None:
    @narrow.callee(concurrency=1)
    def alone(first: bool = True) -> str:
        if first:
            with pytest.raises(CallTimeout):
                g.wampy.with_options(timeout=0.2).call("com.example.alone", False)
        return "here"

    assert peer.call("com.example.alone").value == "here"
    assert peer.call("com.example.alone", False).value == "here"
