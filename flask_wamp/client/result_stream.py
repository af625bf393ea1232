"""Progressive results, on the caller's side: ``for item in g.wampy.stream(uri, ...)``.

The reader puts results into a buffer and never waits for who reads them. WAMP has no way to ask for
less, and to stop reading the connection would stop everybody else's messages: so a consumer that falls
too far behind is cut off, with an error.
"""

from __future__ import annotations

import collections
import threading
import time
import typing as t

from ..concurrency.pool import Pool
from ..exceptions import CallTimeout, TooSlow, WAMPError
from ..protocol import messages as m
from ..protocol.call_result import outcome
from ..protocol.raw_payload import payload_size


class Buffer:
    """The ticket of a streamed CALL: what has come and was not read yet.

    :param max_items: How many results may wait.
    :param max_bytes: How many bytes of them.
    """

    def __init__(self, procedure: str, max_items: int, max_bytes: int) -> None:
        self.procedure = procedure
        self.ended = False
        """Whether nothing more comes."""
        self._give_up: t.Callable[[], None] | None = None
        """Sends CANCEL; set as soon as the request id is known."""
        self._leave: t.Callable[[], None] | None = None
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._bytes = 0
        self._items: collections.deque[tuple[m.Result, int]] = collections.deque()
        self._last: t.Any = None
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def sent(self, give_up: t.Callable[[], None], leave: t.Callable[[], None] | None) -> None:
        """Note how to cancel the call.

        :param leave: Called at its end.
        """
        with self._changed:
            self._give_up, self._leave = give_up, leave
            ended, cut_off = self.ended, isinstance(self._error, TooSlow)
        if cut_off:  # before this was known
            give_up()
        if ended and leave is not None:
            leave()

    # As a ticket: the reader calls these.

    def resolve(self, message: t.Any) -> None:
        """Take RESULT or ERROR."""
        if type(message) is not m.Result or not message.details.get("progress"):
            self._end(message, None)
            return
        size = size_of(message)
        with self._changed:
            if self.ended:
                return
            if len(self._items) < self._max_items and self._bytes + size <= self._max_bytes:
                self._items.append((message, size))
                self._bytes += size
                self._changed.notify()
                return
        self._end(None, TooSlow(self.procedure, len(self._items)))
        self._cancel()

    def fail(self, error: BaseException) -> None:
        """Take an error instead."""
        self._end(None, error)

    def _end(self, message: t.Any, error: BaseException | None) -> None:
        with self._changed:
            if not self.ended:
                self.ended, self._last, self._error = True, message, error
                self._changed.notify_all()
        if self._leave is not None:
            self._leave()

    def _cancel(self) -> None:
        if self._give_up is not None:
            self._give_up()

    # The consumer calls these.

    def next(self, timeout: float) -> t.Any:
        """The next message, the last one too; None: not in time, or there are no more.

        :raises WAMPError: There was an error, after all that came before it.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self.ended, max(0.0, timeout))
            if self._items:
                message, size = self._items.popleft()
                self._bytes -= size
                return message
            error, self._error = self._error, None
            message, self._last = self._last, None
        if error is not None:
            raise error
        return message

    def close(self) -> None:
        """Take nothing more and let go of what is there; sends CANCEL if there was more to come."""
        with self._changed:
            was_open, self.ended = not self.ended, True
            self._items.clear()
            self._last = self._error = None
            self._changed.notify_all()
        if was_open:
            self._cancel()
        if self._leave is not None:
            self._leave()


class ResultStream:
    """The results of one call, as they come. Iterate it once; use ``with``, or :meth:`close` it.

    Yields each progressive result, then the final one; a final None after progressive ones, and a final
    result without payload, say only that it is over. Iterating raises what a call raises, and
    :class:`TooSlow`.

    :param timeout: Seconds that may pass between two results.
    :param deadline: The ``time.monotonic()`` at which it ends in any case, or None.
    :param later: Calls a function soon, on another thread.
    """

    def __init__(
        self,
        buffer: Buffer,
        timeout: float,
        deadline: float | None,
        pool: Pool,
        later: t.Callable[[t.Callable[[], None]], object],
    ) -> None:
        self._buffer = buffer
        self._timeout = timeout
        self._deadline = deadline
        self._pool = pool
        self._later = later
        self._any = False
        self._over = False

    def __iter__(self) -> ResultStream:
        return self

    def __next__(self) -> t.Any:
        if self._over:
            raise StopIteration
        message = self._wait()
        if type(message) is m.Result and message.details.get("progress"):
            self._any = True
            return outcome(message)
        self._over = True
        value = outcome(message)
        if not (message.args or message.kwargs) or (value is None and self._any):
            raise StopIteration
        return value

    def _wait(self) -> t.Any:
        timeout = self._timeout
        if self._deadline is not None:
            timeout = min(timeout, self._deadline - time.monotonic())
        try:
            with self._pool.release_slot():
                message = self._buffer.next(timeout)
        except WAMPError:
            self._over = True
            raise
        except BaseException:  # this greenlet is ended, or Ctrl-C
            self.close()
            raise
        if message is None:
            was_closed = self._over or self._buffer.ended
            self.close()
            if was_closed:
                raise StopIteration
            raise CallTimeout(self._buffer.procedure, max(0.0, timeout))
        return message

    def relay(self) -> t.Generator[t.Any, None, t.Any]:
        """Yield the progressive results, and return the final one."""
        with self:
            for item in self:
                if self._over:
                    return item
                yield item
        return None

    def close(self) -> None:
        """Take no more; sends CANCEL unless all has come. Does not wait."""
        self._over = True
        self._buffer.close()

    def __enter__(self) -> ResultStream:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        # On another thread: this one may hold any lock while it collects garbage.
        if not self._over:
            self._over = True
            self._later(self._buffer.close)

    def __repr__(self) -> str:
        return f"<Stream of {self._buffer.procedure}>"


def size_of(message: m.Result | m.Event) -> int:
    """About how many bytes a result or an event takes."""
    return 64 + payload_size(message.raw_args, message.raw_kwargs)
