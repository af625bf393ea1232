"""An app that type checkers accept; each ``reveal_type`` is followed by what it reveals."""

from __future__ import annotations

import typing as t
from decimal import Decimal

from flask import Flask, Request
from typing_extensions import reveal_type

from flask_wamp import (
    ApplicationError,
    Event,
    FlaskWAMP,
    Identity,
    Invocation,
    SessionInfo,
    WAMPBlueprint,
    callee,
    subscriber,
)
from flask_wamp.middlewares import RateLimit

app = Flask(__name__)
wamp = FlaskWAMP(app)
users = WAMPBlueprint("users", uri_prefix=".users")


@wamp.authenticator
def who(request: Request) -> Identity | None: ...


@wamp.authenticator(realm="shop")
async def who_later(request: Request) -> Identity | None: ...


# Handlers: bare, with parentheses, with a URI, with options.


@wamp.callee
def bare(a: int, b: str) -> float: ...


@wamp.callee()
def parentheses(a: int, b: str) -> float: ...


@wamp.callee(".uri")
def uri(a: int, b: str) -> float: ...


@wamp.callee(
    ".options",
    match="prefix",
    invoke="single",
    concurrency=2,
    validate=False,
    timeout=1.5,
    request_context=True,
    force_reregister=True,
    bypass=True,
    filled=["a"],
    middlewares=[RateLimit(10, 1)],
)
def options(a: int, b: str) -> float: ...


@app.get("/view/<int:a>")
@wamp.callee(uri=".view", middlewares={"timeout": False})
def view(a: int) -> dict[str, int]: ...


@users.callee(".get")
async def coroutine(number: int) -> str: ...


@wamp.callee
def generator(count: int) -> t.Iterator[int]: ...


reveal_type(bare)  # (a: int, b: str) -> float
reveal_type(parentheses)  # (a: int, b: str) -> float
reveal_type(uri)  # (a: int, b: str) -> float
reveal_type(options)  # (a: int, b: str) -> float
reveal_type(view)  # (a: int) -> dict[str, int]
reveal_type(coroutine)  # (number: int) -> Coroutine[Any, Any, str]
reveal_type(generator)  # (count: int) -> Iterator[int]


@wamp.subscriber
def on_bare(text: str) -> None: ...


@wamp.subscriber(
    ".topic", match="exact", concurrency=4, delivery="one", get_retained=True, validate=None
)
def on_topic(text: str) -> None: ...


@wamp.consume(topic="topic")
def consumed(message: str, meta: dict[str, t.Any]) -> None: ...


@wamp.consume
def consumed_bare(message: str) -> None: ...


reveal_type(on_bare)  # (text: str) -> None
reveal_type(on_topic)  # (text: str) -> None
reveal_type(consumed)  # (message: str, meta: dict[str, Any]) -> None
reveal_type(consumed_bare)  # (message: str) -> None


# The free decorators.


@callee
def free(a: int) -> int: ...


@callee(".free", invoke="first")
@subscriber(".free", delivery="every")
def both(a: int) -> int: ...


class Counter:
    @callee(".add")
    def add(self, amount: int) -> int: ...


reveal_type(free)  # (a: int) -> int
reveal_type(both)  # (a: int) -> int
reveal_type(Counter().add)  # (amount: int) -> int
reveal_type(wamp.include(Counter()))  # Counter


# Hooks, middlewares and the rest.


@wamp.before_dispatch
def before(message: Invocation | Event) -> str | None: ...


@wamp.after_dispatch
def after(message: Invocation, result: object) -> object: ...


@users.teardown_dispatch
def teardown(message: Event, error: BaseException | None) -> None: ...


@wamp.middleware
def middleware(next_: t.Callable[[t.Any], t.Any], message: Invocation | Event) -> object: ...


class Timing:
    def before_dispatch(self, message: Invocation | Event) -> None: ...


@wamp.errorhandler(KeyError)
def missing(error: KeyError) -> ApplicationError: ...


@wamp.encoder(Decimal)
def encode(value: Decimal) -> str: ...


@wamp.on_session_join
def joined(session: SessionInfo) -> None: ...


@wamp.on_session_leave(middlewares=[])
def left(session: SessionInfo) -> None: ...


reveal_type(before)  # (message: Invocation | Event) -> str | None
reveal_type(after)  # (message: Invocation, result: object) -> object
reveal_type(teardown)  # (message: Event, error: BaseException | None) -> None
reveal_type(missing)  # (error: KeyError) -> ApplicationError
reveal_type(encode)  # (value: Decimal) -> str
reveal_type(joined)  # (session: SessionInfo) -> None
reveal_type(left)  # (session: SessionInfo) -> None
reveal_type(wamp.middleware(Timing()))  # Timing
wamp.register_blueprint(users)


# The client.

client = wamp.client
client.register(bare, ".more", invoke="last", timeout=1.0)
client.subscribe(on_bare, ".more", match="prefix", concurrency=2)
reveal_type(client)  # Client
reveal_type(client.with_options(timeout=1, acknowledge=True))  # Client
reveal_type(client.session_id)  # int | None
wamp.allow("member", subscribe=[".news"], publish=".typing")
reveal_type(client.with_options(timeout=1.5, acknowledge=True, exclude=[1]))  # Client
reveal_type(client.publish("com.example.news", 1, name="tea"))  # int | None
reveal_type(client.publish(topic="com.example.news", message="tea"))  # int | None
reveal_type(client.submit("com.example.add", 1, b=2))  # CallFuture
reveal_type(client.stream("com.example.count", 1))  # ResultStream
reveal_type(client.events("com.example.news", match="exact"))  # EventStream
reveal_type(client.testament("com.example.gone", 1))  # Testament
reveal_type(client.history("com.example.news"))  # list[PastEvent]
reveal_type(client.meta.sessions.count())  # int
reveal_type(client.wait_until_joined(1))  # dict[str, Exception]
reveal_type(client.start())  # Client
