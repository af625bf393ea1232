"""The client, ``g.wampy``: wampy's API on an engine of our own.

Where wampy is installed it is a ``wampy.peers.clients.Client``; wampy's code below that class is not
used.
"""

from __future__ import annotations

import contextlib
import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..concurrency.pool import Pool
from ..exceptions import ApplicationError, CallTimeout, NotJoined, WAMPError
from ..peer.declarations import Declaration, Registration, Subscription, key
from ..peer.listeners import MakeListener
from ..peer.peer import Notify, Peer
from ..peer.registrar import withdraw
from ..peer.settings import PeerSettings
from ..protocol.patterns import as_declared
from .caller import Caller
from .state import ClientState, Closeable, MakeEvent, StartPolicy

if t.TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ..peer.handler_options import CalleeOptions, SubscriberOptions

logger = get_logger("flask_wamp")

Adapt = t.Callable[..., Declaration]


class Client(Caller):
    """A WAMP client that all threads and greenlets of a process share.

    :param callee: ``callee(f, uri, **options)`` makes a ``Registration``, for :meth:`register`.
    :param subscriber: ``subscriber(f, topic, **options)`` makes a ``Subscription``.
    :param notify: Called with the name and payload of each signal, on a worker. None: there are no signals.
    :param event: Makes the event that :meth:`events` yields.
    """

    def __init__(
        self,
        settings: PeerSettings,
        *,
        callee: Adapt,
        subscriber: Adapt,
        notify: Notify | None = None,
        event: MakeEvent = lambda work: work,
        name: str = "flask-wamp",
    ) -> None:
        super().__init__(ClientState(settings, notify, event))
        self._callee = callee
        self._subscriber = subscriber
        self._name = name

    # Registering and subscribing.

    def register(
        self, f: t.Callable[..., object], uri: str, **options: Unpack[CalleeOptions]
    ) -> None:
        """Register a function as a procedure, now and after every reconnect.

        :param options: As for ``wamp.callee``.
        :raises ValueError: This client has that procedure already.
        :raises ApplicationError: The router refused it. It is not kept then.
        """
        self.declare(self._callee(f, uri, **options), by_hand=True)

    def unregister(self, uri: str, match: str = "exact") -> None:
        """Unregister a procedure. Its running calls are finished.

        :raises ValueError: This client has not registered it.
        """
        self._withdraw(Registration, self._absolute(uri), match)

    def subscribe(
        self, f: t.Callable[..., object], topic: str, **options: Unpack[SubscriberOptions]
    ) -> None:
        """Subscribe a function to a topic, now and after every reconnect.

        :param options: As for ``wamp.subscriber``.
        :raises ValueError: This client has subscribed to that topic already.
        :raises ApplicationError: The router refused it. It is not kept then.
        """
        self.declare(self._subscriber(f, topic, **options), by_hand=True)

    def unsubscribe(self, topic: str, match: str = "exact") -> None:
        """Unsubscribe from a topic.

        :raises ValueError: This client has not subscribed to it.
        """
        self._withdraw(Subscription, self._absolute(topic), match)

    def declare(self, declaration: Declaration, *, by_hand: bool = False) -> None:
        """Serve a declaration, at once where there is a session.

        :param by_hand: Serve it also in a process that does not serve what the app declares. Raise and
            forget it when the router refuses it; otherwise it is kept for the next session.
        :raises ValueError: The same procedure or topic is declared already.
        """
        if not (self.start_policy.serves or by_hand):
            return
        if not self._state.declarations.add(declaration, by_hand=by_hand):
            return
        peer = self.peer
        connection = peer.connection if peer is not None else None
        if peer is None or connection is None:
            return
        try:
            answer = peer.registrar.declare(declaration, connection, once=by_hand)
            self._await(peer, answer, declaration.uri, self._waits_until())
        except WAMPError as error:
            if by_hand:
                self._state.declarations.discard(key(declaration))
                with contextlib.suppress(NotJoined):  # where the router answers after all
                    withdraw(connection, declaration)
                raise
            if isinstance(error, CallTimeout):
                peer.registrar.unanswered(declaration)
            elif not isinstance(error, ApplicationError):  # that is logged, and tried again
                logger.warning("%s is not declared in this session: %s", declaration.uri, error)
        if declaration.make_listener is not None:
            peer.add_listener(declaration, declaration.make_listener)

    def _withdraw(self, kind: type, uri: str, match: str) -> None:
        declaration = self._state.declarations.discard((kind, *as_declared(uri, match)))
        if declaration is None:
            known = sorted(key(d)[1] for d in self.declarations if key(d)[0] is kind)
            raise ValueError(f"{uri!r} is not declared; there are {known}")
        peer = self.peer
        if peer is None:
            return
        peer.remove_listener(declaration, monotonic() + self.settings.drain_timeout)
        if peer.connection is None:
            return
        answer = withdraw(peer.connection, declaration)
        if answer is not None:
            self._await(peer, answer, uri, self._waits_until())

    # Life.

    @property
    def start_policy(self) -> StartPolicy:
        """When this client starts by itself; may be changed."""
        return self._state.policy

    def start(self) -> Self:
        """Serve what the app declares in this process, and begin to connect; return at once.

        Does nothing where it serves already. A process that runs background tasks, or Celery's, connects
        on first use only and serves nothing.

        :raises Exception: What is declared cannot be served. Every later use raises the same error.
        """
        self._state.start()
        return self

    def start_at_request(self) -> None:
        """Do as :meth:`start`, once: not again after :meth:`stop`. Called with every HTTP request."""
        state = self._state
        if not (state.declarations.all_served or state.stopped):
            state.start()

    def use(self) -> None:
        """Begin to connect, if this client starts by itself and has not been started before."""
        if not self._state.ever_started:
            with contextlib.suppress(NotJoined):
                self._state.started()

    def stop(self) -> None:
        """Leave the realm: finish what runs and waits, within ``WAMP_DRAIN_TIMEOUT``.

        Where a server restarts workers, waits up to ``WAMP_LINGER`` for a successor before.
        """
        self._state.stop()

    def rest(self) -> None:
        """Do as :meth:`stop`, but let the next use start it again, as if it had never been started."""
        self._state.stop()
        self._state.may_start_again()

    def wait_until_joined(self, timeout: float | None = None) -> dict[str, Exception]:
        """Wait until there is a session, and the router has answered every registration and subscription.

        :param timeout: Seconds; by default ``WAMP_CONNECT_TIMEOUT``.
        :returns: What the router refused, by URI: the errors. Empty if everything declared is registered and
            subscribed. What was refused is logged, listed in ``wamp.health()``, and tried again.
        :raises NotJoined: There was no session in time. The text says how the last attempt ended.
        """
        return self._wait(self.settings.connect_timeout if timeout is None else timeout)

    def __enter__(self) -> Self:
        """Start, and wait until everything is registered.

        :raises NotJoined: The router refused the login, or there was no session in time.
        """
        self.start()
        self._wait(self.settings.connect_timeout, refusable=True)
        return self

    def _wait(self, timeout: float, *, refusable: bool = False) -> dict[str, Exception]:
        peer = self._state.start_peer()
        peer.wait(timeout, ready=True, refusable=refusable)
        served = self._state.declarations.served()
        return {d.uri: d.refused for d in served if d.refused is not None}

    def only_call(self) -> None:
        """From now on connect on first use only, and serve nothing but what :meth:`register` is given."""
        self._state.only_call()

    def add_listener(self, make: MakeListener) -> None:
        """Add a listener to the sessions of every process that serves."""
        self._state.add_listener(make)

    def forget_parents(self) -> None:
        """Let go of the sockets of other processes, after a fork in the child."""
        self._state.forget_parents()

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
    def declarations(self) -> list[Declaration]:
        """What the app declares, and what was registered and subscribed by hand; served here or not."""
        return self._state.declarations.all

    @property
    def publications(self) -> dict[str, int]:
        """How many best-effort events of this process wait for a session, and how many were dropped."""
        publications = self._state.publications
        return {"waiting": publications.waiting, "dropped": publications.dropped}

    @property
    def closeables(self) -> list[Closeable]:
        """What is stopped after the client. May be added to."""
        return self._state.closeables

    @property
    def pool(self) -> Pool:
        """The workers of this process. They run without a session too."""
        return self._state.pool

    @property
    def peer(self) -> Peer | None:
        """What keeps the session in this process; None before ``start()``."""
        return self._state.peer

    def __repr__(self) -> str:
        state = f"session {self.session_id}" if self.joined else "not joined"
        return f"<{type(self).__name__} {self.name!r} realm {self.realm!r} {state}>"
