"""The meta API: the router's events and procedures."""

from __future__ import annotations

import typing as t

import pytest

from flask_wamp.router import Identity
from tests.embedded.pair import (
    CALL,
    ERROR,
    EVENT,
    GOODBYE,
    RESULT,
    SUBSCRIBED,
    UNREGISTER,
    UNSUBSCRIBE,
    Line,
    TestRouter,
)

ADD, NEWS = "com.example.add", "com.example.news"
CREATED = "1970-01-01T00:16:40.000Z"


def watch(router: TestRouter) -> Line:
    """Join as a session that is subscribed to all meta events."""
    line = router.join()
    line.subscribe("wamp.", match="prefix")
    assert not line.inbox, "the meta API announces its own subscriptions"
    return line


def told(line: Line) -> list[tuple[str, list[t.Any]]]:
    """Take the received meta events: their names and payloads."""
    return [(message[3]["topic"][5:], message[4]) for message in line.take_all()]


# Sessions.


def test_joining_and_leaving_are_announced(router: TestRouter) -> None:
    watcher = watch(router)
    line = router.join(
        identity=Identity("ann", "member", {"name": "Ann"}, "cookie", "dynamic"),
        details={"peer": "tcp4:127.0.0.1:1"},
    )
    details = {
        "session": line.id,
        "authid": "ann",
        "authrole": "member",
        "authmethod": "cookie",
        "authprovider": "dynamic",
        "authextra": {"name": "Ann"},
        "transport": {},
    }
    assert told(watcher) == [("session.on_join", [details])]
    assert watcher.ask("wamp.session.get", line.id) == details
    line.send(GOODBYE, {}, "wamp.close.close_realm")
    assert told(watcher) == [("session.on_leave", [line.id, "ann", "member"])]
    assert watcher.ask_in_vain("wamp.session.get", line.id) == "wamp.error.no_such_session"


def test_a_session_does_not_get_its_http_headers(router: TestRouter) -> None:
    line = router.join(http_headers={"cookie": "secret"})
    assert "secret" not in str(line.ask("wamp.session.get", line.id))


@pytest.mark.parametrize(
    ("claimed", "shown"),
    [
        ({"app": "shop"}, {"app": "shop"}),
        ({"app": "shop", "token": "secret"}, {"app": "shop"}),
        ({"app": "s" * 1000}, {"app": "s" * 100}),
        *((claimed, None) for claimed in ({"app": 7}, {"app": ""}, {}, [], "shop", None)),
    ],
)
def test_only_the_app_name_of_authextra_is_shown(
    router: TestRouter, claimed: object, shown: object
) -> None:
    line = router.join(details={"authextra": {"flask_wamp": claimed, "nonce": "secret"}})
    details = line.ask("wamp.session.get", line.id)
    assert details.get("authextra") == (None if shown is None else {"flask_wamp": shown})
    assert "authextra" not in line.welcome


def test_the_authenticators_authextra_replaces_that_of_hello(router: TestRouter) -> None:
    line = router.join(
        identity=Identity("ann", "member", {"flask_wamp": {}}),
        details={"authextra": {"flask_wamp": {"app": "shop"}}},
    )
    assert line.ask("wamp.session.get", line.id)["authextra"] == {"flask_wamp": {}}


def test_counting_and_listing_sessions(router: TestRouter) -> None:
    one = router.join(identity=Identity("ann", "member"))
    two = router.join(identity=Identity("bob", "admin"))
    for name, expected in (
        ("wamp.session.count", [2, 2, 1, 0, 2]),
        ("wamp.session.list", [[one.id, two.id]] * 2 + [[two.id], [], [one.id, two.id]]),
    ):
        answers = [one.ask(name)]
        answers += [one.ask(name, roles) for roles in (None, ["admin"], [], ["admin", "member"])]
        assert answers == expected
        assert one.ask_in_vain(name, "admin") == "wamp.error.invalid_argument"


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("kill", None),
        ("kill_by_authid", "bob"),
        ("kill_by_authrole", "member"),
        ("kill_all", None),
    ],
)
def test_killing_ends_sessions(router: TestRouter, name: str, argument: str | None) -> None:
    admin = router.join(identity=Identity("bob", "member"))
    victims = [router.join(identity=Identity("bob", "member")) for _ in range(2)]
    bystander = router.join(identity=Identity("eve", "guest"))
    if name == "kill":
        victims = victims[:1]
        arguments: list[t.Any] = [victims[0].id]
    else:
        arguments = [argument] if argument else []
    victims[0].register(ADD)
    victims[0].subscribe(NEWS)
    if name == "kill_all":
        victims.append(bystander)
    answer = admin.ask(f"wamp.session.{name}", *arguments, reason="com.kicked", message="bye")
    assert answer == {
        "kill": None,
        "kill_all": len(victims),
    }.get(name, [victim.id for victim in victims])
    for victim in victims:
        assert victim.take_last() == [GOODBYE, {"message": "bye"}, "com.kicked"]
    # They are closed at once, whether they answer or not.
    assert not {victim.id for victim in victims} & set(admin.ask("wamp.session.list"))
    assert admin.ask_in_vain(ADD) == "wamp.error.no_such_procedure"
    victims[0].request(CALL, {}, "wamp.session.count")
    admin.publish(NEWS)
    assert not victims[0].inbox
    router.pass_time(router.settings.goodbye_timeout)
    assert all(victim.closed is False for victim in victims)
    assert admin.closed is None and (bystander.closed is None or bystander in victims)


def test_killing_without_a_reason(router: TestRouter) -> None:
    admin, victim = router.join(), router.join()
    admin.ask("wamp.session.kill", victim.id)
    assert victim.take_last() == [GOODBYE, {}, "wamp.close.killed"]
    victim.send(GOODBYE, {}, "wamp.close.goodbye_and_out")
    assert victim.closed is False


def test_killing_an_unknown_session_is_an_error(router: TestRouter) -> None:
    admin, victim = router.join(), router.join()
    for arguments, error in (
        ([admin.id], "no_such_session"),
        ([7], "no_such_session"),
        (["7"], "invalid_argument"),
        ([], "invalid_argument"),
        ([None], "invalid_argument"),
        ([True], "invalid_argument"),
    ):
        assert admin.ask_in_vain("wamp.session.kill", *arguments) == f"wamp.error.{error}"
    for reason in ("", "a b", 7):
        uri = admin.ask_in_vain("wamp.session.kill", victim.id, reason=reason)
        assert uri == "wamp.error.invalid_uri"
    uri = admin.ask_in_vain("wamp.session.kill", victim.id, message=7)
    assert uri == "wamp.error.invalid_argument"
    assert admin.ask("wamp.session.kill_by_authid", "nobody") == []
    assert admin.ask("wamp.session.kill_by_authrole", "nobody") == []
    assert victim.closed is None


def test_killing_all_publishes_nothing(router: TestRouter) -> None:
    admin, victim = watch(router), router.join()
    victim.register(ADD)
    victim.subscribe(NEWS)
    victim.ask("wamp.session.add_testament", "com.example.gone", ["bye"], {})
    admin.take_all()
    admin.subscribe("com.example.gone")
    admin.take_all()
    assert admin.ask("wamp.session.kill_all") == 1
    assert not admin.inbox
    router.join().lose()
    assert [what for what, _ in told(admin)] == ["session.on_join", "session.on_leave"]


# Registrations.


def test_registrations_are_announced_in_order(router: TestRouter) -> None:
    watcher = watch(router)
    one, two = router.join(), router.join()
    watcher.take_all()
    registration_id = one.register(ADD, invoke="roundrobin")
    details = {
        "id": registration_id,
        "created": CREATED,
        "uri": ADD,
        "match": "exact",
        "invoke": "roundrobin",
    }
    two.register(ADD, invoke="roundrobin")
    one.request(UNREGISTER, registration_id)
    two.lose()
    assert told(watcher) == [
        ("registration.on_create", [one.id, details]),
        ("registration.on_register", [one.id, registration_id]),
        ("registration.on_register", [two.id, registration_id]),
        ("registration.on_unregister", [one.id, registration_id]),
        ("registration.on_unregister", [two.id, registration_id]),
        ("registration.on_delete", [two.id, registration_id]),
        ("session.on_leave", [two.id, two.welcome["authid"], "anonymous"]),
    ]


def test_meta_procedures_of_registrations(router: TestRouter) -> None:
    one, two = router.join(), router.join()
    exact = one.register(ADD, invoke="random")
    assert two.register(ADD, invoke="random") == exact
    prefix = one.register("com.example", match="prefix")
    wildcard = two.register("com..add", match="wildcard")
    name = "wamp.registration."
    assert one.ask(f"{name}list") == {
        "exact": [exact],
        "prefix": [prefix],
        "wildcard": [wildcard],
    }
    assert one.ask(f"{name}list", two.id) == {
        "exact": [exact],
        "prefix": [],
        "wildcard": [wildcard],
    }
    assert one.ask(f"{name}lookup", ADD) == exact
    assert one.ask(f"{name}lookup", "com.example", {"match": "prefix"}) == prefix
    assert one.ask(f"{name}lookup", "com.example") is None
    assert one.ask(f"{name}match", ADD) == exact
    assert one.ask(f"{name}match", "com.example.other") == prefix
    assert one.ask(f"{name}match", "com.other.add") == wildcard
    assert one.ask(f"{name}match", "com.other") is None
    assert one.ask(f"{name}get", wildcard)["match"] == "wildcard"
    assert one.ask(f"{name}list_callees", exact) == [one.id, two.id]
    assert one.ask(f"{name}count_callees", exact) == 2
    for procedure in ("get", "list_callees", "count_callees"):
        for number, error in ((999, "no_such_registration"), ("x", "invalid_argument")):
            assert one.ask_in_vain(name + procedure, number) == f"wamp.error.{error}"
    assert one.ask_in_vain(f"{name}lookup", ADD, {"match": "x"}) == "wamp.error.invalid_argument"
    assert one.ask_in_vain(f"{name}lookup", 7) == "wamp.error.invalid_argument"
    assert one.ask_in_vain(f"{name}match", "a b") == "wamp.error.invalid_uri"


# Subscriptions.


def test_subscriptions_are_announced_in_order(router: TestRouter) -> None:
    watcher = watch(router)
    one, two = router.join(), router.join()
    watcher.take_all()
    subscription_id = one.subscribe(NEWS)
    details = {"id": subscription_id, "created": CREATED, "uri": NEWS, "match": "exact"}
    two.subscribe(NEWS)
    two.subscribe(NEWS)
    one.request(UNSUBSCRIBE, subscription_id)
    two.lose()
    assert told(watcher)[:-1] == [
        ("subscription.on_create", [one.id, details]),
        ("subscription.on_subscribe", [one.id, subscription_id]),
        ("subscription.on_subscribe", [two.id, subscription_id]),
        ("subscription.on_unsubscribe", [one.id, subscription_id]),
        ("subscription.on_unsubscribe", [two.id, subscription_id]),
        ("subscription.on_delete", [two.id, subscription_id]),
    ]


def test_meta_procedures_of_subscriptions(router: TestRouter) -> None:
    one, two = router.join(), router.join()
    exact = one.subscribe(NEWS)
    assert two.subscribe(NEWS) == exact
    prefix = one.subscribe("com.example", match="prefix")
    wildcard = two.subscribe("com..news", match="wildcard")
    name = "wamp.subscription."
    assert one.ask(f"{name}list") == {
        "exact": [exact],
        "prefix": [prefix],
        "wildcard": [wildcard],
    }
    assert one.ask(f"{name}list", one.id) == {
        "exact": [exact],
        "prefix": [prefix],
        "wildcard": [],
    }
    assert one.ask(f"{name}lookup", NEWS) == exact
    assert one.ask(f"{name}lookup", "com..news", {"match": "wildcard"}) == wildcard
    assert one.ask(f"{name}lookup", "com.other") is None
    assert sorted(one.ask(f"{name}match", NEWS)) == sorted([exact, prefix, wildcard])
    assert one.ask(f"{name}match", "org.other") is None
    assert one.ask(f"{name}get", prefix)["uri"] == "com.example"
    assert one.ask(f"{name}list_subscribers", exact) == [one.id, two.id]
    assert one.ask(f"{name}count_subscribers", exact) == 2
    for procedure in ("get", "list_subscribers", "count_subscribers"):
        for number, error in ((999, "no_such_subscription"), (None, "invalid_argument")):
            assert one.ask_in_vain(name + procedure, number) == f"wamp.error.{error}"


# Testaments.


@pytest.mark.parametrize("how", ["lost", "goodbye", "violation", "killed"])
def test_testaments_are_published_however_a_session_ends(router: TestRouter, how: str) -> None:
    line, heir = router.join(), router.join(serializer="msgpack")
    heir.subscribe("com.example.gone")
    add = "wamp.session.add_testament"
    line.ask(add, "com.example.gone", ["destroyed 1"], {"k": 1})
    line.ask(add, "com.example.gone", ["detached"], {}, scope="detached")
    line.ask(add, "com.example.gone", ["destroyed 2"], {}, scope="destroyed")
    assert not heir.inbox
    if how == "lost":
        line.lose()
    elif how == "goodbye":
        line.send(GOODBYE, {}, "wamp.close.close_realm")
    elif how == "violation":
        line.send(99)
    else:
        heir.ask("wamp.session.kill", line.id)
    messages = heir.take_all()
    assert [message[4:] for message in messages] == [
        [["detached"]],
        [["destroyed 1"], {"k": 1}],
        [["destroyed 2"]],
    ]
    assert {message[3]["publisher"] for message in messages} == {line.id}
    assert len({message[2] for message in messages}) == 3


def test_testaments_are_flushed_by_scope(router: TestRouter) -> None:
    line, heir = router.join(), router.join()
    heir.subscribe("com.example.gone")
    for scope in ("detached", "destroyed"):
        name = "wamp.session.add_testament"
        line.ask(name, "com.example.gone", [scope], {}, scope=scope)
    assert line.ask("wamp.session.flush_testaments") is None
    line.lose()
    assert [message[4] for message in heir.take_all()] == [["detached"]]


def test_options_of_testaments_apply(router: TestRouter) -> None:
    line, heir, other = router.join(), router.join(), router.join()
    for each in (heir, other):
        each.subscribe("com.example.gone")
    options = {"eligible": [heir.id], "retain": True, "acknowledge": True}
    line.ask("wamp.session.add_testament", "com.example.gone", publish_options=options)
    line.lose()
    assert heir.take_last()[0] == EVENT
    assert not other.inbox
    heir.request(32, {"get_retained": True}, "com.example.gone")
    assert [message[0] for message in heir.take_all()] == [SUBSCRIBED, EVENT]


@pytest.mark.parametrize(
    ("args", "kwargs", "error"),
    [
        ([], {}, "invalid_argument"),
        ([7], {}, "invalid_argument"),
        (["a b"], {}, "invalid_uri"),
        (["wamp.session.on_join"], {}, "invalid_uri"),
        (["com.x", {}], {}, "invalid_argument"),
        (["com.x", [], []], {}, "invalid_argument"),
        (["com.x"], {"scope": "never"}, "invalid_argument"),
        (["com.x"], {"publish_options": []}, "invalid_argument"),
        (["com.x"], {"publish_options": {"eligible": 7}}, "invalid_argument"),
    ],
    ids=repr,
)
def test_an_invalid_testament(
    router: TestRouter, args: list[t.Any], kwargs: dict[str, t.Any], error: str
) -> None:
    line = router.join()
    uri = line.ask_in_vain("wamp.session.add_testament", *args, **kwargs)
    assert uri == f"wamp.error.{error}"
    assert not any(line.session.testaments.values())


def test_testaments_are_limited(make_router: t.Callable[..., TestRouter]) -> None:
    line = make_router(max_testaments=2).join()
    name = "wamp.session.add_testament"
    for _ in range(2):
        line.ask(name, "com.example.gone")
    assert line.ask_in_vain(name, "com.example.gone") == "wamp.error.unavailable"


# Calls to the router.


def test_a_result_that_is_too_large_is_an_error(router: TestRouter) -> None:
    small = router.join(max_message_size=512)
    for number in range(200):
        small.subscribe(f"com.example.t{number}")
    name = "wamp.subscription.list"
    assert small.ask_in_vain(name) == "wamp.error.payload_size_exceeded"


def test_payloads_that_cannot_be_decoded_are_an_error(router: TestRouter) -> None:
    line = router.join(serializer="msgpack")
    line.send_bytes(b"\x95\x30\x01\x80\xb1wamp.session.list\x91\xa1\xff")
    assert line.take_last()[:5] == [ERROR, CALL, 1, {}, "wamp.error.invalid_argument"]


def test_meta_procedures_have_optional_arguments(router: TestRouter) -> None:
    line = router.join()
    request_id = line.call("wamp.session.count")
    assert line.take_last() == [RESULT, request_id, {}, [1]]
