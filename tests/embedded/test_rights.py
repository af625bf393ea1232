"""Authorization: decisions at once, later, or never."""

from __future__ import annotations

import typing as t

import pytest

from flask_wamp.protocol.rights import Policy, Right, as_json
from flask_wamp.router import Decision, Identity, KeptEvents, Later, Permission, Permissions
from flask_wamp.router.app_api import AppAPI
from tests.embedded.pair import (
    CALL,
    ERROR,
    PUBLISH,
    PUBLISHED,
    REGISTER,
    REGISTERED,
    RESULT,
    SUBSCRIBE,
    SUBSCRIBED,
    Line,
    TestRouter,
)

ADD, NEWS = "com.example.add", "com.example.news"

REQUESTS: list[tuple[str, int, str]] = [
    ("call", CALL, ADD),
    ("call", CALL, "wamp.session.count"),
    ("register", REGISTER, "com.example.other"),
    ("publish", PUBLISH, NEWS),
    ("subscribe", SUBSCRIBE, NEWS),
]


def ask(line: Line, code: int, uri: str) -> None:
    """Send a request that gets an answer."""
    line.request(code, {"acknowledge": True}, uri)


@pytest.mark.parametrize(("action", "code", "uri"), REQUESTS)
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (False, "not_authorized"),
        (Decision(False), "not_authorized"),
        (Decision(False, message="not today"), "not_authorized"),
        (None, "authorization_failed"),
        (1, "authorization_failed"),
        ("yes", "authorization_failed"),
        (ZeroDivisionError(), "authorization_failed"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("later", [False, True])
def test_a_request_without_a_right_is_refused(
    make_router: t.Callable[..., TestRouter],
    action: str,
    code: int,
    uri: str,
    answer: t.Any,
    error: str,
    later: bool,
) -> None:
    asked: list[t.Any] = []

    def authorizer(identity: Identity, action: str, uri: str, options: t.Any) -> t.Any:
        asked.append((identity.authid, action, uri, options))
        if later:
            promised: Later[t.Any] = Later()
            promised.resolve(answer)
            return promised
        if isinstance(answer, Exception):
            raise answer
        return answer

    line = make_router(authorizer=authorizer).join(identity=Identity("ann", "member"))
    ask(line, code, uri)
    [*head, args] = line.take_last()
    assert head == [ERROR, code, 1, {}, f"wamp.error.{error}"]
    if isinstance(answer, Decision) and answer.message:
        assert args == ["not today"]
    assert asked == [("ann", action, uri, {"acknowledge": True})]
    assert line.closed is None
    assert not line.session.registrations and not line.session.subscriptions


def test_an_unacknowledged_publication_without_a_right_is_dropped(
    make_router: t.Callable[..., TestRouter],
) -> None:
    line = make_router(authorizer=lambda *asked: False).join()
    line.publish(NEWS)
    assert not line.inbox and line.closed is None


@pytest.mark.parametrize("allowed", [True, Decision(True)], ids=repr)
def test_a_request_with_a_right_is_allowed(
    make_router: t.Callable[..., TestRouter], allowed: t.Any
) -> None:
    line = make_router(authorizer=lambda *asked: allowed).join()
    for _, code, uri in REQUESTS[1:]:
        ask(line, code, uri)
    assert [message[0] for message in line.take_all()] == [
        RESULT,
        REGISTERED,
        PUBLISHED,
        SUBSCRIBED,
    ]


@pytest.mark.parametrize("settings", [True, False])
@pytest.mark.parametrize("decided", [True, False, None])
def test_an_authorizer_decides_about_disclosure(
    make_router: t.Callable[..., TestRouter], settings: bool, decided: bool | None
) -> None:
    router = make_router(
        disclose=settings, authorizer=lambda *asked: Decision(True, disclose=decided)
    )
    line, other = router.join(), router.join()
    line.register(ADD)
    line.subscribe(NEWS)
    other.call(ADD)
    other.publish(NEWS)
    invocation, event = line.take_all()
    expected = settings if decided is None else decided
    assert ("caller" in invocation[3], "publisher" in event[3]) == (expected, expected)


# Later decisions.


class Promises:
    """An authorizer whose decisions the test gives later."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, Later[t.Any]]] = []

    def __call__(self, identity: Identity, action: str, uri: str, options: t.Any) -> t.Any:
        later: Later[t.Any] = Later()
        self.waiting.append((uri, later))
        return later

    def answer(self, answer: t.Any = True) -> str:
        uri, later = self.waiting.pop(0)
        later.resolve(answer)
        return uri


def test_only_the_session_whose_authorizer_is_asked_waits(
    make_router: t.Callable[..., TestRouter],
) -> None:
    promises = Promises()
    router = make_router(authorizer=promises)
    line, other = router.join(), router.join()
    line.request(SUBSCRIBE, {}, "com.example.one")
    line.request(SUBSCRIBE, {}, "com.example.two")
    line.request(SUBSCRIBE, {}, "com.example.three")
    assert not line.inbox and len(promises.waiting) == 1
    other.request(REGISTER, {}, ADD)
    assert [uri for uri, _ in promises.waiting] == ["com.example.one", ADD]
    promises.waiting.reverse()
    assert promises.answer() == ADD
    assert other.take_last()[0] == REGISTERED
    assert promises.answer() == "com.example.one"
    assert promises.answer(False) == "com.example.two"
    assert promises.answer() == "com.example.three"
    assert [message[0] for message in line.take_all()] == [SUBSCRIBED, ERROR, SUBSCRIBED]
    assert not promises.waiting


def test_an_answer_for_an_ended_session_does_nothing(
    make_router: t.Callable[..., TestRouter],
) -> None:
    promises = Promises()
    router = make_router(authorizer=promises)
    line = router.join()
    line.request(REGISTER, {}, ADD)
    line.request(REGISTER, {}, ADD)
    line.lose()
    promises.answer()
    assert not line.inbox and not promises.waiting
    assert not router.realms


def test_the_number_of_waiting_messages_is_limited(
    make_router: t.Callable[..., TestRouter],
) -> None:
    promises = Promises()
    line = make_router(authorizer=promises, max_waiting=3).join()
    for _ in range(5):
        line.request(SUBSCRIBE, {}, NEWS)
    assert line.take_last()[2] == "wamp.error.unavailable"
    assert line.closed is False
    promises.answer()
    assert not promises.waiting


def test_a_violation_that_has_waited_ends_the_session(
    make_router: t.Callable[..., TestRouter],
) -> None:
    promises = Promises()
    line = make_router(authorizer=promises).join()
    line.request(SUBSCRIBE, {}, NEWS)
    line.send(99)
    line.request(SUBSCRIBE, {}, NEWS)
    promises.answer()
    assert [message[0] for message in line.take_all()] == [SUBSCRIBED, 3]
    assert line.closed is False and not promises.waiting


def test_a_waiting_call_with_an_invalid_payload_ends_the_session(
    make_router: t.Callable[..., TestRouter],
) -> None:
    promises = Promises()
    line = make_router(authorizer=promises).join()
    line.request(REGISTER, {}, ADD)
    promises.answer()
    line.take_last()
    line.call(ADD, {})
    promises.answer()
    assert line.take_last()[2] == "wamp.error.protocol_violation"


# Procedures of the meta API need the rights of their callers.


def only(*allowed: str) -> t.Callable[..., bool]:
    return lambda identity, action, uri, options: f"{action} {uri}" in allowed


def test_a_testament_needs_the_right_to_publish(make_router: t.Callable[..., TestRouter]) -> None:
    name = "wamp.session.add_testament"
    allowed = only(f"call {name}", "publish com.example.mine", f"subscribe {NEWS}")
    router = make_router(authorizer=allowed)
    line, heir = router.join(), router.join()
    heir.subscribe(NEWS)
    assert line.ask_in_vain(name, NEWS, ["forged"]) == "wamp.error.not_authorized"
    assert line.ask(name, "com.example.mine", []) is None
    line.lose()
    assert not heir.inbox


def test_history_needs_the_right_to_subscribe(make_router: t.Callable[..., TestRouter]) -> None:
    get, lookup = "wamp.subscription.get_events", "wamp.subscription.lookup"
    calls = [f"call {get}", f"call {lookup}"]
    for rights, is_allowed in ((calls, False), ([*calls, f"subscribe {NEWS}"], True)):
        router = make_router(authorizer=only(*rights), history=(KeptEvents(NEWS),))
        line = router.join()
        subscription_id = line.ask(lookup, NEWS)
        if is_allowed:
            assert line.ask(get, subscription_id) == []
        else:
            assert line.ask_in_vain(get, subscription_id) == "wamp.error.not_authorized"


# Permissions from a table.

ALL = frozenset({"call", "register", "publish", "subscribe"})


@pytest.mark.parametrize(
    ("permission", "uri", "match", "covered"),
    [
        (("com.shop.news", "exact"), "com.shop.news", "exact", True),
        (("com.shop.news", "exact"), "com.shop.news", None, True),
        (("com.shop.news", "exact"), "com.shop.news.internal", "exact", False),
        # An exact permission does not cover longer URIs.
        (("com.shop.news", "exact"), "com.shop.news", "prefix", False),
        (("com.shop.news", "exact"), "com.shop.news", "wildcard", False),
        (("com.shop.", "prefix"), "com.shop.news", "exact", True),
        (("com.shop.", "prefix"), "com.shop.news", "prefix", True),
        (("com.shop.", "prefix"), "com.shop.", "prefix", True),
        (("com.shop.", "prefix"), "com.sho", "prefix", False),
        (("com.shop.", "prefix"), "com.", "prefix", False),
        (("com.shop.user.", "prefix"), "com.shop.user..inbox", "wildcard", True),
        (("com.shop.user.ann", "prefix"), "com.shop.user..inbox", "wildcard", False),
        (("com.shop.user.ann.", "prefix"), "com.shop..ann.inbox", "wildcard", False),
        (("com.", "prefix"), ".shop.news", "wildcard", False),
        (("com.shop..inbox", "wildcard"), "com.shop.ann.inbox", "exact", True),
        (("com.shop..inbox", "wildcard"), "com.shop..inbox", "wildcard", True),
        (("com.shop..inbox", "wildcard"), "com.shop.ann.", "wildcard", False),
        (("com.shop..inbox", "wildcard"), "com.shop.ann.inbox", "prefix", False),
        (("com.shop..inbox", "wildcard"), "com.shop.ann.inbox.old", "exact", False),
        (("com.shop.news", "exact"), "com.shop.news", ["exact"], False),
    ],
    ids=repr,
)
def test_what_a_permission_covers(
    permission: tuple[str, str], uri: str, match: t.Any, covered: bool
) -> None:
    permissions = Permissions({"member": [Permission(*permission, ALL)]})
    decision = permissions(Identity("ann", "member"), "subscribe", uri, {"match": match})
    assert decision.allow is covered


def test_permissions_are_by_role_and_action() -> None:
    permissions = Permissions(
        {
            "member": [
                Permission(NEWS, actions=frozenset({"subscribe"}), disclose=False),
                Permission("com.example.", "prefix", frozenset({"publish"})),
            ],
            "guest": [],
        }
    )
    asked = [
        (role, action)
        for role in ("member", "guest", "stranger")
        for action in ("call", "register", "publish", "subscribe")
        if permissions(Identity("x", role), action, NEWS, {}).allow
    ]
    assert asked == [("member", "publish"), ("member", "subscribe")]
    assert permissions(Identity("x", "member"), "subscribe", NEWS, {}).disclose is False
    refusal = permissions(Identity("x", "guest"), "call", ADD, {})
    assert refusal.message == "'guest' may not call 'com.example.add'"


def test_match_does_not_widen_a_call_or_publication(
    make_router: t.Callable[..., TestRouter],
) -> None:
    permissions = Permissions({"anonymous": [Permission(NEWS, actions=ALL)]})
    line = make_router(authorizer=permissions).join()
    line.publish(NEWS, match="prefix", acknowledge=True)
    assert line.take_last()[0] == PUBLISHED
    line.subscribe(NEWS)
    line.request(SUBSCRIBE, {"match": "prefix"}, NEWS)
    assert line.take_last()[4] == "wamp.error.not_authorized"


@pytest.mark.parametrize("request_type", [SUBSCRIBE, REGISTER])
@pytest.mark.parametrize("match", ["prefx", "", 7, ["prefix"]])
@pytest.mark.parametrize("has_right", [False, True])
def test_an_unknown_match_is_an_invalid_argument_whatever_the_rights_are(
    make_router: t.Callable[..., TestRouter], request_type: int, match: t.Any, has_right: bool
) -> None:
    api = AppAPI(lambda: 0.0, lambda: 0.0, "com.example.flask_wamp")
    rights = [Right("anonymous", action, NEWS) for action in ("subscribe", "register")]
    router = make_router(
        realms=("realm1",), authenticator=api.authenticate, authorizer=api.authorize
    )
    api.serve(router, "realm1", lambda job: job())
    api.configure("com.example.flask_wamp", as_json(Policy(rights if has_right else [], ())))
    line = router.join()
    line.request(request_type, {"match": match}, NEWS)
    text = f"match must be one of exact, prefix, wildcard, not {match!r}"
    assert line.take_last() == [ERROR, request_type, 1, {}, "wamp.error.invalid_argument", [text]]
