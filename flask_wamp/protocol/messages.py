"""The WAMP messages, one class each.

``msgspec`` decodes a tagged array straight into the class and checks every field on the way; a
message that is none is a ``msgspec.ValidationError``. Fields have the names of the spec in snake case.

Source: WAMP Basic Profile, "Messages", and Advanced Profile, "Call Canceling".
"""

from __future__ import annotations

import typing as t

import msgspec

Details = dict[str, t.Any]


class Message(msgspec.Struct, array_like=True, gc=False):
    """Base of all messages. ``gc=False``: a payload is a tree, it can't hold its own message."""

    def wire(self) -> tuple[t.Any, ...]:
        """The message as the array to send, without trailing payload that is empty."""
        values = msgspec.structs.astuple(self)
        tag, end = _SHAPES.get(type(self)) or _shape(type(self))
        if end == len(values) or values[-1]:
            return (tag, *values)
        return (tag, *values[:-1]) if values[-2] else (tag, *values[:end])


#: The number of a class and how many of its fields are required: asking msgspec takes longer.
_SHAPES: dict[type[Message], tuple[t.Any, int]] = {}


def _shape(kind: type[Message]) -> tuple[t.Any, int]:
    required = len(kind.__struct_fields__) - len(kind.__struct_defaults__)
    _SHAPES[kind] = shape = kind.__struct_config__.tag, required
    return shape


class Hello(Message, tag=1):
    realm: str
    details: Details


class Welcome(Message, tag=2):
    session_id: int
    details: Details


class Abort(Message, tag=3):
    details: Details
    reason: str
    args: list[t.Any] = []
    kwargs: Details = {}


class Challenge(Message, tag=4):
    authmethod: str
    extra: Details


class Authenticate(Message, tag=5):
    signature: str
    extra: Details


class Goodbye(Message, tag=6):
    details: Details
    reason: str


class Error(Message, tag=8):
    request_type: int
    request_id: int
    details: Details
    error: str
    args: list[t.Any] = []
    kwargs: Details = {}


class Publish(Message, tag=16):
    request_id: int
    options: Details
    topic: str
    args: list[t.Any] = []
    kwargs: Details = {}


class Published(Message, tag=17):
    request_id: int
    publication_id: int


class Subscribe(Message, tag=32):
    request_id: int
    options: Details
    topic: str


class Subscribed(Message, tag=33):
    request_id: int
    subscription_id: int


class Unsubscribe(Message, tag=34):
    request_id: int
    subscription_id: int


class Unsubscribed(Message, tag=35):
    """An answer; with request id 0 the router took the subscription away, ``details`` say which."""

    request_id: int
    details: Details = {}


class Event(Message, tag=36):
    subscription_id: int
    publication_id: int
    details: Details
    args: list[t.Any] = []
    kwargs: Details = {}


class Call(Message, tag=48):
    request_id: int
    options: Details
    procedure: str
    args: list[t.Any] = []
    kwargs: Details = {}


class Cancel(Message, tag=49):
    request_id: int
    options: Details


class Result(Message, tag=50):
    request_id: int
    details: Details
    args: list[t.Any] = []
    kwargs: Details = {}


class Register(Message, tag=64):
    request_id: int
    options: Details
    procedure: str


class Registered(Message, tag=65):
    request_id: int
    registration_id: int


class Unregister(Message, tag=66):
    request_id: int
    registration_id: int


class Unregistered(Message, tag=67):
    """An answer; with request id 0 the router took the registration away, ``details`` say which."""

    request_id: int
    details: Details = {}


class Invocation(Message, tag=68):
    request_id: int
    registration_id: int
    details: Details
    args: list[t.Any] = []
    kwargs: Details = {}


class Interrupt(Message, tag=69):
    request_id: int
    options: Details


class Yield(Message, tag=70):
    request_id: int
    options: Details
    args: list[t.Any] = []
    kwargs: Details = {}


#: Everything a router may send to us.
FromRouter = (
    Welcome
    | Abort
    | Challenge
    | Goodbye
    | Error
    | Published
    | Subscribed
    | Unsubscribed
    | Event
    | Result
    | Registered
    | Unregistered
    | Invocation
    | Interrupt
)

#: Every message, for peers that stand in for a router.
AnyMessage = (
    FromRouter
    | Hello
    | Authenticate
    | Publish
    | Subscribe
    | Unsubscribe
    | Call
    | Cancel
    | Register
    | Unregister
    | Yield
)


def code(message_type: type[Message]) -> int:
    """The message type's number on the wire."""
    tag = message_type.__struct_config__.tag
    assert isinstance(tag, int)
    return tag


def id_in(details: Details, name: str) -> int:
    """An id in details, which nobody has checked; 0, which no router assigns, where there is none."""
    value = details.get(name)
    return value if isinstance(value, int) else 0
