"""The WAMP messages, with one class for each.

``msgspec`` decodes a tagged array directly into the class, and checks every field of the envelope. The names
of the fields are those of the spec, in snake case.

**Payloads stay undecoded.** In a message that a serializer has decoded, ``raw_args`` and ``raw_kwargs`` are
views of the received bytes (see :mod:`.raw_payload`). There are two ways to use them:

-   Read the payload: ``message.args`` and ``message.kwargs`` decode it at first use and keep the result. Do
    that on the thread that needs the values, and never on the reader, because the payload may be large. They
    raise :class:`.InvalidPayload` if the other peer has sent an invalid payload.
-   Pass the payload on, as a router does: pass ``raw_args`` and ``raw_kwargs`` to the message to send, as in
    ``Invocation(request_id, registration_id, details, call.raw_args, call.raw_kwargs)``. If the serializer
    has the same format, it copies the bytes. Otherwise, it decodes and encodes them again.

In a message to send, ``raw_args`` may also be a list or tuple that :func:`.payload.plain` has returned, and
``raw_kwargs`` may be such a dictionary.

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
    #: The positional payload. It is undecoded if it was received, and a sequence if it is to be sent.
    RawArgs = object
    #: The keyword payload. It is undecoded if it was received, and a dictionary if it is to be sent.
    RawKwargs = object
else:  # the types that msgspec decodes into. It does not check types when it encodes
    RawArgs = RawKwargs = msgspec.Raw


class Message(msgspec.Struct, array_like=True, gc=False):
    """The base class of all messages. ``gc=False`` is safe, because a payload cannot contain its message."""


Same = t.TypeVar("Same", bound="HasPayload")


class HasPayload:
    """A mixin for messages with a payload, which is in the last two fields."""

    if not t.TYPE_CHECKING:
        __slots__ = ()

    raw_args: RawArgs
    raw_kwargs: RawKwargs

    @property
    def args(self) -> list[t.Any]:
        """The decoded positional payload.

        :raises InvalidPayload: It cannot be decoded, or is not a list.
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
        """The decoded keyword payload.

        :raises InvalidPayload: It cannot be decoded, or is not a dictionary with text keys.
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
        """Decode the payload and return it.

        :raises InvalidPayload: It cannot be decoded.
        """
        args, kwargs = self.raw_args, self.raw_kwargs
        if type(args) is not list:
            self.raw_args = args = decode_args(args)
        if type(kwargs) is not dict:
            self.raw_kwargs = kwargs = decode_kwargs(kwargs)
        return args, kwargs

    def isolated(self: Same) -> Same:
        """Return a copy with a decoded payload that it does not share with any other message.

        :raises InvalidPayload: It cannot be decoded, or it cannot be copied.
        """
        own = copy.copy(self)
        if type(own.raw_args) is not msgspec.Raw:
            try:
                own.raw_args, own.raw_kwargs = copy.deepcopy((own.raw_args, own.raw_kwargs))
            except (
                Exception
            ) as error:  # it is nested too deep, or CBOR has a value that cannot be copied
                raise InvalidPayload(f"the payload cannot be copied: {safe_text(error)}") from None
        own.decode_payload()
        return own

    @property
    def readable_args(self) -> list[t.Any]:
        """The decoded positional payload. Empty if it cannot be decoded."""
        try:
            return self.args
        except InvalidPayload:
            return []


class PayloadMessage(HasPayload, Message):
    """The base class of the messages with a payload."""

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
    """An answer. With the request id 0, the router has revoked the subscription named in ``details``."""

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
    """An answer. With the request id 0, the router has revoked the registration named in ``details``."""

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


#: The messages that a router may send to a client.
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

#: The messages that a client may send to a router.
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

#: All messages.
AnyMessage = FromRouter | FromClient


def code(message_type: type[Message]) -> int:
    """Return the number of a message type."""
    tag = message_type.__struct_config__.tag
    assert isinstance(tag, int)
    return tag


#: The classes of the messages with a payload, by number.
PAYLOAD_CLASSES: dict[object, type[PayloadMessage]] = {
    code(kind): kind for kind in PayloadMessage.__subclasses__()
}


def from_elements(elements: t.Sequence[object], accepts: object = AnyMessage) -> Message:
    """Return the message that consists of these elements. The first is the number of its type.

    :param accepts: The union of message classes that are accepted.
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
    """Return an id from details, which are unchecked. Return 0, which is never an id, if there is none."""
    value = details.get(name)
    return value if isinstance(value, int) else 0
