"""The buffer between the thread that reads from the router and the consumer of one stream.

WAMP has no flow control. If the reader waited for a slow consumer, it would delay all other messages of the
session. So the reader never waits. If a consumer is too slow, its stream ends with :exc:`.TooSlow`.
"""

from __future__ import annotations

import collections
import threading
import typing as t

from ..exceptions import TooSlow
from ..protocol import messages as m
from ..protocol.raw_payload import payload_size

T = t.TypeVar("T")


class StreamBuffer(t.Generic[T]):
    """Items that have arrived for one stream, and that its consumer has not taken yet.

    Any thread may call any method. Only :meth:`take` waits.

    :param name: The procedure or topic, for errors.
    :param max_items: The maximum number of waiting items.
    :param max_bytes: The maximum size of all waiting items together.
    """

    def __init__(self, name: str, max_items: int, max_bytes: int) -> None:
        self.name = name
        self.ended = False
        """Whether no more items will be added."""
        self.error: BaseException | None = None
        """The error that :meth:`take` raises after the last item."""
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._bytes = 0
        self._items: collections.deque[tuple[T, int]] = collections.deque()
        self._changed = threading.Condition()

    # The producer's side.

    def put(self, item: T, size: int) -> bool:
        """Add an item.

        :param size: Its size in bytes, see :func:`size_of`.
        :returns: False if the buffer is full. The stream has then ended with :exc:`.TooSlow`.
        """
        with self._changed:
            if self.ended:
                return True
            if len(self._items) < self._max_items and self._bytes + size <= self._max_bytes:
                self._add(item, size)
                return True
            waiting = len(self._items)
        return not self.end(TooSlow(self.name, waiting))

    def finish(self, item: T) -> bool:
        """Add the last item, even if the buffer is full, and end the stream.

        :returns: False if the stream had ended before.
        """
        with self._changed:
            if self.ended:
                return False
            self.ended = True
            self._add(item, 0)
            return True

    def end(self, error: BaseException | None = None) -> bool:
        """End the stream. The consumer still gets the items in the buffer, and then the error.

        :returns: False if the stream had ended before.
        """
        with self._changed:
            if self.ended:
                return False
            self.ended, self.error = True, error
            self._changed.notify_all()
            return True

    def _add(self, item: T, size: int) -> None:
        """Add an item. Requires the lock of ``_changed``."""
        assert self._changed._is_owned()  # type: ignore[attr-defined]
        self._items.append((item, size))
        self._bytes += size
        self._changed.notify()

    # The consumer's side.

    def take(self, timeout: float | None) -> T | None:
        """Wait for the next item and remove it.

        :returns: None if no item arrived within ``timeout`` seconds, or if the stream is :attr:`over`.
        :raises BaseException: The error that ended the stream. It is raised once, after the last item.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self.ended, timeout)
            if self._items:
                item, size = self._items.popleft()
                self._bytes -= size
                return item
            error, self.error = self.error, None
        if error is not None:
            raise error
        return None

    @property
    def over(self) -> bool:
        """Whether the stream has ended, and :meth:`take` has returned all items and raised the error."""
        return self.ended and not self._items and self.error is None

    def clear(self) -> bool:
        """End the stream and drop the items in the buffer.

        :returns: False if the stream had ended before.
        """
        with self._changed:
            was_open, self.ended = not self.ended, True
            self._items.clear()
            self._bytes, self.error = 0, None
            self._changed.notify_all()
            return was_open


def size_of(message: m.Result | m.Error | m.Event) -> int:
    """Estimate the memory that the undecoded payload of a message takes, in bytes."""
    return 64 + payload_size(message.raw_args, message.raw_kwargs)
