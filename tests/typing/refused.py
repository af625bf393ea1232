"""Mistakes that type checkers find, each on a line that says so."""

from __future__ import annotations

import typing as t

from flask_wamp import Event, FlaskWAMP, Invocation, SessionInfo, callee, subscriber

wamp = FlaskWAMP()


def f(a: int) -> int: ...
def two(a: int, b: int) -> int: ...
def on_text(text: str) -> None: ...
def no_session(session: int) -> None: ...
def no_arguments() -> None: ...


wamp.callee(".a", invok="single")(f)  # refused: a misspelt option
wamp.callee(".a", invoke="load")(f)  # refused: not a way to share calls
wamp.callee(".a", match="regex")(f)  # refused: not a match
wamp.callee(".a", timeout="1")(f)  # refused: not seconds
wamp.callee(".a", concurrency=1.5)(f)  # refused: not a whole number
wamp.callee(".a", request_context="yes")(f)  # refused: not a boolean
wamp.callee(".a", delivery="one")(f)  # refused: an option of subscribers
wamp.callee(topic=".a")(f)  # refused: an option of subscribers
wamp.callee(1)(f)  # refused: not a URI
wamp.subscriber(".a", delivery="some")(f)  # refused: not a delivery
wamp.subscriber(".a", invoke="single")(f)  # refused: an option of callees
wamp.subscriber(".a", get_retaind=True)(f)  # refused: a misspelt option
callee(".a", invoke="load")(f)  # refused: not a way to share calls
subscriber(".a", delivry="one")(f)  # refused: a misspelt option
wamp.callee(".a")("text")  # refused: not a function
wamp.callee(f)("text")  # refused: the function keeps its types


@wamp.before_dispatch  # refused: a hook has an argument
def before() -> None: ...


@wamp.after_dispatch  # refused: a result comes too
def after(message: Invocation) -> None: ...


@wamp.teardown_dispatch  # refused: it gets an exception
def teardown(message: Event, error: int) -> None: ...


@wamp.middleware  # refused: it gets the next function
def middleware(message: Invocation) -> None: ...


wamp.before_dispatch(on_text)  # refused: a message is not text
wamp.middleware(object())  # refused: it has no hook
wamp.errorhandler(int)  # refused: not an exception
wamp.errorhandler(KeyError)(two)  # refused: two arguments
wamp.encoder("Decimal")  # refused: not a class
wamp.encoder(t.cast("type[int]", int))(no_arguments)  # refused: no argument
wamp.on_session_join(no_session)  # refused: it gets a SessionInfo
wamp.on_session_leave(topic="x")  # refused: it has no topic
wamp.register_blueprint(f)  # refused: not a blueprint
session: SessionInfo = wamp.include(f)  # refused: what was given is returned
client = wamp.client
client.register(f, ".a", invok="single")  # refused: a misspelt option
client.register(f, ".a", invoke="load")  # refused: not a way to share calls
client.subscribe(on_text, ".a", get_retaind=True)  # refused: a misspelt option
client.with_options(timeot=1)  # refused: a misspelt option
client.with_options(cancel_mode="skip")  # refused: not a way to cancel
client.with_options(timeout="1")  # refused: not seconds
client.with_options(exclude=["joe"])  # refused: not session ids
client.call(1)  # refused: not a URI
client.events("com.example.news", keep_alive="1")  # refused: not seconds
client.publish(message="tea")  # refused: no topic
