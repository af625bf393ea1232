"""The objects that a handler uses: ``invocation``, ``event`` and ``g.wampy``."""

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
from ..peer.declarations import ActiveMessage
from ..protocol.disclosure import Role, identified
from ..protocol.identity import Identity


@dataclasses.dataclass
class PastWork:
    """A message that another process handles. Here it can be read, but not answered."""

    uri: str
    message: t.Any
    received_at: float
    deadline: float | None
    canceled: bool

    def plain(self, value: t.Any, default: t.Callable[[t.Any], t.Any] | None = None) -> t.Any:
        """Return the value, because no answer is sent from this process."""
        return value

    def limit(self, seconds: float) -> None:
        """Do nothing: no answer is sent from this process."""

    def interruptible(self) -> None:
        """Return None, because the message cannot be canceled in this process."""

    def when_done(self, callback: t.Callable[[bool], object]) -> None:
        """Do nothing: the other process has sent the answer."""

    def progress(self, args: t.Sequence[t.Any], kwargs: dict[str, t.Any]) -> None:
        """Do nothing: the other process has sent the answer."""


class _Incoming:
    """The part that invocations and events share."""

    __slots__ = ("_trusted_links", "_work", "options", "received", "tasks")

    _role: t.ClassVar[Role]
    """The role of the sender, as in the names of the details: ``caller`` or ``publisher``."""

    tasks: t.Any
    """The background tasks to run after the answer. Not set if there are none."""

    def __init__(
        self,
        work: ActiveMessage,
        options: t.Mapping[str, t.Any],
        trusted_links: t.Collection[str] = (),
    ) -> None:
        self._work = work
        self.received = work.message
        """The WAMP message as it was received, for the dispatcher."""
        self._trusted_links = trusted_links
        self.options = options
        """The options of the decorator, for middlewares. ``uri`` is the absolute URI or pattern."""

    @property
    def uri(self) -> str:
        """The procedure or topic."""
        return self._work.uri

    @property
    def sender(self) -> int | None:
        """The session id of the caller or publisher. None if the router does not disclose it."""
        return None

    def limit(self, seconds: float) -> None:
        """Answer ``wamp.error.timeout`` if there is no answer within this many seconds."""
        self._work.limit(seconds)

    def when_done(self, callback: t.Callable[[bool], object]) -> None:
        """Call ``callback(well)`` after the answer. ``well`` is True if a result was sent, not an error."""
        self._work.when_done(callback)

    def __reduce__(self) -> tuple[t.Any, ...]:
        """Pickle the message for a task's process, where it can only be read."""
        work = self._work
        past = PastWork(work.uri, work.message, work.received_at, work.deadline, work.canceled)
        options = {name: value for name, value in self.options.items() if name != "middlewares"}
        return type(self), (past, options, self._trusted_links)

    @property
    def args(self) -> list[t.Any]:
        """The positional payload, before validation."""
        args: list[t.Any] = self._work.message.args
        return args

    @property
    def kwargs(self) -> dict[str, t.Any]:
        """The keyword payload, before validation."""
        kwargs: dict[str, t.Any] = self._work.message.kwargs
        return kwargs

    @property
    def details(self) -> dict[str, t.Any]:
        """The details of the WAMP message, with the identity of the session that sent it.

        If that session claims to forward the message for another one (``forward_for``), the claim is
        ignored, unless its role is in ``WAMP_TRUSTED_LINKS``.
        """
        return identified(self._work.message.details, self._role, self._trusted_links)

    @property
    def identity(self) -> Identity | None:
        """The identity of the caller or publisher. None if the router does not disclose it.

        It cannot be forged, see :attr:`details`.

        .. versionadded:: 0.1
        """
        details = self.details
        authid, authrole = (details.get(f"{self._role}_{name}") for name in ("authid", "authrole"))
        if not isinstance(authid, str) or not isinstance(authrole, str):
            return None
        return Identity(authid, authrole)

    @property
    def age(self) -> float:
        """The seconds since the message arrived."""
        return time.time() - self._work.received_at

    @property
    def received_at(self) -> dt.datetime:
        """When the message arrived, as an aware datetime in UTC."""
        return dt.datetime.fromtimestamp(self._work.received_at, dt.timezone.utc)


class Invocation(_Incoming):
    """The call that a handler answers. Identities are None if the router does not disclose them.

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
        """The caller's authid."""
        return self.details.get("caller_authid")

    @property
    def caller_authrole(self) -> str | None:
        """The caller's authrole."""
        return self.details.get("caller_authrole")

    @property
    def request_id(self) -> int:
        """The invocation's request id in this session."""
        return t.cast(int, self._work.message.request_id)

    @property
    def deadline(self) -> float | None:
        """The ``time.monotonic()`` at which the caller gets a timeout, or None if there is no limit."""
        return self._work.deadline

    @property
    def canceled(self) -> bool:
        """Whether the call was canceled, timed out, or lost its caller, so that no answer is needed."""
        return self._work.canceled

    def progress(self, /, *args: t.Any, **kwargs: t.Any) -> None:
        """Send a progressive result. Do nothing if the caller did not ask for any."""
        self._work.progress(args, kwargs)

    def __repr__(self) -> str:
        return f"<Invocation {self.request_id} of {safe_text(self.procedure)}>"


class Event(_Incoming):
    """The event that a handler handles. Identities are None if the router does not disclose them.

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
        """The id of the subscription through which the event arrived."""
        return t.cast(int, self._work.message.subscription_id)

    @property
    def topic(self) -> str:
        """The topic to which the event was published."""
        return self._work.uri

    @property
    def publication(self) -> int:
        """The publication id. It is the same for all receivers of the event."""
        return t.cast(int, self._work.message.publication_id)

    @property
    def publisher(self) -> int | None:
        """The publisher's session id."""
        return self.details.get("publisher")

    @property
    def publisher_authid(self) -> str | None:
        """The publisher's authid."""
        return self.details.get("publisher_authid")

    @property
    def publisher_authrole(self) -> str | None:
        """The publisher's authrole."""
        return self.details.get("publisher_authrole")

    @property
    def retained(self) -> bool:
        """Whether this is an event that the router had kept for new subscribers."""
        return bool(self.details.get("retained"))

    def __repr__(self) -> str:
        return f"<Event {self.publication} on {safe_text(self.topic)}>"


Message = Invocation | Event
"""The type of the argument ``message`` of hooks and middlewares."""

_UNBOUND = """Working outside of {0}.

flask_wamp.{1} is available while a function decorated with @wamp.{2} handles {0}. It is not available in \
an HTTP request, a script or a test. Pass the values that you need to functions that run elsewhere."""

current_invocation: contextvars.ContextVar[Invocation] = contextvars.ContextVar("wamp_invocation")
current_event: contextvars.ContextVar[Event] = contextvars.ContextVar("wamp_event")

invocation: Invocation = LocalProxy(  # type: ignore[assignment]
    current_invocation,
    unbound_message=_UNBOUND.format("an invocation", "invocation", "callee"),
)
"""The invocation that is being handled. A proxy, like ``flask.request``."""

event: Event = LocalProxy(  # type: ignore[assignment]
    current_event,
    unbound_message=_UNBOUND.format("an event", "event", "subscriber"),
)
"""The event that is being handled. A proxy, like ``flask.request``."""


def current_message() -> Message | None:
    """Return the invocation or event that is being handled, or whose background task runs."""
    return current_invocation.get(None) or current_event.get(None)


@contextlib.contextmanager
def readable(message: Message | None) -> t.Iterator[None]:
    """Bind ``invocation`` or ``event`` to a message within the context."""
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
    """Make the client available as ``g.wampy`` in every context of the app, at no cost if unused."""
    base: t.Any = app.app_ctx_globals_class

    class Globals(base):  # type: ignore[misc]
        @property
        def wampy(self) -> t.Any:
            """The app's WAMP client."""
            return client

        def __contains__(self, name: str) -> bool:
            return name == "wampy" or bool(super().__contains__(name))

        def get(self, name: str, default: t.Any = None) -> t.Any:
            """Return an attribute by name, like ``dict.get``."""
            return client if name == "wampy" else super().get(name, default)

    app.app_ctx_globals_class = Globals


def explain_missing_client() -> None:
    """Let ``g.wampy`` say what to do in apps for which ``init_app`` was not called."""
    base: t.Any = Flask.app_ctx_globals_class
    if getattr(base, "explains_wampy", False):
        return

    class Globals(base):  # type: ignore[misc]
        explains_wampy = True

        def __getattr__(self, name: str) -> t.Any:
            if name == "wampy":
                raise AttributeError(
                    "g.wampy: this app has no FlaskWAMP. Call wamp.init_app(app) where you create the app"
                )
            return super().__getattr__(name)

    Flask.app_ctx_globals_class = Globals
