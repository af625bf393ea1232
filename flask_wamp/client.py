"""The client, ``g.wampy``: wampy's API on an engine of our own.

Where wampy is installed it is a ``wampy.peers.clients.Client``; wampy's code below that class is not
used.
"""

from __future__ import annotations

import functools
import logging
import time
import typing as t

from . import messages as m
from .call_options import CallOptions
from .calls import CallFuture, CallTicket, give_up, outcome
from .connection import payload
from .exceptions import ApplicationError, CallTimeout, WAMPError
from .execution import Pool, Waiter
from .handlers import Declaration, MakeAttendant, Registration, Subscription, key
from .peer import Notify, Peer
from .presence import Companion, Presence, StartPolicy
from .session import Session
from .settings import Settings
from .uris import check_uri
from .wampy_api import WampyAPI, sendable

logger = logging.getLogger("flask_wamp")

Adapt = t.Callable[..., t.Any]


class Client(WampyAPI):
    """A WAMP client that all threads and greenlets of a process share.

    :param callee: ``callee(f, uri, **options)`` makes a ``Registration``, for :meth:`register`.
    :param subscriber: ``subscriber(f, topic, **options)`` makes a ``Subscription``.
    :param notify: Called with the name and payload of each signal, on a worker.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        callee: Adapt,
        subscriber: Adapt,
        notify: Notify = lambda name, **payload: None,
        name: str = "flask-wamp",
    ) -> None:
        # wampy's own constructor is not called: it would open a socket.
        self._presence = Presence(settings, notify)
        self._callee = callee
        self._subscriber = subscriber
        self._name = name
        self._options = CallOptions()

    # Calling and publishing.

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
        connection, peer = self._presence.connected()
        timeout = self._timeout
        args, kwargs = payload(connection.transport, args, kwargs)  # type: ignore[assignment]
        check_uri(procedure, "procedure")
        ticket = CallTicket()
        request_id = connection.ask(
            Session.call, procedure, args, kwargs, self._options.call, ticket
        )
        with peer.pool.yield_place():
            answered = ticket.wait(timeout)
        if not answered:
            give_up(connection, request_id, self._options.cancel_mode)
            raise CallTimeout(procedure, timeout)
        return ticket.result()

    def submit(self, procedure: str, /, *args: t.Any, **kwargs: t.Any) -> CallFuture:
        """Call a remote procedure and return at once.

        :returns: A ``concurrent.futures.Future`` that ends as :meth:`call` would. Its callbacks run
            on a worker, ``cancel()`` sends CANCEL.
        :raises NotJoined: There is no session; nothing was sent.

        .. versionadded:: 0.1
        """
        connection, peer = self._presence.connected()
        timeout = self._timeout
        args, kwargs = payload(connection.transport, args, kwargs)  # type: ignore[assignment]
        check_uri(procedure, "procedure")
        future = CallFuture(procedure, timeout, peer.pool)
        deadline = time.monotonic() + timeout
        request_id = connection.ask(
            Session.call, procedure, args, kwargs, self._options.call, future
        )
        future.sent(
            functools.partial(give_up, connection, request_id, self._options.cancel_mode),
            functools.partial(peer.call_at, deadline),
        )
        return future

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
        connection, peer = self._presence.connected()
        args, kwargs = payload(connection.transport, args, kwargs)  # type: ignore[assignment]
        if not options.publish.get("acknowledge"):
            connection.ask(Session.publish, topic, args, kwargs, options.publish)
            return None
        ticket = CallTicket()
        connection.ask(Session.publish, topic, args, kwargs, options.publish, ticket)
        published = self._await(peer, ticket, topic)
        return int(published.publication_id)

    def with_options(self, **options: t.Any) -> Client:
        """Return a view of this client whose calls and publications have these options.

        :param timeout: Seconds to wait for an answer, instead of ``WAMP_CALL_TIMEOUT``.
        :param cancel_mode: ``kill`` or ``killnowait``, for calls that are given up.
        :param acknowledge: Wait until the router has a publication.
        :param exclude_me: False: this session gets its own events too.
        :param exclude: Session ids that do not get the event; ``exclude_authid`` and
            ``exclude_authrole`` likewise.
        :param eligible: Session ids that alone get the event; ``eligible_authid`` and
            ``eligible_authrole`` likewise.
        :param retain: The router keeps the event for subscribers to come.
        :param disclose_me: Ask the router to tell who calls or publishes.
        :raises TypeError: An unknown option, or a value it cannot have.

        .. versionadded:: 0.1
        """
        view = object.__new__(type(self))
        view.__dict__ = {**self.__dict__, "_options": self._options.merged(options)}
        return view

    # Registering and subscribing.

    def register(self, f: t.Callable[..., t.Any], uri: str, **options: t.Any) -> None:
        """Register a function as a procedure, now and after every reconnect.

        :param options: As for ``wamp.callee``.
        :raises ValueError: This client has that procedure already.
        :raises ApplicationError: The router refused it; it is forgotten then.
        """
        self.declare(self._callee(f, uri, **options), forget=True)

    def unregister(self, uri: str, match: str = "exact") -> None:
        """Take a procedure back; calls in hand are finished.

        :raises ValueError: This client has no such procedure.
        """
        self._withdraw(Registration, uri, match)

    def subscribe(self, f: t.Callable[..., t.Any], topic: str, **options: t.Any) -> None:
        """Subscribe a function to a topic, now and after every reconnect.

        :param options: As for ``wamp.subscriber``.
        :raises ValueError: This client has subscribed to that topic already.
        :raises ApplicationError: The router refused it; it is forgotten then.
        """
        self.declare(self._subscriber(f, topic, **options), forget=True)

    def unsubscribe(self, topic: str, match: str = "exact") -> None:
        """Get no more events of a topic.

        :raises ValueError: This client has not subscribed to it.
        """
        self._withdraw(Subscription, topic, match)

    def declare(self, declaration: Declaration, *, forget: bool = False) -> None:
        """Serve a declaration, at once where there is a session.

        :param forget: Raise and forget it when the router refuses it; else keep it for the next session.
        """
        if not (self.start_policy.serves or forget):
            return
        declarations = self._presence.declarations
        present = declarations.setdefault(key(declaration), declaration)
        if present is not declaration:
            raise ValueError(
                f"{declaration.uri} (match={declaration.match!r}) is declared twice: "
                f"by {present.name} and by {declaration.name}"
            )
        peer = self.peer
        connection = peer.connection if peer is not None else None
        if peer is None or connection is None:
            return
        try:
            answer = peer.serving.declare(declaration, connection, once=forget)
            self._await(peer, answer, declaration.uri)
        except WAMPError as error:
            if forget:
                del declarations[key(declaration)]
                raise
            if isinstance(error, CallTimeout):
                peer.serving.unanswered(declaration)
            elif not isinstance(error, ApplicationError):  # that is logged, and tried again
                logger.warning("%s is not declared in this session: %s", declaration.uri, error)
        if declaration.attendant is not None:
            peer.attend(declaration, declaration.attendant)

    def _withdraw(self, kind: type, uri: str, match: str) -> None:
        declaration = self._presence.declarations.pop((kind, uri, match), None)
        if declaration is None:
            known = sorted(name for (k, name, _) in self._presence.declarations if k is kind)
            raise ValueError(f"{uri!r} is not declared; there are {known}")
        peer = self.peer
        if peer is None:
            return
        peer.dismiss(declaration, time.monotonic() + self.settings.drain_timeout)
        if peer.connection is None:
            return
        answer = peer.serving.withdraw(peer.connection, declaration)
        if answer is not None:
            self._await(peer, answer, uri)

    # Life.

    @property
    def start_policy(self) -> StartPolicy:
        """When this client starts by itself; may be changed."""
        return self._presence.policy

    def start(self) -> Client:
        """Begin to connect, and return at once; does nothing when begun already.

        A process that runs background tasks connects on first use only.
        """
        self._presence.start()
        return self

    def stop(self) -> None:
        """Leave the realm: finish what is in hand, within ``WAMP_DRAIN_TIMEOUT``.

        Where a server restarts workers, waits up to ``WAMP_LINGER`` for a successor before.
        """
        self._presence.stop()

    def wait_until_joined(self, timeout: float | None = None) -> None:
        """Wait until there is a session and everything declared has been registered.

        :param timeout: Seconds; by default ``WAMP_CONNECT_TIMEOUT``.
        :raises NotJoined: Not in time; says what the last attempt came to.
        """
        limit = self.settings.connect_timeout if timeout is None else timeout
        self._presence.start_peer().wait(limit, ready=True)

    def only_call(self) -> None:
        """From now on connect on first use only, and serve nothing but what :meth:`register` is given."""
        self._presence.only_call()

    def attend(self, make: MakeAttendant) -> None:
        """Have something come and go with the sessions of every process that serves."""
        self._presence.attend(make)

    def forget_parents(self) -> None:
        """After a fork, in the child: let go of the sockets of other processes."""
        self._presence.forget_parents()

    # How it is.

    @property
    def joined(self) -> bool:
        """Whether there is a session with the router."""
        return self.session_id is not None

    @property
    def session_id(self) -> int | None:
        """The id of the session; None while there is none."""
        peer = self.peer
        return peer.session_id if peer is not None else None

    @property
    def name(self) -> str:
        """The client's name, for logs."""
        return self._name

    @property
    def settings(self) -> Settings:
        """What it was configured with."""
        return self._presence.settings

    @property
    def declarations(self) -> list[Declaration]:
        """What it serves, or tries to."""
        return list(self._presence.declarations.values())

    @property
    def companions(self) -> list[Companion]:
        """What is told of its end; may be added to."""
        return self._presence.companions

    @property
    def pool(self) -> Pool:
        """The workers of this process; there also without a session."""
        return self._presence.pool

    @property
    def peer(self) -> Peer | None:
        """What keeps the session in this process; None before ``start()``."""
        return self._presence.peer

    # Messages of wampy's.

    def send_message(self, message: t.Any) -> None:
        """Send wampy's ``Call`` or ``Publish``; its request id is replaced by the next one.

        :raises TypeError: It is another message, or an option has a value it cannot have.
        """
        typed, connection = sendable(message), self._presence.connected()[0]
        typed.args, typed.kwargs = payload(connection.transport, typed.args, typed.kwargs)
        connection.ask(Session.send_message, typed)

    # Helpers.

    @property
    def _timeout(self) -> float:
        timeout = self._options.timeout
        return self.settings.call_timeout if timeout is None else timeout

    def _await(self, peer: Peer, waiter: Waiter, uri: str) -> t.Any:
        """Wait for the answer to a request that is no call."""
        with peer.pool.yield_place():
            answered = waiter.wait(self._timeout)
        if not answered:
            raise CallTimeout(uri, self._timeout)
        if waiter.error is not None:
            raise waiter.error
        return outcome(waiter.value) if isinstance(waiter.value, m.Error) else waiter.value

    def __repr__(self) -> str:
        state = f"session {self.session_id}" if self.joined else "not joined"
        return f"<{type(self).__name__} {self.name!r} realm {self.realm!r} {state}>"


class RPC:
    """A procedure whose URI is spelled with attributes."""

    __slots__ = ("_client", "_uri")

    def __init__(self, client: Client, uri: str) -> None:
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
