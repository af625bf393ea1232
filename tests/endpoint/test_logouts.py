"""``wamp.remember_logouts``: logouts outlive the router and the processes of the app."""

from __future__ import annotations

import json
import os
import signal
import time
import typing as t
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from flask import Flask

from flask_wamp import FlaskWAMP, Identity
from flask_wamp.endpoint import logouts
from flask_wamp.endpoint.logouts import Logouts
from flask_wamp.protocol.identity import BrowserIdentity
from flask_wamp.protocol.logins import login_of
from flask_wamp.testing import MakeRouter
from tests.conftest import eventually
from tests.support.browser import Refused
from tests.support.served import Served

from .conftest import Serve, ready
from .crossbar_node import AskingNode
from .visitor import Visitor

PAGE = Path(__file__).parents[2] / "docs" / "logins.rst"
COMMAND = ["flask", "--app", "club", "run", "-p", "{port}"]
DENIED = "wamp.error.authentication_denied"
MakeApp = t.Callable[..., Flask]


class Store(dict[str, float]):
    """A store that is a dictionary."""

    def set(self, key: str, value: float) -> None:
        self[key] = value


def ann(browser: str = "x", since: float | None = None) -> BrowserIdentity:
    since = time.time() - 60 if since is None else since
    return BrowserIdentity("ann", "member", browser=browser, since=since)


def test_another_process_finds_a_logout_in_the_store() -> None:
    store = Store()
    here, there = (Logouts("club", lambda: store) for _ in range(2))
    other_app = Logouts("shop", lambda: store)
    here.end_browser("x")
    assert there.has_ended(ann("x"))
    assert there.is_over("ann", login_of("x"), 0.0)
    assert not there.has_ended(ann("y"))
    assert not other_app.has_ended(ann("x"))
    here.end_user("ann")
    assert there.has_ended(ann("y"))
    assert not there.has_ended(ann("y", time.time() + 1))
    assert not other_app.has_ended(ann("y"))
    assert "ann" not in str(store) and "x" not in json.dumps(list(store.values()))


def test_only_this_process_knows_a_logout_without_a_store() -> None:
    here, there = (Logouts("club", lambda: None) for _ in range(2))
    here.end_browser("x")
    assert here.has_ended(ann("x"))
    assert not there.has_ended(ann("x"))


def test_logouts_are_stored_without_expiry() -> None:
    class Cache:
        """A store like Flask-Caching's, which forgets after a while by default."""

        given: t.ClassVar[list[object]] = []

        def get(self, key: str) -> bytes:
            return b"%f" % time.time()  # as Redis has it

        def set(self, *args: object, **options: object) -> bool:
            self.given.append(options)
            return True

    known = Logouts("club", Cache)
    known.end_user("ann")
    assert Cache.given == [{"timeout": 0}]
    assert Logouts("club", Cache).has_ended(ann("y"))


def test_the_store_is_not_asked_at_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Counting(Store):
        def get(self, key: str, default: t.Any = None) -> t.Any:
            asked.append(key)
            return super().get(key, default)

    store = Counting()
    here, there = (Logouts("club", lambda: store) for _ in range(2))
    session = ("ann", login_of("x"), 0.5)
    for _ in range(5):
        assert not here.is_over(*session)
    assert len(asked) == 2
    there.end_browser("x")
    here.look_again()
    assert here.is_over(*session)
    monkeypatch.setattr(logouts, "FRESH", 0.0)
    session = ("ann", login_of("y"), 0.5)
    assert not here.is_over(*session)
    there.end_browser("y")
    assert here.is_over(*session)


def test_an_answer_of_the_store_from_before_a_missed_logout_is_not_kept() -> None:
    class Slow(Store):
        def get(self, key: str, default: t.Any = None) -> t.Any:
            answer = super().get(key, default)
            if not self:  # the answer arrives after the logout, which this process has missed
                there.end_user("ann")
                here.look_again()
            return answer

    store = Slow()
    here, there = (Logouts("club", lambda: store) for _ in range(2))
    session = ("ann", "", 0.5)
    assert not here.is_over(*session)
    assert here.is_over(*session)


def test_a_logout_of_another_process_applies_at_once() -> None:
    here = Logouts("club", Store)
    session = ("ann", login_of("x"), 0.5)
    assert not here.is_over(*session)
    here.hear_login(login_of("x"))
    assert here.is_over(*session)


def test_no_client_joins_while_the_store_fails(make_app: MakeApp) -> None:
    class Broken(Store):
        def get(self, key: str, default: t.Any = None) -> t.Any:
            raise OSError("the database is down")

    app = make_app(WAMP_ROUTER_URL="memory:", PROPAGATE_EXCEPTIONS=False)
    wamp = FlaskWAMP(app)
    wamp.authenticator(lambda request: Identity("ann", "member"))
    wamp.remember_logouts(Broken())
    assert app.test_client().post("/wamp/session").status_code == 500


@pytest.mark.parametrize("store", [None, 7, {}, object(), "redis://"])
def test_a_store_has_get_and_set(make_app: MakeApp, store: t.Any) -> None:
    with pytest.raises(
        TypeError, match=r"requires an object with get\(key\) and set\(key, value\)"
    ):
        FlaskWAMP(make_app()).remember_logouts(store)


@pytest.mark.parametrize(
    ("production", "stored", "warns"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
def test_a_start_in_production_without_a_store_warns(
    make_app: MakeApp,
    caplog: pytest.LogCaptureFixture,
    production: bool,
    stored: bool,
    warns: bool,
) -> None:
    app = make_app(WAMP_ROUTER_URL="memory:")
    app.testing = not production
    wamp = FlaskWAMP(app)
    wamp.authenticator(lambda request: Identity("ann", "member"))
    if stored:
        wamp.remember_logouts(Store())
    wamp.start()
    wamp.client.wait_until_joined(10)
    assert ("logouts are remembered in memory only" in caplog.text) is warns


# In real processes.


def old_cookie(port: int, *, everywhere: bool = False) -> str:
    """Log ann in and out. Return the old cookie."""
    visitor = Visitor(port, "ann")
    copied = visitor.cookie
    visitor.get("/sign-out/ann" if everywhere else "/logout")
    return copied


@pytest.mark.slow
@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("everywhere", [True, False])
def test_the_router_is_started_again(
    serve: Serve, socket: Path, tmp_path: Path, stored: bool, everywhere: bool
) -> None:
    pytest.importorskip("flask_login")
    environ = {"FLASK_LOGOUTS": str(tmp_path / "logouts.db")} if stored else {}
    with serve(*COMMAND, **environ) as server:
        ready(server)
        copied = old_cookie(server.port, everywhere=everywhere)
    info = Path(f"{socket}.json")
    os.kill(json.loads(info.read_text())["pid"], signal.SIGTERM)
    eventually(lambda: not info.exists())
    with serve(*COMMAND, **environ) as server:  # the whole app was restarted
        ready(server)
        thief = Visitor(server.port)
        if not stored:  # as the page says
            with thief.join(copied) as browser:
                assert browser.authid == "ann"
            return
        with pytest.raises(Refused, match=DENIED):
            thief.join(copied)
        with pytest.raises(Refused, match=DENIED):
            thief.join_with(thief.get("/wamp/session", "POST", Cookie=copied))
        with Visitor(server.port, "ann").join() as ann:
            assert ann.authid == "ann"


@pytest.mark.slow
@pytest.mark.router
@pytest.mark.parametrize("everywhere", [True, False])
def test_a_process_that_starts_later(
    make_wamp_router: MakeRouter, socket: Path, tmp_path: Path, everywhere: bool
) -> None:
    pytest.importorskip("flask_login")
    node = AskingNode(socket, ["member"])
    make_wamp_router([node.app_url, node.browsers_url], config=node.config)
    environ = {**node.environ, "FLASK_LOGOUTS": str(tmp_path / "logouts.db")}
    with Served(COMMAND, "", tmp_path / "one.log", **environ) as one:
        ready(one)
        copied = old_cookie(one.port, everywhere=everywhere)
    with Served(COMMAND, "", tmp_path / "two.log", **environ) as two:
        ready(two)
        thief = Visitor(two.port)
        with pytest.raises(Refused, match=DENIED):
            thief.join_with(thief.get("/wamp/session", "POST", Cookie=copied))
        with Visitor(two.port, "ann").join_router() as ann:
            assert ann.authid == "ann"


# The page.


def test_the_documented_store_in_a_database(make_app: MakeApp) -> None:
    flask_sqlalchemy = pytest.importorskip("flask_sqlalchemy")
    tree = publish_doctree(PAGE.read_text(encoding="utf-8"))
    (block,) = (b for b in tree.findall(nodes.literal_block) if "logouts.py" in b["names"])
    app = make_app(WAMP_ROUTER_URL="memory:", SQLALCHEMY_DATABASE_URI="sqlite://")
    wamp, db = FlaskWAMP(app), flask_sqlalchemy.SQLAlchemy(app)
    exec(block.astext(), {"wamp": wamp, "db": db})
    with app.app_context():
        db.create_all()
        store = wamp._state().logouts
        assert not store.has_ended(ann("x"))
        store.end_browser("x")
        store.end_user("bob")
        store.end_user("bob")
        fresh = Logouts(app.name, lambda: wamp._state().group.logouts)
        assert fresh.has_ended(ann("x"))
        assert fresh.has_ended(BrowserIdentity("bob", "member", browser="y", since=1.0))
        assert not fresh.has_ended(ann("y"))
