"""``wamp.test_client()``: a peer that calls, publishes and subscribes as another program would do it."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import typing as t

from flask import Flask
from flask.testing import FlaskClient

from ..client.client import Client
from ..client.result_stream import ResultStream
from ..concurrency.clock import monotonic
from ..exceptions import ApplicationError, CallTimeout
from ..peer.calls import CallFuture
from ..peer.settings import PeerSettings
from ..protocol.auth import Credentials
from ..protocol.identity import Identity
from ..router.memory import APP_ROLE
from ..transports import OpenTransport
from .bench import Bench, flush
from .inbox import Inbox
from .leftovers import tell
from .recording import Recording
from .reports import empty_inbox, no_answer, not_called
from .stubs import StubbedCalls, registration, stub

__tracebackhide__ = True  # pytest leaves out the frames of this module

if t.TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ..client.options import Options

TRUSTED = Identity("test", APP_ROLE, authmethod="anonymous", authprovider="memory")
"""The identity of test clients without ``authid`` and ``authrole``: it may do everything."""

#: The peer after ``login()`` with an HTTP client that is not logged in.
ANYBODY = Identity("anonymous", "anonymous", authmethod="anonymous", authprovider="static")


class TestClient:
    """A peer of its own in the realm of an app. Use it in a ``with`` block; see ``wamp.test_client()``."""

    __test__ = False  # pytest does not collect it as a test

    def __init__(
        self,
        app: Flask,
        authid: str | None = None,
        authrole: str | None = None,
        inline: bool = False,
    ) -> None:
        self._bench = Bench.of(app)
        self._inline = inline
        self._identity: Identity | None = None
        if authid is not None or authrole is not None:
            self._identity = Identity(authid or "test", authrole or "user")
        self._client = self._caller = self._make(self._identity)
        self._stubs: Client | None = None
        self._inboxes: list[Inbox] = []
        self._published: list[str] = []
        self._recording = Recording()
        self._stack = contextlib.ExitStack()
        self._is_open = False
        self._left: list[str] = []

    def _make(self, identity: Identity | None) -> Client:
        client = Client(
            self._settings(identity),
            callee=_no_declaration,
            subscriber=_no_declaration,
            name="test",
        )
        client.start_policy.make_peer = self._bench.make_peer
        return client

    def _settings(self, identity: Identity | None) -> PeerSettings:
        settings = self._bench.client.settings
        own = self._bench.state.own_router
        if own is not None and own.in_memory:
            open_transport: OpenTransport = own.memory.opener(identity or TRUSTED)
            return dataclasses.replace(
                settings, open_transport=open_transport, credentials=Credentials()
            )
        if identity is not None:
            raise RuntimeError(
                "a test client with an authid, an authrole or a login needs the router in memory: "
                'set TESTING and leave WAMP_ROUTER_URL out, or set it to "memory:"'
            )
        return settings

    def __enter__(self) -> Self:
        """Serve the app if it is not served already, and join the realm.

        :raises RuntimeError: ``app.testing`` is not set, the router refused a declaration of the app, or
            ``inline=True`` is not possible.
        """
        with contextlib.ExitStack() as stack:
            self._bench.enter(self, self._inline)
            stack.push(self._leave)
            self._recording = stack.enter_context(self._bench.recorder.record())
            stack.callback(self._stop)
            self._client.__enter__()
            self._stack = stack.pop_all()
        self._is_open = True
        return self

    def __exit__(self, kind: object, *exc_info: object) -> None:
        """Leave the realm. The last open test client also stops the app.

        :raises LeftBehind: A handler, a background task or a thread of the app is still running.
        """
        self._is_open = False
        with self._stack:
            self._bench.look()
            if kind is None:
                self._bench.raise_failure()
        left, self._left = self._left, []
        tell(left, kind is not None)

    def _leave(self, *exc_info: object) -> None:
        self._left = self._bench.leave(self)

    def abandon(self) -> None:
        """Leave the realm, because the test has not closed the client."""
        self._is_open = False
        self._stack.close()

    def _check_open(self) -> None:
        if not self._is_open:
            raise RuntimeError(
                "this test client has not joined: use it inside 'with wamp.test_client() as peer:'"
            )
        self._bench.explain(self._client)

    def _stop(self) -> None:
        for client in self.clients:
            client.stop()

    @property
    def clients(self) -> list[Client]:
        """The sessions of this test client."""
        return [self._client, *([self._stubs] if self._stubs is not None else [])]

    @property
    def session_id(self) -> int | None:
        """The id of the session, or None outside the ``with`` block."""
        return self._client.session_id

    # Calling and publishing.

    def with_options(self, **options: Unpack[Options]) -> Self:
        """Return a view of this test client that calls and publishes with options.

        See :meth:`.Client.with_options`.
        """
        view = copy.copy(self)
        view._caller = self._caller.with_options(**options)
        return view

    def call(self, procedure: str, /, *args: object, **kwargs: object) -> t.Any:
        """Call a procedure and return its result, as ``g.wampy.call`` does.

        :raises ApplicationError: The callee or the router answered ERROR. If a handler of the app raised an
            exception, it is the ``__cause__``, unless ``PROPAGATE_EXCEPTIONS`` is False.
        :raises CallTimeout: There was no answer in time. The message lists what is still running.
        """
        self._check_open()
        try:
            return self._caller.call(procedure, *args, **kwargs)
        except CallTimeout as error:
            raise no_answer(error, self._recording, self._bench) from error.__cause__

    def submit(self, procedure: str, /, *args: object, **kwargs: object) -> CallFuture:
        """Call a procedure and return a ``concurrent.futures.Future`` at once.

        With ``inline=True`` the handler has run before this method returns.
        """
        self._check_open()
        return self._caller.submit(procedure, *args, **kwargs)

    def stream(self, procedure: str, /, *args: object, **kwargs: object) -> ResultStream:
        """Call a procedure and iterate its progressive results.

        With ``inline=True`` the handler runs to its end before you get the first result. If there are
        more results than ``WAMP_EVENT_QUEUE`` allows, it is canceled and the stream raises :exc:`.TooSlow`.
        """
        self._check_open()
        return self._caller.stream(procedure, *args, **kwargs)

    def publish(self, topic: str, /, *args: object, **kwargs: object) -> int | None:
        """Publish an event, wait until the router has acknowledged it, and return its publication id.

        Like any publisher, this test client does not receive its own events, unless you publish
        ``with_options(exclude_me=False)``.

        :raises ApplicationError: The router refused it.
        """
        self._check_open()
        self._published.append(self._uri(topic))
        published = self._caller.with_options(acknowledge=True).publish(topic, *args, **kwargs)
        self._bench.raise_failure()
        return published

    # Serving.

    def register(self, f: t.Callable[..., object], uri: str, **options: t.Any) -> None:
        """Register a plain function as a procedure until the end of the ``with`` block.

        :param options: REGISTER.Options, for example ``match="prefix"``.
        :raises ApplicationError: The router refused it.
        """
        self._check_open()
        self._client.declare(registration(self._uri(uri), f, **options), at_run_time=True)

    def subscribe(self, topic: str, *, match: str = "exact") -> Inbox:
        """Subscribe to a topic, and return an inbox that collects its events.

        :param match: ``exact``, ``prefix`` or ``wildcard``.
        :raises ApplicationError: The router refused it.
        """
        self._check_open()
        inbox = Inbox(self, self._uri(topic), match)
        self._client.declare(inbox.subscription, at_run_time=True)
        self._inboxes.append(inbox)
        return inbox

    @contextlib.contextmanager
    def stub(
        self,
        uri: str,
        function: t.Callable[..., object] | None = None,
        *,
        returns: t.Any = None,
        raises: BaseException | None = None,
    ) -> t.Iterator[StubbedCalls]:
        """Serve a procedure of another service while the ``with`` block runs.

        The stub is registered even if this test client has no right to register the procedure.

        :param function: Computes the result from the payload. Pass it instead of ``returns`` or ``raises``.
        :returns: The list of the calls: ``calls[0].args``.
        :raises RuntimeError: The app or a test client has already registered the procedure.
        :raises TypeError: A function was passed together with ``returns`` or ``raises``.
        """
        if function is not None and (returns is not None or raises is not None):
            raise TypeError("stub() takes only one of: a function, returns=, raises=")
        self._check_open()
        uri = self._uri(uri)
        calls = StubbedCalls(lambda index: not_called(uri, index, len(calls), self._recording))
        client = self._server()
        try:
            client.declare(stub(uri, calls, returns, raises, function), at_run_time=True)
        except (ApplicationError, ValueError) as error:
            if uri in self._bench.procedures:
                raise RuntimeError(
                    f"{uri} cannot be stubbed: the app or a test client has already registered it"
                ) from error
            raise
        try:
            yield calls
        finally:
            client.unregister(uri)

    def _server(self) -> Client:
        if self._identity is None:
            return self._client
        if self._stubs is None:
            stubs = self._make(None)
            stubs.__enter__()
            self._stubs = stubs
        return self._stubs

    # Identity.

    def login(self, http: FlaskClient) -> Identity:
        """Join again as the user whom the cookies of ``app.test_client()`` identify, as a browser does.

        Inboxes and registered functions stay. Without a logged-in user the role is ``anonymous``.

        :returns: The identity of the new session.
        :raises RuntimeError: The endpoint refused the login, ``WAMP_ENDPOINT`` is None, or the router is not
            in memory.
        :raises ApplicationError: The user may not subscribe to the topic of an inbox.
        """
        self._check_open()
        endpoint, own = self._bench.state.config["WAMP_ENDPOINT"], self._bench.state.own_router
        if endpoint is None or own is None or not own.in_memory:
            raise RuntimeError("login() needs the router in memory and WAMP_ENDPOINT")
        # Flask-Login caches the user in ``g``. The test's own app context may have cached another user.
        with http.application.app_context():
            response = http.post(f"{endpoint.rstrip('/')}/session")
        if response.status_code != 200:
            raise RuntimeError(
                f"POST {endpoint}/session answered {response.status}: {response.text}"
            )
        ticket = response.get_json()["ticket"]
        found = own.redeem(ticket) if ticket is not None else ANYBODY
        if found is None:
            raise RuntimeError("the ticket of this login is unknown to the router in memory")
        self._rejoin(found)
        return found

    def _rejoin(self, identity: Identity) -> None:
        old, new = self._client, self._make(identity)
        declarations = old.declarations
        old.stop()
        self._identity, self._client, self._caller = identity, new, new
        new.__enter__()
        for declaration in declarations:
            new.declare(declaration, at_run_time=True)

    # Waiting.

    def look(self) -> None:
        """With ``inline=True``: read the received messages and run their handlers."""
        self._bench.look()

    def settle(self, timeout: float) -> None:
        """Wait until the app is idle; see ``wamp.settle()``."""
        self._bench.settle(timeout)

    def flush(self) -> None:
        """Wait until this client has received everything that the router has already sent."""
        flush(self._client, monotonic() + self._client.settings.call_timeout)

    def why_empty(self, inbox: Inbox) -> str:
        """Explain why an inbox is empty: return what happened instead, as text."""
        others = [each for each in self._inboxes if each is not inbox]
        return empty_inbox(inbox, others, self._published, self._recording, self._bench)

    def _uri(self, uri: str) -> str:
        return self._client._absolute(uri)

    def __repr__(self) -> str:
        return f"<TestClient {self._identity or 'trusted'} session {self.session_id}>"


def _no_declaration(*args: object, **kwargs: object) -> t.Any:
    raise NotImplementedError("a test client has no decorators: use register() and subscribe()")
