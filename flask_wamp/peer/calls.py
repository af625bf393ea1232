"""Calls that wait for an answer: their tickets and futures."""

from __future__ import annotations

import concurrent.futures
import contextlib
import typing as t

from ..concurrency.deadlines import handler_canceled
from ..concurrency.pool import Pool
from ..concurrency.threads import Waiter
from ..concurrency.timer_thread import TimerHandle
from ..exceptions import CallTimeout, InvalidPayload, NotJoined
from ..protocol import messages as m
from ..protocol.call_result import outcome, remote_error
from ..protocol.raw_payload import payload_size
from ..protocol.session import Session
from .connection import Connection

__tracebackhide__ = True  # pytest leaves out the frames of this module

MAX_DECODED_BY_READER = 16 * 1024
"""Bytes of an ERROR's payload above which a worker decodes it for a future."""


class Ticket(t.Protocol):
    """The object that the session keeps for a request, and returns with the answer."""

    def fail(self, error: BaseException, /) -> object:
        """Store an error instead of an answer."""


class CallTicket(Waiter):
    """The ticket of a CALL that a thread waits for."""

    __slots__ = ()

    def resolve(self, value: object) -> None:
        """Store RESULT or ERROR. Ignore progressive results, which Crossbar forwards unasked."""
        if type(value) is m.Result and value.details.get("progress"):
            return
        super().resolve(value)

    def result(self) -> t.Any:
        """Return what the call returns, or raise what it raises."""
        if self.error is not None:
            raise self.error
        return outcome(self.value)


def give_up(connection: Connection, request_id: int, mode: str = "killnowait") -> None:
    """Stop waiting for a request. A late answer to it is ignored. Does not wait.

    A call is canceled. If REGISTERED or SUBSCRIBED arrives late, the client unregisters or unsubscribes.

    :param mode: What happens to the handler of a call, see ``cancel_mode``.
    """
    with contextlib.suppress(NotJoined):
        connection.put(_cancel, request_id, mode)


def stop(ticket: Ticket, procedure: str, cancel: t.Callable[[], None]) -> None:
    """Cancel a call because the caller of the handler that made it has canceled. Does not wait."""
    cancel()
    ticket.fail(handler_canceled(procedure))


def _cancel(session: Session, request_id: int, mode: str) -> None:
    session.cancel(request_id, mode)
    session.forget(request_id)


def _nothing() -> None:
    """Do nothing, because the call is not sent yet, or has ended."""


class _Undecoded:
    """The RESULT of a submitted call.

    The first thread that uses it decodes it, so that the reader need not.
    """

    __slots__ = ("_message",)

    def __init__(self, message: m.Result) -> None:
        self._message = message

    def value(self) -> t.Any:
        """Return the result of the call. Raise ``InvalidPayload`` if it cannot be decoded."""
        return outcome(self._message)

    def error(self) -> InvalidPayload | None:
        """Return the error of a payload that cannot be decoded."""
        try:
            self._message.decode_payload()
        except InvalidPayload as error:
            return error
        return None


class CallFuture(concurrent.futures.Future[t.Any]):
    """The future of a submitted call. ``cancel()`` sends CANCEL."""

    def __init__(self, procedure: str, timeout: float, pool: Pool) -> None:
        super().__init__()
        self._procedure = procedure
        self._timeout = timeout
        self._pool = pool
        self._give_up: t.Callable[[], None] = _nothing
        self._stop_timer: t.Callable[[], None] = _nothing
        self._leave: t.Callable[[], None] = _nothing

    def sent(
        self,
        give_up: t.Callable[[], None],
        call_at: t.Callable[[t.Callable[[], None]], TimerHandle],
        leave: t.Callable[[], None] | None,
    ) -> None:
        """Set how to cancel the call, and a timer for its timeout.

        :param leave: Called when the call has ended.
        """
        self._give_up = give_up
        self._leave = leave or _nothing
        self._stop_timer = call_at(self.expire).cancel
        if self.done():
            self._ended()

    def _ended(self) -> None:
        # The app may keep the future, so the future must not keep the connection. Two threads may run this.
        self._stop_timer()
        self._leave()
        self._give_up = self._stop_timer = self._leave = _nothing

    # As a ticket: the reader calls these.

    def resolve(self, message: m.Result | m.Error) -> None:
        """Store RESULT or ERROR. The thread that uses the result decodes its payload."""
        if isinstance(message, m.Result):
            if not message.details.get("progress"):
                self._ended()
                with contextlib.suppress(concurrent.futures.InvalidStateError):
                    self.set_result(_Undecoded(message))
        elif payload_size(message.raw_args, message.raw_kwargs) <= MAX_DECODED_BY_READER:
            self.fail(remote_error(message))
        else:
            self._pool.submit(lambda: self.fail(remote_error(message)), force=True)

    def fail(self, error: BaseException) -> None:
        """Store an error instead."""
        self._ended()
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self.set_exception(error)

    def expire(self) -> None:
        """End the call because it took too long."""
        if not self.done():
            self._give_up()
            self.fail(CallTimeout(self._procedure, self._timeout))

    # As a future: users call these.

    def cancel(self) -> bool:
        """Cancel the call with the options' ``cancel_mode``. Return False if it has ended already."""
        if self.cancelled():
            return True
        if not super().cancel():
            return False
        self._give_up()
        self._ended()
        self.set_running_or_notify_cancel()
        return True

    def result(self, timeout: float | None = None) -> t.Any:
        """Wait for the result. Release the slot of the handler meanwhile."""
        with self._pool.release_slot():
            answer = super().result(timeout)
        return answer.value() if isinstance(answer, _Undecoded) else answer

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end. Release the slot of the handler meanwhile."""
        with self._pool.release_slot():
            error = super().exception(timeout)
            answer = super().result() if error is None else None
        return answer.error() if isinstance(answer, _Undecoded) else error

    def add_done_callback(self, fn: t.Callable[[t.Any], object]) -> None:
        """Let a worker call ``fn(future)``, because the reader must not run code of the app."""
        super().add_done_callback(lambda future: self._pool.submit(lambda: fn(future), force=True))
