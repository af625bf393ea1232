"""Sessions that join and leave: ``@wamp.on_session_join`` and ``@wamp.on_session_leave``.

All such handlers of an app share one subscription to each of the two meta events, and one queue. They run
one after another, in the order of the events, so that no session leaves before it has joined.

Source: WAMP Advanced Profile, "Session Meta API".
"""

from __future__ import annotations

import dataclasses
import typing as t

import msgspec

from .._text import get_logger
from ..concurrency.serial_queue import SerialQueue
from ..peer.declarations import ActiveMessage, Declaration, EventHandler, Subscription
from ..peer.handler_options import Middlewares
from ..protocol.meta_types import SessionInfo
from .registry import Spec, subscriber_spec

if t.TYPE_CHECKING:
    from ..peer.invocations import ActiveEvent

logger = get_logger("flask_wamp")

ON_JOIN, ON_LEAVE = "wamp.session.on_join", "wamp.session.on_leave"


class _SharedQueue:
    """Holds the queue in which the events of both topics wait."""

    queue: SerialQueue | None = None


class _MetaSubscription(Subscription):
    """A subscription to one of the two meta events, with the queue of both."""

    is_declared = False

    def __init__(self, topic: str, handler: EventHandler, shared: _SharedQueue) -> None:
        self._shared = shared
        super().__init__(topic, handler)

    @property
    def queue(self) -> SerialQueue | None:
        """The queue of both topics."""
        return self._shared.queue

    @queue.setter
    def queue(self, queue: SerialQueue | None) -> None:
        self._shared.queue = queue


class JoinSubscription(_MetaSubscription):
    """The subscription to sessions that join."""


class LeaveSubscription(_MetaSubscription):
    """The subscription to sessions that leave."""


def join_spec(f: t.Callable[..., t.Any], uri: str | None, **options: t.Any) -> Spec:
    """Record a function. See ``FlaskWAMP.on_session_join``."""
    return _spec(JoinSubscription, ON_JOIN, f, uri, **options)


def leave_spec(f: t.Callable[..., t.Any], uri: str | None, **options: t.Any) -> Spec:
    """Record a function. See ``FlaskWAMP.on_session_leave``."""
    return _spec(LeaveSubscription, ON_LEAVE, f, uri, **options)


def _spec(
    kind: type[Subscription],
    topic: str,
    f: t.Callable[..., t.Any],
    uri: str | None,
    *,
    middlewares: Middlewares | None = None,
    localns: dict[str, t.Any] | None = None,
) -> Spec:
    if uri is not None:
        raise TypeError(f"this decorator takes no topic, and was given {uri!r}")
    spec = subscriber_spec(f, topic, validate=False, middlewares=middlewares, localns=localns)
    return dataclasses.replace(spec, kind=kind)


class SessionEvents:
    """Serves the handlers of one app, and remembers which sessions have joined."""

    def __init__(self) -> None:
        self._known: dict[int, SessionInfo] = {}
        self._session_id: int | None = None
        self._joined = _SessionHandlers(self._on_join)
        self._left = _SessionHandlers(self._on_leave)
        shared = _SharedQueue()
        self._joins = JoinSubscription(ON_JOIN, self._joined, shared)
        self._leaves = LeaveSubscription(ON_LEAVE, self._left, shared)

    def declarations(self, kind: type, declaration: Declaration) -> list[Declaration]:
        """Add a handler. Return the declarations that it needs, except for those that were returned before.

        A handler for sessions that leave needs both events, because the event of leaving does not contain
        everything that the event of joining contains.
        """
        if kind not in (JoinSubscription, LeaveSubscription):
            return [declaration]
        needed: list[_MetaSubscription] = [self._joins]
        if kind is LeaveSubscription:
            needed.append(self._leaves)
        group = self._joined if kind is JoinSubscription else self._left
        group.handlers.append(t.cast(EventHandler, declaration.handler))
        new = [each for each in needed if not each.is_declared]
        for each in new:
            each.name, each.is_declared = declaration.name, True
        return list(new)

    def _on_join(self, work: ActiveEvent) -> SessionInfo:
        info = SessionInfo.parse(work.message.args[0] if work.message.args else None)
        self._forget_others(work)
        if self._left.handlers:
            self._known[info.id] = _brief(info)
        return info

    def _on_leave(self, work: ActiveEvent) -> SessionInfo:
        # Crossbar 26.10 sends only the id. The specification has authid and authrole too.
        names = ("session", "authid", "authrole")
        info = SessionInfo.parse(dict(zip(names, work.message.args, strict=False)))
        self._forget_others(work)
        return self._known.pop(info.id, info)

    def _forget_others(self, work: ActiveEvent) -> None:
        """Forget the sessions that joined before this process joined again, because they may have left."""
        session_id = work.connection.session.session_id
        if session_id != self._session_id:
            self._session_id = session_id
            self._known.clear()


def _brief(info: SessionInfo) -> SessionInfo:
    """Return a copy without details, because the session that joins decides how large they are."""
    transport = info.transport and dataclasses.replace(info.transport, details={})
    return dataclasses.replace(info, transport=transport, details={})


class _SessionHandlers:
    """The handler of one of the two topics. It calls all of the app's handlers, one after another."""

    def __init__(self, parse: t.Callable[[ActiveEvent], SessionInfo]) -> None:
        self.handlers: list[EventHandler] = []
        self._parse = parse

    def __call__(self, work: ActiveMessage) -> bool:
        try:
            info = self._parse(t.cast("ActiveEvent", work))
        except ValueError as error:
            logger.warning("an event of %s is ignored: %s", work.uri, error)
            return False
        # The payload has HTTP headers and cookies. Hooks and logs get the same as handlers, without these.
        work.message = msgspec.structs.replace(work.message, raw_args=[info], raw_kwargs={})
        well = [handler(work) for handler in list(self.handlers)]
        return all(well)
