"""An app whose views stream their own items, and those of a remote procedure."""

from __future__ import annotations

import asyncio
import os
import time
import typing as t

from flask import Flask, Response, g

from flask_wamp import FlaskWAMP

app = Flask(__name__)
app.config.update(
    WAMP_ROUTER_URL=os.environ["SHOP_ROUTER_URL"],
    WAMP_URI_PREFIX="com.streams",
    WAMP_DRAIN_TIMEOUT=2,
    WAMP_LINGER=0,
)
wamp = FlaskWAMP(app)


@app.get("/ticks")
@wamp.callee
def ticks() -> t.Iterator[int]:
    try:
        for number in range(1_000_000):
            yield number
            time.sleep(0.02)
    finally:
        g.wampy.publish("com.streams.closed", os.getpid())


@app.get("/asynchronous")
@wamp.callee
async def asynchronous() -> t.AsyncIterator[int]:
    try:
        for number in range(1_000_000):
            yield number
            await asyncio.sleep(0.02)
    finally:
        await asyncio.sleep(0)
        g.wampy.publish("com.streams.closed", os.getpid())


@app.get("/relay/<procedure>")
def relay(procedure: str) -> Response:
    return Response(g.wampy.stream(procedure))
