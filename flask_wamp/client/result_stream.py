"""Progressive results for the caller: ``for item in g.wampy.stream(uri, ...)``.

Source: WAMP Advanced Profile, "Progressive Call Results".
"""

from __future__ import annotations

import typing as t

from ..concurrency.clock import monotonic
from ..concurrency.pool import Pool
from ..exceptions import CallTimeout, TooSlow, WAMPError
from ..protocol import messages as m
from ..protocol.call_result import outcome
from .stream_buffer import StreamBuffer, size_of

StreamMessage: t.TypeAlias = m.Result | m.Error


class StreamTicket:
    """The ticket of a streamed CALL. It puts the answers into a buffer, and the consumer decodes them.

    :param buffer: The buffer for all answers, including the final one.
    """

    def __init__(self, buffer: StreamBuffer[StreamMessage]) -> None:
        self.buffer = buffer
        self._cancel: t.Callable[[], None] | None = None
        self._leave: t.Callable[[], None] | None = None

    def sent(self, cancel: t.Callable[[], None], leave: t.Callable[[], None] | None) -> None:
        """Set the functions that need the request id. Answers may have arrived before.

        :param cancel: Sends CANCEL.
        :param leave: Called when the call has ended.
        """
        self._cancel, self._leave = cancel, leave
        if isinstance(self.buffer.error, TooSlow):
            cancel()
        if self.buffer.ended and leave is not None:
            leave()

    # The reader calls these.

    def resolve(self, message: StreamMessage) -> None:
        """Handle RESULT or ERROR."""
        if not _is_progressive(message):
            self.buffer.finish(message)
            self._ended()
        elif not self.buffer.put(message, size_of(message)):
            self._give_up()

    def fail(self, error: BaseException) -> None:
        """End the stream with an error, for example after the session was lost."""
        self.buffer.end(error)
        self._ended()

    # The consumer calls this.

    def close(self) -> None:
        """Drop the answers that have arrived. If the call has not ended, send CANCEL. Does not wait."""
        if self.buffer.clear():
            self._give_up()
        else:
            self._ended()

    def _give_up(self) -> None:
        if self._cancel is not None:
            self._cancel()
        self._ended()

    def _ended(self) -> None:
        if self._leave is not None:
            self._leave()


class ResultStream:
    """An iterator over the results of one call, in order of arrival. Use ``with``, or :meth:`close` it.

    It yields every progressive result, then the final one. A final result without payload, and a final None
    after progressive results, only mark the end and are not yielded. The iteration raises the errors of
    :meth:`.Caller.call`, and :exc:`.TooSlow` if you take the results too slowly.

    :param timeout: The seconds to wait for each result.
    :param deadline: The ``time.monotonic()`` at which the stream ends at the latest, or None.
    :param call_soon: Calls a function on another thread.
    """

    def __init__(
        self,
        ticket: StreamTicket,
        timeout: float,
        deadline: float | None,
        pool: Pool,
        call_soon: t.Callable[[t.Callable[[], None]], object],
    ) -> None:
        self._ticket = ticket
        self._timeout = timeout
        self._deadline = deadline
        self._pool = pool
        self._call_soon = call_soon
        self._any = False
        self._over = False

    def __iter__(self) -> ResultStream:
        return self

    def __next__(self) -> t.Any:
        message = None if self._over else self._wait()
        if message is None:
            raise StopIteration
        if _is_progressive(message):
            self._any = True
            return outcome(message)
        self._over = True
        value = outcome(message)
        if not (message.args or message.kwargs) or (value is None and self._any):
            raise StopIteration
        return value

    def _wait(self) -> StreamMessage | None:
        """Wait for the next result. None if the stream was closed, perhaps by another thread."""
        timeout = self._timeout
        if self._deadline is not None:
            timeout = min(timeout, self._deadline - monotonic())
        timeout = max(0.0, timeout)
        try:
            with self._pool.release_slot():
                message = self._ticket.buffer.take(timeout)
        except WAMPError:
            self._over = True
            raise
        except BaseException:  # GreenletExit or KeyboardInterrupt
            self.close()
            raise
        if message is None:
            closed = self._over or self._ticket.buffer.ended
            self.close()
            if not closed:
                raise CallTimeout(self._ticket.buffer.name, timeout)
        return message

    def relay(self) -> t.Generator[t.Any, None, t.Any]:
        """Yield the progressive results and return the final one."""
        with self:
            for item in self:
                if self._over:
                    return item
                yield item
        return None

    def close(self) -> None:
        """End the stream. Sends CANCEL unless the final result has arrived. Does not wait."""
        self._over = True
        self._ticket.close()

    def __enter__(self) -> ResultStream:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Close it on another thread: the garbage collector may run while this thread holds any lock.
        if not self._over:
            self._over = True
            self._call_soon(self._ticket.close)

    def __repr__(self) -> str:
        return f"<ResultStream of {self._ticket.buffer.name}>"


def _is_progressive(message: StreamMessage) -> bool:
    return type(message) is m.Result and bool(message.details.get("progress"))
