"""The broker: subscriptions and publications.

Source: WAMP Basic Profile, "Publish and Subscribe"; WAMP Advanced Profile, "Pattern-based
Subscriptions", "Publisher Exclusion", "Publisher Identification", "Subscription Revocation", "Event
Retention", "Event History".
"""

from __future__ import annotations

import typing as t

from .._text import get_logger
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.messages import Details
from ..protocol.uris import is_valid_uri, matches
from .authorization import Decision
from .calls import link_of
from .codec import Codec, Payload, PayloadError
from .dealer import is_reserved
from .interfaces import Handlers, RouterInterface
from .matching import Index
from .options import MATCHES, InvalidOption, choice, flag, forwarded, passed_on
from .publications import History, Publication, Receivers, Retained
from .rights import UNDECIDED, authorize
from .session import RouterSession

logger = get_logger("flask_wamp.router")

#: Messages of up to this size fit every transport: RawSocket's smallest limit.
SMALL = 512


class Subscription:
    """A topic, or a pattern of topics, and its subscribers."""

    __slots__ = ("created", "history", "id", "match", "subscribers", "uri")

    def __init__(
        self, subscription_id: int, uri: str, match: str, created: str, history: History | None
    ) -> None:
        self.id = subscription_id
        self.uri = uri
        self.match = match
        self.created = created
        self.history = history
        """The events that are kept, or None. A subscription with a history needs no subscribers to exist."""
        self.subscribers: dict[Codec, dict[RouterSession, None]] = {}
        """The subscribers by serializer: an event is encoded once for all that share one."""

    @property
    def details(self) -> Details:
        """The details for the subscription meta API."""
        return {"id": self.id, "created": self.created, "uri": self.uri, "match": self.match}

    @property
    def sessions(self) -> list[RouterSession]:
        """All subscribers."""
        return [session for members in self.subscribers.values() for session in members]

    def add(self, session: RouterSession) -> None:
        """Add a subscriber."""
        self.subscribers.setdefault(session.codec, {})[session] = None

    def remove(self, session: RouterSession) -> None:
        """Remove a subscriber."""
        members = self.subscribers[session.codec]
        del members[session]
        if not members:
            del self.subscribers[session.codec]


class Broker:
    """The subscriptions of a realm. All requests come from established sessions.

    :param new_id: Makes ids in the router scope.
    :param new_publication_id: Makes ids in the global scope.
    """

    def __init__(
        self,
        router: RouterInterface,
        new_id: t.Callable[[], int],
        new_publication_id: t.Callable[[], int],
        time_ns: t.Callable[[], int],
    ) -> None:
        self._router = router
        self._new_id = new_id
        self._new_publication_id = new_publication_id
        self._time_ns = time_ns
        self._index: Index[Subscription] = Index()
        self.by_id: dict[int, Subscription] = {}
        self.retained = Retained(router.settings.max_retained)
        for kept in router.settings.history:
            self._create(kept.uri, kept.match, History(kept.limit))

    @property
    def handlers(self) -> Handlers:
        """The methods that handle the messages of established sessions."""
        return {
            m.Publish: (self.on_publish, True),
            m.Subscribe: (self.on_subscribe, True),
            m.Unsubscribe: (self.on_unsubscribe, True),
        }

    # Publications.

    def on_publish(self, session: RouterSession, message: m.Publish) -> None:
        """Handle PUBLISH."""
        if self._router.authorizer is None:
            self._publish(session, message, UNDECIDED)
        else:
            topic, options = message.topic, message.options
            authorize(
                self._router.authorizer, session, "publish", topic, options, message, self._publish
            )

    def _publish(self, session: RouterSession, message: m.Publish, decision: Decision) -> None:
        topic, options = message.topic, message.options
        payload = Payload(session.codec, session.codec.payload(message))
        if not is_valid_uri(topic) or is_reserved(topic):
            text = f"{topic!r:.200} is not a valid URI, or is reserved for the router"
            session.refuse(message, error_uris.INVALID_URI, text)
            return
        try:
            publication, retain = self.prepare(session, topic, options, payload, decision)
            acknowledge = bool(options) and flag(options, "acknowledge")
        except InvalidOption as error:
            session.refuse(message, error_uris.INVALID_ARGUMENT, str(error))
            return
        self.publish(publication, retain=retain)
        if acknowledge:
            session.send(session.encode((17, message.request_id, publication.id)))

    def prepare(
        self,
        session: RouterSession,
        topic: str,
        options: Details,
        payload: Payload,
        decision: Decision,
    ) -> tuple[Publication, bool]:
        """Return the publication that a session asks for, and whether to retain it.

        :raises InvalidOption: An option is wrong.
        """
        publication = Publication(
            self._new_publication_id(),
            topic,
            self._details(session, options, decision),
            payload,
            Receivers.parse(options) if options else None,
            session if not options or flag(options, "exclude_me", True) else None,
        )
        return publication, bool(options) and flag(options, "retain")

    def _details(self, session: RouterSession, options: Details, decision: Decision) -> Details:
        disclose = decision.disclose
        if disclose is None:
            disclose = self._router.settings.disclose or flag(options, "disclose_me")
        details = session.identification("publisher") if disclose else {}
        if options:
            passed_on(options, details)
            trusted = self._router.settings.trusted_links
            if "forward_for" in options and session.identity.authrole in trusted:
                details["forward_for"] = forwarded(options, link_of(session))
        return details

    def publish(self, publication: Publication, *, retain: bool = False) -> None:
        """Send EVENT to all receivers of a publication."""
        for subscription in self._index.all(publication.topic):
            if subscription.subscribers:
                self._send_events(subscription, publication)
            if subscription.history is not None:
                subscription.history.add(self._time_ns(), publication)
        if retain:
            self.retained.keep(publication)

    def _send_events(self, subscription: Subscription, publication: Publication) -> None:
        details = publication.details
        if subscription.match != "exact":
            # "the Broker MUST supply the original PUBLISH.Topic as provided by the Publisher in
            # EVENT.Details.topic"
            details = {**details, "topic": publication.topic}
        excluded, receivers = publication.excluded, publication.receivers
        head = (36, subscription.id, publication.id, details)
        for codec, members in subscription.subscribers.items():
            try:
                data = codec.encode((*head, *publication.payload.wire(codec)))
            except PayloadError as error:
                logger.warning("%s is not sent in %s: %s", publication.topic, codec.name, error)
                self._router.count("undeliverable")
                continue
            if receivers is None and len(data) <= SMALL:
                for member in members:
                    if member is not excluded:
                        member.send(data)
                continue
            for member in members:
                if member is excluded or (receivers is not None and not receivers.include(member)):
                    continue
                if len(data) <= member.max_send_size:
                    member.send(data)
                else:
                    self._router.count("undeliverable")

    def announce(self, topic: str, *args: object) -> None:
        """Publish a meta event."""
        if self._index.all(topic):
            publication_id, payload = self._new_publication_id(), Payload.of(args)
            self.publish(Publication(publication_id, topic, {}, payload, None, None))

    # Subscriptions.

    def on_subscribe(self, session: RouterSession, message: m.Subscribe) -> None:
        """Handle SUBSCRIBE."""
        topic, options = message.topic, message.options
        authorize(
            self._router.authorizer, session, "subscribe", topic, options, message, self._subscribe
        )

    def _subscribe(self, session: RouterSession, message: m.Subscribe, decision: Decision) -> None:
        options, topic = message.options, message.topic
        try:
            match = choice(options, "match", MATCHES)
            get_retained = flag(options, "get_retained")
        except InvalidOption as error:
            session.refuse(message, error_uris.INVALID_ARGUMENT, str(error))
            return
        if not is_valid_uri(topic, match):
            session.refuse(message, error_uris.INVALID_URI, f"{topic!r:.200} is not a valid URI")
            return
        subscription = self._index.get(topic, match)
        is_subscribed = subscription is not None and subscription.id in session.subscriptions
        if (
            not is_subscribed
            and len(session.subscriptions) >= self._router.settings.max_subscriptions
        ):
            session.refuse(message, error_uris.UNAVAILABLE, "too many subscriptions")
            return
        is_new = subscription is None
        if subscription is None:
            subscription = self._create(topic, match, None)
        # "A Subscriber [...] might subscribe to the same topic again": it is the same subscription.
        session.send(session.encode((33, message.request_id, subscription.id)))
        if not is_subscribed:
            subscription.add(session)
            session.subscriptions[subscription.id] = subscription
            if is_new:
                self._announce(subscription, "on_create", session, subscription.details)
            self._announce(subscription, "on_subscribe", session, subscription.id)
        if get_retained:
            self._send_retained(session, subscription)

    def _create(self, uri: str, match: str, history: History | None) -> Subscription:
        subscription = Subscription(self._new_id(), uri, match, self._router.timestamp(), history)
        self._index.add(uri, match, subscription)
        self.by_id[subscription.id] = subscription
        return subscription

    def _send_retained(self, session: RouterSession, subscription: Subscription) -> None:
        topics: t.Iterable[str] = (subscription.uri,)
        if subscription.match != "exact":
            uri, match = subscription.uri, subscription.match
            topics = [topic for topic in self.retained.topics if matches(uri, match, topic)]
        for topic in topics:
            publication = self.retained.latest(topic, session)
            if publication is None:
                continue
            details = {**publication.details, "retained": True}
            if subscription.match != "exact":
                details["topic"] = topic
            try:
                payload = publication.payload.wire(session.codec)
            except PayloadError:
                self._router.count("undeliverable")
                continue
            data = session.encode((36, subscription.id, publication.id, details, *payload))
            if len(data) <= session.max_send_size:
                session.send(data)

    def on_unsubscribe(self, session: RouterSession, message: m.Unsubscribe) -> None:
        """Handle UNSUBSCRIBE."""
        subscription: Subscription | None = session.subscriptions.get(message.subscription_id)
        if subscription is None:
            session.refuse(message, error_uris.NO_SUCH_SUBSCRIPTION)
            return
        session.send(session.encode((35, message.request_id)))
        self._remove(session, subscription)

    def revoke(
        self, session: RouterSession, subscription: Subscription, reason: str | None
    ) -> None:
        """End the subscription of a subscriber."""
        if session.features.subscriptions_can_be_revoked:
            details: Details = {"subscription": subscription.id}
            if reason is not None:
                details["reason"] = reason
            session.send(session.encode((35, 0, details)))
        self._remove(session, subscription)

    def _remove(
        self, session: RouterSession, subscription: Subscription, *, quietly: bool = False
    ) -> None:
        subscription.remove(session)
        del session.subscriptions[subscription.id]
        is_over = not subscription.subscribers and subscription.history is None
        if is_over:
            self._index.remove(subscription.uri, subscription.match)
            del self.by_id[subscription.id]
        if not quietly:
            self._announce(subscription, "on_unsubscribe", session, subscription.id)
            if is_over:
                self._announce(subscription, "on_delete", session, subscription.id)

    def forget(self, session: RouterSession, *, quietly: bool = False) -> None:
        """Remove the subscriptions of a session that has ended.

        :param quietly: Publish no meta events.
        """
        for subscription in list(session.subscriptions.values()):
            self._remove(session, subscription, quietly=quietly)

    def _announce(
        self, subscription: Subscription, event: str, session: RouterSession, fact: object
    ) -> None:
        # The meta API's own subscriptions are not announced: each would announce itself.
        if not is_reserved(subscription.uri):
            self.announce(f"wamp.subscription.{event}", session.id, fact)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept."""
        return not self.retained and not any(
            subscription.subscribers or subscription.history for subscription in self.by_id.values()
        )

    # For the meta API.

    def lookup(self, uri: str, match: str) -> int | None:
        """Return the id of the subscription with a URI and ``match``."""
        subscription = self._index.get(uri, match)
        return subscription.id if subscription is not None else None

    def match(self, uri: str) -> list[int]:
        """Return the ids of all subscriptions that match a topic."""
        return [subscription.id for subscription in self._index.all(uri)]
