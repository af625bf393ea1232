"""The shop that the tests test, as a user would write it."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask, g, session

from flask_wamp import FlaskWAMP, background_tasks, invocation


class Shop(t.NamedTuple):
    app: Flask
    wamp: FlaskWAMP


@pytest.fixture
def shop() -> Shop:
    app = Flask("shop")
    app.config.update(TESTING=True, SECRET_KEY="x", WAMP_URI_PREFIX="com.shop")
    wamp = FlaskWAMP(app)
    votes: dict[str, int] = {}

    @app.post("/vote/<item>")
    def vote(item: str) -> dict[str, int]:
        votes[item] = votes.get(item, 0) + 1
        g.wampy.publish(".votes", votes)
        return votes

    @app.post("/buy/<item>")
    def buy(item: str) -> dict[str, t.Any]:
        return {"price": g.wampy.call("com.bank.price", item)}

    @app.post("/login/<name>")
    def login(name: str) -> str:
        session["name"] = name
        return ""

    @wamp.callee(".total", allow="member")
    def total() -> int:
        return sum(votes.values())

    @wamp.callee(".fail")
    def fail() -> None:
        raise ZeroDivisionError("no tea left")

    @wamp.callee(".who")
    def who() -> str | None:
        identity = invocation.identity
        return identity.authid if identity is not None else None

    @wamp.callee(".later")
    def later(item: str) -> None:
        background_tasks.add(g.wampy.publish, ".done", item)

    @wamp.subscriber(".relay")
    def relay(text: str) -> None:
        g.wampy.publish(".relayed", text)

    @wamp.callee(".count")
    def count(n: int) -> t.Iterator[int]:
        yield from range(n)

    wamp.allow("member", subscribe=".votes")
    return Shop(app, wamp)
