"""``wamp.test_client(inline=True)``: clients that have no threads.

A thread that waits for an answer or has published an event reads the messages of all clients of the app and
runs the handlers. So handlers run in the thread of the test. The bytes still go through the router in memory.
"""

from __future__ import annotations

import collections
import contextvars
import functools
import heapq
import sys
import threading
import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..concurrency.fair_queue import Job
from ..concurrency.guards import guarded, report
from ..concurrency.pool import Pool
from ..concurrency.threads import Waiter
from ..concurrency.timer_thread import TimerHandle, TimerThread
from ..exceptions import NotJoined, ProtocolError, SessionLost, WAMPError
from ..peer.attempts import connect
from ..peer.connection import Connection
from ..peer.peer import Peer
from ..protocol import messages as m
from ..protocol.session import Session
from ..protocol.session_events import Joined
from ..router.memory import MemoryTransport

__tracebackhide__ = True  # pytest leaves out the frames of this module

logger = get_logger("flask_wamp")

#: Seconds between two attempts to read, while a thread waits for another thread.
PAUSE = 0.005


class Loop:
    """Reads messages and runs handlers for the clients of one app, in the thread that calls :meth:`run`."""

    def __init__(self) -> None:
        self._connections: tuple[InlineConnection, ...] = ()
        self._jobs: collections.deque[tuple[InlinePool, Job]] = collections.deque()
        self._reading = threading.Lock()
        self.interrupt: BaseException | None = None
        """A handler's exception that ends the test, such as ``KeyboardInterrupt``. :meth:`run` raises it."""

    def run(self) -> None:
        """Read and run until nothing is left. A handler that waits calls this method again."""
        for connection in self._connections:
            connection.timer.fire_due()
        while self.read() or self._run_job():
            pass

    def read(self) -> bool:
        """Read the messages that have arrived. Return whether there were any.

        Only one thread reads at a time, so that messages keep their order.
        """
        if not self._reading.acquire(blocking=False):
            return False
        try:
            return any(connection.take_in() for connection in self._connections)
        finally:
            self._reading.release()

    def add(self, connection: InlineConnection) -> None:
        """Read from a connection from now on."""
        self._connections = (*self._connections, connection)

    def remove(self, connection: InlineConnection) -> None:
        """Stop reading from a connection that has ended."""
        self._connections = tuple(each for each in self._connections if each is not connection)

    def submit(self, pool: InlinePool, job: Job) -> None:
        """Run a job later."""
        self._jobs.append((pool, job))

    def waiting(self, pool: InlinePool) -> int:
        """Return the number of waiting jobs of a pool."""
        return sum(each is pool for each, _ in list(self._jobs))

    def _run_job(self) -> bool:
        try:
            pool, job = self._jobs.popleft()
        except IndexError:
            return False
        pool.jobs_running += 1
        try:
            contextvars.Context().run(job)  # an empty context, as in a worker
        except Exception:  # jobs handle their own errors, so this is a bug in Flask-WAMP
            report(logger.exception, "a job failed")
        finally:
            pool.jobs_running -= 1
        if self.interrupt is not None:
            error, self.interrupt = self.interrupt, None
            raise error
        return True


class InlineTimer(TimerThread):
    """A timer without a thread. Threads that wait call the functions that are due.

    Canceling an overdue function calls it as well. So a call whose handler took longer than its ``timeout=``
    gets the same answer as with threads.
    """

    def _start(self) -> None:
        """Start no thread."""

    @property
    def is_alive(self) -> bool:
        """Whether it has not been stopped."""
        return not self._stopping

    def call_at(self, deadline: float, function: Job) -> TimerHandle:
        """Call a function at or after a time of ``time.monotonic()``."""
        handle = InlineHandle(function, deadline)
        with self._condition:
            heapq.heappush(self._heap, (deadline, next(self._numbers), handle))
        return handle

    def fire_due(self) -> None:
        """Call the functions that are due."""
        while not self._stopping:
            with self._condition:
                while self._heap and self._heap[0][2].canceled:
                    heapq.heappop(self._heap)
                if not self._heap or self._heap[0][0] > monotonic():
                    return
                due = heapq.heappop(self._heap)[2]
            guarded(logger.exception, "a timer failed", due.fire)

    def stop(self) -> None:
        """Stop: call no more functions, and release them."""
        with self._condition:
            self._stopping = True
            self._heap.clear()


class InlineHandle(TimerHandle):
    """A scheduled function. Canceling it after its deadline calls it."""

    __slots__ = ("_deadline",)

    def __init__(self, function: Job, deadline: float) -> None:
        super().__init__(function)
        self._deadline = deadline

    def cancel(self) -> None:
        """Cancel the function, or call it now if it is overdue."""
        if monotonic() >= self._deadline:
            self.fire()
        super().cancel()


class InlinePool(Pool):
    """A pool without workers. Threads that wait run its jobs."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(1, sys.maxsize)
        self.in_greenlets = False
        self._loop = loop
        self._has_stopped = False
        self.jobs_running = 0

    @property
    def running(self) -> int:
        """The number of jobs that have started and not ended."""
        return self.jobs_running

    @property
    def pending(self) -> int:
        """The number of waiting jobs."""
        return self._loop.waiting(self)

    def submit(self, job: Job, *, kind: object = None, size: int = 0, force: bool = False) -> bool:
        """Queue a job for the next thread that waits. Return False if the pool has stopped."""
        if self._has_stopped:
            return False
        self._loop.submit(self, job)
        return True

    def reserve(self, count: int) -> int:
        """Return 0: there are no workers."""
        return 0

    def release_slot(self) -> t.ContextManager[None]:
        """Return a context manager that runs the waiting jobs when it is entered."""
        return _RunFirst(self._loop)

    def wait(self, waiter: Waiter, timeout: float) -> bool:
        """Read and run jobs until an answer arrives. Return False if there was none in time."""
        deadline = monotonic() + timeout
        while True:
            self._loop.run()
            left = deadline - monotonic()
            if waiter.wait(min(left, PAUSE)):
                return True
            if left <= 0:
                return False

    def stop(self, timeout: float) -> bool:
        """Run the waiting jobs, and accept no more."""
        self._loop.run()
        self._has_stopped = True
        return True


class _RunFirst:
    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def __enter__(self) -> None:
        self._loop.run()

    def __exit__(self, *exc_info: object) -> None:
        pass


class InlineConnection(Connection):
    """A connection without a reader thread. The loop reads from it.

    :param timer: The timer of the peer.
    :param ended: Called with the reason when the session has ended.
    """

    transport: MemoryTransport

    def __init__(
        self,
        loop: Loop,
        timer: InlineTimer,
        ended: t.Callable[[InlineConnection, Exception], None],
        *args: t.Any,
    ) -> None:
        super().__init__(*args)
        self.timer = timer
        self._loop = loop
        self._ended = ended

    def ask(self, request: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        """Do the same as :meth:`.Sender.ask`. After a publication, run the handlers of the event too."""
        result = super().ask(request, *args, **kwargs)
        if request is Session.publish:
            self._loop.run()
        elif request is Session.yield_:
            # After a progressive result, read whether the caller has canceled an endless stream.
            self._loop.read()
        return result

    def call(
        self,
        procedure: str,
        args: t.Sequence[object],
        kwargs: m.Details,
        options: m.Details,
        ticket: object,
    ) -> int:
        """Do the same as :meth:`.Sender.call`. If the procedure is the app's, run its handler too.

        The handler of a stream starts when its caller waits for the first item, so that it can be canceled.
        """
        request_id = super().call(procedure, args, kwargs, options, ticket)
        if not options.get("receive_progress"):
            self._loop.run()
        return request_id

    def take_in(self) -> bool:
        """Send unsent bytes and handle the messages that have arrived. Return whether there were any."""
        if self.closed:
            return False
        self._send_rest()
        if not (self._early or self.transport.ready()):
            return False
        try:
            events = self._read()
        except WAMPError as error:
            self.end(error)
            return True
        finally:
            self.reading = None
        if events is None:
            assert self.left is not None
            self.end(SessionLost(f"the router ended the session: {self.left.reason}"))
        else:
            self._on_events(self, events)
        return True

    def end(self, reason: Exception) -> None:
        """Close the connection, and report the reason to the peer."""
        if isinstance(reason, ProtocolError):
            self._complain(reason)
        self._send_final_messages()
        self._loop.remove(self)
        self.close()
        self._ended(self, reason)


class InlinePeer(Peer):
    """A peer without threads. It joins in the thread that starts or uses it; waiting threads read for it."""

    pool: InlinePool
    _timer: InlineTimer
    _joined: Joined

    def __init__(self, loop: Loop, *args: t.Any) -> None:
        self._loop = loop
        super().__init__(*args)

    def _make_pool(self) -> Pool:
        return InlinePool(self._loop)

    def _make_timer(self) -> InlineTimer:
        return InlineTimer()

    def _begin(self) -> None:
        """Start no thread: :meth:`start` joins."""

    def start(self) -> None:
        """Join, and serve the declarations."""
        super().start()
        self._join()

    @property
    def is_alive(self) -> bool:
        """Whether it was started. There is no thread that could end."""
        return self.started

    def wait(self, timeout: float, *, ready: bool = False, refusable: bool = False) -> Connection:
        """Do the same as :meth:`.Peer.wait`, but join again here if the session was lost."""
        if self.started and self.connection is None and not self._stopping.is_set():
            self._join()
        self._loop.run()
        connection = self.connection
        if connection is None or (ready and not self._is_complete):
            raise NotJoined(self._why_not(), getattr(self.failure, "reason", None))
        return connection

    def _join(self) -> None:
        make = functools.partial(InlineConnection, self._loop, self._timer, self._has_ended)
        try:
            connection, joined = connect(
                self.settings, self._serving.on_events, self.pool, self._opened, make
            )
        except Exception as error:
            self._note_failure(error)
            return
        follow_up = self._enter(connection, joined)
        if follow_up is None:
            return
        self._joined = joined
        follow_up()
        self._loop.add(connection)
        self._loop.run()

    def _has_ended(self, connection: InlineConnection, reason: Exception) -> None:
        if self.connection is connection:
            self._lost(connection, self._joined, reason)

    def _await_goodbye(self) -> None:
        self._loop.run()

    def _end_threads(self) -> None:
        if not self.started:
            return
        connection = self.connection
        if isinstance(connection, InlineConnection):  # the router's GOODBYE has not arrived
            connection.end(SessionLost("the client was stopped"))
        self._timer.stop()
