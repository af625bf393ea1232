"""A router in memory, at the seam between the peer and the network.

It stands in for ``flask_wamp.transports.open_transport``, so everything above the sockets is real, the
serializers too. What a client sends is handled in the thread that sends it; what the router sends
waits in a queue for the client's reader.
"""

from __future__ import annotations

import concurrent.futures
import copy
import queue
import threading
import typing as t

from flask_wamp.exceptions import ApplicationError, TransportError
from flask_wamp.protocol import messages as m
from flask_wamp.router.features import ROLES
from tests.support.memory_routing import NO_SUCH_PROCEDURE, Routing
from tests.support.memory_transport import MemoryTransport

TIMEOUT = 10.0
"""Seconds after which a wait in a test has failed."""


class Held(t.NamedTuple):
    """A call that the test answers itself."""

    transport: MemoryTransport
    message: m.Call

    def answer(self, /, *args: t.Any, **kwargs: t.Any) -> None:
        """Answer with RESULT."""
        self.transport.put(m.Result(self.message.request_id, {}, list(args), kwargs))

    def fail(self, uri: str, /, *args: t.Any, **kwargs: t.Any) -> None:
        """Answer with ERROR."""
        code = m.code(m.Call)
        self.transport.put(m.Error(code, self.message.request_id, {}, uri, list(args), kwargs))


class Answer(concurrent.futures.Future[t.Any]):
    """What a client's procedure answers: its result is YIELD or ERROR."""

    progress: list[m.Yield]
    """Progressive results, as they come."""

    transport: MemoryTransport
    request_id: int

    def interrupt(self, mode: str = "killnowait") -> None:
        """Send INTERRUPT."""
        self.transport.put(m.Interrupt(self.request_id, {"mode": mode}))

    def take(self, message: m.Yield | m.Error) -> None:
        """Note what the callee said."""
        if isinstance(message, m.Yield) and message.options.get("progress"):
            self.progress.append(message)
        else:
            self.set_result(message)


class MemoryRouter:
    """A broker and a dealer, and a peer of their own: :meth:`call`, :meth:`publish`, :meth:`register`.

    :param serializer: What every line speaks; by default the client's first choice.
    """

    def __init__(self, serializer: str | None = None) -> None:
        self.serializer = serializer
        self.max_message_size = 2**24
        self.down = False
        """Whether connections are refused."""
        self.silent = False
        """Whether nothing is answered at all, not even HELLO (see :meth:`welcome`) or a ping."""
        self.abort: m.Abort | None = None
        """What HELLO is answered with in place of WELCOME."""
        self.details: dict[str, t.Any] = {}
        """Added to the details of :meth:`invoke` and :meth:`publish`."""
        self.roles: dict[str, t.Any] = copy.deepcopy(ROLES)
        """What WELCOME announces. Without this feature, no client asks about other applications' callees."""
        del self.roles["dealer"]["features"]["session_meta_api"]
        self.attempts = 0
        self.messages: list[t.Any] = []
        """What all clients sent, in order."""
        self.transports: list[MemoryTransport] = []
        """The lines that are up, the last one opened last."""
        self._changed = threading.Condition(threading.RLock())
        self._routing = Routing()
        self._held: dict[str, queue.Queue[Held]] = {}
        self._procedures: dict[str, t.Callable[..., t.Any]] = {}

    def open(
        self,
        url: t.Any,
        *,
        serializers: t.Sequence[str],
        max_message_size: int,
        compression: bool,
        timeout: float,
        tls: t.Any,
        opened: t.Any,
    ) -> MemoryTransport:
        """Stand in for ``open_transport``."""
        with self._changed:
            self.attempts += 1
            self._changed.notify_all()
            if self.down:
                raise TransportError(f"cannot connect to {url.url}: Connection refused")
            transport = MemoryTransport(self, self.serializer or serializers[0])
            self.transports.append(transport)
            return transport

    # A peer of its own.

    def call(self, uri: str, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
        """Call a client's procedure; return its single result, or raise what it raised."""
        answer = self.invoke(uri, *args, **kwargs).result(TIMEOUT)
        if isinstance(answer, m.Error):
            raise ApplicationError(answer.error, *answer.args, **answer.kwargs)
        assert not answer.kwargs
        [value] = answer.args
        return value

    def invoke(self, uri: str, /, *args: t.Any, **kwargs: t.Any) -> Answer:
        """Call a client's procedure and return at once."""
        answer = Answer()
        answer.progress = []
        details = {
            "caller": 7,
            "caller_authid": "joe",
            "caller_authrole": "user",
            "receive_progress": True,
            **self.details,
        }
        with self._changed:
            invoked = self._routing.invoke(uri, details, list(args), kwargs, answer.take)
            if invoked is None:
                raise ApplicationError(NO_SUCH_PROCEDURE)
            answer.transport, answer.request_id = invoked
        return answer

    def publish(self, topic: str, /, *args: t.Any, **kwargs: t.Any) -> int:
        """Publish an event to all who have subscribed; return the publication id."""
        details = {"publisher": 7, "publisher_authid": "joe", "publisher_authrole": "user"}
        details |= self.details
        with self._changed:
            return self._routing.deliver(topic, details, list(args), kwargs)

    def register(self, uri: str, procedure: t.Callable[..., t.Any]) -> None:
        """Offer a procedure to the clients; it must not wait, and may raise ``ApplicationError``."""
        self._procedures[uri] = procedure

    def hold(self, uri: str) -> queue.Queue[Held]:
        """Offer a procedure whose calls the test answers itself."""
        return self._held.setdefault(uri, queue.Queue())

    # Misbehaviour.

    def refuse(self, uri: str) -> None:
        """Answer every request for a URI with ERROR not_authorized."""
        self._routing.refused.add(uri)

    def ignore_match(self) -> None:
        """Take a topic for one subscription, however it is asked for."""
        self._routing.subscribers.ignore_match = True

    def drop(self) -> None:
        """Cut all lines."""
        with self._changed:
            for transport in list(self.transports):
                self.hang_up(transport)

    def give_up(self) -> None:
        """Cut all lines, and refuse new ones."""
        self.down = True
        self.drop()

    def welcome(self) -> None:
        """Answer the HELLO of who connected last, after having been silent."""
        self.silent = False
        self._on_hello(self.transports[-1], self.sent(m.Hello)[-1])

    def send(self, message: m.Message) -> None:
        """Send any message to who connected last."""
        self.transports[-1].put(message)

    def send_bytes(self, data: bytes) -> None:
        """Send what is no message to who connected last."""
        self.transports[-1].put_bytes(data)

    # What happened.

    def sent(self, kind: type[m.Message]) -> list[t.Any]:
        """The messages of a kind that clients sent."""
        return [message for message in list(self.messages) if type(message) is kind]

    def wait_for(self, kind: type[m.Message], count: int = 1) -> t.Any:
        """Wait until clients have sent so many messages of a kind; return the last of them."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.sent(kind)) >= count, TIMEOUT)
        assert enough, f"{len(self.sent(kind))} {kind.__name__} came, not {count}"
        return self.sent(kind)[count - 1]

    def wait_for_attempts(self, count: int) -> None:
        """Wait until clients have tried so often to connect."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.attempts >= count, TIMEOUT)

    @property
    def procedures(self) -> set[str]:
        """What is registered."""
        return self._routing.callees.uris

    @property
    def topics(self) -> set[str]:
        """What is subscribed to."""
        return self._routing.subscribers.uris

    # The other end of the lines.

    def receive(self, transport: MemoryTransport, message: t.Any) -> None:
        """Handle a client's message."""
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()
            if self.silent:
                return
            name = type(message).__name__.lower()
            own = getattr(self, f"_on_{name}", None)
            handle = own or getattr(self._routing, f"on_{name}")
            handle(transport, message)

    def hang_up(self, transport: MemoryTransport) -> None:
        """End a connection; who was there is gone."""
        with self._changed:
            if transport.cut:
                return
            transport.end()
            self.transports.remove(transport)
            self._routing.forget(transport)
            self._changed.notify_all()

    def _on_hello(self, transport: MemoryTransport, message: m.Hello) -> None:
        if self.abort is not None:
            transport.put(self.abort)
            return
        transport.session_id = next(self._routing.ids)
        details = {"roles": self.roles, "realm": message.realm, "authid": "anonymous"}
        transport.put(m.Welcome(transport.session_id, details))

    def _on_goodbye(self, transport: MemoryTransport, message: m.Goodbye) -> None:
        self._routing.forget(transport)
        transport.put(m.Goodbye({}, "wamp.close.goodbye_and_out"))

    def _on_abort(self, transport: MemoryTransport, message: m.Abort) -> None:
        self.hang_up(transport)

    def _on_call(self, transport: MemoryTransport, message: m.Call) -> None:
        uri = message.procedure
        if uri in self._held:
            self._held[uri].put(Held(transport, message))
        elif uri in self._procedures and uri not in self._routing.refused:
            try:
                value = self._procedures[uri](*message.args, **message.kwargs)
            except ApplicationError as error:
                self._routing.refuse(transport, message, str(error.uri), *error.args)
            else:
                transport.put(m.Result(message.request_id, {}, [value]))
        else:
            self._routing.on_call(transport, message)
