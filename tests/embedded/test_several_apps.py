"""Several apps at one embedded router: which rules apply, and requests before an app has sent its rules."""

from __future__ import annotations

import typing as t

import pytest

from flask_wamp.protocol import rights
from flask_wamp.protocol.identity import BrowserIdentity
from flask_wamp.router import Decision, Router, RouterSettings
from flask_wamp.router.app_api import PATIENCE, AppAPI
from flask_wamp.router.later import Later

SHOP, BANK = "com.shop.flask_wamp", "com.bank.flask_wamp"


class Scene:
    """A router without sessions, with a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.api = AppAPI(lambda: self.now, lambda: self.now, SHOP)
        self.router = Router(
            RouterSettings(realms=("realm1",)), clock=lambda: self.now, wall_clock=lambda: 1
        )
        self.deferred: list[t.Callable[[], object]] = []
        self.opened: list[tuple[str, str, object]] = []
        self.api.serve(self.router, "realm1", self.deferred.append, self.open)

    def open(self, app: str, url: str, origins: object) -> None:
        if "taken" in url:
            raise ValueError(f"{url} is taken")
        self.opened.append((app, url, origins))

    def tell(self, app: str, *grants: rights.Right, **options: t.Any) -> None:
        """Do what a process of an app does when it joins."""
        policy = rights.Policy(grants, ("wamp.", f"{app}."))
        self.api.configure(app, rights.as_json(policy), **options)
        while self.deferred:
            self.deferred.pop()()

    def ask(self, app: str, action: str, uri: str) -> list[t.Any]:
        """Send a request as a member of an app. Return the list of decisions, which may be filled later."""
        identity = BrowserIdentity("ann", "member", app=app)
        answer = self.api.authorize(identity, action, uri, {})
        answers: list[t.Any] = []
        if isinstance(answer, Later):
            answer.then(answers.append)
        else:
            answers.append(answer)
        return answers


@pytest.fixture
def scene() -> Scene:
    return Scene()


def right(action: str, uri: str, match: str = "exact") -> rights.Right:
    return rights.Right("member", action, uri, match)


def is_allowed(answers: list[t.Any]) -> bool:
    (answer,) = answers
    assert isinstance(answer, Decision)
    return answer.allow


def test_the_rules_of_the_app_where_a_session_joined_apply(scene: Scene) -> None:
    scene.tell(SHOP, right("call", "com.shop.order"))
    scene.tell(BANK, right("call", "com.bank.balance"))
    assert is_allowed(scene.ask(SHOP, "call", "com.shop.order"))
    assert is_allowed(scene.ask(BANK, "call", "com.bank.balance"))
    assert not is_allowed(scene.ask(SHOP, "call", "com.bank.balance"))
    assert not is_allowed(scene.ask(BANK, "call", "com.shop.order"))
    assert is_allowed(
        scene.ask("", "call", "com.shop.order")
    )  # the app that has started the router


def test_a_process_replaces_the_rules_of_its_own_app_only(scene: Scene) -> None:
    scene.tell(SHOP, right("call", "com.shop.order"))
    scene.tell(BANK, right("call", "com.bank.balance"))
    scene.tell(SHOP, right("call", "com.shop.buy"))
    assert not is_allowed(scene.ask(SHOP, "call", "com.shop.order"))
    assert is_allowed(scene.ask(SHOP, "call", "com.shop.buy"))
    assert is_allowed(scene.ask(BANK, "call", "com.bank.balance"))


@pytest.mark.parametrize("first", [SHOP, BANK])
def test_no_app_can_allow_the_own_uris_of_another(scene: Scene, first: str) -> None:
    for app in (first, *({SHOP, BANK} - {first})):
        scene.tell(app, right("subscribe", "com.", "prefix"))
    for app, other in ((SHOP, BANK), (BANK, SHOP)):
        assert is_allowed(scene.ask(app, "subscribe", other.replace("flask_wamp", "news")))
        assert not is_allowed(scene.ask(app, "subscribe", f"{other}.tasks"))


def test_a_request_waits_for_the_rules_of_its_app(scene: Scene) -> None:
    scene.tell(SHOP)
    allowed, not_allowed = scene.ask(BANK, "call", "com.bank.a"), scene.ask(BANK, "call", "b")
    scene.tell(SHOP)
    assert (allowed, not_allowed) == ([], [])
    scene.tell(BANK, right("call", "com.bank.a"))
    assert is_allowed(allowed)
    assert not is_allowed(not_allowed)
    scene.now = PATIENCE + 1
    scene.router.tick()
    assert len(allowed) == len(not_allowed) == 1


def test_a_request_does_not_wait_forever(scene: Scene) -> None:
    scene.tell(SHOP)
    answers = scene.ask(BANK, "call", "com.bank.a")
    scene.now = PATIENCE + 0.1
    scene.router.tick()
    assert not is_allowed(answers)
    scene.tell(BANK, right("call", "com.bank.a"))
    assert len(answers) == 1


def test_a_refusal_names_the_app_whose_rights_apply(scene: Scene) -> None:
    scene.tell(SHOP, explains=True)
    scene.tell(BANK)
    (answer,) = scene.ask(SHOP, "call", "com.bank.balance")
    assert "wamp.allow('member', call='com.bank.balance')" in answer.message
    assert "through the application com.shop" in answer.message
    (answer,) = scene.ask(BANK, "call", "com.bank.balance")
    assert not answer.message


def test_ports_are_opened_after_the_rights_are_in_force(scene: Scene) -> None:
    scene.tell(SHOP, listen=["ws://127.0.0.1:9000/ws"], origins=[None])
    assert scene.opened == [(SHOP, "ws://127.0.0.1:9000/ws", [None])]
    with pytest.raises(ValueError, match="taken"):
        scene.tell(BANK, right("call", "com.bank.a"), listen=["ws://taken"])
    assert is_allowed(scene.ask(BANK, "call", "com.bank.a"))


def test_logins_end_in_one_app(scene: Scene) -> None:
    for app in (SHOP, BANK):
        ann = {"authid": "ann", "authrole": "member", "authextra": {}, "browser": "", "since": 0.0}
        ticket = scene.api.add_ticket(app, ann, 30)
        scene.api.sign_out(SHOP, "ann")
        found = scene.api.redeem(ticket)
        assert isinstance(found, BrowserIdentity) is (app == BANK)


@pytest.mark.parametrize("app", [None, 1, ["com.shop"]])
def test_the_name_of_an_app_must_be_text(scene: Scene, app: t.Any) -> None:
    with pytest.raises(ValueError, match="the name of an app must be"):
        scene.api.configure(app, [["wamp."]])
