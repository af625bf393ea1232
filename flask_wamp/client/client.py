"""The client, ``g.wampy``. It has the API of wampy, but its own implementation.

If wampy is installed, it is a ``wampy.peers.clients.Client``. Other code of wampy is not used.
"""

from __future__ import annotations

import contextlib
import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..concurrency.pool import Pool
from ..concurrency.threads import Waiter
from ..exceptions import ApplicationError, CallTimeout, NotJoined, WAMPError
from ..peer.declarations import Declaration, Registration, Subscription, key
from ..peer.listeners import MakeListener
from ..peer.peer import Peer
from ..peer.registrar import PrepareSignal, withdraw
from ..peer.settings import PeerSettings
from ..protocol import messages as m
from ..protocol.call_result import outcome
from ..protocol.patterns import as_declared
from .caller import Caller
from .start_policy import StartPolicy
from .state import ClientState, Closeable, MakeEvent

if t.TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ..peer.handler_options import CalleeOptions, SubscriberOptions

logger = get_logger("flask_wamp")

Adapt = t.Callable[..., Declaration]


class Client(Caller):
    """A WAMP client that all threads and greenlets of a process share.

    :param callee: ``callee(f, uri, **options)`` makes a ``Registration`` for :meth:`register`.
    :param subscriber: ``subscriber(f, topic, **options)`` makes a ``Subscription`` for :meth:`subscribe`.
    :param prepare_signal: Returns the function that sends a signal, or None if it has no receivers.
    :param event: Makes the event that :meth:`events` yields.
    """

    def __init__(
        self,
        settings: PeerSettings,
        *,
        callee: Adapt,
        subscriber: Adapt,
        prepare_signal: PrepareSignal = lambda name, **payload: None,
        event: MakeEvent = lambda work: work,
        name: str = "flask-wamp",
    ) -> None:
        super().__init__(ClientState(settings, prepare_signal, event))
        self._callee = callee
        self._subscriber = subscriber
        self._name = name

    # Registering and subscribing.

    def register(
        self, f: t.Callable[..., object], uri: str, **options: Unpack[CalleeOptions]
    ) -> None:
        """Register a function as a procedure, now and after every reconnect.

        If there is no session, it is registered in the next one. After any of the errors below, it is not
        registered in later sessions either.

        :param options: The options of ``wamp.callee``.
        :raises ValueError: This client has registered the procedure already.
        :raises ApplicationError: The router refused it.
        :raises CallTimeout: The router did not answer in time.
        :raises SessionLost: The session ended before the answer.
        """
        self.declare(self._callee(f, uri, **options), at_run_time=True)

    def unregister(self, uri: str, match: str = "exact") -> None:
        """Unregister a procedure. Its running invocations still finish.

        :raises ValueError: This client has not registered the procedure.
        """
        self._withdraw(Registration, self._absolute(uri), match)

    def subscribe(
        self, f: t.Callable[..., object], topic: str, **options: Unpack[SubscriberOptions]
    ) -> None:
        """Subscribe a function to a topic, now and after every reconnect.

        If there is no session, it is subscribed in the next one. After any of the errors below, it is not
        subscribed in later sessions either.

        :param options: The options of ``wamp.subscriber``.
        :raises ValueError: This client has subscribed to the topic with this function already.
        :raises ApplicationError: The router refused it.
        :raises CallTimeout: The router did not answer in time.
        :raises SessionLost: The session ended before the answer.
        """
        self.declare(self._subscriber(f, topic, **options), at_run_time=True)

    def unsubscribe(self, topic: str, match: str = "exact") -> None:
        """Unsubscribe from a topic.

        :raises ValueError: This client has not subscribed to the topic.
        """
        self._withdraw(Subscription, self._absolute(topic), match)

    def declare(self, declaration: Declaration, *, at_run_time: bool = False) -> None:
        """Serve a declaration. If there is a session, register or subscribe it at once.

        :param at_run_time: Serve it even in a process that does not serve the app's declarations. If the
            router refuses it, raise the error and remove the declaration. Without this, it stays for the next
            session.
        :raises ValueError: The same procedure or topic is declared already.
        """
        if not (self.start_policy.serves or at_run_time):
            return
        if not self._state.declarations.add(declaration, at_run_time=at_run_time):
            return
        peer = self.peer
        connection = peer.entered_connection() if peer is not None else None
        if peer is None or connection is None:
            return
        try:
            answer = peer.registrar.declare(declaration, connection, once=at_run_time)
            _wait_for_answer(peer, answer, declaration.uri, self._deadline())
        except WAMPError as error:
            if at_run_time:
                self._state.declarations.discard(key(declaration))
                with contextlib.suppress(NotJoined):  # in case the router accepts it later
                    withdraw(connection, declaration)
                raise
            if isinstance(error, CallTimeout):
                peer.registrar.unanswered(declaration)
            elif not isinstance(error, ApplicationError):  # the registrar logs and retries these
                logger.warning("cannot declare %s in this session: %s", declaration.uri, error)
        if declaration.make_listener is not None:
            peer.add_listener(declaration, declaration.make_listener)

    def _withdraw(self, kind: type, uri: str, match: str) -> None:
        declaration = self._state.declarations.discard((kind, *as_declared(uri, match)))
        if declaration is None:
            known = sorted(key(d)[1] for d in self.declarations if key(d)[0] is kind)
            raise ValueError(f"{uri!r} is not declared. These are declared: {known}")
        peer = self.peer
        if peer is None:
            return
        peer.remove_listener(declaration, monotonic() + self.settings.drain_timeout)
        connection = peer.entered_connection()
        if connection is None:
            return
        answer = withdraw(connection, declaration)
        if answer is not None:
            _wait_for_answer(peer, answer, uri, self._deadline())

    # Starting and stopping.

    @property
    def start_policy(self) -> StartPolicy:
        """When this client starts automatically. You may change its attributes."""
        return self._state.policy

    def start(self) -> Self:
        """Serve the app's declarations in this process. Begins to connect, and returns at once.

        Does nothing if the client serves already. Processes that run background tasks and Celery workers do
        not serve. They connect when the client is first used.

        :raises Exception: A declaration cannot be served. Every later use raises the same error.
        """
        self._state.start()
        return self

    def start_at_request(self) -> None:
        """Start the client, unless it was stopped. Called for every HTTP request."""
        state = self._state
        if not (state.declarations.all_served or state.stopped):
            state.start()

    def use(self) -> None:
        """Begin to connect if this client starts automatically and has never been started."""
        if not self._state.ever_started:
            with contextlib.suppress(NotJoined):
                self._state.started()

    def stop(self) -> None:
        """Leave the realm. Running and waiting handlers finish within ``WAMP_DRAIN_TIMEOUT``.

        If the server restarts workers, this first waits up to ``WAMP_LINGER`` seconds for a successor.
        """
        self._state.stop()

    def stop_until_next_use(self) -> None:
        """Stop the client, but let the next use start it again, as if it had never been started."""
        self._state.stop()
        self._state.may_start_again()

    def wait_until_joined(self, timeout: float | None = None) -> dict[str, Exception]:
        """Wait until there is a session, and the router has answered every registration and subscription.

        :param timeout: Seconds, ``WAMP_CONNECT_TIMEOUT`` by default.
        :returns: The errors of refused declarations, by URI. Empty if all declarations are registered and
            subscribed. Refused declarations are logged, listed in ``wamp.health()``, and tried again.
        :raises NotJoined: There was no session in time. The text says how the last attempt ended.
        """
        return self._state.wait(self.settings.connect_timeout if timeout is None else timeout)

    def __enter__(self) -> Self:
        """Start the client, and wait until the router has answered every registration and subscription.

        :raises NotJoined: The router refused the login, or there was no session in time.
        """
        self.start()
        self._state.wait(self.settings.connect_timeout, refusable=True)
        return self

    def only_call(self) -> None:
        """Connect on first use only, and serve only what is registered or subscribed at run time."""
        self._state.only_call()

    def add_listener(self, make: MakeListener) -> None:
        """Add a listener to the sessions of every process that serves, unless it was added before."""
        self._state.add_listener(make)

    def forget_parents(self) -> None:
        """Close the copies of other processes' sockets. Called in the child after a fork."""
        self._state.forget_parents()

    # The state of the client.

    @property
    def joined(self) -> bool:
        """Whether there is a session with the router."""
        return self.session_id is not None

    @property
    def session_id(self) -> int | None:
        """The id of the session. None while there is none."""
        peer = self.peer
        return peer.session_id if peer is not None else None

    @property
    def name(self) -> str:
        """The client's name, for logs."""
        return self._name

    @property
    def declarations(self) -> list[Declaration]:
        """All declarations: those of the app, and those made at run time. This process may not serve all."""
        return self._state.declarations.all

    @property
    def publications(self) -> dict[str, int]:
        """How many best-effort events of this process wait for a session, and how many were dropped."""
        publications = self._state.publications
        return {"waiting": publications.waiting, "dropped": publications.dropped}

    @property
    def closeables(self) -> list[Closeable]:
        """Objects that are stopped after the client. You may add to this list."""
        return self._state.closeables

    @property
    def pool(self) -> Pool:
        """The workers of this process. They do not need a session."""
        return self._state.pool

    @property
    def peer(self) -> Peer | None:
        """The peer of this process, which keeps the session. None before ``start()``."""
        return self._state.peer

    def __repr__(self) -> str:
        state = f"session {self.session_id}" if self.joined else "not joined"
        return f"<{type(self).__name__} {self.name!r} realm {self.realm!r} {state}>"


def _wait_for_answer(peer: Peer, waiter: Waiter, uri: str, deadline: float) -> None:
    """Wait for the answer to a REGISTER, SUBSCRIBE or their opposites.

    :raises WAMPError: The answer is ERROR, or did not arrive in time, or the session has ended.
    """
    timeout = deadline - monotonic()
    if not peer.pool.wait(waiter, timeout):
        raise CallTimeout(uri, max(0.0, timeout))
    if waiter.error is not None:
        raise waiter.error
    if isinstance(waiter.value, m.Error):
        outcome(waiter.value)  # raises
