"""State that the test clients of one app share: the running app, the errors of its handlers, and its URIs."""

from __future__ import annotations

import contextlib
import itertools
import time
import typing as t

from flask import Flask
from werkzeug.exceptions import HTTPException

from .. import signals
from ..app_state import AppState, state_of
from ..client.client import Client
from ..concurrency.clock import monotonic
from ..concurrency.interruption import HandlerInterrupted
from ..concurrency.threads import is_time_limit
from ..exceptions import ApplicationError, CallTimeout, NotJoined
from ..handlers.context import Event
from ..peer.connection import Connection
from ..peer.declarations import Declaration, Registration, Subscription
from ..peer.peer import Peer
from ..protocol.similar import listed
from ..tasks.background import RUNNER
from ..tasks.runner import TaskRunner
from ..tasks.task import name
from .explaining import explain_errors
from .inline import InlinePeer, Loop
from .leftovers import KEY, Watch
from .light import LightPeer
from .recording import Recorder, Recording

PAUSE = 0.001
MAX_ERRORS = 100

EXPECTED = (ApplicationError, CallTimeout, HTTPException)
"""Exceptions that handlers raise on purpose. With ``inline=True`` they do not fail the test."""


class Member(t.Protocol):
    """A test client, as the bench sees it."""

    @property
    def clients(self) -> list[Client]:
        """Its sessions."""

    def abandon(self) -> None:
        """Leave the realm, because the test has not closed the client."""


class Unsettled(AssertionError):
    """The app did not become idle in time. The message lists what was still running or waiting."""


class Bench:
    """Manages the test clients of one app, and serves the app while one of them is open."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.state: AppState = state_of(app)
        self.client: Client = self.state.client
        self.peers: list[Member] = []
        self.recorder = Recorder(self.state.dispatcher.own_prefix)
        self._errors: dict[object, BaseException] = {}
        self.failures: list[str] = []
        """The errors of event handlers, as text: no caller receives them."""
        self._tokens = itertools.count(1)
        self.unraised: list[BaseException] = []
        """With ``inline=True``, the errors of event handlers that the test has not raised yet."""
        self._watch = Watch(app)
        self._started_here = False
        self.loop: Loop | None = None
        """Runs the handlers in the thread of the test. If it is None, workers run them."""

    @classmethod
    def of(cls, app: Flask) -> Bench:
        """Return the bench of an app."""
        bench: Bench = app.extensions.setdefault(KEY, cls(app))
        return bench

    # Life.

    def enter(self, peer: Member, inline: bool) -> None:
        """Add a test client, and serve the app if it is not served already.

        :param inline: Whether to run handlers in the thread of the test.
        :raises RuntimeError: ``app.testing`` is not set, the router refused a declaration of the app, or
            ``inline`` is not possible.
        """
        if not self.app.testing:
            raise RuntimeError(
                "wamp.test_client() needs app.testing: call app.config.update(TESTING=True) first"
            )
        if inline and self.loop is None:
            self._go_inline()
        if not self.peers:
            self.client.start_policy.make_peer = self.make_peer
            signals.dispatch_failed.connect(self._failed, sender=self.app)
            signals.session_joined.connect(self._joined, sender=self.app)
            self._watch.begin()
            self._keep_tasks_here(self.state.in_memory)
        self.peers.append(peer)
        try:
            self.serve()
        except BaseException:
            self.leave(peer)
            raise

    def _go_inline(self) -> None:
        if not self.state.in_memory:
            raise RuntimeError(
                "inline=True needs the router in memory: set TESTING and leave WAMP_ROUTER_URL out, or set "
                'it to "memory:"'
            )
        if self.peers:
            raise RuntimeError(
                "the handlers of this app already run in threads: open the first test client with "
                "inline=True"
            )
        self.client.stop_until_next_use()  # it may have been started with threads
        self.loop = Loop()
        self._started_here = True

    def make_peer(self, *args: t.Any) -> Peer:
        """Create the peer of a client of this app, with or without threads."""
        if self.loop is not None:
            return InlinePeer(self.loop, *args)
        return LightPeer(*args) if self.state.in_memory else Peer(*args)

    def look(self) -> None:
        """With ``inline=True``: read the received messages and run their handlers."""
        if self.loop is not None:
            self.loop.run()

    def serve(self) -> None:
        """Start the app's client, and wait until the router has accepted all declarations.

        :raises RuntimeError: The router refused a declaration.
        """
        client = self.client
        if not client.joined:
            self._started_here = True
        client.start()
        refused = client.wait_until_joined()
        if refused:
            reasons = [f"{uri}: {error}" for uri, error in refused.items()]
            raise RuntimeError(f"the router refuses what the app declares: {listed(reasons)}")
        if any(each.make_listener is not None for each in client.declarations):
            # With delivery="one" the app subscribes last, when it holds the lease of the topic.
            self.settle(client.settings.call_timeout)
        self._joined(self.app)

    def leave(self, peer: Member) -> list[str]:
        """Remove a test client. After the last one, stop the app if the bench has started it.

        :returns: What is still running.
        """
        self.peers = [each for each in self.peers if each is not peer]
        if self.peers:
            return []
        signals.dispatch_failed.disconnect(self._failed, sender=self.app)
        signals.session_joined.disconnect(self._joined, sender=self.app)
        self._errors.clear()
        self.failures.clear()
        self.unraised.clear()
        if self._started_here:
            self._started_here = False
            self.client.stop_until_next_use()
        self.loop = None
        self.client.start_policy.make_peer = Peer
        self._keep_tasks_here(False)
        return self._watch.end()

    def record(self) -> t.ContextManager[Recording]:
        """Record the calls and publications of the app.

        :raises RuntimeError: No test client is open.
        """
        if not self.peers:
            raise RuntimeError("use wamp.record() inside 'with wamp.test_client()'")
        return self.recorder.record()

    def _joined(self, sender: Flask, **payload: t.Any) -> None:
        connection = self.explain(self.client)
        if connection is not None:
            self.recorder.watch(connection)

    def explain(self, client: Client) -> Connection | None:
        """Add explanations to the errors of a client's calls, and return its connection."""
        peer = client.peer
        connection = peer.connection if peer is not None else None
        if connection is not None:
            explain_errors(connection, self)
        return connection

    # Errors of handlers.

    @property
    def propagates(self) -> bool:
        """Whether the test sees the errors of handlers. The rule is Flask's for the errors of views."""
        configured = self.app.config.get("PROPAGATE_EXCEPTIONS")
        return self.app.testing if configured is None else bool(configured)

    def token(self) -> str | None:
        """Return a text that identifies one call, to be sent as ``transaction_hash``.

        With another router, this returns None, because it does not forward this option.
        """
        return None if self.state.own_router is None else f"test-{next(self._tokens)}"

    def error(self, token: object) -> BaseException | None:
        """Remove and return the exception that the handler of a call raised."""
        return self._errors.pop(token, None)

    def _failed(
        self, sender: Flask, *, message: t.Any, error: BaseException, **payload: t.Any
    ) -> None:
        if self.loop is not None and _ends_the_test(error):
            self.loop.interrupt = error
        if isinstance(message, Event):
            self.failures.append(f"{message.uri}: {error!r}")
            on_purpose = isinstance(error, EXPECTED)
            if self.loop is not None and self.propagates and not on_purpose:
                self.unraised.append(error)
        token = message.received.details.get("transaction_hash")
        if isinstance(token, str) and self.propagates:
            while len(self._errors) >= MAX_ERRORS:  # remove those of calls that were given up
                self._errors.pop(next(iter(self._errors)), None)
            self._errors[token] = error

    def raise_failure(self) -> None:
        """With ``inline=True``: raise the oldest exception of an event handler, and remove it."""
        if self.unraised:
            raise self.unraised.pop(0)

    # The URIs that are served.

    @property
    def procedures(self) -> list[str]:
        """The URIs that the app and its test clients have registered."""
        return self._uris(Registration)

    @property
    def topics(self) -> list[str]:
        """The topics that the app and its test clients have subscribed to."""
        return self._uris(Subscription)

    def _uris(self, kind: type[Declaration]) -> list[str]:
        declared = [
            d.subject.uri
            for client in self._clients()
            for d in client.declarations
            if isinstance(d.subject, kind) and d.id is not None
        ]
        own = f"{self.state.dispatcher.own_prefix}."
        return sorted({uri for uri in declared if not uri.startswith(own)})

    def _clients(self) -> list[Client]:
        return [self.client, *(each for peer in self.peers for each in peer.clients)]

    # Becoming idle.

    def settle(self, timeout: float) -> None:
        """Wait until no handler, event or task runs or waits, and all messages have been received.

        :raises Unsettled: The app did not become idle in time.
        """
        self.look()
        self.raise_failure()
        deadline = monotonic() + timeout
        quiet = 0
        # Ask more than once: a handler may start after the first answer. Another router needs more rounds,
        # because it does not say how many messages it has handled.
        while quiet < (2 if self.state.in_memory else 4):
            busy = self.busy()
            quiet = quiet + 1 if not busy and self._flush(deadline) and not self.busy() else 0
            if monotonic() > deadline:
                left = self.busy() or ["messages are still being exchanged"]
                raise Unsettled(f"the app did not settle within {timeout:g} s: {listed(left)}")
            if busy:
                time.sleep(PAUSE)
                self.look()

    def _flush(self, deadline: float) -> bool:
        """Let every client receive its messages. Return whether no other message was sent meanwhile.

        Only the router in this process counts its messages. With other routers the result is always True.
        """
        own = self.state.own_router
        router = own.memory if own is not None and own.in_memory else None
        before = router.handled if router is not None else 0
        asked = sum(flush(client, deadline) for client in self._clients())
        return router is None or router.handled == before + asked

    @property
    def unfinished(self) -> list[str]:
        """The handlers and background tasks of the app that are running."""
        return [*self._watch.handlers, *self._tasks()]

    def _tasks(self) -> list[str]:
        return [name(task.function) for task in self._runner.pending]

    def _keep_tasks_here(self, is_alone: bool) -> None:
        self._runner.is_alone = is_alone

    @property
    def _runner(self) -> TaskRunner:
        return t.cast(TaskRunner, self.app.extensions[RUNNER])

    def busy(self) -> list[str]:
        """Return descriptions of what is still running or waiting."""
        found = []
        for client in self._clients():
            peer = client.peer
            if peer is None:
                continue
            running, waiting = peer.pool.running + peer.pool.resuming, peer.waiting
            if running or waiting:
                names = self._watch.handlers if client is self.client else []
                which = f" ({listed(names)})" if names else ""
                found.append(f"{client.name}: {running} handlers running{which}, {waiting} waiting")
        tasks = self._tasks()
        if tasks:
            found.append(f"{len(tasks)} background tasks ({listed(tasks)})")
        waiting = self.client.publications["waiting"]
        if waiting:
            found.append(f"{waiting} publications waiting for a session")
        return found


def _ends_the_test(error: BaseException) -> bool:
    """Return whether an error is ``KeyboardInterrupt``, ``pytest.exit()`` or the like, not a cancellation."""
    return not (isinstance(error, Exception | HandlerInterrupted) or is_time_limit(error))


def flush(client: Client, deadline: float) -> int:
    """Send a request to the router and wait for the answer: all earlier messages arrive before it.

    :returns: The number of requests sent, 0 or 1.
    """
    if not client.joined:
        return 0
    left = max(0.01, deadline - monotonic())
    # A refusal is an answer too.
    with contextlib.suppress(ApplicationError, CallTimeout, NotJoined):
        client.with_options(timeout=left).call("wamp.session.count")
    return 1
