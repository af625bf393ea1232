"""The interface between the peer and the handlers: what is served, and what a handler returns.

The peer carries messages and does not know Flask. The handlers know Flask and send nothing. Both use these
plain classes.
"""

from __future__ import annotations

import typing as t

import msgspec

from .._text import counted
from ..concurrency.serial_queue import SerialQueue
from ..protocol import messages as m
from ..protocol.payload import Default
from ..protocol.uris import OWN
from .listeners import MakeListener


class Success(msgspec.Struct):
    """The result of an invocation, to be sent as YIELD. Its payload is plain already."""

    args: t.Sequence[object] = ()
    kwargs: m.Details = {}


class Failure(t.NamedTuple):
    """The error of an invocation, to be sent as ERROR. Its payload is plain already."""

    uri: str
    args: t.Sequence[object] = ()
    kwargs: m.Details = {}


Outcome = Success | Failure


class ActiveMessage(t.Protocol):
    """An invocation or event that is being handled, as a handler sees it."""

    message: t.Any
    """The ``messages.Invocation`` or ``messages.Event``."""

    received_at: float
    """When it was received, in seconds since the epoch."""

    deadline: float | None
    """The ``time.monotonic()`` at which its caller gets ``wamp.error.timeout``."""

    canceled: bool
    """Whether the caller has canceled or has left."""

    calls: dict[object, t.Callable[[], None]]
    """Functions that end the calls its handler has made, see :mod:`.deadlines`."""

    to_interrupt: bool
    """Whether the handler's next call raises ``CallCanceled``."""

    @property
    def uri(self) -> str:
        """The procedure or topic."""

    def plain(self, value: object, default: Default | None = None) -> t.Any:
        """Convert a payload to values that can be sent.

        :raises SerializationError: A value cannot be sent.
        """

    def limit(self, seconds: float) -> None:
        """Answer ``wamp.error.timeout`` unless there is an answer within this many seconds."""

    def interruptible(self) -> t.ContextManager[None] | None:
        """Return a context whose code ends when the caller cancels. None if that is not possible."""

    def when_done(self, callback: t.Callable[[bool], object]) -> None:
        """Call ``callback(well)`` after the answer. ``well`` is True if a result was sent, not an error."""

    def progress(self, args: t.Sequence[object], kwargs: m.Details) -> None:
        """Send a progressive result, if the caller asked for them."""


InvocationHandler = t.Callable[[ActiveMessage], Outcome]
EventHandler = t.Callable[[ActiveMessage], bool]
"""Returns whether the event was handled without an error."""


class _Declared:
    """Something to register or subscribe in every session, and its outcome in the current session."""

    def __init__(self, uri: str, options: m.Details | None) -> None:
        self.uri = uri
        self.name = uri
        """The function's name, file and line, for logs and errors."""
        self.function: object = None
        """The function itself. Declaring it twice is a mistake."""
        self.options = options or {}
        self.subject = self
        self.id: int | None = None
        """The registration's or subscription's id in the current session. None if there is none."""
        self.refused: Exception | None = None
        """Why the router refused it in the current session."""
        self.refusals = 0
        """How many times in a row the router has refused it in the current session."""
        self.queue: SerialQueue | None = None
        """The queue for its calls or events, if only some may run at once. :class:`.Serving` makes it."""
        self.dropped = 0
        """How many events were dropped because the queue was full."""
        self.asked: tuple[object, object] | None = None
        """The session in which it was requested, and the ticket, so that nothing is requested twice."""
        self.revoked: t.Callable[[], None] | None = None
        """Called by the reader when the router ends it. It must not wait."""

    def release(self) -> None:
        """Release everything that refers to a peer that was stopped. The declaration itself stays."""
        # An error refers to a peer too, because its traceback has the frames that it went through.
        self.queue = self.asked = self.refused = None

    unwanted = False
    """Whether it was withdrawn. If the router grants it later, it is ended at once."""

    subject: t.Any
    """The app's declaration. This is the object itself, unless it is internal and serves another one."""

    make_listener: MakeListener | None = None
    """Makes a listener. Every process that serves the declaration needs one."""

    @property
    def match(self) -> str:
        """``exact``, ``prefix`` or ``wildcard``."""
        return str(self.options.get("match", "exact"))


class Registration(_Declared):
    """A procedure to register in every session.

    :param options: The options of REGISTER: ``match``, ``invoke``, ``force_reregister``.
    :param concurrency: How many invocations run at once. None means as many as there are workers.
    :param timeout: Seconds after which the caller gets ``wamp.error.timeout``.
    """

    def __init__(
        self,
        procedure: str,
        handler: InvocationHandler,
        *,
        options: m.Details | None = None,
        concurrency: int | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(procedure, options)
        self.handler = handler
        self.concurrency = concurrency
        self.timeout = timeout
        self.runs_if_canceled = False
        """Whether the handler runs even if the caller has left."""

    @property
    def is_shared(self) -> bool:
        """Whether it is registered in the current session, and other sessions may register it too."""
        return self.id is not None and self.options.get("invoke", "single") != "single"


class Subscription(_Declared):
    """A topic to subscribe to in every session.

    :param options: The options of SUBSCRIBE: ``match``, ``get_retained``.
    :param concurrency: How many events are handled at once. 1 keeps their order.
    """

    def __init__(
        self,
        topic: str,
        handler: EventHandler,
        *,
        options: m.Details | None = None,
        concurrency: int = 1,
    ) -> None:
        super().__init__(topic, options)
        self.handler = handler
        self.concurrency = concurrency
        self.unreadable = 0
        """How many events were dropped because their payload could not be decoded."""
        self.take: t.Callable[[m.Event], bool] | None = None
        """Called by the reader with each event, instead of the handler on a worker. Must not wait. Returns
        False if the event is to be dropped."""
        self.members: tuple[Subscription, ...] = (self,)
        """All declarations of the app for this topic, this one first. One SUBSCRIBE serves them all."""
        self.wire_options = self.options
        """SUBSCRIBE.Options, for all members."""

    def release(self) -> None:
        """Release everything that refers to a peer, for all members."""
        super().release()
        for member in self.members:
            member.queue = None

    def add_member(self, other: Subscription) -> None:
        """Pass the events of this subscription to another handler too."""
        self.members = (*self.members, other)  # the reader may be iterating over the old tuple
        if other.options.get("get_retained"):
            self.wire_options = {**self.wire_options, "get_retained": True}

    def receivers(self, event: m.Event) -> tuple[Subscription, ...]:
        """Return the members that get an event. A retained event is for those that requested it."""
        members = self.members
        if len(members) > 1 and event.details.get("retained"):
            return tuple(each for each in members if each.options.get("get_retained"))
        return members


Declaration = Registration | Subscription

Served = t.Callable[[], list[Declaration]]
"""Returns the declarations that this process serves now."""


def summary(declarations: list[Declaration]) -> str:
    """Return a text for logs that says how many of these are served in the current session.

    Procedures of the library itself do not count, unless they are refused.
    """
    refused = sum(each.refused is not None for each in declarations)
    subjects = [each.subject for each in declarations if each.refused is None]
    served = [each for each in subjects if OWN not in each.uri]
    procedures = sum(isinstance(each, Registration) for each in served)
    shown = f"{counted(procedures, 'procedure')} and {counted(len(served) - procedures, 'topic')}"
    return f"{shown}, {refused} refused" if refused else shown


def waiting(declarations: list[Declaration]) -> int:
    """Return how many calls and events wait in the queues of declarations."""
    queues = [
        each.queue
        for declaration in declarations
        for each in getattr(declaration, "members", (declaration,))
    ]
    return sum(queue.pending for queue in queues if queue is not None)


def key(declaration: Declaration) -> tuple[type, str, str]:
    """Return the kind, URI and match of a declaration, which identify it."""
    subject = declaration.subject
    return type(subject), subject.uri, subject.match
