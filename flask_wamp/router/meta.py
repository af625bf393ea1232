"""The meta API: what clients may ask the router itself.

Source: WAMP Advanced Profile, "Session Meta API", "Registration Meta API", "Subscription Meta API",
"Session Testament", "Event History".
"""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.identity import app_extra
from ..protocol.messages import Details
from ..protocol.uris import is_valid_uri
from . import testaments
from .authorization import Decision
from .broker import Broker, Subscription
from .codec import Payload, PayloadError
from .dealer import Dealer, is_reserved
from .history import Query
from .interfaces import RouterInterface
from .meta_arguments import Args, MetaError, argument, pattern_in, reason_in, uri_in
from .options import MATCHES, InvalidOption, choice
from .registrations import Registration
from .rights import authorize
from .session import RouterSession


@dataclasses.dataclass(frozen=True)
class NeedsRight:
    """The return value of a meta procedure that acts for its caller, who must have the right to do that."""

    action: str
    uri: str
    options: Details
    then: t.Callable[[Decision], object]
    """Called if the caller has the right. It returns the result."""


class MetaProcedures:
    """The meta procedures of a realm.

    :param sessions: The sessions of the realm, by id.
    """

    def __init__(
        self,
        router: RouterInterface,
        sessions: t.Mapping[int, RouterSession],
        dealer: Dealer,
        broker: Broker,
    ) -> None:
        self._sessions = sessions
        self._dealer = dealer
        self._broker = broker
        self._authorizer = router.authorizer
        self._max_testaments = router.settings.max_testaments
        for name, procedure in PROCEDURES.items():
            dealer.meta[name] = functools.partial(self._serve, procedure)

    def _serve(self, procedure: Procedure, session: RouterSession, message: m.Call) -> None:
        payload = Payload(session.codec, session.codec.payload(message))

        def result() -> object:
            args, kwargs = payload.values()
            return procedure(self, session, args, kwargs)

        self._answer(session, message, result)

    def _answer(
        self, session: RouterSession, message: m.Call, result: t.Callable[[], object]
    ) -> None:
        try:
            value = result()
            if isinstance(value, NeedsRight):
                need = value
                authorize(
                    self._authorizer,
                    session,
                    need.action,
                    need.uri,
                    need.options,
                    message,
                    lambda session, message, decision: self._answer(
                        session, message, lambda: need.then(decision)
                    ),
                )
                return
            data = session.encode((50, message.request_id, {}, session.codec.dump([value])))
        except MetaError as error:
            session.refuse(message, error.uri, str(error))
        except (PayloadError, InvalidOption) as error:
            session.refuse(message, error_uris.INVALID_ARGUMENT, str(error))
        else:
            if len(data) > session.max_send_size:
                session.refuse(
                    message, error_uris.PAYLOAD_SIZE_EXCEEDED, "the result is too large for you"
                )
            else:
                session.send(data)

    # Sessions.

    def _sessions_of(self, args: Args) -> list[RouterSession]:
        roles = argument(args, 0, list, "a list of roles", optional=True)
        sessions = list(self._sessions.values())
        if roles is None:
            return sessions
        return [session for session in sessions if session.identity.authrole in roles]

    def session_count(self, caller: RouterSession, args: Args, kwargs: Details) -> int:
        """``wamp.session.count``"""
        return len(self._sessions_of(args))

    def session_list(self, caller: RouterSession, args: Args, kwargs: Details) -> list[int]:
        """``wamp.session.list``"""
        return [session.id for session in self._sessions_of(args)]

    def session_get(self, caller: RouterSession, args: Args, kwargs: Details) -> Details:
        """``wamp.session.get``"""
        return session_details(self._session(args, 0))

    def _session(self, args: Args, at: int) -> RouterSession:
        session_id = argument(args, at, int, "a session id")
        session = self._sessions.get(session_id)
        if session is None:
            raise MetaError(error_uris.NO_SUCH_SESSION, f"no session {session_id}")
        return session

    def session_kill(self, caller: RouterSession, args: Args, kwargs: Details) -> None:
        """``wamp.session.kill``"""
        session = self._session(args, 0)
        if session is caller:
            # "The caller [...] may only specify session IDs other than its own session."
            raise MetaError(error_uris.NO_SUCH_SESSION, "a session cannot end itself")
        self._kill([session], kwargs)

    def session_kill_by_authid(
        self, caller: RouterSession, args: Args, kwargs: Details
    ) -> list[int]:
        """``wamp.session.kill_by_authid``"""
        authid = argument(args, 0, str, "an authid")
        return self._kill(
            [
                session
                for session in self._sessions.values()
                if session.identity.authid == authid and session is not caller
            ],
            kwargs,
        )

    def session_kill_by_authrole(
        self, caller: RouterSession, args: Args, kwargs: Details
    ) -> list[int]:
        """``wamp.session.kill_by_authrole``

        The specification's result is the number of sessions. Crossbar.io and this router return their ids.
        """
        authrole = argument(args, 0, str, "an authrole")
        return self._kill(
            [
                session
                for session in self._sessions.values()
                if session.identity.authrole == authrole and session is not caller
            ],
            kwargs,
        )

    def session_kill_all(self, caller: RouterSession, args: Args, kwargs: Details) -> int:
        """``wamp.session.kill_all``"""
        others = [session for session in self._sessions.values() if session is not caller]
        # "Closing all sessions in the realm will not generate session meta events or testament events"
        return len(self._kill(others, kwargs, quietly=True))

    def _kill(
        self, sessions: list[RouterSession], kwargs: Details, quietly: bool = False
    ) -> list[int]:
        reason, message = kwargs.get("reason"), kwargs.get("message")
        if reason is None:
            reason = error_uris.CLOSE_KILLED
        # "wamp.error.invalid_uri - A reason keyword argument has a value that is not a valid
        # non-empty URI."
        if not isinstance(reason, str) or not is_valid_uri(reason):
            raise MetaError(error_uris.INVALID_URI, f"reason must be a URI, not {reason!r:.100}")
        if not isinstance(message, str | None):
            raise MetaError(error_uris.INVALID_ARGUMENT, "message must be text")
        ids = [session.id for session in sessions]
        for session in sessions:
            session.disconnect(reason, message, quietly=quietly)
        return ids

    def add_testament(self, caller: RouterSession, args: Args, kwargs: Details) -> NeedsRight:
        """``wamp.session.add_testament``"""
        topic = uri_in(args, 0)
        payload_args = argument(args, 1, list, "a list, the positional payload", optional=True)
        payload_kwargs = argument(args, 2, dict, "a dictionary, the keyword payload", optional=True)
        options = kwargs.get("publish_options")
        if options is None:
            options = {}
        if not isinstance(options, dict):
            raise MetaError(error_uris.INVALID_ARGUMENT, "publish_options must be a dictionary")
        scope = choice(kwargs, "scope", testaments.SCOPES[::-1])
        if is_reserved(topic):
            raise MetaError(error_uris.INVALID_URI, f"{topic!r:.200} is reserved")
        if testaments.count(caller) >= self._max_testaments:
            raise MetaError(error_uris.UNAVAILABLE, "too many testaments")
        payload = Payload.of(payload_args or [], payload_kwargs)

        def add(decision: Decision) -> None:
            prepared = self._broker.prepare(caller, topic, options, payload, decision)
            testaments.add(caller, scope, testaments.StoredTestament(*prepared))

        # The caller must have the right to publish now. The right to call this procedure is not enough.
        return NeedsRight("publish", topic, options, add)

    def flush_testaments(self, caller: RouterSession, args: Args, kwargs: Details) -> None:
        """``wamp.session.flush_testaments``"""
        caller.testaments.pop(choice(kwargs, "scope", testaments.SCOPES[::-1]), None)

    # Registrations.

    def _registration(self, args: Args) -> Registration:
        registration_id = argument(args, 0, int, "a registration id")
        registration = self._dealer.by_id.get(registration_id)
        if registration is None:
            raise MetaError(error_uris.NO_SUCH_REGISTRATION, f"no registration {registration_id}")
        return registration

    def registration_list(self, caller: RouterSession, args: Args, kwargs: Details) -> Details:
        """``wamp.registration.list``, of all sessions or, as with Crossbar.io, of one"""
        registrations: t.Iterable[Registration] = self._dealer.by_id.values()
        if args:
            callees = self._session(args, 0).registrations.values()
            registrations = [callee.registration for callee in callees]
        return _by_match(registrations)

    def registration_lookup(self, caller: RouterSession, args: Args, kwargs: Details) -> int | None:
        """``wamp.registration.lookup``"""
        return self._dealer.lookup(*pattern_in(args))

    def registration_match(self, caller: RouterSession, args: Args, kwargs: Details) -> int | None:
        """``wamp.registration.match``"""
        return self._dealer.match(uri_in(args, 0))

    def registration_get(self, caller: RouterSession, args: Args, kwargs: Details) -> Details:
        """``wamp.registration.get``"""
        return self._registration(args).details

    def list_callees(self, caller: RouterSession, args: Args, kwargs: Details) -> list[int]:
        """``wamp.registration.list_callees``"""
        return [callee.session.id for callee in self._registration(args).callees]

    def count_callees(self, caller: RouterSession, args: Args, kwargs: Details) -> int:
        """``wamp.registration.count_callees``"""
        return len(self._registration(args).callees)

    def remove_callee(self, caller: RouterSession, args: Args, kwargs: Details) -> None:
        """``wamp.registration.remove_callee(registration, session, reason=)``, as with Crossbar.io"""
        registration, session = self._registration(args), self._session(args, 1)
        callee = registration.callee_of(session)
        if callee is None:
            raise MetaError(
                error_uris.NO_SUCH_SESSION,
                f"session {session.id} is not a callee of {registration.uri}",
            )
        self._dealer.revoke(callee, reason_in(args, kwargs))

    # Subscriptions.

    def _subscription(self, args: Args) -> Subscription:
        subscription_id = argument(args, 0, int, "a subscription id")
        subscription = self._broker.by_id.get(subscription_id)
        if subscription is None:
            raise MetaError(error_uris.NO_SUCH_SUBSCRIPTION, f"no subscription {subscription_id}")
        return subscription

    def subscription_list(self, caller: RouterSession, args: Args, kwargs: Details) -> Details:
        """``wamp.subscription.list``, of all sessions or, as with Crossbar.io, of one"""
        subscriptions: t.Iterable[Subscription] = self._broker.by_id.values()
        if args:
            subscriptions = self._session(args, 0).subscriptions.values()
        return _by_match(subscriptions)

    def subscription_lookup(self, caller: RouterSession, args: Args, kwargs: Details) -> int | None:
        """``wamp.subscription.lookup``"""
        return self._broker.lookup(*pattern_in(args))

    def subscription_match(
        self, caller: RouterSession, args: Args, kwargs: Details
    ) -> list[int] | None:
        """``wamp.subscription.match``"""
        return self._broker.match(uri_in(args, 0)) or None

    def subscription_get(self, caller: RouterSession, args: Args, kwargs: Details) -> Details:
        """``wamp.subscription.get``"""
        return self._subscription(args).details

    def list_subscribers(self, caller: RouterSession, args: Args, kwargs: Details) -> list[int]:
        """``wamp.subscription.list_subscribers``"""
        return [session.id for session in self._subscription(args).sessions]

    def count_subscribers(self, caller: RouterSession, args: Args, kwargs: Details) -> int:
        """``wamp.subscription.count_subscribers``"""
        return len(self._subscription(args).sessions)

    def remove_subscriber(self, caller: RouterSession, args: Args, kwargs: Details) -> None:
        """``wamp.subscription.remove_subscriber(subscription, session, reason=)``, as with Crossbar.io"""
        subscription, session = self._subscription(args), self._session(args, 1)
        if subscription.id not in session.subscriptions:
            raise MetaError(
                error_uris.NO_SUCH_SESSION,
                f"session {session.id} is not a subscriber of {subscription.uri}",
            )
        self._broker.revoke(session, subscription, reason_in(args, kwargs))

    def get_events(self, caller: RouterSession, args: Args, kwargs: Details) -> NeedsRight:
        """``wamp.subscription.get_events``"""
        subscription = self._subscription(args)
        if subscription.history is None:
            raise MetaError(
                error_uris.HISTORY_UNAVAILABLE, f"no events of {subscription.uri} are kept"
            )
        query = Query.parse(args, kwargs)
        history = subscription.history
        # "In order to request event history, a peer must be allowed to subscribe to a desired
        # subscription first."
        return NeedsRight(
            "subscribe",
            subscription.uri,
            {"match": subscription.match},
            lambda decision: query.run(history, subscription.id, caller),
        )


def session_details(session: RouterSession) -> Details:
    """Return the details of a session for the session meta API."""
    identity = session.identity
    details: Details = {
        "session": session.id,
        "authid": identity.authid,
        "authrole": identity.authrole,
        "authmethod": identity.authmethod,
        "authprovider": identity.authprovider,
        "transport": dict(session.facts.details),
    }
    # The rest of HELLO's authextra is not included, because it may contain a nonce or a token.
    authextra = {**app_extra(session.app), **identity.authextra}
    if authextra:
        details["authextra"] = authextra
    return details


def _by_match(entries: t.Iterable[Registration | Subscription]) -> Details:
    ids: Details = {match: [] for match in MATCHES}
    for entry in entries:
        ids[entry.match].append(entry.id)
    return ids


Procedure = t.Callable[[MetaProcedures, RouterSession, Args, Details], object]

PROCEDURES: dict[str, Procedure] = {
    "wamp.session.count": MetaProcedures.session_count,
    "wamp.session.list": MetaProcedures.session_list,
    "wamp.session.get": MetaProcedures.session_get,
    "wamp.session.kill": MetaProcedures.session_kill,
    "wamp.session.kill_by_authid": MetaProcedures.session_kill_by_authid,
    "wamp.session.kill_by_authrole": MetaProcedures.session_kill_by_authrole,
    "wamp.session.kill_all": MetaProcedures.session_kill_all,
    "wamp.session.add_testament": MetaProcedures.add_testament,
    "wamp.session.flush_testaments": MetaProcedures.flush_testaments,
    "wamp.registration.list": MetaProcedures.registration_list,
    "wamp.registration.lookup": MetaProcedures.registration_lookup,
    "wamp.registration.match": MetaProcedures.registration_match,
    "wamp.registration.get": MetaProcedures.registration_get,
    "wamp.registration.list_callees": MetaProcedures.list_callees,
    "wamp.registration.count_callees": MetaProcedures.count_callees,
    "wamp.registration.remove_callee": MetaProcedures.remove_callee,
    "wamp.subscription.list": MetaProcedures.subscription_list,
    "wamp.subscription.lookup": MetaProcedures.subscription_lookup,
    "wamp.subscription.match": MetaProcedures.subscription_match,
    "wamp.subscription.get": MetaProcedures.subscription_get,
    "wamp.subscription.list_subscribers": MetaProcedures.list_subscribers,
    "wamp.subscription.count_subscribers": MetaProcedures.count_subscribers,
    "wamp.subscription.remove_subscriber": MetaProcedures.remove_subscriber,
    "wamp.subscription.get_events": MetaProcedures.get_events,
}
