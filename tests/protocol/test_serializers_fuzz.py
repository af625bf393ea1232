"""Random bytes, and messages with a few bytes changed: a message, or ``ProtocolError``."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_wamp.exceptions import AuthenticationError, ProtocolError
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.auth import Credentials
from flask_wamp.protocol.serializers import get_serializer
from flask_wamp.protocol.session import Session
from tests.protocol.strategies import kwargs, payloads
from tests.support.wire import SERIALIZERS, joined_session, new_session, router_serializer

each_serializer = pytest.mark.parametrize("name", SERIALIZERS)

ids = st.one_of(st.integers(0, 4), st.integers(0, 2**53))
#: What the session reads of details.
READ = ("progress", "registration", "subscription", "authextra", "message")

details = st.one_of(
    st.just({}),
    kwargs,
    st.fixed_dictionaries({}, optional=dict.fromkeys(READ, payloads)),
)
uris = st.sampled_from(["wamp.error.x", "", "com..x", "com.example.add"])
args = st.lists(payloads, max_size=3)

FIELDS: dict[t.Any, st.SearchStrategy[t.Any]] = {int: ids, str: uris, dict: details}
PAYLOAD = {"raw_args": args, "raw_kwargs": kwargs}


def of_class(cls: type[m.Message]) -> st.SearchStrategy[m.Message]:
    hints = {name: t.get_type_hints(cls)[name] for name in cls.__struct_fields__}
    fields = [
        PAYLOAD[name] if name in PAYLOAD else FIELDS[t.get_origin(hint) or hint]
        for name, hint in hints.items()
    ]
    return st.builds(cls, *fields)


messages = st.one_of([of_class(cls) for cls in t.get_args(m.FromRouter)])


@st.composite
def damaged(draw: st.DrawFn, name: str) -> bytes:
    """A valid message with some bytes replaced, removed or added."""
    serializer = router_serializer(name)
    message = draw(messages)
    for field in ("raw_args", "raw_kwargs", "details", "extra", "options"):
        if hasattr(message, field):
            setattr(message, field, serializer.plain(getattr(message, field)))
    data = bytearray(serializer.encode(message))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


@each_serializer
@given(data=st.binary(max_size=200))
@example(data=b"")
def test_random_bytes(name: str, data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        get_serializer(name).decode(data)


@each_serializer
@given(data=st.data())
def test_damaged_messages(name: str, data: st.DataObject) -> None:
    with contextlib.suppress(ProtocolError):
        get_serializer(name).decode(data.draw(damaged(name)))


def sessions() -> list[Session]:
    """Sessions in the middle of something."""
    joining = new_session(credentials=Credentials(authid="joe", secret="x", ticket="y"))
    joining.join()
    busy = joined_session()
    busy.register("com.x", {}, "f", "ticket")
    busy.subscribe("com.x", {}, "g", "ticket")
    busy.receive(m.Registered(1, 3))
    busy.receive(m.Subscribed(2, 4))
    busy.call("com.x", [], {}, {}, "ticket")
    busy.publish("com.x", [], {}, {"acknowledge": True}, "ticket")
    leaving = joined_session()
    leaving.leave()
    return [joining, busy, leaving]


@given(st.lists(messages, max_size=5))
def test_session_takes_any_message(received: list[m.Message]) -> None:
    for session in sessions():
        for message in received:
            with contextlib.suppress(ProtocolError, AuthenticationError):
                session.receive(message)


@each_serializer
@given(data=st.data())
def test_session_takes_damaged_messages(name: str, data: st.DataObject) -> None:
    decode = get_serializer(name).decode
    received = data.draw(st.lists(damaged(name), max_size=3))
    for session in sessions():
        for each in received:
            with contextlib.suppress(ProtocolError, AuthenticationError):
                session.receive(decode(each))
