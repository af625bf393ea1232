"""An event that goes to many WebSockets is framed, and compressed, once for all that are alike."""

from __future__ import annotations

import asyncio
import contextlib
import typing as t

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame

from flask_wamp.router.process.server import RouterServer, ServerSettings
from tests.support.browser import Browser

from .test_connections import run

EVENT = " ".join(str(n * n) for n in range(1000))
Kind = tuple[ClientPerMessageDeflateFactory, ...] | None
DEFLATE: Kind = (ClientPerMessageDeflateFactory(),)
SMALL_WINDOW: Kind = (ClientPerMessageDeflateFactory(server_max_window_bits=9),)


def publish(kinds: t.Sequence[Kind], times: int = 1) -> None:
    """Publish to browsers of these kinds, which join in this order."""

    def talk(url: str) -> None:
        with contextlib.ExitStack() as stack:
            publisher, *browsers = [
                stack.enter_context(Browser(url, extensions=kind)) for kind in (None, *kinds)
            ]
            for browser in browsers:
                browser.subscribe("com.shop.news")
            for n in range(times):
                publisher.publish("com.shop.news", EVENT, n)
                assert all(browser.next_event() == [EVENT, n] for browser in browsers)

    async def scene(
        server: RouterServer, loop: asyncio.AbstractEventLoop, ports: dict[str, int]
    ) -> None:
        await asyncio.to_thread(talk, f"ws://127.0.0.1:{ports['ws']}/ws")
        assert len(server.last_frame.message) < 100  # nothing of an event is kept

    run(scene, ServerSettings())


def test_each_connection_gets_a_frame_of_its_kind() -> None:
    publish([DEFLATE, None, SMALL_WINDOW] * 3, times=3)


def test_an_event_is_compressed_once_for_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    compressed = 0
    serialize = Frame.serialize

    def counted(frame: Frame, *args: t.Any, **kwargs: t.Any) -> bytes:
        nonlocal compressed
        compressed += bytes(frame.data[:4]) == b"[36,"
        return serialize(frame, *args, **kwargs)

    monkeypatch.setattr(Frame, "serialize", counted)
    publish([DEFLATE] * 5 + [SMALL_WINDOW] * 5)
    assert compressed == 2
