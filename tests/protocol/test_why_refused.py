"""What developers read when a client was refused."""

from __future__ import annotations

import pytest

from flask_wamp.protocol.identity import Identity
from flask_wamp.protocol.rights import Policy, Right, why_refused

POLICY = Policy(
    [
        Right("anonymous", "call", "com.example.add"),
        Right("*", "call", "com.example.orders"),
        Right("anonymous", "subscribe", "com.example.news"),
    ]
)


@pytest.mark.parametrize(
    ("role", "action", "uri", "match", "hint"),
    [
        (
            "anonymous",
            "call",
            "com.example.ad",
            "exact",
            "nothing allows it; did you mean com.example.add? Otherwise, add "
            "wamp.allow('anonymous', call='com.example.ad'), or allow= to @wamp.callee",
        ),
        (
            "member",
            "call",
            "com.example.order",
            "exact",
            "did you mean com.example.orders? Otherwise, add wamp.allow('member', ",
        ),
        (
            "anonymous",
            "call",
            "com.example.order",
            "exact",
            "nothing allows it. Add wamp.allow('anonymous', call='com.example.order'), or allow=",
        ),
        (
            "anonymous",
            "publish",
            "com.example.hello",
            "exact",
            "Add wamp.allow('anonymous', publish='com.example.hello'), or allow= to @wamp.subscriber",
        ),
        (
            "anonymous",
            "call",
            ".add",
            "exact",
            "has to send the whole URI, such as 'com.example.add'",
        ),
        (
            "anonymous",
            "subscribe",
            "com.example.news",
            "prefix",
            "also matches other names, such as 'com.example.newsx'. Put a dot at its end: subscribe to "
            "'com.example.news.', and add wamp.allow('anonymous', subscribe='com.example.news.')",
        ),
    ],
)
def test_the_reason_says_what_to_change(
    role: str, action: str, uri: str, match: str, hint: str
) -> None:
    why = why_refused(POLICY, Identity("", role), action, uri, match)
    assert why.startswith(f"the role {role!r} may not {action}") and repr(uri) in why
    assert hint in why


def test_the_reason_names_the_roles_that_may() -> None:
    rights = [Right(role, "call", "com.example.add") for role in ("member", "anonymus")]
    why = why_refused(Policy(rights), Identity("", "anonymous"), "call", "com.example.add", "exact")
    assert ": only 'anonymus' and 'member' may. Add wamp.allow('anonymous', call=" in why


def test_a_right_that_does_not_reach_reserved_uris_is_not_named() -> None:
    policy = Policy([Right("member", "call", "wamp.", "prefix")], reserved=["wamp.session."])
    why = why_refused(policy, Identity("", "member"), "call", "wamp.session.kill", "exact")
    assert ": nothing allows it. Add wamp.allow('member', call=" in why


@pytest.mark.parametrize("action", ["subscribe", "register"])
def test_the_line_is_enough_if_no_decorator_gives_the_right(action: str) -> None:
    why = why_refused(POLICY, Identity("", "member"), action, "com.example.other", "exact")
    assert why.endswith(f"Add wamp.allow('member', {action}='com.example.other')")


def test_the_line_for_a_prefix_allows_it() -> None:
    right = Right("anonymous", "subscribe", "com.example.news.", "prefix")
    assert Policy([right]).find("", "anonymous", "subscribe", "com.example.news.", "prefix")


INBOX = Right("user", "subscribe", "com.example.u.{authid}.inbox", source="app.py:12")
BOARD = Right("*", "publish", "com.example.{role}.{authid}.", "prefix", source="app.py:13")


@pytest.mark.parametrize(
    ("identity", "action", "uri", "match", "why"),
    [
        (
            Identity("ann@x.org", "user"),
            "subscribe",
            "com.example.u.ann@x.org.inbox",
            "exact",
            "the role 'user' may not subscribe to 'com.example.u.ann@x.org.inbox': the right for "
            "'com.example.u.{authid}.inbox' (app.py:12) does not apply to the authid 'ann@x.org', because it "
            "contains a dot. Use an authid without dots, such as str(user.id)",
        ),
        (
            Identity("ann", "dev.ops"),
            "publish",
            "com.example.dev.ops.ann.news",
            "exact",
            "the role 'dev.ops' may not publish to 'com.example.dev.ops.ann.news': the right for "
            "'com.example.{role}.{authid}.' (app.py:13) does not apply to the role 'dev.ops', because it "
            "contains a dot. Use a role without dots",
        ),
    ],
)
def test_a_dot_in_an_authid_or_a_role_is_the_reason(
    identity: Identity, action: str, uri: str, match: str, why: str
) -> None:
    policy = Policy([INBOX, BOARD])
    assert policy.find(identity.authid, identity.authrole, action, uri, match) is None
    assert why_refused(policy, identity, action, uri, match) == why


@pytest.mark.parametrize(
    "uri",
    ["com.example.u.bob@x.org.inbox", "com.example.u.ann@x.org.outbox", "com.example.u.ann.inbox"],
)
def test_a_dot_is_not_the_reason_if_the_right_is_for_other_uris(uri: str) -> None:
    why = why_refused(Policy([INBOX]), Identity("ann@x.org", "user"), "subscribe", uri, "exact")
    assert "dot" not in why
    assert "dd wamp.allow('user', subscribe=" in why
