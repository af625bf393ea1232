"""A client's session, from the router's side.

A state machine without I/O. The transport calls :meth:`RouterSession.receive` with each message and
:meth:`RouterSession.lost` when the connection is lost. The session calls ``send`` and ``close``. The realm
that an established session has joined handles its requests.

Source: WAMP Basic Profile, "Sessions" and "Protocol Errors".
"""

from __future__ import annotations

import collections
import enum
import typing as t

from msgspec import Raw

from .._text import get_logger
from ..exceptions import ProtocolError
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.identity import Identity
from ..protocol.messages import Details
from .authentication import Challenge
from .codec import Codec, PayloadError, get_codec
from .facts import TransportFacts
from .features import Features
from .interfaces import Handlers, RealmInterface, RouterInterface
from .timers import Timer

logger = get_logger("flask_wamp.router")


class RouterSessionState(enum.Enum):
    """The state of a session. The names are those of the specification's state chart."""

    ESTABLISHING = "establishing"
    AUTHENTICATING = "authenticating"
    ESTABLISHED = "established"
    SHUTTING_DOWN = "shutting down"
    CLOSED = "closed"


class RouterSession:
    """One client's session. :meth:`.Router.open` makes it.

    :param send: Accepts the bytes of one message. It must not block, and must not call the router.
    :param close: Closes the transport: with ``True`` at once, with ``False`` when everything has been sent.
        It must not call the router before it has returned.
    """

    __slots__ = (
        "_close",
        "_deadline",
        "_disclosed",
        "_router",
        "_legal",
        "_max_message_size",
        "realm_name",
        "_paused",
        "_strict",
        "app",
        "calls",
        "challenge",
        "codec",
        "encode",
        "facts",
        "features",
        "id",
        "identity",
        "invocations",
        "last_invocation_id",
        "last_request_id",
        "max_send_size",
        "realm",
        "registrations",
        "send",
        "state",
        "subscriptions",
        "testaments",
    )

    def __init__(
        self,
        router: RouterInterface,
        facts: TransportFacts,
        send: t.Callable[[bytes], object],
        close: t.Callable[[bool], object],
    ) -> None:
        self._router = router
        self.facts = facts
        self.codec: Codec = get_codec(facts.serializer)
        self.encode = self.codec.encode
        self.send = send
        self._close = close
        self.max_send_size = facts.max_message_size
        self._max_message_size = router.settings.max_message_size
        self._strict = router.settings.sequential_request_ids
        self._deadline: Timer | None = None
        self._paused: collections.deque[bytes] | None = None
        self._reset()
        self._wait_at_most(router.settings.hello_timeout, "no HELLO in time")

    def _reset(self) -> None:
        """Reset the session: after GOODBYE a client may send HELLO again on the same transport."""
        self.state = RouterSessionState.ESTABLISHING
        self.id = 0
        self.identity = Identity("", "")
        self.app: str | None = None
        """The application that HELLO names. The client claims it, and nothing proves it."""
        self.features = Features()
        self.realm: RealmInterface | None = None
        self.realm_name = ""
        self.last_request_id = 0
        self.last_invocation_id = 0
        self.calls: dict[int, t.Any] = {}
        self.invocations: dict[int, t.Any] = {}
        self.registrations: dict[int, t.Any] = {}
        self.subscriptions: dict[int, t.Any] = {}
        self.testaments: dict[str, list[t.Any]] = {}
        self.challenge: Challenge | None = None
        self._disclosed: dict[tuple[Codec, str], t.Any] = {}
        self._legal: Handlers = self._router.establishing

    # What the transport calls.

    def receive(self, data: bytes) -> None:
        """Handle the bytes of one message. Never raises.

        :param data: The bytes must not change afterwards, as a part of a reused buffer would.
        """
        if self._paused is not None:
            self._receive_later(data)
            return
        try:
            if len(data) > self._max_message_size:
                self._refuse_size(len(data))
                return
            message = self.codec.decode(data)
            legal = self._legal.get(type(message))
            if legal is None:
                self._illegal(type(message))
                return
            handler, is_request = legal
            if is_request:
                request_id: int = message.request_id  # type: ignore[attr-defined]
                # Basic Profile, "Protocol Errors": "Receiving message with non-sequential session
                # scope request ID".
                if request_id != self.last_request_id + 1:
                    self._check_request_id(request_id)
                self.last_request_id = request_id
            handler(self, message)
        except PayloadError as error:
            self.refuse(message, error_uris.INVALID_ARGUMENT, str(error))
        except ProtocolError as error:
            if self.state is not RouterSessionState.SHUTTING_DOWN:  # "Received other / ignore"
                self.violated(str(error))
        except Exception:
            self._failed()

    def lost(self) -> None:
        """Note that the connection is lost."""
        self._end()

    def report_unsent(self, size: int) -> None:
        """Note how many bytes the transport could not send yet. Cut off a session that is over the limit."""
        if size > self._router.settings.max_unsent and self.state is not RouterSessionState.CLOSED:
            logger.warning("session %s does not read: cut off with %s bytes unsent", self.id, size)
            self._router.count("cut_off")
            self._end()
            self._close(True)

    # What the router calls.

    @property
    def is_of_app(self) -> bool:
        """Whether this is a process of an app, which another process follows in a deployment.

        The transport proves who it is, and HELLO names the app. Another program of the same user that joins
        over the app's unix socket names none.
        """
        return self.facts.identity is not None and self.app is not None

    def disconnect(
        self,
        reason: str = error_uris.CLOSE_KILLED,
        message: str | None = None,
        *,
        quietly: bool = False,
    ) -> None:
        """End the session: it leaves its realm at once, gets GOODBYE, and then the transport is closed.

        If the client does not answer with GOODBYE in time, the transport is closed anyway.
        """
        if self.state is not RouterSessionState.ESTABLISHED:
            self.abort(reason, message or "")
            return
        self._leave_realm(quietly)
        self.state = RouterSessionState.SHUTTING_DOWN
        self._legal = _SHUTTING_DOWN
        self._paused = None
        self.send(self.encode((6, {} if message is None else {"message": message}, reason)))
        self._wait_at_most(self._router.settings.goodbye_timeout, None)

    def abort(self, reason: str, message: str) -> None:
        """End the session with ABORT, and close the transport."""
        if self.state is RouterSessionState.CLOSED:
            return
        if self.state is not RouterSessionState.SHUTTING_DOWN:
            self.send(self.encode((3, {"message": message}, reason)))
        self._end()
        self._close(False)

    def violated(self, why: str) -> None:
        """End the session because the client broke the protocol.

        Basic Profile, "Protocol Errors": the router "MUST send an ABORT message [...] having reason
        wamp.error.protocol_violation", "MUST abort the WAMP session by disposing any allocated
        subscriptions/registrations [...] and without waiting for or processing any messages
        subsequently received", and "SHOULD also drop the WAMP connection at transport level".
        """
        logger.info("session %s broke the protocol: %s", self.id, why)
        self._router.count("violations")
        self.abort(error_uris.PROTOCOL_VIOLATION, why[:500])

    def refuse(self, message: t.Any, uri: str, *args: str) -> None:
        """Answer a request with ERROR."""
        code = type(message).__struct_config__.tag
        if code == 16 and not message.options.get("acknowledge"):
            # Basic Profile, "ERROR" of PUBLISH: "When the request for publication cannot be
            # fulfilled by the Broker, and PUBLISH.Options.acknowledge == true, the Broker sends
            # back an ERROR message".
            return
        self.send(self.encode((8, code, message.request_id, {}, uri, *([args] if args else ()))))

    def disclosed(self, codec: Codec, role: str) -> Raw:
        """Return details that identify this session, encoded once per serializer.

        :param role: ``caller`` or ``publisher``.
        """
        try:
            raw: Raw = self._disclosed[codec, role]
        except KeyError:
            raw = self._disclosed[codec, role] = codec.dump(self.identification(role))
        return raw

    def identification(self, role: str) -> Details:
        """Return the details that identify this session as ``caller`` or ``publisher``."""
        identity = self.identity
        return {
            role: self.id,
            f"{role}_authid": identity.authid,
            f"{role}_authrole": identity.authrole,
        }

    # Waiting for the authorizer.

    def pause(self) -> collections.deque[bytes]:
        """Hold back all further messages until :meth:`resume` is called with the return value."""
        self._paused = waiting = collections.deque[bytes]()
        return waiting

    def resume(self, waiting: collections.deque[bytes], first: t.Callable[[], None]) -> None:
        """Call a function, and then handle the messages that have arrived since :meth:`pause`.

        Does nothing if the session has ended meanwhile.
        """
        if self._paused is not waiting:
            return
        self._paused = None
        try:
            first()
        except ProtocolError as error:
            self.violated(str(error))
        except Exception:
            self._failed()
        self._catch_up(waiting)

    def _catch_up(self, waiting: collections.deque[bytes]) -> None:
        while waiting and self._paused is None:
            self.receive(waiting.popleft())
        if self._paused is not None:
            self._paused.extend(waiting)

    def _receive_later(self, data: bytes) -> None:
        assert self._paused is not None
        if len(self._paused) < self._router.settings.max_waiting:
            self._paused.append(data)
        else:
            self.abort(error_uris.UNAVAILABLE, "too many messages while the authorizer was asked")

    # Joining, see :mod:`.joining`.

    def begin_authentication(self, session_id: int, features: Features) -> None:
        """Wait for AUTHENTICATE, or for the authenticator's answer."""
        self.id = session_id
        self.features = features
        self.state = RouterSessionState.AUTHENTICATING
        self._legal = self._router.authenticating
        timeout = self._router.settings.authentication_timeout
        self._wait_at_most(timeout, "not authenticated in time")

    def establish(self, identity: Identity, realm: RealmInterface, welcome: bytes) -> None:
        """Send WELCOME and join the realm."""
        self._stop_waiting()
        self.identity = identity
        self.realm = realm
        self.state = RouterSessionState.ESTABLISHED
        self._legal = realm.handlers
        self.send(welcome)
        realm.join(self)

    # Leaving.

    def on_goodbye(self, message: m.Goodbye) -> None:
        """Answer GOODBYE. The client may send HELLO again, on the same transport."""
        self._leave_realm(False)
        self.send(self.encode((6, {}, error_uris.GOODBYE_AND_OUT)))
        self._reset()
        self._wait_at_most(self._router.settings.hello_timeout, None)

    def on_abort(self, message: m.Abort) -> None:
        """End without an answer: "No response to an ABORT message is expected"."""
        self._end()
        self._close(False)

    def _on_goodbye_answer(self, message: m.Goodbye) -> None:
        self._end()
        self._close(False)

    def _leave_realm(self, quietly: bool) -> None:
        realm, established = self.realm, self.state is RouterSessionState.ESTABLISHED
        self.realm = None
        if realm is not None and established:
            realm.leave(self, quietly)

    def _end(self) -> None:
        if self.state is RouterSessionState.CLOSED:
            return
        self._stop_waiting()
        self._leave_realm(False)
        self.state = RouterSessionState.CLOSED
        self._legal = _CLOSED
        self._paused = None
        self.challenge = None
        self._router.ended(self)

    # Helpers.

    def _illegal(self, kind: type) -> None:
        if self.state in (RouterSessionState.SHUTTING_DOWN, RouterSessionState.CLOSED):
            return  # the specification's state chart: "(14) Received other / ignore"
        self.violated(f"received {kind.__name__.upper()} while {self.state.value}")

    def _failed(self) -> None:
        """End this session, and no other one."""
        logger.exception("a message of session %s could not be handled", self.id)
        self._router.count("failures")
        self.abort(error_uris.RUNTIME_ERROR, "the router could not handle a message")

    def _refuse_size(self, size: int) -> None:
        limit = self._max_message_size
        self.abort(
            error_uris.PAYLOAD_SIZE_EXCEEDED, f"{size} bytes are over the limit of {limit} bytes"
        )

    def _check_request_id(self, request_id: int) -> None:
        expected = self.last_request_id + 1
        if self._strict or not 0 < request_id <= 2**53 or request_id in self.calls:
            raise ProtocolError(f"received request id {request_id}, but {expected} comes next")

    def _wait_at_most(self, timeout: float, why: str | None) -> None:
        """Close the transport after some time, with ABORT if there is a reason to send."""
        self._stop_waiting()

        def end() -> None:
            self._deadline = None
            if why is not None:
                self.abort(error_uris.AUTHENTICATION_FAILED, why)
            elif self.state is not RouterSessionState.CLOSED:
                self._end()
                self._close(False)

        self._deadline = self._router.timers.add(self._router.clock() + timeout, end)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._router.timers.cancel(self._deadline)
            self._deadline = None


#: The messages that are legal after GOODBYE was sent, and after the end. The messages for joining are in the
#: router, and those of established sessions are in the realm.
_SHUTTING_DOWN: Handlers = {
    m.Goodbye: (RouterSession._on_goodbye_answer, False),
    m.Abort: (RouterSession.on_abort, False),
}
_CLOSED: Handlers = {}
