"""Events as an iterator: ``for event in g.wampy.events(topic)``, for Server-Sent Events first of all.

As with a stream of results, the reader of the connection puts events into a box and never waits for who
takes them out. Who falls too far behind is cut off, with an error: a browser comes back by itself.
"""

from __future__ import annotations

import collections
import copy
import threading
import time
import typing as t

from .._text import get_logger
from ..concurrency.deadlines import in_hand
from ..concurrency.pool import Pool
from ..concurrency.threads import is_time_limit
from ..exceptions import TooSlow, WAMPError
from ..peer.invocations import ActiveEvent

logger = get_logger("flask_wamp")

#: Seconds between two looks whether the caller of the handler that waits is still there.
LOOK = 0.25


class Arrived:
    """An event; one for all streams of a topic. Without a work: the session was lost and is back."""

    __slots__ = ("size", "texts", "work")

    def __init__(self, work: ActiveEvent | None, size: int) -> None:
        self.work = work
        self.size = size
        self.texts: dict[bool, str] = {}
        """It as a response sends it: made once, sent by many."""


class Box:
    """What has come for one stream and was not taken out yet.

    :param max_items: How many events may wait.
    :param max_bytes: How many bytes of them.
    """

    def __init__(self, topic: str, get_retained: bool, max_items: int, max_bytes: int) -> None:
        self.topic = topic
        self.get_retained = get_retained
        self.gaps = 0
        self.ended = False
        """Whether nothing more comes."""
        self.error: BaseException | None = None
        """Why, unless it was closed."""
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._bytes = 0
        self._items: collections.deque[Arrived] = collections.deque()
        self._changed = threading.Condition()

    # The reader calls these.

    def put(self, arrived: Arrived) -> bool:
        """Put an event in; False: there is no room, and this was the end."""
        with self._changed:
            if self.ended:
                return True
            waiting = len(self._items)
            if waiting < self._max_items and self._bytes + arrived.size <= self._max_bytes:
                self._items.append(arrived)
                self._bytes += arrived.size
                self._changed.notify()
                return True
        self.end(TooSlow(self.topic, waiting))
        return False

    def resume(self) -> None:
        """The session was lost, and events come again."""
        self.gaps += 1
        self.put(Arrived(None, 0))

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes; what is there can still be taken out, then the error."""
        with self._changed:
            if not self.ended:
                self.ended, self.error = True, error
                self._changed.notify_all()

    # The consumer calls these.

    def take(self, timeout: float | None) -> Arrived | None:
        """The next event; None: not in time, or there are no more.

        :raises WAMPError: There was an error, after all that came before it.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self.ended, timeout)
            if self._items:
                arrived = self._items.popleft()
                self._bytes -= arrived.size
                return arrived
            error, self.error = self.error, None
        if error is not None:
            raise error
        return None

    @property
    def over(self) -> bool:
        """Whether there is nothing more to take out, and nothing to raise."""
        return self.ended and not self._items and self.error is None

    def clear(self) -> None:
        """Take nothing more, and let go of what is there."""
        with self._changed:
            self.ended, self.error = True, None
            self._items.clear()
            self._changed.notify_all()


class EventStream:
    """The events of a topic, as they come. Iterate it; use ``with``, or :meth:`close` it.

    It ends when it is closed, when the client stops, and in a handler when its caller is gone. Iterating
    raises :class:`TooSlow` to who has fallen too far behind, and :class:`ApplicationError` where the
    router refuses the topic after the session was lost.

    Given to a response, or returned by a view, it is sent as Server-Sent Events.

    :param make: Makes of an event in hand what is handed out.
    :param close: Takes a box away; does not wait.
    :param later: Calls a function soon, on another thread.
    """

    def __init__(
        self,
        box: Box,
        match: str,
        keep_alive: float,
        pool: Pool,
        make: t.Callable[[ActiveEvent], t.Any],
        close: t.Callable[[Box], None],
        later: t.Callable[[t.Callable[[], None]], object],
    ) -> None:
        self._box = box
        self._match = match
        self._keep_alive = keep_alive
        self._pool = pool
        self._make = make
        self._close = close
        self._later = later
        self._work: t.Any = in_hand.get()
        self._map: t.Callable[[t.Any], t.Any] | None = None
        self._closed = False

    @property
    def topic(self) -> str:
        """The topic, or the pattern of topics."""
        return self._box.topic

    @property
    def gaps(self) -> int:
        """How often the session was lost and joined again: events of that time are missing."""
        return self._box.gaps

    def map(self, f: t.Callable[[t.Any], t.Any]) -> EventStream:
        """Hand out ``f(event)`` in place of each event; nothing where that is None.

        In a response it is called in the view's context, and what it returns is sent as JSON.
        """
        self._map = f
        return self

    def next(self, timeout: float | None = None) -> t.Any:
        """The next event; None: none came within so many seconds, or there are no more."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (arrived := self._take(_left(deadline))) is not None:
            if arrived.work is not None and (item := self._item(arrived.work)) is not None:
                return item
        return None

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> t.Any:
        item = self.next()
        if item is None:
            raise StopIteration
        return item

    def _item(self, work: ActiveEvent) -> t.Any:
        """Return what is handed out of an event: a copy, for others have it too. None: nothing."""
        if not work.is_readable():
            return None
        own = ActiveEvent(work.connection, work.subscription, copy.deepcopy(work.message))
        own.received_at = work.received_at
        event = self._make(own)
        return event if self._map is None else self._map(event)

    def _take(self, timeout: float | None) -> Arrived | None:
        if self._work is None:
            return self._wait(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._work.canceled:
            left = _left(deadline)
            arrived = self._wait(LOOK if left is None else min(LOOK, left))
            if arrived is not None or self._box.over or left == 0.0:
                return arrived
        self.close()
        return None

    def _wait(self, timeout: float | None) -> Arrived | None:
        try:
            with self._pool.release_slot():
                return self._box.take(timeout)
        except Exception:
            raise
        except BaseException as error:  # this greenlet is ended, or Ctrl-C
            if self._work is not None or not is_time_limit(error):
                self.close()
            raise

    # As a response.

    def lines(self, dumps: t.Callable[[t.Any], str], events: bool) -> t.Iterator[str]:
        """What a response sends, with a sign of life in silence: only who writes sees a client leave.

        :param dumps: Makes JSON of what is sent.
        :param events: Server-Sent Events; else lines of JSON.
        """
        pulse = ": \n\n" if events else "\n"
        text: str | None = pulse  # at once: it takes the headers with it
        due = time.monotonic()
        try:
            while True:
                if text is not None or time.monotonic() >= due:
                    yield text or pulse
                    due = time.monotonic() + self._keep_alive
                arrived = self._take(_left(due))
                if arrived is None and self._box.over:
                    return
                text = None if arrived is None else self._text(arrived, dumps, events)
        except WAMPError as error:
            logger.warning("a stream of events to an HTTP client is ended: %s", error)
        finally:
            self.close()

    def _text(self, arrived: Arrived, dumps: t.Callable[[t.Any], str], events: bool) -> str | None:
        """What is sent of an event; None: nothing."""
        work = arrived.work
        if work is None:
            return f"event: gap\ndata: {self.gaps}\n\n" if events else None
        if self._map is not None:
            item = self._item(work)
            return None if item is None else _framed(dumps(item), work, events)
        if not work.is_readable():
            return None
        if events not in arrived.texts:
            text = dumps(_payload(work, self._match))
            arrived.texts[events] = _framed(text, work, events)
        return arrived.texts[events]

    # The end.

    def close(self) -> None:
        """Take no more. Does not wait, and may be called twice, from anywhere."""
        self._closed = True
        self._box.clear()
        self._close(self._box)

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        # On another thread: this one may hold any lock while it collects garbage.
        if not self._closed:
            self._closed = True
            self._later(_Abandon(self._close, self._box))

    def __repr__(self) -> str:
        return f"<EventStream of {self.topic}>"


class _Abandon:
    """Closes the box of a stream that was forgotten."""

    def __init__(self, close: t.Callable[[Box], None], box: Box) -> None:
        self._close = close
        self._box = box

    def __call__(self) -> None:
        self._box.clear()
        self._close(self._box)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _payload(work: ActiveEvent, match: str) -> t.Any:
    """An event as one value: its only argument, or all it has; with its topic where that may vary."""
    args, kwargs = work.message.args, work.message.kwargs
    if match != "exact":
        return {"topic": work.uri, "args": args, "kwargs": kwargs}
    return args[0] if len(args) == 1 and not kwargs else {"args": args, "kwargs": kwargs}


def _framed(text: str, work: ActiveEvent, events: bool) -> str:
    if not events:
        return f"{text}\n"
    data = "".join(f"data: {line}\n" for line in text.split("\n"))
    return f"id: {work.message.publication_id}\n{data}\n"
