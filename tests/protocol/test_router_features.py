"""Optional features are used only if the router announces them."""

from __future__ import annotations

import copy
import typing as t

import pytest

from flask_wamp.exceptions import NotSupported
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.router_features import RouterFeatures
from flask_wamp.router.features import ROLES
from tests.support.wire import joined_session, said

ODD_DETAILS: list[t.Any] = [
    {},
    {"roles": None},
    {"roles": []},
    {"roles": "dealer"},
    {"roles": {"dealer": None, "broker": 1}},
    {"roles": {"dealer": {"features": None}, "broker": {"features": ["call_canceling"]}}},
    {"roles": {"dealer": {"features": {"call_canceling": 1, "x": "yes", 5: True}}}},
]


@pytest.mark.parametrize("details", ODD_DETAILS, ids=repr)
def test_invalid_details_announce_no_features(details: t.Any) -> None:
    assert not RouterFeatures(details).can_cancel


def without(role: str, feature: str) -> dict[str, t.Any]:
    roles: dict[str, t.Any] = copy.deepcopy(ROLES)
    del roles[role]["features"][feature]
    return roles


def test_cancel_is_not_sent_to_a_router_that_does_not_announce_it() -> None:
    for roles, count in ((None, 1), (without("dealer", "call_canceling"), 0), ({"dealer": {}}, 0)):
        session = joined_session(roles=roles)
        number = session.call("com.x", [], {}, {}, "ticket")
        session.cancel(number, "kill")
        assert len([each for each in said(session) if isinstance(each, m.Cancel)]) == count


#: A feature, the request that uses it, and the message sent without it; None: an error names the feature.
Uses = tuple[str, str, str, tuple[t.Any, ...], t.Any]

USES: dict[str, Uses] = {
    "progressive results": (
        "dealer",
        "progressive_call_results",
        "call",
        ("com.x", [], {}, {"receive_progress": True, "timeout": 5}, None),
        m.Call(1, {"timeout": 5}, "com.x"),
    ),
    "shared registration": (
        "dealer",
        "shared_registration",
        "register",
        ("com.x", {"invoke": "roundrobin", "match": "exact"}, None, None),
        m.Register(1, {"match": "exact"}, "com.x"),
    ),
    "pattern of procedures": (
        "dealer",
        "pattern_based_registration",
        "register",
        ("com.x", {"match": "prefix"}, None, None),
        None,
    ),
    "pattern of topics": (
        "broker",
        "pattern_based_subscription",
        "subscribe",
        ("com..x", {"match": "wildcard"}, None, None),
        None,
    ),
    "retained events": (
        "broker",
        "event_retention",
        "subscribe",
        ("com.x", {"get_retained": True, "match": "exact"}, None, None),
        m.Subscribe(1, {"match": "exact"}, "com.x"),
    ),
    "retention": (
        "broker",
        "event_retention",
        "publish",
        ("com.x", [], {}, {"retain": True}),
        None,
    ),
    **{
        name: (
            "broker",
            "subscriber_blackwhite_listing",
            "publish",
            ("com.x", [], {}, {name: [1]}),
            None,
        )
        for name in ("exclude", "eligible", "exclude_authid", "eligible_authrole")
    },
}


@pytest.mark.parametrize(("role", "feature", "method", "args", "message"), USES.values(), ids=USES)
def test_a_feature_is_used_if_it_is_announced(
    role: str, feature: str, method: str, args: tuple[t.Any, ...], message: t.Any
) -> None:
    session = joined_session()
    getattr(session, method)(*args)
    [said_with] = said(session)
    options = next(value for value in args if isinstance(value, dict) and value)
    assert getattr(said_with, "options") == options  # noqa: B009
    session = joined_session(roles=without(role, feature))
    before = copy.deepcopy(options)
    if message is None:
        with pytest.raises(NotSupported, match=f"requires the feature '{feature}'"):
            getattr(session, method)(*args)
        assert said(session) == []
        assert session.publish("com.x", [], {}, {}) == 1, "no request id is used up"
    else:
        getattr(session, method)(*args)
        assert said(session) == [message]
    assert options == before


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("register", ("com.x", {"match": "exact"}, None, None)),
        ("register", ("com.x", {}, None, None)),
        ("subscribe", ("com.x", {}, None, None)),
        ("publish", ("com.x", [], {}, {"acknowledge": True, "exclude_me": False, "retain": False})),
        ("call", ("com.x", [], {}, {}, None)),
    ],
)
def test_features_of_every_router_need_no_announcement(method: str, args: t.Any) -> None:
    session = joined_session(roles={})
    getattr(session, method)(*args)
    assert len(said(session)) == 1
