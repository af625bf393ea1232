"""The client's side of a caller and publisher: what ``g.wampy`` says to other peers."""

from __future__ import annotations

import functools
import time
import typing as t

from ..concurrency.deadlines import follow, inherited, within
from ..concurrency.threads import Waiter
from ..exceptions import CallTimeout
from ..peer.calls import CallFuture, CallTicket, give_up, stop
from ..peer.connection import payload
from ..peer.peer import Peer
from ..peer.settings import Settings
from ..protocol import messages as m
from ..protocol.call_result import outcome
from ..protocol.checks import is_seconds
from ..protocol.options import CallOptions
from ..protocol.session import Session
from ..protocol.uris import MATCHES, check_uri
from .event_stream import EventStream
from .history import PastEvent, history
from .meta import Meta
from .result_stream import ResultStream, StreamTicket
from .state import ClientState
from .stream_buffer import StreamBuffer
from .testaments import Testament
from .wampy_api import WampyAPI, sendable

Same = t.TypeVar("Same", bound="Caller")


class Caller(WampyAPI):
    """Calls and publishes; all threads and greenlets of a process share it."""

    def __init__(self, state: ClientState) -> None:
        # wampy's own constructor is not called: it would open a socket.
        self._state = state
        self._options = CallOptions()

    @property
    def settings(self) -> Settings:
        """What it was configured with."""
        return self._state.settings

    def call(self, procedure: str, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
        """Call a remote procedure and wait for its result.

        Blocks the current thread (or greenlet) only. Safe from any thread, including from inside an
        invocation.

        :param procedure: Full procedure URI, ``com.example.add``.
        :returns: The single positional result; None for none; a :class:`CallResult` for several or
            any keyword results.
        :raises CallTimeout: No answer in time, see :meth:`with_options`. A ``CANCEL`` is sent.
        :raises ApplicationError: The callee or router answered ``ERROR``; see ``uri``.
        :raises SessionLost: The session ended before an answer. The call may have run.
        :raises NotJoined: There is no session; nothing was sent.
        :raises SerializationError: The arguments cannot be sent.

        Source: WAMP Basic Profile, "Remote Procedure Calls".

        .. versionadded:: 0.1
        """
        connection, peer = self._state.connected()
        timeout = within(self._timeout, procedure)
        args, kwargs = payload(connection.transport, args, kwargs)  # type: ignore[assignment]
        check_uri(procedure, "procedure")
        ticket = CallTicket()
        request_id = connection.ask(
            Session.call, procedure, args, kwargs, self._options.call, ticket
        )
        cancel = functools.partial(give_up, connection, request_id, self._options.cancel_mode)
        leave = follow(ticket, functools.partial(stop, ticket, procedure, cancel))
        try:
            with peer.pool.release_slot():
                answered = ticket.wait(timeout)
        except BaseException:  # this greenlet is ended, or Ctrl-C: nobody waits any more
            cancel()
            raise
        finally:
            if leave is not None:
                leave()
        if not answered:
            cancel()
            raise CallTimeout(procedure, timeout)
        return ticket.result()

    def submit(self, procedure: str, /, *args: t.Any, **kwargs: t.Any) -> CallFuture:
        """Call a remote procedure and return at once.

        :returns: A ``concurrent.futures.Future`` that ends as :meth:`call` would. Its callbacks run
            on a worker, ``cancel()`` sends CANCEL.
        :raises NotJoined: There is no session; nothing was sent.

        .. versionadded:: 0.1
        """
        connection, peer = self._state.connected()
        timeout = within(self._timeout, procedure)
        args, kwargs = payload(connection.transport, args, kwargs)  # type: ignore[assignment]
        check_uri(procedure, "procedure")
        future = CallFuture(procedure, timeout, peer.pool)
        deadline = time.monotonic() + timeout
        request_id = connection.ask(
            Session.call, procedure, args, kwargs, self._options.call, future
        )
        cancel = functools.partial(give_up, connection, request_id, self._options.cancel_mode)
        leave = follow(future, functools.partial(stop, future, procedure, cancel))
        future.sent(cancel, functools.partial(peer.call_at, deadline), leave)
        return future

    def stream(self, procedure: str, /, *args: t.Any, **kwargs: t.Any) -> ResultStream:
        """Call a remote procedure and iterate its results, as they come.

        The timeout is that of each silence between two results. ``close()``, the end of ``with``, and
        letting go of what is returned cancel the call. Give it to a response to stream it to a browser.

        :raises NotJoined: There is no session; nothing was sent.

        Source: WAMP Advanced Profile, "Progressive Call Results".

        .. versionadded:: 0.1
        """
        connection, peer = self._state.connected()
        within(self._timeout, procedure)
        args, kwargs = payload(connection.transport, args, kwargs)  # type: ignore[assignment]
        check_uri(procedure, "procedure")
        settings = self.settings
        ticket = StreamTicket(
            StreamBuffer(procedure, settings.event_queue, 4 * settings.max_message_size)
        )
        call_soon = functools.partial(peer.call_at, 0.0)
        stream = ResultStream(ticket, self._timeout, inherited(), peer.pool, call_soon)
        options = {**self._options.call, "receive_progress": True}
        try:
            request_id = connection.ask(Session.call, procedure, args, kwargs, options, ticket)
        except BaseException:
            stream.close()
            raise
        cancel = functools.partial(give_up, connection, request_id, self._options.cancel_mode)
        ticket.sent(cancel, follow(ticket, functools.partial(stop, ticket, procedure, cancel)))
        return stream

    @property
    def rpc(self) -> RPC:
        """Procedures as attributes: ``client.rpc.com.example.add(1, 2)``."""
        return RPC(self, "")

    def publish(self, /, *args: t.Any, **kwargs: t.Any) -> int | None:
        """Publish an event: ``publish("com.example.hello", 1, name="x")``.

        wampy's form ``publish(topic="com.example.hello", message=...)`` works too. Returns as soon as
        the event is in line, unless ``acknowledge`` is set in :meth:`with_options`.

        :returns: The publication id where the router acknowledges, else None.
        :raises ApplicationError: The router refused it, where it acknowledges.
        :raises NotJoined: There is no session; nothing was sent.
        :raises SerializationError: The payload cannot be sent.

        Source: WAMP Basic Profile, "Publish and Subscribe".

        .. versionadded:: 0.1
        """
        options = self._options
        if args:
            topic, args = args[0], args[1:]
        else:
            topic = kwargs.pop("topic", None)
            if topic is None:
                raise TypeError("publish needs a topic: publish('com.example.hello', ...)")
            options = options.merged(kwargs.pop("options", {}))
        check_uri(topic, "topic")
        connection, peer = self._state.connected()
        args, kwargs = payload(connection.transport, args, kwargs)  # type: ignore[assignment]
        wire = options.on_the_wire(connection.session.session_id)
        if not wire.get("acknowledge"):
            connection.ask(Session.publish, topic, args, kwargs, wire)
            return None
        ticket = CallTicket()
        connection.ask(Session.publish, topic, args, kwargs, wire, ticket)
        published = self._await(peer, ticket, topic)
        return int(published.publication_id)

    def events(
        self,
        topic: str,
        /,
        *,
        match: str = "exact",
        get_retained: bool = False,
        keep_alive: float = 15.0,
    ) -> EventStream:
        """Subscribe to a topic and iterate its events, for as long as it is open.

        Return it from a view, and it is sent to a browser as Server-Sent Events. All streams of a topic in
        a process share one subscription. It goes on when the session was lost and is joined again, and
        may be opened while there is none.

        :param get_retained: Begin with the event that the router retains for the topic.
        :param keep_alive: Seconds of silence after which a response writes an empty line.
        :raises ApplicationError: The router refused the topic.
        :raises CallTimeout: It did not answer in time.
        :raises NotJoined: The client was stopped, or ``WAMP_AUTOSTART`` is False.

        .. versionadded:: 0.1
        """
        if match not in MATCHES or not isinstance(get_retained, bool) or not is_seconds(keep_alive):
            raise ValueError(
                f"match={match!r}, get_retained={get_retained!r}, keep_alive={keep_alive!r}: must be "
                f"one of {', '.join(MATCHES)}; True or False; a positive number of seconds"
            )
        if get_retained and match != "exact":
            raise ValueError(
                "get_retained=True: routers keep nothing for patterns, for topics only"
            )
        if "<" in check_uri(topic, "topic", match):
            raise ValueError(
                f'{topic!r}: named parts are for handlers; leave them empty here, match="wildcard"'
            )
        return self._state.event_hub().open(
            topic,
            match,
            get_retained=get_retained,
            keep_alive=keep_alive,
            timeout=self._timeout,
            make=self._state.make_event,
            ending=self._state.policy.ending,
        )

    def testament(self, topic: str, /, *args: t.Any, **kwargs: t.Any) -> Testament:
        """Have the router publish an event when this process's session ends, however it ends.

        Now where there is a session, and in every later one. The same testament twice is one, so that it
        may be made in a hook or view. :meth:`with_options` has ``exclude``, ``eligible``, ``retain``, and
        ``unless_stopped``: not when the process leaves in order.

        :returns: What has a method ``remove()``.
        :raises ApplicationError: The router refused it; it is forgotten then.
        :raises RuntimeError: This process has too many.

        Source: WAMP Advanced Profile, "Testament Meta API".

        .. versionadded:: 0.1
        """
        check_uri(topic, "topic")
        options = self._options
        return self._state.testaments.add(topic, args, kwargs, options, timeout=self._timeout)

    def flush_testaments(self) -> int:
        """Withdraw all testaments of this process; return how many there were."""
        return self._state.testaments.flush()

    def with_options(self: Same, **options: t.Any) -> Same:
        """Return a view of this client whose calls and publications have these options.

        :param timeout: Seconds to wait for an answer, instead of ``WAMP_CALL_TIMEOUT``.
        :param cancel_mode: ``kill`` or ``killnowait``, for calls that are given up.
        :param acknowledge: Wait until the router has a publication.
        :param exclude_me: False: this session gets its own events too.
        :param exclude: Session ids that do not get the event; ``exclude_authid`` and
            ``exclude_authrole`` likewise.
        :param eligible: Session ids that alone get the event; ``eligible_authid`` and
            ``eligible_authrole`` likewise. An empty list: nobody.
        :param retain: The router keeps the event for subscribers to come; with ``eligible`` or nothing
            else of these.
        :param disclose_me: Ask the router to tell who calls or publishes.
        :param unless_stopped: A testament is not published when the process leaves in order.
        :param scope: Of a testament, ``destroyed`` or ``detached``; the same where sessions do not resume.
        :raises TypeError: An unknown option, or a value it cannot have.

        .. versionadded:: 0.1
        """
        view = object.__new__(type(self))
        view.__dict__ = {**self.__dict__, "_options": self._options.merged(options)}
        return view

    # What the router knows.

    @property
    def meta(self) -> Meta:
        """The router's meta API: ``meta.sessions``, ``meta.registrations``, ``meta.subscriptions``."""
        return Meta(self)

    def history(self, topic: str, limit: int = 10, match: str = "exact") -> list[PastEvent]:
        """What was published to a topic, the newest first, where the router keeps it.

        :param limit: At most so many.
        :param match: ``prefix`` or ``wildcard``: of all topics of that pattern, where it is what the
            router's configuration names.
        :raises ApplicationError: ``wamp.error.history_unavailable``; says what the router has to be told.

        .. versionadded:: 0.1
        """
        return history(self, topic, limit, match)

    # Messages of wampy's.

    def send_message(self, message: t.Any) -> None:
        """Send wampy's ``Call`` or ``Publish``; its request id is replaced by the next one.

        :raises TypeError: It is another message, or an option has a value it cannot have.
        """
        typed, connection = sendable(message), self._state.connected()[0]
        typed.args, typed.kwargs = payload(connection.transport, typed.args, typed.kwargs)
        connection.ask(Session.send_message, typed)

    # Helpers.

    @property
    def _timeout(self) -> float:
        timeout = self._options.timeout
        return self.settings.call_timeout if timeout is None else timeout

    def _await(self, peer: Peer, waiter: Waiter, uri: str) -> t.Any:
        """Wait for the answer to a request that is no call."""
        with peer.pool.release_slot():
            answered = waiter.wait(self._timeout)
        if not answered:
            raise CallTimeout(uri, self._timeout)
        if waiter.error is not None:
            raise waiter.error
        return outcome(waiter.value) if isinstance(waiter.value, m.Error) else waiter.value


class RPC:
    """A procedure whose URI is spelled with attributes."""

    __slots__ = ("_client", "_uri")

    def __init__(self, client: Caller, uri: str) -> None:
        self._client = client
        self._uri = uri

    def __getattr__(self, name: str) -> RPC:
        if name.startswith("__"):  # what copy, pickle and others look for
            raise AttributeError(name)
        return RPC(self._client, f"{self._uri}.{name}" if self._uri else name)

    def __call__(self, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
        return self._client.call(self._uri, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<rpc {self._uri}>"
