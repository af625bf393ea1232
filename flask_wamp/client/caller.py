"""Calls and publications of the client, ``g.wampy``."""

from __future__ import annotations

import collections.abc as c
import functools
import typing as t

from ..concurrency.clock import monotonic
from ..concurrency.deadlines import (
    Limited,
    active_message,
    cancel_with_handler,
    inherited_deadline,
    time_left,
)
from ..peer.calls import CallFuture, CallTicket, Ticket, give_up, stop
from ..peer.requests import request, wait_for
from ..peer.sending import payload
from ..peer.settings import PeerSettings
from ..protocol import messages as m
from ..protocol.call_result import outcome, remote_error
from ..protocol.checks import is_seconds
from ..protocol.options import CallOptions
from ..protocol.session import Session
from ..protocol.uris import MATCHES, check_uri, resolve
from .event_stream import EventStream
from .history import PastEvent, history
from .meta import Meta
from .result_stream import ResultStream, StreamTicket
from .rpc import RPC
from .state import ClientState
from .stream_buffer import StreamBuffer
from .testaments import Testament
from .wampy_api import WampyAPI, sendable

__tracebackhide__ = True  # pytest leaves out the frames of this module

if t.TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .options import Options


class Caller(WampyAPI):
    """Calls and publishes. All threads and greenlets of a process share it.

    URIs that begin with a dot are relative to ``WAMP_URI_PREFIX``, as in decorators.
    """

    def __init__(self, state: ClientState) -> None:
        # The constructor of wampy is not called, because it would open a socket.
        self._state = state
        self._options = CallOptions()

    @property
    def settings(self) -> PeerSettings:
        """The configuration."""
        return self._state.settings

    def call(self, procedure: str, /, *args: object, **kwargs: object) -> t.Any:
        """Call a remote procedure and wait for its result.

        Blocks only the current thread or greenlet. You may call it from any thread, and inside a handler. A
        call inside a handler ends at the handler's deadline at the latest.

        :param procedure: A procedure URI, ``com.example.add`` or ``.add``.
        :returns: The single positional result, None if there is none, or a :class:`.CallResult` if there are
            several results or keyword results.
        :raises CallTimeout: There was no answer in time, see :meth:`with_options`. CANCEL is sent.
        :raises ApplicationError: The callee or the router answered ERROR, see its ``uri``.
        :raises SessionLost: The session ended before the answer. The procedure may have run.
        :raises NotJoined: There is no session, and none was joined in time. Nothing was sent.
        :raises SerializationError: The arguments cannot be sent.

        Source: WAMP Basic Profile, "Remote Procedure Calls".

        .. versionadded:: 0.1
        """
        procedure = self._procedure(procedure)
        work = active_message.get()
        timeout = self._timeout if work is None else time_left(work, self._timeout, procedure)
        deadline = monotonic() + timeout
        connection, _ = self._state.connected(deadline)
        ticket, options = CallTicket(), self._options
        request_id = connection.call(procedure, args, kwargs, options.call, ticket)
        cancel = functools.partial(give_up, connection, request_id, options.cancel_mode)
        leave = _cancel_with_handler(work, ticket, procedure, cancel)
        try:
            answer = wait_for(ticket, connection, procedure, deadline, timeout, cancel)
        finally:
            if leave is not None:
                leave()
        return outcome(answer)

    def submit(self, procedure: str, /, *args: object, **kwargs: object) -> CallFuture:
        """Call a remote procedure and return at once. It waits only for a session, like :meth:`call`.

        :returns: A ``concurrent.futures.Future`` with the result or error of :meth:`call`. Its callbacks run
            on a worker. ``cancel()`` sends CANCEL.
        :raises NotJoined: There is no session, and none was joined in time. Nothing was sent.

        .. versionadded:: 0.1
        """
        procedure = self._procedure(procedure)
        work = active_message.get()
        timeout = self._timeout if work is None else time_left(work, self._timeout, procedure)
        deadline = monotonic() + timeout
        connection, peer = self._state.connected(deadline)
        future, options = CallFuture(procedure, timeout, peer.pool), self._options
        request_id = connection.call(procedure, args, kwargs, options.call, future)
        cancel = functools.partial(give_up, connection, request_id, options.cancel_mode)
        leave = _cancel_with_handler(work, future, procedure, cancel)
        future.sent(cancel, functools.partial(peer.call_at, deadline), leave)
        return future

    def stream(self, procedure: str, /, *args: object, **kwargs: object) -> ResultStream:
        """Call a remote procedure and iterate over its progressive results as they arrive.

        The timeout applies to each result. The call is canceled when you ``close()`` the stream, leave its
        ``with`` block, or do not keep a reference to it. Return the stream from a view to send the results to
        a browser.

        :raises NotJoined: There is no session, and none was joined in time. Nothing was sent.

        Source: WAMP Advanced Profile, "Progressive Call Results".

        .. versionadded:: 0.1
        """
        procedure = self._procedure(procedure)
        work = active_message.get()
        timeout = self._timeout if work is None else time_left(work, self._timeout, procedure)
        connection, peer = self._state.connected(monotonic() + timeout)
        settings = self.settings
        size = 4 * settings.max_message_size
        ticket = StreamTicket(StreamBuffer(procedure, settings.event_queue, size))
        call_soon = functools.partial(peer.call_at, 0.0)
        stream = ResultStream(ticket, self._timeout, inherited_deadline(), peer.pool, call_soon)
        options = {**self._options.call, "receive_progress": True}
        try:
            request_id = connection.call(procedure, args, kwargs, options, ticket)
        except BaseException:
            stream.close()
            raise
        cancel = functools.partial(give_up, connection, request_id, self._options.cancel_mode)
        ticket.sent(cancel, _cancel_with_handler(work, ticket, procedure, cancel))
        return stream

    @property
    def rpc(self) -> RPC:
        """Procedures as attributes: ``client.rpc.com.example.add(1, 2)``."""
        return RPC(self)

    @t.overload
    def publish(self, topic: str, /, *args: object, **kwargs: object) -> int | None: ...

    @t.overload
    def publish(
        self, /, *, topic: str, options: c.Mapping[str, object] = ..., **kwargs: object
    ) -> int | None: ...

    def publish(self, /, *args: t.Any, **kwargs: t.Any) -> int | None:
        """Publish an event: ``publish("com.example.hello", 1, name="x")``.

        wampy's form ``publish(topic="com.example.hello", message=...)`` works too. It does not wait for the
        router, unless you set ``acknowledge``, see :meth:`with_options`.

        :returns: With ``acknowledge``, the publication id. Otherwise None.
        :raises ApplicationError: With ``acknowledge``, the router refused the event.
        :raises CallTimeout: With ``acknowledge``, the router did not answer in time.
        :raises NotJoined: There is no session, and none was joined in time. Nothing was sent.
        :raises NotSupported: The router does not support an option, such as ``retain``. Nothing was sent.
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
        topic = self._topic(topic)
        declarations = self._state.declarations
        if declarations.for_one:
            options = declarations.publish_options(topic, options)
        if options.best_effort:
            self._state.publications.publish(topic, args, kwargs, options)
            return None
        deadline = self._deadline() if options.publish.get("acknowledge") else None
        connection = self._state.connection
        if connection is None:
            connection, _ = self._state.connected(deadline or self._deadline())
        sent_args, sent_kwargs = payload(connection.transport, args, kwargs)
        wire = options.on_the_wire(connection.session.session_id)
        if deadline is None:
            connection.ask(Session.publish, topic, sent_args, sent_kwargs, wire)
            return None
        answer = request(
            connection, Session.publish, topic, sent_args, sent_kwargs, wire, deadline=deadline
        )
        if isinstance(answer, m.Error):
            raise remote_error(answer)
        return int(answer.publication_id)

    def events(
        self,
        topic: str,
        /,
        *,
        match: str = "exact",
        get_retained: bool = False,
        keep_alive: float = 15.0,
        max_age: float | None = None,
    ) -> EventStream:
        """Subscribe to a topic and iterate over its events until the stream is closed.

        Return the stream from a view to send the events to a browser as Server-Sent Events. All streams of a
        topic in a process share one subscription. If the session is lost, the stream continues in the next
        one. You may open a stream while there is no session.

        :param match: ``exact``, ``prefix`` or ``wildcard``.
        :param get_retained: Begin with the event that the router retains for the topic.
        :param keep_alive: Seconds without an event after which a response sends an empty line, or an empty
            comment as Server-Sent Events.
        :param max_age: Seconds after which a response ends. A browser's ``EventSource`` then sends another
            request. Set this for servers that do not notice that a client has disconnected, such as WSGI
            adapters of ASGI servers.
        :raises ApplicationError: The router refused the subscription.
        :raises CallTimeout: The router did not answer in time.
        :raises NotJoined: The client was stopped, or ``WAMP_AUTOSTART`` is False.

        .. versionadded:: 0.1
        """
        if match not in MATCHES or not isinstance(get_retained, bool) or not is_seconds(keep_alive):
            raise ValueError(
                f"match={match!r} must be one of {', '.join(MATCHES)}, get_retained={get_retained!r} must be "
                f"True or False, and keep_alive={keep_alive!r} must be a positive number of seconds"
            )
        if max_age is not None and not is_seconds(max_age):
            raise ValueError(f"max_age={max_age!r} must be a positive number of seconds, or None")
        if get_retained and match != "exact":
            raise ValueError(
                'get_retained=True requires match="exact": routers retain events of topics, not of patterns'
            )
        topic = self._topic(topic, match)
        if "<" in topic:
            raise ValueError(
                f"{topic!r} has named parts, which only handlers may have. "
                'Leave these parts empty and set match="wildcard"'
            )
        deadline = self._deadline()
        hub = self._state.event_hub(deadline)
        return hub.open(
            topic,
            match,
            get_retained=get_retained,
            keep_alive=keep_alive,
            max_age=max_age,
            timeout=deadline - monotonic(),
            make=self._state.make_event,
            ending=self._state.policy.ending,
        )

    def testament(self, topic: str, /, *args: object, **kwargs: object) -> Testament:
        """Let the router publish an event when the session of this process ends for any reason.

        The testament is added to this session and to every later one. If you add the same testament again,
        nothing changes, so you may do this in a hook or a view. Of the options of :meth:`with_options`,
        testaments support ``retain``, ``scope``, ``unless_stopped``, and those that choose receivers, such as
        ``exclude``.

        :returns: A testament with a method ``remove()``.
        :raises ApplicationError: The router refused it. It is not added to later sessions either.
        :raises CallTimeout: The router did not answer in time. It is not added to later sessions either.
        :raises RuntimeError: This process has too many testaments.

        Source: WAMP Advanced Profile, "Testament Meta API".

        .. versionadded:: 0.1
        """
        timeout = self._deadline() - monotonic()
        return self._state.testaments.add(
            self._topic(topic), args, kwargs, self._options, timeout=timeout
        )

    def flush_testaments(self) -> int:
        """Withdraw all testaments of this process. Return how many there were."""
        return self._state.testaments.flush()

    def with_options(self, **options: Unpack[Options]) -> Self:
        """Return a view of this client whose calls and publications have these options.

        :param timeout: Seconds from the call to its answer, instead of ``WAMP_CALL_TIMEOUT``. The wait for a
            session is part of it.
        :param cancel_mode: How to cancel calls, ``kill`` or ``killnowait``.
        :param acknowledge: Wait until the router has acknowledged a publication.
        :param best_effort: Do not wait and do not fail if there is no session. :meth:`publish` then keeps the
            event until a session is joined. At most ``WAMP_EVENT_QUEUE`` events are kept, which have at most
            four times ``WAMP_MAX_MESSAGE_SIZE`` bytes. If there are more, the oldest are dropped, logged, and
            counted in ``wamp.health()``.
        :param exclude_me: Set it to False if this session should receive its own events too.
        :param exclude: The ids of sessions that do not receive the event. There are also ``exclude_authid``
            and ``exclude_authrole``.
        :param eligible: The ids of the only sessions that may receive it. An empty list means none. There
            are also ``eligible_authid`` and ``eligible_authrole``.
        :param retain: Let the router retain the event for later subscribers. You cannot combine this with the
            options that choose receivers, except for ``eligible``.
        :param disclose_me: Ask the router to disclose the caller or publisher.
        :param unless_stopped: Do not publish a testament if the process leaves the realm cleanly.
        :param scope: The scope of a testament, ``destroyed`` or ``detached``. For sessions that cannot be
            resumed, they are the same.
        :raises TypeError: The name of an option is unknown, or its value is not allowed.

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
        """Return the last events of a topic, the newest first, if the router keeps them.

        :param limit: The maximum number of events.
        :param match: ``exact``, ``prefix`` or ``wildcard``. A pattern returns the events of all topics that
            match it, if the router's configuration contains exactly this pattern.
        :raises ApplicationError: ``wamp.error.history_unavailable``. Its text says how to configure the
            router.

        .. versionadded:: 0.1
        """
        return history(self, self._absolute(topic), limit, match)

    # wampy's messages.

    def send_message(self, message: object) -> None:
        """Send a ``Call`` or ``Publish`` of wampy. Its request id is replaced.

        :raises TypeError: The message has another type, or the value of an option is not allowed.
        """
        typed = sendable(message)
        connection, _ = self._state.connected(self._deadline())
        typed.args, typed.kwargs = payload(connection.transport, typed.args, typed.kwargs)
        connection.ask(Session.send_message, typed)

    # Helpers.

    def _absolute(self, uri: str) -> str:
        if isinstance(uri, str) and uri[:1] == ".":
            return resolve(uri, self.settings.uri_prefix)
        return uri

    def _procedure(self, uri: str) -> str:
        return check_uri(self._absolute(uri), "procedure")

    def _topic(self, uri: str, match: str = "exact") -> str:
        return check_uri(self._absolute(uri), "topic", match)

    @property
    def _timeout(self) -> float:
        timeout = self._options.timeout
        return self.settings.call_timeout if timeout is None else timeout

    def _deadline(self) -> float:
        """Return the deadline of a request that is not a call. Inside a handler, its deadline limits it."""
        deadline, limit = monotonic() + self._timeout, inherited_deadline()
        return deadline if limit is None else min(deadline, limit)


def _cancel_with_handler(
    work: Limited | None, ticket: Ticket, procedure: str, cancel: t.Callable[[], None]
) -> t.Callable[[], None] | None:
    """End a call if the handler that makes it is canceled.

    :returns: A function that you must call when the call has ended. None outside of handlers.
    """
    if work is None:
        return None
    return cancel_with_handler(work, ticket, functools.partial(stop, ticket, procedure, cancel))
