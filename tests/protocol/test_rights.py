"""The policy, tested with complete tables of cases."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_wamp.protocol import rights
from flask_wamp.protocol.rights import ACTIONS, Policy, Right, covers, overlaps, place_of

# A right's URI and match; a request's URI and match; whether the right covers all of it.
CASES = [
    ("com.a", "exact", "com.a", "exact", True),
    ("com.a", "exact", "com.ab", "exact", False),
    ("com.a", "exact", "com.a", "prefix", False),
    ("com.a", "exact", "com.a", "wildcard", False),
    ("com.a.", "prefix", "com.a.b", "exact", True),
    ("com.a.", "prefix", "com.a.", "prefix", True),
    ("com.a.", "prefix", "com.a.b", "prefix", True),
    ("com.a.", "prefix", "com.a", "prefix", False),
    ("com.a.", "prefix", "com.a", "exact", False),
    ("com.a.", "prefix", "com.ab", "exact", False),
    ("com.a.", "prefix", "com.", "prefix", False),
    ("com.a.", "prefix", "com.a..c", "wildcard", True),
    ("com.a.", "prefix", "com.a.b.", "wildcard", True),
    ("com.a.", "prefix", "com..b", "wildcard", False),
    ("com.a.", "prefix", ".a.b", "wildcard", False),
    ("com.a.", "prefix", "..", "wildcard", False),
    ("com.user.", "prefix", "com.user..inbox", "wildcard", True),
    ("com..b", "wildcard", "com.a.b", "exact", True),
    ("com..b", "wildcard", "com.a.c", "exact", False),
    ("com..b", "wildcard", "com.a.b.c", "exact", False),
    ("com..b", "wildcard", "com..b", "wildcard", True),
    ("com..b", "wildcard", "com.a.b", "wildcard", True),
    ("com..b", "wildcard", "com.a.", "wildcard", False),
    ("com..", "wildcard", "com.a.", "wildcard", True),
    ("com..b", "wildcard", "com.a.b", "prefix", False),
    ("..", "wildcard", "com.", "prefix", False),
]


@pytest.mark.parametrize(("own", "own_match", "uri", "match", "expected"), CASES)
def test_covers(own: str, own_match: str, uri: str, match: str, expected: bool) -> None:
    assert covers(own, own_match, uri, match) is expected


URIS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map(".".join)
PATTERNS = st.one_of(
    st.tuples(URIS, st.just("exact")),
    st.tuples(URIS.map(lambda uri: f"{uri}."), st.just("prefix")),
    st.tuples(URIS, st.just("prefix")),
    st.tuples(
        st.lists(st.sampled_from(["a", "b", ""]), min_size=2, max_size=4).map(".".join),
        st.just("wildcard"),
    ),
)
ALL = [".".join(parts) for n in range(1, 5) for parts in itertools.product("abc", repeat=n)]


def reached(uri: str, match: str) -> set[str]:
    """Return the URIs that a pattern matches, computed from the specification and not from our code."""
    if match == "exact":
        return {uri}
    if match == "prefix":
        return {each for each in ALL if each.startswith(uri)}
    parts = uri.split(".")
    return {
        each
        for each in ALL
        if len(each.split(".")) == len(parts)
        and all(p in ("", e) for p, e in zip(parts, each.split("."), strict=True))
    }


@given(PATTERNS, PATTERNS)
def test_a_covered_pattern_matches_no_other_uris(
    own: tuple[str, str], asked: tuple[str, str]
) -> None:
    if covers(*own, *asked):
        assert reached(*asked) <= reached(*own)


@given(PATTERNS, URIS.map(lambda uri: f"{uri}."))
def test_a_pattern_that_matches_uris_below_a_prefix_overlaps(
    asked: tuple[str, str], beginning: str
) -> None:
    if any(uri.startswith(beginning) for uri in reached(*asked)):
        assert overlaps(*asked, beginning)


@pytest.mark.parametrize(
    ("uri", "match", "prefix", "place"),
    [
        ("com.a.x", "exact", "com.a", "within"),
        ("com.a", "exact", "com.a", "within"),
        ("com.ab", "exact", "com.a", "outside"),
        ("com", "exact", "com.a", "outside"),
        ("com.b.x", "exact", "com.a", "outside"),
        ("com.7.x", "exact", "com..x", "within"),
        ("com.7.y", "exact", "com..x", "outside"),
        ("com.a.", "prefix", "com.a", "within"),
        ("com.a.x", "prefix", "com.a", "within"),
        ("com.a", "prefix", "com.a", "overlaps"),
        ("com.", "prefix", "com.a", "overlaps"),
        ("", "prefix", "com.a", "overlaps"),
        ("com.b", "prefix", "com.a", "outside"),
        ("com.b.", "prefix", "com.a", "outside"),
        ("com.7.", "prefix", "com..x", "overlaps"),
        ("com..x", "wildcard", "com.a", "overlaps"),
        ("com.a.", "wildcard", "com.a", "within"),
        ("com..x", "wildcard", "com..x", "within"),
        ("com.b.", "wildcard", "com.a", "outside"),
        ("..", "wildcard", "com.a", "overlaps"),
        (".", "wildcard", "com.a.b", "outside"),
    ],
)
def test_place_of_a_uri(uri: str, match: str, prefix: str, place: str) -> None:
    assert place_of(uri, match, prefix) == place


@given(PATTERNS, URIS)
def test_place_of_a_pattern_agrees_with_the_uris_that_it_matches(
    asked: tuple[str, str], prefix: str
) -> None:
    below = {uri for uri in reached(*asked) if uri == prefix or uri.startswith(f"{prefix}.")}
    place = place_of(*asked, prefix)
    if place == "outside":
        assert not below
    elif place == "within" and asked[1] != "wildcard":
        assert below == reached(*asked)


def test_no_request_is_allowed_without_a_right() -> None:
    policy = Policy([Right("member", "call", "com.a")])
    for role, action in itertools.product(["member", "guest", "anonymous", ""], ACTIONS):
        allowed = policy.find("1", role, action, "com.a") is not None
        assert allowed is (role == "member" and action == "call")


def test_rights_of_all_and_of_authenticated_clients() -> None:
    policy = Policy([Right("anonymous", "call", "com.open"), Right("*", "call", "com.known")])

    def may(role: str) -> list[bool]:
        return [policy.find("", role, "call", uri) is not None for uri in ("com.open", "com.known")]

    assert may("anonymous") == [True, False]
    assert may("member") == [True, True]


def test_rights_by_authid_and_role() -> None:
    policy = Policy(
        [
            Right("*", "subscribe", "com.user.{authid}.inbox"),
            Right("*", "subscribe", "com.role.{role}.", "prefix"),
        ]
    )

    def may(authid: str, uri: str, match: str = "exact") -> bool:
        return policy.find(authid, "member", "subscribe", uri, match) is not None

    assert may("7", "com.user.7.inbox")
    assert not may("8", "com.user.7.inbox")
    assert not may("7", "com.user..inbox", "wildcard")
    assert may("7", "com.role.member.", "prefix")
    assert may("7", "com.role.member.news")
    assert not may("7", "com.role.admin.news")


@pytest.mark.parametrize("authid", ["", "7.inbox", ".", "a.b", "7."])
def test_an_authid_that_cannot_be_part_of_a_uri_gets_no_right(authid: str) -> None:
    policy = Policy([Right("*", "subscribe", "com.user.{authid}.", "prefix")])
    assert policy.find(authid, "member", "subscribe", f"com.user.{authid}.x") is None


def test_reserved_uris_need_a_right_that_names_them() -> None:
    reserved = ["wamp.", "com.shop.flask_wamp."]
    wide = Policy(
        [Right("member", "subscribe", "", "prefix"), Right("member", "call", "..", "wildcard")],
        reserved,
    )

    def may(policy: Policy, action: str, uri: str, match: str = "exact") -> bool:
        return policy.find("1", "member", action, uri, match) is not None

    assert may(wide, "subscribe", "com.shop.news")
    for uri, match in [
        ("wamp.session.on_join", "exact"),
        ("com.shop.flask_wamp.lease.x", "exact"),
        ("com.shop.flask_wamp.", "prefix"),
        ("com.shop.", "prefix"),
        ("com", "prefix"),
        ("", "prefix"),
        ("com..flask_wamp.lease", "wildcard"),
        ("com...", "wildcard"),
        ("wamp.session.", "prefix"),
    ]:
        assert not may(wide, "subscribe", uri, match), (uri, match)
    assert not may(wide, "call", "wamp.session.count")
    named = Policy([Right("member", "call", "wamp.session.count")], reserved)
    assert may(named, "call", "wamp.session.count")
    assert not may(named, "call", "wamp.session.kill")


def test_the_number_of_remembered_decisions_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rights, "MOST_REMEMBERED", 10)
    policy = Policy([Right("*", "call", "com.a.", "prefix")])
    for number in range(100):
        assert policy.find("1", "member", "call", f"com.a.{number}") is not None
        assert len(policy._remembered) <= 10
    policy._remembered.clear()
    policy.find("1", "member", "call", "com.a." + "x" * 1000)
    assert not policy._remembered


def test_one_user_does_not_get_the_decision_of_another() -> None:
    policy = Policy([Right("*", "call", "com.{authid}.x")])
    assert policy.find("1", "member", "call", "com.1.x") is not None
    assert policy.find("2", "member", "call", "com.1.x") is None


@pytest.mark.parametrize(
    ("right", "message"),
    [
        (Right("member", "read", "com.a"), "'read' must be one of call, register"),
        (Right("member", "call", "com.a", "regex"), "match='regex' must be one of exact"),
        (
            Right("member", "call", "com.{user}"),
            "The only parts with braces are {authid} and {role}",
        ),
        (
            Right("member", "call", "com.x{authid}"),
            "The only parts with braces are {authid} and {role}",
        ),
    ],
)
def test_an_invalid_right_is_refused(right: Right, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Policy([right])


def test_a_policy_travels_as_json() -> None:
    policy = Policy(
        [
            Right("member", "call", "com.{authid}.a", source="app.py:3"),
            Right("*", "publish", "com.", "prefix"),
        ],
        ["wamp.", "com.flask_wamp."],
    )
    again = rights.from_json(json.loads(json.dumps(rights.as_json(policy))))
    assert (again.rights, again.reserved) == (policy.rights, policy.reserved)
    for odd in (None, 3, [], [3], [["wamp."], ["only a role"]], [["wamp."], 5]):
        with pytest.raises(ValueError, match="not a policy"):
            rights.from_json(odd)
