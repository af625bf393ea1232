"""What the i/o floor and the application agree on: who handles what, and how it ends.

The client carries messages and knows no Flask; the application knows Flask and sends nothing. Between
them stand these plain classes.
"""

from __future__ import annotations

import typing as t

import msgspec

from ..concurrency.serial_queue import SerialQueue
from ..protocol import messages as m
from .listeners import MakeListener


class Result(msgspec.Struct):
    """An invocation ended well: the YIELD to send. Its payload is plain already."""

    args: t.Sequence[t.Any] = ()
    kwargs: m.Details = {}


class Failure(t.NamedTuple):
    """An invocation failed: the ERROR to send. Its payload is plain already."""

    uri: str
    args: t.Sequence[t.Any] = ()
    kwargs: m.Details = {}


Outcome = Result | Failure


class Work(t.Protocol):
    """An invocation or event in hand, as a handler sees it."""

    message: t.Any
    """The ``messages.Invocation`` or ``messages.Event``."""

    received_at: float
    """When it came, seconds since the epoch."""

    deadline: float | None
    """The ``time.monotonic()`` at which its caller is told that it took too long."""

    canceled: bool
    """Whether its caller does not want the answer any more."""

    calls: dict[object, t.Callable[[], None]]
    """What ends the calls its handler has made, see :mod:`.deadlines`."""

    to_interrupt: bool
    """Whether its handler's next call tells it that it was canceled."""

    @property
    def uri(self) -> str:
        """The procedure or topic."""

    def plain(self, value: t.Any, default: t.Callable[[t.Any], t.Any] | None = None) -> t.Any:
        """Return a payload as it can be sent; raises ``SerializationError``."""

    def limit(self, seconds: float) -> None:
        """Answer ``wamp.error.timeout`` if there is no answer in so many seconds from now."""

    def interruptible(self) -> t.ContextManager[None] | None:
        """Where what runs inside ends when the caller cancels; None: nowhere."""

    def when_done(self, callback: t.Callable[[bool], object]) -> None:
        """Call ``callback(well)`` after the answer was sent; ``well``: it was sent, and no error."""

    def progress(self, args: t.Sequence[t.Any], kwargs: m.Details) -> None:
        """Send a progressive result, if the caller asked for them."""


InvocationHandler = t.Callable[[Work], Outcome]
EventHandler = t.Callable[[Work], bool]
"""Returns whether the event was handled without an error."""


class _Declared:
    """What is to be asked for with every session, and how that went in the present one."""

    def __init__(self, uri: str, options: m.Details | None) -> None:
        self.uri = uri
        self.name = uri
        """The function's name, for messages."""
        self.function: object = None
        """The function itself: to declare it twice is a mistake."""
        self.options = options or {}
        self.id: int | None = None
        """The registration's or subscription's id in the present session; None: there is none."""
        self.refused: Exception | None = None
        """Why the router refused it, in the present session."""
        self.refusals = 0
        """How often it did."""
        self.queue: SerialQueue | None = None
        """Where its calls or events wait, if only some may run at once; made by whoever serves it."""
        self.dropped = 0
        """How many events were dropped because too many waited."""
        self.asked: tuple[object, t.Any] | None = None
        """The session it was asked for in, and the ticket: nothing is asked for twice."""
        self.revoked: t.Callable[[], None] | None = None
        """Called by the reader when the router takes it away; must not wait."""

    unwanted = False
    """Withdrawn, perhaps before the router has answered: then what it answers is taken back."""

    make_listener: MakeListener | None = None
    """Makes what has to be there in every process that serves it."""

    @property
    def subject(self) -> t.Any:
        """What the app declared; this is how it is served."""
        return self

    @property
    def match(self) -> str:
        """``exact``, ``prefix`` or ``wildcard``."""
        return str(self.options.get("match", "exact"))


class Registration(_Declared):
    """A procedure that is to be registered with every session.

    :param options: What REGISTER says: ``match``, ``invoke``, ``force_reregister``.
    :param concurrency: How many invocations run at once; None: as many as there are workers.
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
        """Run it though the caller is gone: what it was asked for is done in any case."""


class Subscription(_Declared):
    """A topic that is to be subscribed to with every session.

    :param options: What SUBSCRIBE says: ``match``, ``get_retained``.
    :param concurrency: How many events are handled at once; 1 keeps their order.
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
        """Called by the reader with each event, in place of the handler on a worker; must not wait.
        False: it is dropped."""
        self.members: tuple[Subscription, ...] = (self,)
        """All that the app declares for this topic, this one first: one SUBSCRIBE serves them all."""

    def add_member(self, other: Subscription) -> None:
        """Give another handler the events of this subscription too."""
        self.members = (*self.members, other)  # the reader may be going through the old ones

    def receivers(self, event: m.Event) -> tuple[Subscription, ...]:
        """Return which of the members get an event: a retained one is for those who asked for it."""
        members = self.members
        if len(members) > 1 and event.details.get("retained"):
            return tuple(each for each in members if each.options.get("get_retained"))
        return members

    @property
    def wire_options(self) -> m.Details:
        """SUBSCRIBE.Options, for all members."""
        if any(each.options.get("get_retained") for each in self.members):
            return {**self.options, "get_retained": True}
        return self.options


Declaration = Registration | Subscription


def key(declaration: Declaration) -> tuple[type, str, str]:
    """What may be declared once in an app: a procedure or a topic, by URI and match."""
    subject = declaration.subject
    return type(subject), subject.uri, subject.match
