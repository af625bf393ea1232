"""The features that a router has announced in WELCOME, and what this client may send because of them.

If a router does not support a feature, it may end the session because of an unknown message or option. Or it
may ignore an option. Then, for example, all subscribers receive an event that was meant for one.

Source: WAMP Basic Profile, "Client: Role and Feature Announcement", and WAMP Advanced Profile, "Feature
Announcement" of each feature.
"""

from __future__ import annotations

import typing as t

from ..exceptions import NotSupported
from .messages import Details
from .options import RECEIVERS

#: The features for the router's meta events, by the prefix of their topics.
_META_EVENTS = {
    "wamp.session.": "session_meta_api",
    "wamp.registration.": "registration_meta_api",
    "wamp.subscription.": "subscription_meta_api",
}

_RECEIVERS = frozenset(RECEIVERS)


class RouterFeatures:
    """The features of one router.

    :param details: ``WELCOME.Details``. Invalid values are treated as if they were missing.
    """

    def __init__(self, details: Details) -> None:
        self.dealer = _announced(details, "dealer")
        self.broker = _announced(details, "broker")
        self.can_cancel = "call_canceling" in self.dealer
        """Whether CANCEL may be sent. Some routers without this feature end the session."""
        self.can_share = "shared_registration" in self.dealer
        """Whether several sessions can register one procedure."""
        self.has_registration_meta_api = "registration_meta_api" in self.dealer
        """Whether the router may be asked about registrations."""
        self.has_callee_meta_api = self.dealer >= {"registration_meta_api", "session_meta_api"}
        """Whether the router may be asked which sessions have registered a procedure, and about them."""

    def for_call(self, options: Details) -> Details:
        """Return the options of a CALL.

        If the router has no progressive results, the caller receives only the final result.
        """
        if "receive_progress" in options and "progressive_call_results" not in self.dealer:
            return _without(options, "receive_progress")
        return options

    def for_register(self, options: Details) -> Details:
        """Return the options of a REGISTER.

        If the router has no shared registrations, only one process can serve the procedure.

        :raises NotSupported: The procedure is a pattern, but the router would treat it as a URI.
        """
        if "match" in options and "pattern_based_registration" not in self.dealer:
            _check_match(options, "pattern_based_registration")
        if "invoke" in options and "shared_registration" not in self.dealer:
            return _without(options, "invoke")
        return options

    def for_subscribe(self, options: Details) -> Details:
        """Return the options of a SUBSCRIBE.

        If the router has no event retention, the subscriber receives no retained event.

        :raises NotSupported: The topic is a pattern, but the router would treat it as a URI.
        """
        if "match" in options and "pattern_based_subscription" not in self.broker:
            _check_match(options, "pattern_based_subscription")
        if "get_retained" in options and "event_retention" not in self.broker:
            return _without(options, "get_retained")
        return options

    def missing_for(self, topic: str, options: Details) -> list[tuple[str, str]]:
        """Return the missing features that a subscription needs, each with the consequence."""
        missing = []
        if options.get("get_retained") and "event_retention" not in self.broker:
            missing.append(("event_retention", "there is no retained event"))
        for prefix, feature in _META_EVENTS.items():
            if topic.startswith(prefix) and feature not in self.broker | self.dealer:
                missing.append((feature, "do not expect events"))
        return missing

    def for_publish(self, options: Details) -> Details:
        """Return the options of a PUBLISH.

        :raises NotSupported: The router would send the event to the wrong receivers, or not retain it.
        """
        feature = "subscriber_blackwhite_listing"
        if feature not in self.broker and not _RECEIVERS.isdisjoint(options):
            named = next(name for name in RECEIVERS if name in options)
            raise NotSupported(feature, f"{named}=")
        if options.get("retain") and "event_retention" not in self.broker:
            raise NotSupported("event_retention", "retain=True")
        return options


def _announced(details: Details, role: str) -> frozenset[str]:
    roles: t.Any = details.get("roles")
    for name in (role, "features"):
        roles = roles.get(name) if isinstance(roles, dict) else None
    if not isinstance(roles, dict):
        return frozenset()
    return frozenset(name for name, value in roles.items() if value is True)


def _check_match(options: Details, feature: str) -> None:
    if options["match"] != "exact":
        raise NotSupported(feature, f"match={options['match']!r}")


def _without(options: Details, name: str) -> Details:
    return {key: value for key, value in options.items() if key != name}


NONE = RouterFeatures({})
"""The features of a router that has not sent WELCOME yet."""
