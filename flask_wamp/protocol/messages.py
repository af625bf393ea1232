"""The WAMP messages, one class each.

``msgspec`` decodes a tagged array straight into the class and checks every field of the envelope on the
way. Fields have the names of the spec in snake case.

**Payloads stay undecoded.** In a message that a serializer has decoded, ``raw_args`` and ``raw_kwargs`` are
views of the received bytes (see :mod:`.raw_payload`). Two ways to use them:

-   *Read it*: ``message.args`` and ``message.kwargs`` decode at first use and keep the result. Do that on
    the thread that needs the values, never on the reader: they may be large, and they raise
    :class:`.InvalidPayload` where the other peer sent something that is no payload.
-   *Pass it on*, as a router does: give ``raw_args`` and ``raw_kwargs`` to the message to send, as in
    ``Invocation(request_id, registration_id, details, call.raw_args, call.raw_kwargs)``. The serializer
    copies the bytes if it speaks the same format, and decodes and encodes them again if not.

In a message to send, ``raw_args`` may also be a list or tuple of what :func:`.payload.plain` returns,
``raw_kwargs`` a dictionary.

Source: WAMP Basic Profile, "Messages", and Advanced Profile, "Call Canceling".
"""

from __future__ import annotations

import copy
import typing as t

import msgspec

from .._text import safe_text
from ..exceptions import InvalidPayload
from .raw_payload import Received, decode_args, decode_kwargs

Details = dict[str, t.Any]

if t.TYPE_CHECKING:
    #: The positional payload: undecoded where it was received, a sequence where it is to be sent.
    RawArgs = object
    #: The keyword payload, likewise.
    RawKwargs = object
else:  # what msgspec decodes into; it does not check what is encoded
    RawArgs = RawKwargs = msgspec.Raw


class Message(msgspec.Struct, array_like=True, gc=False):
    """Base of all messages. ``gc=False``: a payload is a tree, it can't hold its own message."""

    def wire(self) -> tuple[object, ...]:
        """Return the message as the array to send, without an empty payload at its end."""
        values = msgspec.structs.astuple(self)
        tag, end = _SHAPES.get(type(self)) or _shape(type(self))
        if end == len(values) or values[-1]:
            return tag + values
        return tag + (values[:-1] if values[-2] else values[:end])


#: The number of a class and how many of its fields are required: asking msgspec takes longer.
_SHAPES: dict[type[Message], tuple[tuple[object], int]] = {}


def _shape(kind: type[Message]) -> tuple[tuple[object], int]:
    required = len(kind.__struct_fields__) - len(kind.__struct_defaults__)
    _SHAPES[kind] = shape = (kind.__struct_config__.tag,), required
    return shape


Same = t.TypeVar("Same", bound="HasPayload")


class HasPayload:
    """What the messages with a payload have in common: each ends with these two fields."""

    if not t.TYPE_CHECKING:
        __slots__ = ()

    raw_args: RawArgs
    raw_kwargs: RawKwargs

    @property
    def args(self) -> list[t.Any]:
        """The positional payload, decoded.

        :raises InvalidPayload: It cannot be decoded, or is no list.
        """
        raw = self.raw_args
        if type(raw) is list:
            return raw
        self.raw_args = args = decode_args(raw)
        return args

    @args.setter
    def args(self, value: t.Sequence[object]) -> None:
        self.raw_args = value

    @property
    def kwargs(self) -> Details:
        """The keyword payload, decoded.

        :raises InvalidPayload: It cannot be decoded, or is no dictionary with text keys.
        """
        raw = self.raw_kwargs
        if type(raw) is dict:
            return raw
        self.raw_kwargs = kwargs = decode_kwargs(raw)
        return kwargs

    @kwargs.setter
    def kwargs(self, value: Details) -> None:
        self.raw_kwargs = value

    def decode_payload(self) -> tuple[list[t.Any], Details]:
        """Decode the payload now, and return it: what is wrong with it shows here.

        :raises InvalidPayload: It cannot be decoded.
        """
        args, kwargs = self.raw_args, self.raw_kwargs
        if type(args) is not list:
            self.raw_args = args = decode_args(args)
        if type(kwargs) is not dict:
            self.raw_kwargs = kwargs = decode_kwargs(kwargs)
        return args, kwargs

    def isolated(self: Same) -> Same:
        """Return a copy whose payload is decoded, and shared with no other message.

        :raises InvalidPayload: It cannot be decoded, or it cannot be copied.
        """
        own = copy.copy(self)
        if type(own.raw_args) is not msgspec.Raw:
            try:
                own.raw_args, own.raw_kwargs = copy.deepcopy((own.raw_args, own.raw_kwargs))
            except Exception as error:  # nested too deep, or a value of CBOR that cannot be copied
                raise InvalidPayload(f"the payload cannot be copied: {safe_text(error)}") from None
        own.decode_payload()
        return own

    @property
    def readable_args(self) -> list[t.Any]:
        """The positional payload; empty where it cannot be decoded."""
        try:
            return self.args
        except InvalidPayload:
            return []


class PayloadMessage(HasPayload, Message):
    """Base of the messages that carry a payload."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        assert isinstance(other, PayloadMessage)
        envelope = self.__struct_fields__[:-2]
        return (
            all(getattr(self, name) == getattr(other, name) for name in envelope)
            and list(self.args) == list(other.args)
            and self.kwargs == other.kwargs
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values = (_readable(getattr(self, name)) for name in self.__struct_fields__)
        return f"{type(self).__name__}({', '.join(map(repr, values))})"


def _readable(value: object) -> object:
    return bytes(value) if isinstance(value, msgspec.Raw) else value


class Hello(Message, tag=1):
    realm: str
    details: Details


class Welcome(Message, tag=2):
    session_id: int
    details: Details


class Abort(PayloadMessage, tag=3):
    details: Details
    reason: str
    raw_args: RawArgs = []
    raw_kwargs: RawKwargs = {}


class Challenge(Message, tag=4):
    authmethod: str
    extra: Details


class Authenticate(Message, tag=5):
    signature: str
    extra: Details


class Goodbye(Message, tag=6):
    details: Details
    reason: str


class Error(PayloadMessage, tag=8):
    request_type: int
    request_id: int
    details: Details
    error: str
    raw_args: RawArgs = []
    raw_kwargs: RawKwargs = {}


class Publish(PayloadMessage, tag=16):
    request_id: int
    options: Details
    topic: str
    raw_args: RawArgs = []
    raw_kwargs: RawKwargs = {}


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


class Event(PayloadMessage, tag=36):
    subscription_id: int
    publication_id: int
    details: Details
    raw_args: RawArgs = []
    raw_kwargs: RawKwargs = {}


class Call(PayloadMessage, tag=48):
    request_id: int
    options: Details
    procedure: str
    raw_args: RawArgs = []
    raw_kwargs: RawKwargs = {}


class Cancel(Message, tag=49):
    request_id: int
    options: Details


class Result(PayloadMessage, tag=50):
    request_id: int
    details: Details
    raw_args: RawArgs = []
    raw_kwargs: RawKwargs = {}


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


class Invocation(PayloadMessage, tag=68):
    request_id: int
    registration_id: int
    details: Details
    raw_args: RawArgs = []
    raw_kwargs: RawKwargs = {}


class Interrupt(Message, tag=69):
    request_id: int
    options: Details


class Yield(PayloadMessage, tag=70):
    request_id: int
    options: Details
    raw_args: RawArgs = []
    raw_kwargs: RawKwargs = {}


#: Everything a router may send to a client.
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

#: Everything a client may send to a router.
FromClient = (
    Hello
    | Authenticate
    | Abort
    | Goodbye
    | Error
    | Publish
    | Subscribe
    | Unsubscribe
    | Call
    | Cancel
    | Register
    | Unregister
    | Yield
)

#: Every message.
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
    """Return the message type's number on the wire."""
    tag = message_type.__struct_config__.tag
    assert isinstance(tag, int)
    return tag


#: The classes of the messages that carry a payload, by their number on the wire.
PAYLOAD_CLASSES: dict[object, type[PayloadMessage]] = {
    code(kind): kind for kind in PayloadMessage.__subclasses__()
}


def from_elements(elements: t.Sequence[object], accepts: object = AnyMessage) -> Message:
    """Return the message that consists of these elements, its type's number first.

    :param accepts: The union of message classes to make.
    :raises msgspec.ValidationError: The envelope is wrong. Payloads are checked when they are used.
    """
    kind = PAYLOAD_CLASSES.get(elements[0]) if elements and type(elements[0]) is int else None
    if kind is None:
        return t.cast(Message, msgspec.convert(elements, accepts))
    end = len(kind.__struct_fields__) - 1
    message = msgspec.convert(elements[:end], accepts)
    for name, value in zip(("raw_args", "raw_kwargs"), elements[end:], strict=False):
        setattr(message, name, Received(value))
    return t.cast(Message, message)


def id_in(details: Details, name: str) -> int:
    """Return an id from details, which are unchecked; 0, which no router assigns, if there is none."""
    value = details.get(name)
    return value if isinstance(value, int) else 0
