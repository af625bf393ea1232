"""What a router has announced in WELCOME, and what may be asked of it.

A router that does not know a feature may take its messages or options for a broken protocol, and end the
session; or it ignores them, and everybody gets an event that was meant for one.

Source: WAMP Basic Profile, "Client: Role and Feature Announcement", and WAMP Advanced Profile, "Feature
Announcement" of each feature.
"""

from __future__ import annotations

import typing as t

from ..exceptions import NotSupported
from .messages import Details
from .options import RECEIVERS

#: The features that announce the router's own events.
_META_EVENTS = {
    "wamp.session.": "session_meta_api",
    "wamp.registration.": "registration_meta_api",
    "wamp.subscription.": "subscription_meta_api",
}

_RECEIVERS = frozenset(RECEIVERS)


class RouterFeatures:
    """The features of one router.

    :param details: ``WELCOME.Details``; whatever is odd there announces nothing.
    """

    def __init__(self, details: Details) -> None:
        self.dealer = _announced(details, "dealer")
        self.broker = _announced(details, "broker")

    @property
    def can_cancel(self) -> bool:
        """Whether CANCEL may be sent. Some routers that do not know it end the session."""
        return "call_canceling" in self.dealer

    @property
    def can_share(self) -> bool:
        """Whether several sessions can register one procedure."""
        return "shared_registration" in self.dealer

    @property
    def has_registration_meta_api(self) -> bool:
        """Whether the router may be asked about registrations."""
        return "registration_meta_api" in self.dealer

    @property
    def has_callee_meta_api(self) -> bool:
        """Whether the router may be asked which sessions have registered a procedure, and about them."""
        return self.has_registration_meta_api and "session_meta_api" in self.dealer

    def for_call(self, options: Details) -> Details:
        """Return the options of a CALL: without progressive results there is the final one."""
        if "receive_progress" in options and "progressive_call_results" not in self.dealer:
            return _without(options, "receive_progress")
        return options

    def for_register(self, options: Details) -> Details:
        """Return the options of a REGISTER: without shared registrations, one process serves it.

        :raises NotSupported: The procedure is a pattern, and the router would take it for a URI.
        """
        if "match" in options and "pattern_based_registration" not in self.dealer:
            _check_match(options, "pattern_based_registration")
        if "invoke" in options and "shared_registration" not in self.dealer:
            return _without(options, "invoke")
        return options

    def for_subscribe(self, options: Details) -> Details:
        """Return the options of a SUBSCRIBE: a router without event retention has no retained event.

        :raises NotSupported: The topic is a pattern, and the router would take it for a URI.
        """
        if "match" in options and "pattern_based_subscription" not in self.broker:
            _check_match(options, "pattern_based_subscription")
        if "get_retained" in options and "event_retention" not in self.broker:
            return _without(options, "get_retained")
        return options

    def missing_for(self, topic: str, options: Details) -> list[tuple[str, str]]:
        """Return the features that a subscription asks for in vain, each with what that means."""
        missing = []
        if options.get("get_retained") and "event_retention" not in self.broker:
            missing.append(("event_retention", "there is no retained event"))
        for prefix, feature in _META_EVENTS.items():
            if topic.startswith(prefix) and feature not in self.broker | self.dealer:
                missing.append((feature, "do not expect events"))
        return missing

    def for_publish(self, options: Details) -> Details:
        """Return the options of a PUBLISH.

        :raises NotSupported: The router would send the event to others than it is for, or not keep it.
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
"""Those of a router that has announced nothing yet."""
