"""The router's meta API, ``g.wampy.meta``: sessions, registrations and subscriptions.

Each method calls a procedure of the router, and requires the permission to call it. The answer is about the
client's realm. In a cluster, it is about one node.

Source: WAMP Advanced Profile, "Session Meta API", "Registration Meta API", "Subscription Meta API".
"""

from __future__ import annotations

import contextlib
import json
import typing as t

from ..exceptions import ApplicationError, CallTimeout
from ..peer.calls import CallFuture
from ..protocol import error_uris
from ..protocol.meta_types import RegistrationInfo, SessionInfo, SubscriptionInfo
from ..protocol.uris import COUNT_CALLEES, LOOKUP, MATCHES, check_uri

#: The errors for an id that is not valid any more. Methods that return everything skip it.
_GONE = (
    error_uris.NO_SUCH_SESSION,
    error_uris.NO_SUCH_REGISTRATION,
    error_uris.NO_SUCH_SUBSCRIPTION,
)

#: The errors of a call whose result is too large or cannot be decoded.
_UNREAD = (error_uris.PAYLOAD_SIZE_EXCEEDED, error_uris.INVALID_ARGUMENT)

#: How many calls a method that returns everything makes at once.
WINDOW = 64

Ids = list[int]
list_ = list
"""The type ``list``, for annotations in classes that have a method ``list``."""


class MetaClient(t.Protocol):
    """The part of the client that the meta API uses."""

    def call(self, procedure: str, /, *args: object, **kwargs: object) -> t.Any:
        """Call a procedure and wait for its result."""

    def submit(self, procedure: str, /, *args: object, **kwargs: object) -> CallFuture:
        """Call a procedure and return a future of its result."""


class Meta:
    """The meta API of the router, for the realm of a client.

    .. versionadded:: 0.1
    """

    def __init__(self, client: MetaClient) -> None:
        self.sessions = Sessions(client)
        self.registrations = Registrations(client)
        self.subscriptions = Subscriptions(client)


class _Part:
    def __init__(self, client: MetaClient) -> None:
        self._client = client

    def _ask(self, procedure: str, *args: object, **kwargs: object) -> t.Any:
        return ask(self._client, procedure, *args, **kwargs)


class Sessions(_Part):
    """``g.wampy.meta.sessions``."""

    def count(self, authroles: str | t.Iterable[str] | None = None) -> int:
        """Count the sessions, including this one.

        :param authroles: Count only sessions with one of these roles.
        :raises ApplicationError: ``wamp.error.not_authorized``. The text says which permission is missing.
        """
        return _number(self._ask("wamp.session.count", *_roles(authroles)))

    def list(self, authroles: str | t.Iterable[str] | None = None) -> Ids:
        """Return the ids of the sessions, including this one, in no particular order.

        :param authroles: Return only sessions with one of these roles.
        """
        return _ids(self._ask("wamp.session.list", *_roles(authroles)))

    def get(self, session_id: int, *, headers: bool = False) -> SessionInfo:
        """Return what the router knows about a session.

        :param headers: Include the HTTP headers of its WebSocket handshake in ``http_headers``. **They
            contain its cookies**, so do not show or log them.
        :raises ApplicationError: ``wamp.error.no_such_session``.
        """
        try:
            answer = self._ask("wamp.session.get", session_id)
        except ApplicationError as error:
            if not _is_unknown(error):
                raise
            raise _no_such_session(session_id) from error
        return SessionInfo.parse(answer, session_id, headers=headers)

    def all(self, authroles: str | t.Iterable[str] | None = None) -> list_[SessionInfo]:
        """Return what the router knows about every session.

        This makes one call for each session, several at once. If an answer does not arrive or cannot be
        decoded, the result for this session contains only its id. So a session cannot hide itself or others
        with the ``authextra`` that it has sent.

        :param authroles: Return only sessions with one of these roles.
        """
        ids = self.list(authroles)
        return [
            SessionInfo.parse(answer, session_id)
            for session_id, answer in _each(self._client, "wamp.session.get", ids, unread=True)
        ]

    def kill(
        self, session_id: int, *, reason: str | None = None, message: str | None = None
    ) -> None:
        """Let the router send GOODBYE to a session.

        The built-in router closes the connection if the client does not answer. **Crossbar does not close
        it.** A client that ignores GOODBYE stays there, with all its rights. To keep a user out, an
        authenticator or authorizer must refuse them too.

        :param reason: A URI, ``com.example.kicked``.
        :param message: A text for the user.
        :raises ApplicationError: ``wamp.error.no_such_session``.
        """
        self._ask("wamp.session.kill", session_id, **_why(reason, message))

    def kill_by_authid(
        self, authid: str, *, reason: str | None = None, message: str | None = None
    ) -> Ids:
        """Send GOODBYE to all sessions of a user, see :meth:`kill`.

        Crossbar 26.10 includes this session. The specification and the built-in router exclude it.

        :returns: The ids of these sessions.
        """
        return _ids(self._ask("wamp.session.kill_by_authid", authid, **_why(reason, message)))

    def kill_by_authrole(
        self, authrole: str, *, reason: str | None = None, message: str | None = None
    ) -> Ids:
        """Send GOODBYE to all sessions of a role, see :meth:`kill`.

        Crossbar 26.10 includes this session. The specification and the built-in router exclude it.

        :returns: The ids of these sessions.
        """
        return _ids(self._ask("wamp.session.kill_by_authrole", authrole, **_why(reason, message)))


class Registrations(_Part):
    """``g.wampy.meta.registrations``. The router's own procedures, ``wamp.``, are not included."""

    def list(self, session_id: int | None = None) -> Ids:
        """Return the ids of all registrations, or of those of one session."""
        return _ids(self._ask("wamp.registration.list", *_given(session_id)))

    def count(self, session_id: int | None = None) -> int:
        """Count what :meth:`list` returns."""
        return len(self.list(session_id))

    def get(self, registration_id: int) -> RegistrationInfo:
        """Return what the router knows about a registration.

        :raises ApplicationError: ``wamp.error.no_such_registration``.
        """
        answer = self._ask("wamp.registration.get", registration_id)
        return RegistrationInfo.parse(answer, registration_id)

    def all(self) -> list_[RegistrationInfo]:
        """Return what the router knows about every registration.

        This makes one call for each registration, several at once.
        """
        return [
            RegistrationInfo.parse(answer, number)
            for number, answer in _each(self._client, "wamp.registration.get", self.list())
        ]

    def lookup(self, procedure: str, match: str = "exact") -> int | None:
        """Return the id of the registration of exactly this procedure or pattern. None if there is none."""
        options = _match(procedure, "procedure", match)
        return _id(self._ask(LOOKUP, procedure, *options))

    def match(self, procedure: str) -> int | None:
        """Return the id of the registration that a call would reach. None if there is none."""
        return _id(self._ask("wamp.registration.match", check_uri(procedure, "procedure")))

    def list_callees(self, registration_id: int) -> Ids:
        """Return the ids of the sessions that share a registration.

        :raises ApplicationError: ``wamp.error.no_such_registration``.
        """
        return _ids(self._ask("wamp.registration.list_callees", registration_id))

    def count_callees(self, registration_id: int) -> int:
        """Count the sessions that share a registration.

        :raises ApplicationError: ``wamp.error.no_such_registration``.
        """
        return _number(self._ask(COUNT_CALLEES, registration_id))


class Subscriptions(_Part):
    """``g.wampy.meta.subscriptions``."""

    def list(self, session_id: int | None = None) -> Ids:
        """Return the ids of all subscriptions, or of those of one session.

        Without a session id, Crossbar 26.10 does not return subscriptions with ``match="wildcard"``.
        """
        return _ids(self._ask("wamp.subscription.list", *_given(session_id)))

    def count(self, session_id: int | None = None) -> int:
        """Count what :meth:`list` returns."""
        return len(self.list(session_id))

    def get(self, subscription_id: int) -> SubscriptionInfo:
        """Return what the router knows about a subscription.

        :raises ApplicationError: ``wamp.error.no_such_subscription``.
        """
        answer = self._ask("wamp.subscription.get", subscription_id)
        return SubscriptionInfo.parse(answer, subscription_id)

    def all(self) -> list_[SubscriptionInfo]:
        """Return what the router knows about every subscription in :meth:`list`.

        This makes one call for each subscription, several at once.
        """
        return [
            SubscriptionInfo.parse(answer, number)
            for number, answer in _each(self._client, "wamp.subscription.get", self.list())
        ]

    def lookup(self, topic: str, match: str = "exact") -> int | None:
        """Return the id of the subscription to exactly this topic or pattern. None if there is none."""
        return _id(self._ask("wamp.subscription.lookup", topic, *_match(topic, "topic", match)))

    def match(self, topic: str) -> Ids:
        """Return the ids of all subscriptions that an event of this topic would reach."""
        return _ids(self._ask("wamp.subscription.match", check_uri(topic, "topic")))

    def list_subscribers(self, subscription_id: int) -> Ids:
        """Return the ids of the sessions that share a subscription.

        :raises ApplicationError: ``wamp.error.no_such_subscription``.
        """
        try:
            return _ids(self._ask("wamp.subscription.list_subscribers", subscription_id))
        except ApplicationError as error:
            # Crossbar 26.10 counts an event history as a subscriber, and it has no session id.
            if error.uri != error_uris.RUNTIME_ERROR or "_session_id" not in str(error):
                raise
        sessions = _ids(self._ask("wamp.session.list"))
        return [
            session_id
            for session_id, answer in _each(self._client, "wamp.subscription.list", sessions)
            if subscription_id in _ids(answer)
        ]

    def count_subscribers(self, subscription_id: int) -> int:
        """Count the sessions that share a subscription.

        :raises ApplicationError: ``wamp.error.no_such_subscription``.
        """
        count = _number(self._ask("wamp.subscription.count_subscribers", subscription_id))
        # Crossbar 26.10 counts an event history as a subscriber.
        return count - 1 if count and self._has_history(subscription_id) else count

    def _has_history(self, subscription_id: int) -> bool:
        with contextlib.suppress(ApplicationError):
            self._client.call("wamp.subscription.get_events", subscription_id, 0)
            return True
        return False


def ask(client: MetaClient, procedure: str, *args: object, **kwargs: object) -> t.Any:
    """Call a procedure of the router. If it is not permitted, the error says which permission is missing."""
    try:
        return client.call(procedure, *args, **kwargs)
    except ApplicationError as error:
        raise explained(error, procedure) from error


def explained(error: ApplicationError, procedure: str) -> ApplicationError:
    """Return the given error.

    If a call was not permitted, return one that says which permission is missing.
    """
    if error.uri != error_uris.NOT_AUTHORIZED or _is_protected(error):
        return error
    permission = {"uri": procedure, "match": "exact", "allow": {"call": True}}
    return ApplicationError(
        error_uris.NOT_AUTHORIZED,
        f"the role of this session may not call {procedure}. Add this to the permissions of the role in the "
        f"router's configuration: {json.dumps(permission)}",
        *error.args,
    )


def _each(
    client: MetaClient, procedure: str, numbers: t.Sequence[int], *, unread: bool = False
) -> t.Iterator[tuple[int, t.Any]]:
    """Call a procedure with each id, several at once. Skip ids that are not valid any more.

    :param unread: Whether to yield None for an answer that does not arrive or cannot be decoded.
    """
    for start in range(0, len(numbers), WINDOW):
        window = numbers[start : start + WINDOW]
        asked = [(number, client.submit(procedure, number)) for number in window]
        for number, future in asked:
            try:
                yield number, future.result()
            except CallTimeout:
                if not unread:
                    raise
                yield number, None
            except ApplicationError as error:
                if unread and error.uri in _UNREAD:
                    yield number, None
                elif not (error.uri in _GONE or _is_protected(error) or _is_unknown(error)):
                    raise explained(error, procedure) from error


def _is_protected(error: ApplicationError) -> bool:
    """Return whether the error is about a URI of the router itself, which Crossbar never shows."""
    return error.uri == error_uris.NOT_AUTHORIZED and "protected URI" in str(error)


def _is_unknown(error: ApplicationError) -> bool:
    """Return whether the error means that there is no such session, if the realm has a store.

    Crossbar 26.10 then looks for the session in the store, but ``RealmStoreMemory`` has no method for that.
    """
    return error.uri == error_uris.RUNTIME_ERROR and "get_session_by_session_id" in str(error)


def _no_such_session(session_id: int) -> ApplicationError:
    text = f"no session with ID {session_id} exists on this router"
    return ApplicationError(error_uris.NO_SUCH_SESSION, text)


# Arguments and answers.


def _roles(authroles: str | t.Iterable[str] | None) -> tuple[list[str], ...]:
    if authroles is None:
        return ()
    return ([authroles] if isinstance(authroles, str) else list(authroles),)


def _given(session_id: int | None) -> tuple[int, ...]:
    return () if session_id is None else (session_id,)


def _match(uri: str, what: str, match: str) -> tuple[dict[str, str], ...]:
    if match not in MATCHES:
        raise ValueError(f"match={match!r} must be one of {', '.join(map(repr, MATCHES))}")
    check_uri(uri, what, match)
    return () if match == "exact" else ({"match": match},)


def _why(reason: str | None, message: str | None) -> dict[str, str]:
    if reason is not None:
        check_uri(reason, "reason")
    given = {"reason": reason, "message": message}
    return {name: text for name, text in given.items() if text is not None}


def _number(answer: object) -> int:
    return answer if type(answer) is int else 0


def _id(answer: object) -> int | None:
    return answer if type(answer) is int else None


def _ids(answer: object) -> list[int]:
    """Return the ids in an answer, which is a list, one list for each ``match``, or None."""
    if isinstance(answer, dict):
        return [number for numbers in answer.values() for number in _ids(numbers)]
    return [number for number in answer if type(number) is int] if isinstance(answer, list) else []
