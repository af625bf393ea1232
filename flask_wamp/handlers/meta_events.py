"""Who joins and leaves: ``@wamp.on_session_join`` and ``@wamp.on_session_leave``.

All such handlers of an app share one subscription to each of two meta events, and one lane: they run one
after another, in the order of what happened, so that nobody leaves before they have joined.

Source: WAMP Advanced Profile, "Session Meta API".
"""

from __future__ import annotations

import dataclasses
import typing as t

import msgspec

from .._text import get_logger
from ..concurrency.serial_queue import SerialQueue
from ..peer.declarations import Declaration, EventHandler, Subscription, Work
from ..peer.handler_options import Middlewares
from ..protocol.meta_types import SessionInfo
from .registry import Spec, subscriber_spec
from .views import Wrapped

if t.TYPE_CHECKING:
    from ..peer.invocations import ActiveEvent

logger = get_logger("flask_wamp")

ON_JOIN, ON_LEAVE = "wamp.session.on_join", "wamp.session.on_leave"


class _Line:
    """The queue where the events of both topics wait."""

    queue: SerialQueue | None = None


class _Watched(Subscription):
    """A subscription to one of the two, in line with the other."""

    is_declared = False

    def __init__(self, topic: str, handler: EventHandler, line: _Line) -> None:
        self._line = line
        super().__init__(topic, handler)

    @property
    def queue(self) -> SerialQueue | None:
        """The queue of both."""
        return self._line.queue

    @queue.setter
    def queue(self, queue: SerialQueue | None) -> None:
        self._line.queue = queue


class Joins(_Watched):
    """The subscription to who joins."""


class Leaves(_Watched):
    """The subscription to who leaves."""


def join_spec(f: t.Callable[..., t.Any], uri: str | None, **options: t.Any) -> Spec:
    """Note down a function; see ``FlaskWAMP.on_session_join``."""
    return _spec(Joins, ON_JOIN, f, uri, **options)


def leave_spec(f: t.Callable[..., t.Any], uri: str | None, **options: t.Any) -> Spec:
    """Note down a function; see ``FlaskWAMP.on_session_leave``."""
    return _spec(Leaves, ON_LEAVE, f, uri, **options)


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


class Watch:
    """What the handlers of one app are told of sessions, and what is known of those that are here."""

    def __init__(self) -> None:
        self._known: dict[int, SessionInfo] = {}
        self._session_id: int | None = None
        self._joined = _Told(self._on_join)
        self._left = _Told(self._on_leave)
        line = _Line()
        self._joins = Joins(ON_JOIN, self._joined, line)
        self._leaves = Leaves(ON_LEAVE, self._left, line)

    def declarations(self, kind: type, declaration: Declaration) -> list[Declaration]:
        """What is to be declared for a handler: nothing where others have had that done.

        Who is told of leaving is told who it was, so that joining has to be listened to.
        """
        if kind not in (Joins, Leaves):
            return [declaration]
        needed: list[Joins | Leaves] = [self._joins]
        if kind is Leaves:
            needed.append(self._leaves)
        told = self._joined if kind is Joins else self._left
        told.handlers.append(t.cast(EventHandler, declaration.handler))
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
        # Crossbar 26.10 tells the id alone; the specification has authid and authrole too.
        told = work.message.args
        names = ("session", "authid", "authrole")
        info = SessionInfo.parse(dict(zip(names, told, strict=False)))
        self._forget_others(work)
        return self._known.pop(info.id, info)

    def _forget_others(self, work: ActiveEvent) -> None:
        """Those known of an earlier session of ours: they may have left while there was none."""
        session_id = work.connection.session.session_id
        if session_id != self._session_id:
            self._session_id = session_id
            self._known.clear()


def _brief(info: SessionInfo) -> SessionInfo:
    """Without details, which are as large as whoever joins wants them to be."""
    transport = info.transport and dataclasses.replace(info.transport, details={})
    return dataclasses.replace(info, transport=transport, details={})


class _Told:
    """Handles one of the two events: all handlers, one after another."""

    def __init__(self, parse: t.Callable[[ActiveEvent], SessionInfo]) -> None:
        self.handlers: list[EventHandler] = []
        self._parse = parse

    def __call__(self, work: Work) -> bool:
        try:
            info = self._parse(t.cast("ActiveEvent", work))
        except ValueError as error:
            logger.warning("%s is ignored: %s", work.uri, error)
            return False
        # In place of what came, cookies included: hooks and logs see what handlers do.
        work.message = msgspec.structs.replace(work.message, raw_args=[info], raw_kwargs={})
        well = [handler(work) for handler in list(self.handlers)]
        return all(well)

    def check(self, wrapped: Wrapped) -> None:
        """Check each handler before the start."""
        for handler in self.handlers:
            handler.check(wrapped)  # type: ignore[attr-defined]
