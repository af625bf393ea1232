"""A client's session, from the router's side.

A state machine without I/O: the transport hands over what it has received
(:meth:`RouterSession.receive`) and says when the connection is gone (:meth:`RouterSession.lost`);
the session calls ``send`` and ``close``. What an established session may ask for is handled by the
realm it has joined.

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
from ..protocol.uris import is_valid_uri
from .authentication import Authenticator, Challenge, JoinRequest, Refusal, Verdict
from .authorization import Authorizer, Decision, as_decision
from .codec import Codec, PayloadError, get_codec
from .facts import TransportFacts
from .features import ROLES, Features
from .later import Later
from .settings import Settings
from .timers import Timer, Timers

logger = get_logger("flask_wamp.router")

Handler = t.Callable[["RouterSession", t.Any], None]

Proceed = t.Callable[["RouterSession", t.Any, Decision], None]

#: Where there is no authorizer.
UNDECIDED = Decision(True)


class State(enum.Enum):
    """Where a session is in its life; the names are those of the specification's state chart."""

    ESTABLISHING = "establishing"
    AUTHENTICATING = "authenticating"
    ESTABLISHED = "established"
    SHUTTING_DOWN = "shutting down"
    CLOSED = "closed"


class JoinableRealm(t.Protocol):
    """What a session needs of its realm."""

    @property
    def handlers(self) -> t.Mapping[type, tuple[Handler, bool]]:
        """Who handles a message of an established session, and whether it is a request of its own."""

    def join(self, session: RouterSession) -> None:
        """Take a session in, just before it gets WELCOME."""

    def leave(self, session: RouterSession, quietly: bool) -> None:
        """Dispose of all that a session has.

        :param quietly: Publish no meta events and no testaments.
        """


class Host(t.Protocol):
    """What a session needs of its router."""

    settings: Settings
    timers: Timers
    authenticator: Authenticator
    authorizer: Authorizer | None

    def clock(self) -> float: ...

    def nonce(self, size: int, /) -> bytes: ...

    def timestamp(self) -> str: ...

    def new_session_id(self) -> int: ...

    def has_realm(self, name: str) -> bool:
        """Whether a realm exists, or may be created."""

    def find_realm(self, name: str) -> JoinableRealm | None:
        """Return a realm. None: it does not exist and may not be created."""

    def ended(self, session: RouterSession) -> None:
        """Forget a session whose transport is closed."""

    def count(self, what: str) -> None: ...


class RouterSession:
    """One client's session. Made by :meth:`.Router.open`.

    :param send: Takes the bytes of one message. It must not block, and must not call the router.
    :param close: Closes the transport. With ``True`` at once, without what is still to be sent;
        with ``False`` as soon as that has left. It must not call the router before it has returned.
    """

    __slots__ = (
        "_challenge",
        "_close",
        "_deadline",
        "_disclosed",
        "_host",
        "_legal",
        "_max_message_size",
        "_realm_name",
        "_stopped",
        "_strict",
        "calls",
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
        host: Host,
        facts: TransportFacts,
        send: t.Callable[[bytes], object],
        close: t.Callable[[bool], object],
    ) -> None:
        self._host = host
        self.facts = facts
        self.codec: Codec = get_codec(facts.serializer)
        self.encode = self.codec.encode
        self.send = send
        self._close = close
        self.max_send_size = facts.max_message_size
        self._max_message_size = host.settings.max_message_size
        self._strict = host.settings.sequential_request_ids
        self._deadline: Timer | None = None
        self._stopped: collections.deque[bytes] | None = None
        self._reset()
        self._wait_at_most(host.settings.hello_timeout, "no HELLO in time")

    def _reset(self) -> None:
        """Be as new: after GOODBYE a client may say HELLO again on the same transport."""
        self.state = State.ESTABLISHING
        self.id = 0
        self.identity = Identity("", "")
        self.features = Features()
        self.realm: JoinableRealm | None = None
        self._realm_name = ""
        self.last_request_id = 0
        self.last_invocation_id = 0
        self.calls: dict[int, t.Any] = {}
        self.invocations: dict[int, t.Any] = {}
        self.registrations: dict[int, t.Any] = {}
        self.subscriptions: dict[int, t.Any] = {}
        self.testaments: dict[str, list[t.Any]] = {}
        self._challenge: Challenge | None = None
        self._disclosed: dict[tuple[Codec, str], t.Any] = {}
        self._legal: t.Mapping[type, tuple[Handler, bool]] = _ESTABLISHING

    # What the transport says.

    def receive(self, data: bytes) -> None:
        """Take in one message, as the bytes it came as. Never raises.

        :param data: It must not change afterwards, as a part of a reused buffer would.
        """
        if self._stopped is not None:
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
        except ProtocolError as error:
            self.violated(str(error))
        except Exception:
            self._failed()

    def lost(self) -> None:
        """Note that the connection is gone: nothing more comes, nothing more can be sent."""
        self._end()

    def report_unsent(self, size: int) -> None:
        """Note how many bytes the transport could not send yet; a session over the limit is cut off."""
        if size > self._host.settings.max_unsent and self.state is not State.CLOSED:
            logger.warning("session %s does not read: cut off with %s bytes unsent", self.id, size)
            self._host.count("cut_off")
            self._end()
            self._close(True)

    # What the router says.

    def disconnect(
        self,
        reason: str = error_uris.CLOSE_KILLED,
        message: str | None = None,
        *,
        quietly: bool = False,
    ) -> None:
        """End the session: it is out of its realm at once, gets GOODBYE, and then the transport is closed.

        A client that does not answer with GOODBYE in time is closed all the same.
        """
        if self.state is not State.ESTABLISHED:
            self.abort(reason, message or "")
            return
        self._leave_realm(quietly)
        self.state = State.SHUTTING_DOWN
        self._legal = _SHUTTING_DOWN
        self._stopped = None
        self.send(self.encode((6, {} if message is None else {"message": message}, reason)))
        self._wait_at_most(self._host.settings.goodbye_timeout, None)

    def abort(self, reason: str, message: str) -> None:
        """End the session with ABORT, and close the transport."""
        if self.state is State.CLOSED:
            return
        if self.state is not State.SHUTTING_DOWN:
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
        self._host.count("violations")
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

    # Rights.

    def authorize(
        self,
        action: str,
        uri: str,
        options: Details,
        message: t.Any,
        proceed: Proceed,
    ) -> None:
        """Have the authorizer decide about a request, then proceed with it or answer ERROR.

        While the answer is awaited, what else the client sends waits too: its order is kept.
        """
        if self._host.authorizer is None:
            proceed(self, message, UNDECIDED)
            return
        try:
            answer = self._host.authorizer(self.identity, action, uri, options)
            decision = None if isinstance(answer, Later) else as_decision(answer)
        except Exception:
            self._authorization_failed(message)
            return
        if decision is not None:
            self._authorized(decision, message, proceed)
            return
        assert isinstance(answer, Later)
        waiting: collections.deque[bytes] = collections.deque()
        self._stopped = waiting
        answer.then(lambda decided: self._go_on(waiting, decided, message, proceed))

    def _authorized(self, decision: Decision, message: t.Any, proceed: Proceed) -> None:
        if decision.allow:
            proceed(self, message, decision)
        else:
            self.refuse(message, error_uris.NOT_AUTHORIZED, decision.message or "not authorized")

    def _authorization_failed(self, message: t.Any) -> None:
        # "could not determine if the Peer is authorized [...] since the authorization operation
        # itself failed"
        logger.exception("the authorizer failed")
        self.refuse(message, error_uris.AUTHORIZATION_FAILED, "the authorizer failed")

    def _go_on(
        self,
        waiting: collections.deque[bytes],
        answer: object,
        message: t.Any,
        proceed: Proceed,
    ) -> None:
        """Proceed with a request that has waited for the authorizer, and with what came after it."""
        if self._stopped is not waiting:  # the session has ended
            return
        self._stopped = None
        try:
            decision = as_decision(answer)
        except TypeError:
            self._authorization_failed(message)
        else:
            self._guard(lambda: self._authorized(decision, message, proceed))
        self._catch_up(waiting)

    def _catch_up(self, waiting: collections.deque[bytes]) -> None:
        """Handle what came while the authorizer was asked, until it is asked again."""
        while waiting and self._stopped is None:
            self.receive(waiting.popleft())
        if self._stopped is not None:
            self._stopped.extend(waiting)

    def _guard(self, handle: t.Callable[[], None]) -> None:
        """Handle a message outside of :meth:`receive`, as it does: only this session fails."""
        try:
            handle()
        except ProtocolError as error:
            self.violated(str(error))
        except Exception:
            self._failed()

    def _receive_later(self, data: bytes) -> None:
        assert self._stopped is not None
        if len(self._stopped) < self._host.settings.max_waiting:
            self._stopped.append(data)
        else:
            self.abort(error_uris.UNAVAILABLE, "too many messages while the authorizer was asked")

    # Joining.

    def _on_hello(self, message: m.Hello) -> None:
        host = self._host
        self.features = Features.parse(message.details.get("roles"))
        if not is_valid_uri(message.realm):
            self.abort(error_uris.INVALID_URI, "the name of the realm is not a URI")
            return
        if not host.has_realm(message.realm):
            self.abort(error_uris.NO_SUCH_REALM, f"there is no realm {message.realm!r:.100}")
            return
        self._realm_name = message.realm
        self.id = host.new_session_id()
        self.state = State.AUTHENTICATING
        self._legal = _AUTHENTICATING
        self._wait_at_most(host.settings.authentication_timeout, "not authenticated in time")
        if self.facts.identity is not None:
            self._welcome(self.facts.identity)
            return
        request = self._join_request(message)
        self._ask(lambda: host.authenticator(request))

    def _join_request(self, message: m.Hello) -> JoinRequest:
        details = message.details
        authid, methods = details.get("authid"), details.get("authmethods")
        authextra = details.get("authextra")
        if methods is None or methods == []:
            methods = ["anonymous"]
        if not (isinstance(methods, list) and all(isinstance(each, str) for each in methods)):
            raise ProtocolError("HELLO.Details.authmethods is not a list of strings")
        if not isinstance(authid, str | None):
            raise ProtocolError("HELLO.Details.authid is not a string")
        if not isinstance(authextra, dict | None):
            raise ProtocolError("HELLO.Details.authextra is not a dictionary")
        return JoinRequest(
            realm=message.realm,
            session_id=self.id,
            authid=authid,
            authmethods=tuple(methods),
            authextra=authextra or {},
            facts=self.facts,
            nonce=self._host.nonce,
            timestamp=self._host.timestamp(),
        )

    def _on_authenticate(self, message: m.Authenticate) -> None:
        challenge, self._challenge = self._challenge, None
        if challenge is None:
            raise ProtocolError("AUTHENTICATE without a CHALLENGE")
        self._ask(lambda: challenge.verify(message.signature, message.extra))

    def _ask(self, question: t.Callable[[], object]) -> None:
        """Ask the authenticator, and continue with its answer when it comes."""
        session_id = self.id

        def answered(answer: object) -> None:
            if self.id == session_id and self.state is State.AUTHENTICATING:
                self._authenticated(answer)

        try:
            answer = question()
        except Exception:
            logger.exception("the authenticator failed")
            answer = Refusal(error_uris.AUTHENTICATION_FAILED, "the authenticator failed")
        if isinstance(answer, Later):
            answer.then(answered)
        else:
            answered(answer)

    def _authenticated(self, answer: object) -> None:
        if isinstance(answer, Challenge):
            self._challenge = answer
            self.send(self.encode((4, answer.authmethod, dict(answer.extra))))
        elif isinstance(answer, Identity):
            self._welcome(answer)
        elif isinstance(answer, Refusal):
            self._host.count("refused")
            self.abort(answer.reason, answer.message)
        else:  # nobody gets in by an authenticator that forgets to answer
            logger.error("an authenticator answered %r", answer)
            self.abort(error_uris.AUTHENTICATION_FAILED, "the authenticator failed")

    def _welcome(self, identity: Identity) -> None:
        details: Details = {
            "realm": self._realm_name,
            "roles": ROLES,
            "agent": self._host.settings.agent,
            "authid": identity.authid,
            "authrole": identity.authrole,
            "authmethod": identity.authmethod,
            "authprovider": identity.authprovider,
        }
        if identity.authextra:
            details["authextra"] = dict(identity.authextra)
        try:
            welcome = self.encode((2, self.id, self.codec.dump(details)))
        except PayloadError as error:
            logger.error("the identity of %r cannot be sent: %s", identity.authid, error)
            self.abort(error_uris.AUTHENTICATION_FAILED, "the authenticator failed")
            return
        realm = self._host.find_realm(self._realm_name)
        if realm is None:
            self.abort(error_uris.NO_SUCH_REALM, f"there is no realm {self._realm_name!r:.100}")
            return
        self._stop_waiting()
        self.identity = identity
        self.realm = realm
        self.state = State.ESTABLISHED
        self._legal = realm.handlers
        self.send(welcome)
        realm.join(self)

    # Leaving.

    def on_goodbye(self, message: m.Goodbye) -> None:
        """Answer GOODBYE. The client may say HELLO again, on the same transport."""
        self._leave_realm(False)
        self.send(self.encode((6, {}, error_uris.GOODBYE_AND_OUT)))
        self._reset()
        self._wait_at_most(self._host.settings.hello_timeout, None)

    def on_abort(self, message: m.Abort) -> None:
        """End without an answer: "No response to an ABORT message is expected"."""
        self._end()
        self._close(False)

    def _on_goodbye_answer(self, message: m.Goodbye) -> None:
        self._end()
        self._close(False)

    def _leave_realm(self, quietly: bool) -> None:
        realm, established = self.realm, self.state is State.ESTABLISHED
        self.realm = None
        if realm is not None and established:
            realm.leave(self, quietly)

    def _end(self) -> None:
        if self.state is State.CLOSED:
            return
        self._stop_waiting()
        self._leave_realm(False)
        self.state = State.CLOSED
        self._legal = _CLOSED
        self._stopped = None
        self._challenge = None
        self._host.ended(self)

    # Helpers.

    def _illegal(self, kind: type) -> None:
        if self.state in (State.SHUTTING_DOWN, State.CLOSED):
            return  # the specification's state chart: "(14) Received other / ignore"
        self.violated(f"received {kind.__name__.upper()} while {self.state.value}")

    def _failed(self) -> None:
        """Give up on this session, and only on it."""
        logger.exception("a message of session %s could not be handled", self.id)
        self._host.count("failures")
        self.abort(error_uris.RUNTIME_ERROR, "the router could not handle a message")

    def _refuse_size(self, size: int) -> None:
        limit = self._max_message_size
        self.abort(
            error_uris.PAYLOAD_SIZE_EXCEEDED, f"{size} bytes are over the limit of {limit} bytes"
        )

    def _check_request_id(self, request_id: int) -> None:
        expected = self.last_request_id + 1
        if self._strict or not 0 < request_id <= 2**53 or request_id in self.calls:
            raise ProtocolError(f"request id {request_id} where {expected} comes next")

    def _wait_at_most(self, timeout: float, why: str | None) -> None:
        """Close the transport after some time, with ABORT if there is a reason to tell."""
        self._stop_waiting()

        def end() -> None:
            self._deadline = None
            if why is not None:
                self.abort(error_uris.AUTHENTICATION_FAILED, why)
            elif self.state is not State.CLOSED:
                self._end()
                self._close(False)

        self._deadline = self._host.timers.add(self._host.clock() + timeout, end)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._host.timers.cancel(self._deadline)
            self._deadline = None


#: What is legal in which state. An established session's table is its realm's.
_ESTABLISHING: dict[type, tuple[Handler, bool]] = {
    m.Hello: (RouterSession._on_hello, False),
    m.Abort: (RouterSession.on_abort, False),
}
_AUTHENTICATING: dict[type, tuple[Handler, bool]] = {
    m.Authenticate: (RouterSession._on_authenticate, False),
    m.Abort: (RouterSession.on_abort, False),
}
_SHUTTING_DOWN: dict[type, tuple[Handler, bool]] = {
    m.Goodbye: (RouterSession._on_goodbye_answer, False),
    m.Abort: (RouterSession.on_abort, False),
}
_CLOSED: dict[type, tuple[Handler, bool]] = {}

__all__ = ["Host", "JoinableRealm", "RouterSession", "State", "Verdict"]
