"""What a handler sees: ``invocation`` and ``event``, and ``g.wampy``."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import datetime as dt
import time
import typing as t

from flask import Flask
from werkzeug.local import LocalProxy

from .._text import safe_text
from ..peer.declarations import Work
from ..protocol.disclosure import Role, identified


@dataclasses.dataclass
class PastWork:
    """A message that was in hand in another process: nobody here can answer it."""

    uri: str
    message: t.Any
    received_at: float
    deadline: float | None
    canceled: bool

    def plain(self, value: t.Any, default: t.Callable[[t.Any], t.Any] | None = None) -> t.Any:
        """Nothing of it is sent."""
        return value

    def limit(self, seconds: float) -> None:
        """Nobody waits for an answer."""

    def interruptible(self) -> None:
        """Nobody cancels it."""

    def when_done(self, callback: t.Callable[[bool], object]) -> None:
        """The answer was sent elsewhere."""

    def progress(self, args: t.Sequence[t.Any], kwargs: dict[str, t.Any]) -> None:
        """The answer was sent elsewhere."""


class _InHand:
    """What invocations and events have in common."""

    __slots__ = ("_trusted_links", "_work", "options", "tasks")

    _role: t.ClassVar[Role]
    """What the session that sent it is in the details."""

    tasks: t.Any
    """The background tasks to run after the answer; not set while there are none."""

    def __init__(
        self,
        work: Work,
        options: t.Mapping[str, t.Any],
        trusted_links: t.Collection[str] = (),
    ) -> None:
        self._work = work
        self._trusted_links = trusted_links
        self.options = options
        """The decorator's options, for middlewares; ``uri`` is the absolute URI or pattern."""

    @property
    def uri(self) -> str:
        """The procedure or topic."""
        return self._work.uri

    @property
    def sender(self) -> int | None:
        """The session id of who called or published."""
        return None

    def limit(self, seconds: float) -> None:
        """Have the caller told ``wamp.error.timeout`` unless it is answered in so many seconds."""
        self._work.limit(seconds)

    def when_done(self, callback: t.Callable[[bool], object]) -> None:
        """Call ``callback(well)`` after the answer was sent; ``well``: it was sent, and no error."""
        self._work.when_done(callback)

    def __reduce__(self) -> tuple[t.Any, ...]:
        """In another process it can be read, no more."""
        work = self._work
        past = PastWork(work.uri, work.message, work.received_at, work.deadline, work.canceled)
        options = {name: value for name, value in self.options.items() if name != "middlewares"}
        return type(self), (past, options, self._trusted_links)

    @property
    def args(self) -> list[t.Any]:
        """The positional payload, as it came."""
        args: list[t.Any] = self._work.message.args
        return args

    @property
    def kwargs(self) -> dict[str, t.Any]:
        """The keyword payload, as it came."""
        kwargs: dict[str, t.Any] = self._work.message.kwargs
        return kwargs

    @property
    def details(self) -> dict[str, t.Any]:
        """The details of the WAMP message, with the peer that really sent it.

        A peer that claims to send on behalf of others (``forward_for``) is not believed, unless its role
        is in ``WAMP_TRUSTED_LINKS``.
        """
        return identified(self._work.message.details, self._role, self._trusted_links)

    @property
    def age(self) -> float:
        """Seconds since it came."""
        return time.time() - self._work.received_at

    @property
    def received_at(self) -> dt.datetime:
        """When it came, aware, in UTC."""
        return dt.datetime.fromtimestamp(self._work.received_at, dt.timezone.utc)


class Invocation(_InHand):
    """The call a handler answers. Identities are None where the router does not disclose them.

    Source: WAMP Basic Profile, "INVOCATION", and Advanced Profile, "Caller Identification".
    """

    __slots__ = ()
    _role = "caller"

    @property
    def sender(self) -> int | None:
        """The caller's session id."""
        return self.caller

    @property
    def procedure(self) -> str:
        """The URI that was called."""
        return self._work.uri

    @property
    def caller(self) -> int | None:
        """The caller's session id."""
        return self.details.get("caller")

    @property
    def caller_authid(self) -> str | None:
        """Who the caller is."""
        return self.details.get("caller_authid")

    @property
    def caller_authrole(self) -> str | None:
        """The caller's role."""
        return self.details.get("caller_authrole")

    @property
    def request_id(self) -> int:
        """The invocation's request id in this session."""
        return t.cast(int, self._work.message.request_id)

    @property
    def deadline(self) -> float | None:
        """The ``time.monotonic()`` at which the caller is told that it took too long, or None."""
        return self._work.deadline

    @property
    def canceled(self) -> bool:
        """Whether nobody wants the answer any more."""
        return self._work.canceled

    def progress(self, *args: t.Any, **kwargs: t.Any) -> None:
        """Send a progressive result, if the caller asked for them; else do nothing."""
        self._work.progress(args, kwargs)

    def __repr__(self) -> str:
        return f"<Invocation {self.request_id} of {safe_text(self.procedure)}>"


class Event(_InHand):
    """The event a handler is told of. Identities are None where the router does not disclose them.

    Source: WAMP Basic Profile, "EVENT", and Advanced Profile, "Publisher Identification".
    """

    __slots__ = ()
    _role = "publisher"

    @property
    def sender(self) -> int | None:
        """The publisher's session id."""
        return self.publisher

    @property
    def subscription_id(self) -> int:
        """The id of the subscription it came by."""
        return t.cast(int, self._work.message.subscription_id)

    @property
    def topic(self) -> str:
        """The URI it was published to."""
        return self._work.uri

    @property
    def publication(self) -> int:
        """The publication id: the same for all who get this event."""
        return t.cast(int, self._work.message.publication_id)

    @property
    def publisher(self) -> int | None:
        """The publisher's session id."""
        return self.details.get("publisher")

    @property
    def publisher_authid(self) -> str | None:
        """Who the publisher is."""
        return self.details.get("publisher_authid")

    @property
    def publisher_authrole(self) -> str | None:
        """The publisher's role."""
        return self.details.get("publisher_authrole")

    @property
    def retained(self) -> bool:
        """Whether the router had kept it for new subscribers."""
        return bool(self.details.get("retained"))

    def __repr__(self) -> str:
        return f"<Event {self.publication} on {safe_text(self.topic)}>"


_UNBOUND = """Working outside of {0}.

flask_wamp.{1} is there while a function decorated with @wamp.{2} handles {0}; an HTTP request, a \
script or a test has none. Pass what you need of it to functions that run elsewhere."""

current_invocation: contextvars.ContextVar[Invocation] = contextvars.ContextVar("wamp_invocation")
current_event: contextvars.ContextVar[Event] = contextvars.ContextVar("wamp_event")

invocation: Invocation = LocalProxy(  # type: ignore[assignment]
    current_invocation,
    unbound_message=_UNBOUND.format("an invocation", "invocation", "callee"),
)
"""The invocation that is being handled, as ``flask.request`` is the request."""

event: Event = LocalProxy(  # type: ignore[assignment]
    current_event,
    unbound_message=_UNBOUND.format("an event", "event", "subscriber"),
)
"""The event that is being handled."""


def current_message() -> Invocation | Event | None:
    """The invocation or event that is being handled, or whose background task runs."""
    return current_invocation.get(None) or current_event.get(None)


@contextlib.contextmanager
def readable(message: Invocation | Event | None) -> t.Iterator[None]:
    """Let ``invocation`` or ``event`` be a message while inside."""
    if message is None:
        yield
        return
    current: contextvars.ContextVar[t.Any] = (
        current_invocation if isinstance(message, Invocation) else current_event
    )
    token = current.set(message)
    try:
        yield
    finally:
        current.reset(token)


def offer_client(app: Flask, client: t.Any) -> None:
    """Make ``g.wampy`` the client, in every app context of the app; costs nothing where unused."""
    base: t.Any = app.app_ctx_globals_class

    class Globals(base):  # type: ignore[misc]
        @property
        def wampy(self) -> t.Any:
            """The app's WAMP client."""
            return client

        def __contains__(self, name: str) -> bool:
            return name == "wampy" or bool(super().__contains__(name))

        def get(self, name: str, default: t.Any = None) -> t.Any:
            """Get an attribute by name, as of a dictionary."""
            return client if name == "wampy" else super().get(name, default)

    app.app_ctx_globals_class = Globals


def explain_missing_client() -> None:
    """Let ``g.wampy`` say what to do in apps for which nobody has called ``init_app``."""
    base: t.Any = Flask.app_ctx_globals_class
    if getattr(base, "explains_wampy", False):
        return

    class Globals(base):  # type: ignore[misc]
        explains_wampy = True

        def __getattr__(self, name: str) -> t.Any:
            if name == "wampy":
                raise AttributeError(
                    "g.wampy: this app has no FlaskWAMP; call wamp.init_app(app) where you make the app"
                )
            return super().__getattr__(name)

    Flask.app_ctx_globals_class = Globals
