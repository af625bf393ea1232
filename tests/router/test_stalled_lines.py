"""A connection that blocks in one direction: no thread waits for it longer than the heartbeat."""

from __future__ import annotations

import threading
import time
import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, WAMPError
from flask_wamp.crossbar import DevRouter
from tests.conftest import eventually
from tests.support.chaos.proxy import UP, Proxy
from tests.support.peers import PATIENCE, AutobahnPeer

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]


@pytest.mark.parametrize("attribute", ["url", "rawsocket_url"])
def test_a_send_that_blocks_ends_with_the_heartbeat_even_while_events_arrive(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer, attribute: str
) -> None:
    proxy = Proxy(getattr(wamp_router, attribute))
    stop, events, ended = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)
    try:
        _, wamp = join(proxy.url, WAMP_HEARTBEAT=1.0)
        wamp.subscriber(".ticks")(lambda: events.release())

        def tick() -> None:
            while not stop.wait(0.05):
                peer.publish("com.example.ticks")

        def call() -> None:
            client = wamp.client.with_options(timeout=0.3)
            with pytest.raises(WAMPError):
                client.call("com.example.nobody", "x" * 4_000_000)
            ended.release()

        ticking = threading.Thread(target=tick, name="ticking")
        ticking.start()
        session_id = wamp.client.session_id
        assert events.acquire(timeout=PATIENCE)
        proxy.stall(UP)
        callers = [threading.Thread(target=call, name="caller") for _ in range(6)]
        started = time.monotonic()
        for caller in callers:
            caller.start()
        for _ in callers:
            assert ended.acquire(timeout=PATIENCE)
        print(f"{attribute}: all ended after {time.monotonic() - started:.1f} s")
        assert events.acquire(timeout=PATIENCE)
        proxy.mend()
        proxy.cut()
        eventually(lambda: wamp.client.session_id not in (None, session_id), PATIENCE)
        for caller in callers:
            caller.join(PATIENCE)
    finally:
        stop.set()
        proxy.close()
    ticking.join(PATIENCE)
    wamp.stop()
