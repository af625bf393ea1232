"""The features that the router announces, and those that a client has announced.

Source: WAMP Advanced Profile, "Feature Announcement" of each feature.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..exceptions import ProtocolError

#: WELCOME.Details.roles.
ROLES: dict[str, dict[str, dict[str, bool]]] = {
    "broker": {
        "features": {
            "event_history": True,
            "event_retention": True,
            "pattern_based_subscription": True,
            "publisher_exclusion": True,
            "publisher_identification": True,
            "session_meta_api": True,
            "subscriber_blackwhite_listing": True,
            "subscription_meta_api": True,
            "subscription_revocation": True,
        }
    },
    "dealer": {
        "features": {
            "call_canceling": True,
            "call_timeout": True,
            "caller_identification": True,
            "pattern_based_registration": True,
            "progressive_call_results": True,
            "registration_meta_api": True,
            "registration_revocation": True,
            "session_meta_api": True,
            "shared_registration": True,
            "testament_meta_api": True,
        }
    },
}

_CLIENT_ROLES = frozenset({"caller", "callee", "publisher", "subscriber"})


@dataclasses.dataclass(frozen=True)
class Features:
    """The announced features of a client that change what the router sends to it."""

    can_be_interrupted: bool = False
    takes_timeouts: bool = False
    registrations_can_be_revoked: bool = False
    subscriptions_can_be_revoked: bool = False

    @classmethod
    def parse(cls, roles: object) -> Features:
        """Read ``HELLO.Details.roles``.

        :raises ProtocolError: "A Client can support any combination of the above roles but must
            support at least one role."
        """
        if not isinstance(roles, dict) or not _CLIENT_ROLES & roles.keys():
            raise ProtocolError(
                "HELLO.Details.roles contains none of caller, callee, publisher, subscriber"
            )
        callee, subscriber = _features(roles, "callee"), _features(roles, "subscriber")
        return cls(
            can_be_interrupted=callee.get("call_canceling") is True,
            takes_timeouts=callee.get("call_timeout") is True,
            registrations_can_be_revoked=callee.get("registration_revocation") is True,
            subscriptions_can_be_revoked=subscriber.get("subscription_revocation") is True,
        )


def _features(roles: dict[str, t.Any], role: str) -> dict[str, t.Any]:
    announced = roles.get(role)
    if announced is None:
        return {}
    if not isinstance(announced, dict):
        raise ProtocolError(f"HELLO.Details.roles.{role} is not a dictionary")
    features = announced.get("features")
    return features if isinstance(features, dict) else {}
