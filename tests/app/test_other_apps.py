"""Two applications share a procedure: one of them logs a warning, and nothing else changes."""

from __future__ import annotations

import logging
import typing as t

import pytest
from flask import Flask, g

from flask_wamp import ApplicationError, FlaskWAMP
from flask_wamp.coordination import other_apps
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.uris import GET_SESSION, LIST_CALLEES
from flask_wamp.router.features import ROLES
from tests.app.conftest import Lack
from tests.conftest import eventually
from tests.support.memory import MemoryRouter

URL = "ws://router.in.memory/ws"
MakeApp = t.Callable[..., Flask]
JoinAs = t.Callable[..., FlaskWAMP]


@pytest.fixture
def join_as(make_app: MakeApp) -> JoinAs:
    """Let an app with a name and shared procedures join."""

    def join_as(name: str, *uris: str, url: str = URL, **config: t.Any) -> FlaskWAMP:
        wamp = FlaskWAMP(make_app(name, WAMP_ROUTER_URL=url, **config))
        for uri in uris or ("com.example.add",):
            wamp.callee(uri)(lambda: name)
        wamp.start()
        wamp.client.wait_until_joined(10)
        return wamp

    return join_as


@pytest.fixture
def asking(router: MemoryRouter, monkeypatch: pytest.MonkeyPatch) -> MemoryRouter:
    """A router that announces the needed features, and says that session 7 belongs to another app."""
    monkeypatch.setitem(ROLES["dealer"]["features"], "session_meta_api", True)
    router.register(LIST_CALLEES, lambda number: [7])
    router.register(GET_SESSION, lambda number: about("orders"))
    return router


def about(app: object) -> dict[str, t.Any]:
    return {"session": 7, "authextra": {"flask_wamp": {"app": app}}}


def calls(router: MemoryRouter) -> list[str]:
    return [message.procedure for message in router.sent(m.Call)]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if "is registered by" in each.getMessage()]


def test_one_warning_names_both_apps_and_the_uri(
    asking: MemoryRouter, join_as: JoinAs, caplog: pytest.LogCaptureFixture
) -> None:
    join_as("shop", "com.example.a", "com.example.b")
    [warning] = eventually(lambda: warnings(caplog))
    assert "is registered by this application ('shop')" in warning
    assert "another one ('orders')" in warning
    asking.wait_for(m.Call, 3)
    assert sorted(calls(asking)) == [LIST_CALLEES, LIST_CALLEES, GET_SESSION]
    asking.drop()
    asking.wait_for(m.Call, 6)
    asking.register(GET_SESSION, lambda number: about("stock"))
    asking.drop()
    eventually(lambda: len(warnings(caplog)) == 2)
    assert "'stock'" in warnings(caplog)[1]


@pytest.mark.parametrize(
    "details",
    [None, 7, {}, {"authextra": 7}, about(None), about(7), about(""), about("shop")],
    ids=repr,
)
def test_other_sessions_cause_no_warning(
    asking: MemoryRouter, join_as: JoinAs, caplog: pytest.LogCaptureFixture, details: t.Any
) -> None:
    asking.register(GET_SESSION, lambda number: details)
    join_as("shop", WAMP_WORKERS=1)
    asking.wait_for(m.Call, 2)
    assert asking.call("com.example.add") == "shop"  # the worker has looked at the answer before
    assert warnings(caplog) == []
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("refused", [LIST_CALLEES, GET_SESSION])
def test_an_app_without_permission_logs_nothing_and_asks_once(
    asking: MemoryRouter, join_as: JoinAs, caplog: pytest.LogCaptureFixture, refused: str
) -> None:
    asking.refuse(refused)
    wamp = join_as("shop")
    peer: t.Any = wamp.client.peer
    look = peer.listener(other_apps.OtherApps)
    eventually(lambda: not look._permitted)
    before = calls(asking)
    asking.drop()
    asking.wait_for(m.Register, 2)
    eventually(lambda: peer._ready)
    wamp.stop()
    assert calls(asking) == before
    assert not [each for each in caplog.records if "not_authorized" in each.getMessage()]


@pytest.mark.parametrize("feature", ["registration_meta_api", "session_meta_api"])
def test_a_router_that_does_not_announce_it_is_not_asked(
    asking: MemoryRouter, join_as: JoinAs, lack: Lack, feature: str
) -> None:
    lack(feature)
    join_as("shop").stop()
    assert calls(asking) == []


def test_procedures_that_are_registered_later_are_checked_too(
    asking: MemoryRouter, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app("shop", WAMP_ROUTER_URL=URL)
    app.testing = False  # so that a use joins without serving
    wamp = FlaskWAMP(app)
    wamp.callee("com.example.add")(lambda: 1)
    asking.register("com.example.price", lambda: 3)
    with app.app_context():
        assert g.wampy.call("com.example.price") == 3
    wamp.client.wait_until_joined(10)
    assert calls(asking) == ["com.example.price"]
    wamp.start()
    eventually(lambda: warnings(caplog))
    assert len(asking.sent(m.Hello)) == 1


def test_only_shared_procedures_are_checked(asking: MemoryRouter, make_app: MakeApp) -> None:
    wamp = FlaskWAMP(make_app("shop", WAMP_ROUTER_URL=URL))
    wamp.callee("com.example.own", invoke="single")(lambda: 1)
    wamp.start()
    wamp.client.wait_until_joined(10)
    wamp.stop()
    assert calls(asking) == []


def test_the_number_of_checks_is_limited(asking: MemoryRouter, join_as: JoinAs) -> None:
    asking.register(LIST_CALLEES, lambda number: [*range(10, 500), "x", None])
    asked = other_apps.MAX_REGISTRATIONS + other_apps.MAX_SESSIONS
    wamp = join_as("shop", *(f"com.example.p{number}" for number in range(50)))
    asking.wait_for(m.Call, asked)
    wamp.stop()
    assert len(calls(asking)) == asked


@pytest.mark.parametrize("answer", [None, {}, "text", 7])
def test_any_answer_of_the_router_is_handled(
    asking: MemoryRouter, join_as: JoinAs, caplog: pytest.LogCaptureFixture, answer: t.Any
) -> None:
    asking.register(LIST_CALLEES, lambda number: answer)
    join_as("shop", WAMP_WORKERS=1)
    asking.wait_for(m.Call, 1)
    assert asking.call("com.example.add") == "shop"  # the worker has looked at the answer before
    assert calls(asking) == [LIST_CALLEES]
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_a_session_that_has_ended_does_not_stop_the_check(
    asking: MemoryRouter, join_as: JoinAs, caplog: pytest.LogCaptureFixture
) -> None:
    def get(number: int) -> t.Any:
        if number == 8:
            raise ApplicationError("wamp.error.no_such_session")
        return about("orders")

    asking.register(LIST_CALLEES, lambda number: [8])
    asking.register(GET_SESSION, get)
    join_as("shop")
    asking.wait_for(m.Call, 2)
    asking.register(LIST_CALLEES, lambda number: [7])
    asking.drop()
    eventually(lambda: warnings(caplog))


# HELLO.


def extras(router: MemoryRouter) -> list[t.Any]:
    return [hello.details.get("authextra") for hello in router.sent(m.Hello)]


SHOP = {"flask_wamp": {"app": "shop"}}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (None, SHOP),
        ({"team": "a"}, {**SHOP, "team": "a"}),
        (lambda: {"team": "a"}, {**SHOP, "team": "a"}),
        ({"flask_wamp": {}}, {"flask_wamp": {}}),
    ],
    ids=["none", "some", "a function", "hidden"],
)
def test_hello_names_the_app(
    router: MemoryRouter, join_as: JoinAs, given: t.Any, sent: t.Any
) -> None:
    join_as("shop", WAMP_AUTHEXTRA=given)
    assert extras(router) == [sent]


def test_a_long_name_is_truncated(router: MemoryRouter, join_as: JoinAs) -> None:
    join_as("s" * 1000)
    assert extras(router) == [{"flask_wamp": {"app": "s" * 100}}]


@pytest.mark.parametrize(("url", "name"), [("memory:", None), ("embedded:", "shop")])
def test_a_router_of_its_own_has_no_other_apps(
    make_app: MakeApp, url: str, name: str | None
) -> None:
    app = make_app("shop", WAMP_ROUTER_URL=url)
    settings = FlaskWAMP(app).client._state.settings
    assert settings.app == name
    assert not settings.meets_others
