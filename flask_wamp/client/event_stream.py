"""Events as an iterator: ``for event in g.wampy.events(topic)``. Use it for Server-Sent Events.

The thread that reads from the router puts the events into a buffer, see :mod:`.stream_buffer`.
"""

from __future__ import annotations

import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..concurrency.deadlines import active_message
from ..concurrency.pool import Pool
from ..concurrency.threads import is_time_limit
from ..exceptions import WAMPError
from ..peer.invocations import ActiveEvent
from .stream_buffer import StreamBuffer

logger = get_logger("flask_wamp")

CHECK_INTERVAL = 0.25
"""Seconds between two checks whether the handler that waits for an event was canceled."""

MakeItem = t.Callable[[ActiveEvent], object]
CloseBuffer = t.Callable[["EventBuffer"], None]
CallSoon = t.Callable[[t.Callable[[], None]], object]


class SharedEvent:
    """An event, or a gap in the events. All streams of a topic share one object.

    :param active: The event. None marks a gap: the session was lost and has been joined again.
    """

    __slots__ = ("active", "texts")

    def __init__(self, active: ActiveEvent | None) -> None:
        self.active = active
        self.texts: dict[bool, str] = {}
        """The text of the event in a response. The key is True for Server-Sent Events and False for JSON."""


class EventBuffer(StreamBuffer[SharedEvent]):
    """The buffer of one stream of events.

    :param get_retained: Whether the stream begins with the retained event of the topic.
    """

    def __init__(self, topic: str, get_retained: bool, max_items: int, max_bytes: int) -> None:
        super().__init__(topic, max_items, max_bytes)
        self.get_retained = get_retained
        self.gaps = 0
        """How many times the session was lost and joined again."""

    def add_gap(self) -> None:
        """Add a gap, because the session was lost and joined again."""
        self.gaps += 1
        self.put(SharedEvent(None), 0)


class _Iterating(t.Protocol):
    """The message whose handler iterates over the stream."""

    canceled: bool


class EventStream:
    """An iterator over the events of a topic, in order of arrival. Use ``with``, or :meth:`close` it.

    The stream ends when you close it, when the client stops, and, inside a handler, when the handler is
    canceled. The iteration raises :exc:`.TooSlow` if you take the events too slowly, and
    :exc:`.ApplicationError` if the router revokes the subscription, or refuses it in a later session.

    If you return it from a view or pass it to a response, it is sent as Server-Sent Events.

    :param make: Makes the event that the stream yields.
    :param close: Removes the buffer from the hub. Does not wait.
    :param call_soon: Calls a function on another thread.
    """

    def __init__(
        self,
        buffer: EventBuffer,
        match: str,
        keep_alive: float,
        max_age: float | None,
        pool: Pool,
        make: MakeItem,
        close: CloseBuffer,
        call_soon: CallSoon,
    ) -> None:
        self._buffer = buffer
        self._match = match
        self._keep_alive = keep_alive
        self._max_age = max_age
        self._pool = pool
        self._make = make
        self._close = close
        self._call_soon = call_soon
        self._work = t.cast("_Iterating | None", active_message.get())
        self._map: t.Callable[[t.Any], object] | None = None
        self._closed = False

    @property
    def topic(self) -> str:
        """The topic, or the pattern of topics."""
        return self._buffer.name

    @property
    def gaps(self) -> int:
        """How many times the session was lost and joined again. The events in between are missing."""
        return self._buffer.gaps

    def map(self, f: t.Callable[[t.Any], object]) -> EventStream:
        """Yield ``f(event)`` instead of each event. If that is None, the event is skipped.

        A response calls ``f`` in the context of the view, and sends the returned value as JSON.
        """
        self._map = f
        return self

    def next(self, timeout: float | None = None) -> t.Any:
        """Wait for the next event.

        :returns: None if no event arrived within ``timeout`` seconds, or if the stream has ended.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while (shared := self._take(_left(deadline))) is not None:
            if shared.active is not None and (item := self._item(shared.active)) is not None:
                return item
        return None

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> t.Any:
        item = self.next()
        if item is None:
            raise StopIteration
        return item

    def _item(self, active: ActiveEvent) -> object:
        """Return what the stream yields for an event. None if the payload cannot be decoded.

        This is a copy, because other streams yield the event too.
        """
        own = active.isolated()
        if own is None:
            return None
        event = self._make(own)
        return event if self._map is None else self._map(event)

    def _take(self, timeout: float | None) -> SharedEvent | None:
        if self._work is None:
            return self._wait(timeout)
        deadline = None if timeout is None else monotonic() + timeout
        while not self._work.canceled:
            left = _left(deadline)
            shared = self._wait(CHECK_INTERVAL if left is None else min(CHECK_INTERVAL, left))
            if shared is not None or self._buffer.over or left == 0.0:
                return shared
        self.close()
        return None

    def _wait(self, timeout: float | None) -> SharedEvent | None:
        try:
            with self._pool.release_slot():
                return self._buffer.take(timeout)
        except Exception:
            raise
        except BaseException as error:  # GreenletExit, KeyboardInterrupt or gevent.Timeout
            if self._work is not None or not is_time_limit(error):
                self.close()
            raise

    # As a response.

    def lines(self, dumps: t.Callable[[object], str], events: bool) -> t.Iterator[str]:
        """Yield the text of a response.

        While there are no events, this periodically yields an empty line, or an empty comment as Server-Sent
        Events. A server notices only when it writes that the client has disconnected.

        :param dumps: Converts a value to JSON.
        :param events: Whether to send Server-Sent Events. Otherwise, lines of JSON are sent.
        """
        pulse = ": \n\n" if events else "\n"
        text: str | None = pulse  # sent at once, so that the headers are sent
        due = monotonic()
        end = None if self._max_age is None else due + self._max_age
        try:
            while end is None or monotonic() < end:
                if text is not None or monotonic() >= due:
                    yield text or pulse
                    due = monotonic() + self._keep_alive
                shared = self._take(_left(due if end is None else min(due, end)))
                if shared is None and self._buffer.over:
                    return
                text = None if shared is None else self._text(shared, dumps, events)
        except WAMPError as error:
            logger.warning("a stream of events to an HTTP client has ended: %s", error)
        finally:
            self.close()

    def _text(
        self, shared: SharedEvent, dumps: t.Callable[[object], str], events: bool
    ) -> str | None:
        """Return the text of an event. None if the event is not sent."""
        active = shared.active
        if active is None:
            return f"event: gap\ndata: {self.gaps}\n\n" if events else None
        if self._map is not None:
            item = self._item(active)
            return None if item is None else _framed(dumps(item), active, events)
        if events not in shared.texts:
            own = active.isolated()  # a copy, because other streams use the event too
            if own is None:
                return None
            shared.texts[events] = _framed(dumps(_payload(own, self._match)), active, events)
        return shared.texts[events]

    # Closing.

    def close(self) -> None:
        """End the stream. Does not wait. Any thread may call this, also several times."""
        self._closed = True
        self._buffer.clear()
        self._close(self._buffer)

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Close it on another thread: the garbage collector may run while this thread holds any lock.
        if not self._closed:
            self._closed = True
            self._call_soon(_Abandon(self._close, self._buffer))

    def __repr__(self) -> str:
        return f"<EventStream of {self.topic}>"


class _Abandon:
    """Closes the buffer of a stream that was deleted without :meth:`EventStream.close`."""

    def __init__(self, close: CloseBuffer, buffer: EventBuffer) -> None:
        self._close = close
        self._buffer = buffer

    def __call__(self) -> None:
        self._buffer.clear()
        self._close(self._buffer)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - monotonic())


def _payload(active: ActiveEvent, match: str) -> object:
    """Return an event as one value. This is its only argument, or a dictionary.

    For a pattern, the dictionary also has the topic.
    """
    args, kwargs = active.message.args, active.message.kwargs
    if match != "exact":
        return {"topic": active.uri, "args": args, "kwargs": kwargs}
    return args[0] if len(args) == 1 and not kwargs else {"args": args, "kwargs": kwargs}


def _framed(text: str, active: ActiveEvent, events: bool) -> str:
    if not events:
        return f"{text}\n"
    data = "".join(f"data: {line}\n" for line in text.split("\n"))
    return f"id: {active.message.publication_id}\n{data}\n"
