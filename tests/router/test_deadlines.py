"""Cancellation and deadlines: a handler's call gets the remaining time of the handler."""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t

import pytest
from flask import g

from flask_wamp import CallTimeout, FlaskWAMP, invocation
from flask_wamp.concurrency.threads import is_monkey_patched
from tests.conftest import eventually
from tests.support.peers import PATIENCE, AutobahnPeer, Canceled

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

How = t.Callable[[t.Any, str], t.Any]

WAYS: dict[str, How] = {
    "call": lambda client, uri: client.call(uri),
    "with_options": lambda client, uri: client.with_options(timeout=60).call(uri),
    "submit": lambda client, uri: client.submit(uri).result(),
    "stream": lambda client, uri: list(client.stream(uri)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_call_gets_the_remaining_time(wamp: FlaskWAMP, peer: AutobahnPeer, way: str) -> None:
    held = peer.register("com.shop.slow", "hold")
    took: list[float] = []

    @wamp.callee(timeout=0.3)
    def outer() -> None:
        begun = time.monotonic()
        try:
            WAYS[way](g.wampy, "com.shop.slow")
        finally:
            took.append(time.monotonic() - begun)

    assert peer.error("com.example.outer").uri == "wamp.error.timeout"
    held.next()
    held.interrupted()
    eventually(lambda: took)
    assert took[0] < 5  # WAMP_CALL_TIMEOUT is 10


def test_a_call_after_the_deadline_fails(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    errors: list[BaseException] = []

    @wamp.callee(timeout=0.1)
    def late() -> None:
        try:
            time.sleep(0.2)
            g.wampy.call("com.shop.echo")
        except BaseException as error:
            errors.append(error)
            raise

    assert peer.error("com.example.late").uri == "wamp.error.timeout"
    eventually(lambda: errors)
    if is_monkey_patched():  # it is ended while it sleeps
        assert not isinstance(errors[0], Exception)
    else:
        assert isinstance(errors[0], CallTimeout)


@pytest.mark.parametrize("how", ["cancel", "kill"])
def test_a_handler_sees_that_its_call_was_canceled(
    wamp: FlaskWAMP, wamp_router: DevRouter, how: str
) -> None:
    seen: list[t.Any] = []
    may_look = threading.Event()

    @wamp.callee
    def slow() -> None:
        message = invocation._get_current_object()  # type: ignore[attr-defined]
        try:
            may_look.wait(PATIENCE if is_monkey_patched() else 0)
            eventually(lambda: message.canceled)
        finally:
            seen.append(message.canceled)

    wamp.callee(".fine")(lambda: "fine")
    with AutobahnPeer(wamp_router.rawsocket_url) as other:
        call = other.submit("com.example.slow")
        other.call("com.example.fine")
        if how == "kill":
            other.kill()
        else:
            call.cancel()
            with pytest.raises(Canceled):
                call.wait()
        eventually(lambda: seen == [True])
    assert wamp.client.call("com.example.fine") == "fine"


def test_a_canceled_greenlet_does_not_end_its_worker(
    join: t.Callable[..., t.Any], wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    _, wamp = join(wamp_router.rawsocket_url, WAMP_WORKERS=2)

    @wamp.callee
    def nap(seconds: float) -> str:
        time.sleep(seconds)
        return "done"

    for number in range(60):  # some of them end at the moment when they are canceled
        call = peer.submit("com.example.nap", 0.001 * (number % 5))
        with contextlib.suppress(RuntimeError):  # it has ended already
            call.cancel()
    calls = [peer.submit("com.example.nap", 0) for _ in range(4)]
    assert [call.wait().value for call in calls] == ["done"] * 4


@pytest.mark.parametrize("mode", ["kill", "killnowait"])
def test_a_canceled_future_interrupts(wamp: FlaskWAMP, peer: AutobahnPeer, mode: str) -> None:
    held = peer.register("com.shop.slow", "hold")
    future = wamp.client.with_options(cancel_mode=mode).submit("com.shop.slow")
    held.next()
    assert future.cancel()
    held.interrupted()
