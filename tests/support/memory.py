"""The router of ``memory:``, which tests can inspect and make misbehave.

Sessions, routing, the meta API and the transport are the library's own. It replaces
``flask_wamp.transports.open_transport``, so everything above the sockets works as with any router. Messages
of a client are handled in the thread that sends them. Messages of the router wait for the client's reader.
"""

from __future__ import annotations

import queue
import threading
import typing as t

import msgspec

from flask_wamp.exceptions import ApplicationError, TransportError
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.identity import Identity
from flask_wamp.router import Decision, RouterSettings
from flask_wamp.router import memory as real
from flask_wamp.router.realm import Realm
from tests.support.memory_peer import TIMEOUT, Answer, Held, MemoryPeer, holding, returning
from tests.support.memory_transport import MemoryTransport

__all__ = ["TIMEOUT", "Answer", "Held", "MemoryRouter"]

INSTEAD = "tests.instead."
"""The prefix of redirected calls, to procedures of the tests' own peer."""

JOE = Identity("joe", "user")


class MemoryRouter:
    """A router with a peer of the tests' own: :meth:`call`, :meth:`publish`, :meth:`register`.

    :param serializer: The serializer of every connection. The default is the client's first choice.
    """

    def __init__(self, serializer: str | None = None) -> None:
        self.serializer = serializer
        self.max_message_size = 2**24
        self.down = False
        """Whether connections are refused."""
        self.silent = False
        """Whether the router answers nothing, not even a ping or HELLO. See :meth:`welcome`."""
        self.abort: m.Abort | None = None
        """The answer to HELLO in place of WELCOME."""
        self.options: m.Details = {}
        """Added to the options of :meth:`invoke` and :meth:`publish`."""
        self.disclose: bool | None = None
        """Whether callers and publishers are disclosed. None for the default."""
        self.script: t.Callable[[MemoryTransport, t.Any], bool] = lambda transport, message: False
        """Called with each message of a client. If it returns True, the router does not get the message."""
        self.refused: set[str] = set()
        """URIs that are refused to all sessions."""
        self.attempts = 0
        self.messages: list[t.Any] = []
        """The messages of all clients, in order."""
        self.transports: list[MemoryTransport] = []
        """The open connections, the newest last."""
        # Clients may wait for a silent router, however long a test takes.
        settings = RouterSettings(hello_timeout=1000, trusted_links=frozenset({"user"}))
        self.core = real.MemoryRouter(settings, self._authorize)._exchange()
        self.together = self.core.lock
        """Messages that the router sends inside this context arrive together."""
        self._changed = threading.Condition(self.core.lock)
        self.realm = "realm1"
        """The realm of :meth:`call`, :meth:`publish` and so on."""
        self._peers = {self.realm: MemoryPeer(self.core, self.realm, JOE)}
        self._held: dict[str, queue.Queue[Held]] = {}
        self._redirected: set[str] = set()

    def open(
        self, url: t.Any, *, serializers: t.Sequence[str], **options: t.Any
    ) -> MemoryTransport:
        """Replace ``open_transport``."""
        with self._changed:
            self.attempts += 1
            self._changed.notify_all()
            if self.down:
                raise TransportError(f"cannot connect to {url.url}: Connection refused")
            return MemoryTransport(self, self.serializer or serializers[0])

    # The router's own peer.

    @property
    def _peer(self) -> MemoryPeer:
        with self.core.lock:
            if self.realm not in self._peers:
                self._peers[self.realm] = MemoryPeer(self.core, self.realm, JOE)
            return self._peers[self.realm]

    @property
    def session_id(self) -> int:
        """The id of the session that calls and publishes, ``joe`` with the role ``user``."""
        return self._peer.session_id

    def call(self, uri: str, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
        """Call a client's procedure. Return its single result, or raise its error."""
        answer = self.invoke(uri, *args, **kwargs).result(TIMEOUT)
        if isinstance(answer, m.Error):
            raise ApplicationError(answer.error, *answer.args, **answer.kwargs)
        assert not answer.kwargs
        [value] = answer.args
        return value

    def invoke(self, uri: str, /, *args: t.Any, **kwargs: t.Any) -> Answer:
        """Call a client's procedure and return at once."""
        options = {"receive_progress": True, **self.options}
        return self._peer.call(uri, options, list(args), kwargs)

    def publish(self, topic: str, /, *args: t.Any, **kwargs: t.Any) -> int:
        """Publish an event to all subscribers. Return the publication id."""
        return self._peer.publish(topic, self.options, list(args), kwargs)

    def announce(self, topic: str, /, *args: t.Any) -> None:
        """Publish a made-up meta event."""
        self.core.run(lambda: self._realm.broker.announce(topic, *args))

    def retain(self, topic: str, /, *args: t.Any) -> int:
        """Publish an event that the router keeps for later subscribers."""
        return self._peer.publish(topic, {"retain": True, **self.options}, list(args), {})

    def register(self, uri: str, procedure: t.Callable[..., t.Any]) -> None:
        """Register a procedure. It must not wait, and may raise ``ApplicationError``.

        It gets all calls of the URI, even if clients have registered it or the router has such a procedure.
        """
        self._redirected.add(uri)
        self._peer.serve(INSTEAD + uri, returning(self._peer, procedure))

    def hold(self, uri: str) -> queue.Queue[Held]:
        """Register a procedure, as :meth:`register` does. The test answers its calls."""
        if uri not in self._held:
            self._held[uri] = queue.Queue()
            self._redirected.add(uri)
            self._peer.serve(INSTEAD + uri, holding(self._peer, self._held[uri]))
        return self._held[uri]

    # Misbehaviour.

    def refuse(self, uri: str) -> None:
        """Answer every request for a URI with ERROR not_authorized."""
        self.refused.add(uri)

    def _authorize(
        self, identity: Identity, action: str, uri: str, options: t.Mapping[str, t.Any]
    ) -> Decision:
        return Decision(uri not in self.refused, self.disclose, "not today")

    def drop(self) -> None:
        """Cut all connections."""
        with self._changed:
            for transport in list(self.transports):
                transport.cut()

    def give_up(self) -> None:
        """Cut all connections, and refuse new ones."""
        self.down = True
        self.drop()

    def welcome(self) -> None:
        """Answer the HELLO of the newest connection, after having been silent."""
        self.silent = False
        self.transports[-1].hear(self.sent(m.Hello)[-1])

    def send(self, message: m.Message) -> None:
        """Send any message on the newest connection."""
        self.transports[-1].put(message)

    def send_bytes(self, data: bytes) -> None:
        """Send bytes that are not a message on the newest connection."""
        self.transports[-1].put_bytes(data)

    # The record of events.

    def sent(self, kind: type[m.Message]) -> list[t.Any]:
        """The messages of a kind that clients sent."""
        return [message for message in list(self.messages) if type(message) is kind]

    def wait_for(self, kind: type[m.Message], count: int = 1) -> t.Any:
        """Wait until clients have sent this many messages of a kind. Return the last one."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.sent(kind)) >= count, TIMEOUT)
        assert enough, f"{len(self.sent(kind))} {kind.__name__} came, not {count}"
        return self.sent(kind)[count - 1]

    def wait_for_attempts(self, count: int) -> None:
        """Wait until clients have tried this often to connect."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.attempts >= count, TIMEOUT)

    @property
    def procedures(self) -> set[str]:
        """The procedures that clients have registered."""
        with self.core.lock:
            uris = {each.uri for each in self._realm.dealer.by_id.values()}
        return {uri for uri in uris if not uri.startswith(INSTEAD)}

    @property
    def topics(self) -> set[str]:
        """The topics that clients have subscribed to."""
        with self.core.lock:
            return {each.uri for each in self._realm.broker.by_id.values()}

    def registration_id(self, uri: str) -> int:
        """The id of a registration."""
        return next(each.id for each in self._realm.dealer.by_id.values() if each.uri == uri)

    def subscription_id(self, topic: str) -> int:
        """The id of a subscription."""
        return next(each.id for each in self._realm.broker.by_id.values() if each.uri == topic)

    @property
    def _realm(self) -> Realm:
        return self.core.core.realms[self._peer.realm]

    # The other end of the connections. The core's lock is held.

    def begun(self, transport: MemoryTransport) -> None:
        """Record a connection."""
        self.transports.append(transport)

    def take(self, transport: MemoryTransport, message: m.Message) -> m.Message | None:
        """Record a message. Return the message for the router's core: this one, another one, or None."""
        self.messages.append(message)
        self._changed.notify_all()
        if self.silent:
            return None
        if self.script(transport, message):
            return None
        if isinstance(message, m.Hello) and self.abort is not None:
            transport.put(self.abort)
            return None
        if isinstance(message, m.Call) and message.procedure in self._redirected - self.refused:
            return msgspec.structs.replace(message, procedure=INSTEAD + message.procedure)
        return message

    def ended(self, transport: MemoryTransport) -> None:
        """Record the end of a connection."""
        self.transports.remove(transport)
        self._changed.notify_all()
