"""``wamp.authorizer``: the app decides what the table of rights does not say."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP, Identity
from flask_wamp.router.procedures import STATUS
from tests.support.browser import Refused
from tests.support.served import Served

from .conftest import ready, stop_router
from .visitor import Visitor

Options = dict[str, t.Any]


@pytest.fixture
def app() -> Flask:
    app = Flask("app")
    app.config.update(TESTING=True, WAMP_URI_PREFIX="com.shop")
    return app


def test_the_first_answer_decides(app: Flask) -> None:
    wamp = FlaskWAMP(app)
    asked: list[tuple[t.Any, ...]] = []

    @wamp.authorizer
    def first(identity: Identity, action: str, uri: str, options: Options) -> bool | None:
        asked.append((identity.authid, identity.authrole, action, uri))
        return {"com.shop.yes": True, "com.shop.no": False}.get(uri)

    @wamp.authorizer
    def second(identity: Identity, action: str, uri: str, options: Options) -> bool | None:
        return True if uri in ("com.shop.no", "com.shop.second") else None

    for name in ("yes", "second", "other"):
        wamp.callee(f".{name}")(lambda: None)
    wamp.callee(".no", allow="anonymous")(lambda: None)
    wamp.callee(".table", allow="user")(lambda: None)
    with wamp.test_client("ann") as peer:
        for name in ("yes", "second", "table"):
            assert peer.call(f"com.shop.{name}") is None
        for name in ("no", "other", "unknown"):
            with pytest.raises(ApplicationError, match="not_authorized"):
                peer.call(f"com.shop.{name}")
    assert ("ann", "user", "call", "com.shop.yes") in asked


def test_it_is_not_asked_about_what_is_reserved(app: Flask) -> None:
    wamp = FlaskWAMP(app)
    asked: list[str] = []
    wamp.allow("user", call="wamp.session.get")

    @wamp.authorizer
    def may(identity: Identity, action: str, uri: str, options: Options) -> bool:
        asked.append(uri)
        return uri == "com.shop.news"

    with wamp.test_client("ann") as peer:
        for procedure in ("wamp.session.list", "wamp.session.get"):
            with pytest.raises(ApplicationError, match="not_authorized"):
                peer.call(procedure)
        assert asked == ["wamp.session.get"]  # which is allowed by name, so that it can be refused
        news = peer.subscribe(".news")
        wamp.client.publish("com.shop.news", 1)
        assert [event.args for event in news.all()] == [[1]]
        wamp.settle()


@pytest.mark.parametrize("f", [None, 7, "may"])
def test_an_authorizer_is_a_function(app: Flask, f: t.Any) -> None:
    with pytest.raises(TypeError, match="must be a function"):
        FlaskWAMP(app).authorizer(f)


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Served]:
    folder = tmp_path_factory.mktemp("r")
    folder.chmod(0o700)
    url = f"embedded:{folder / 'wamp.sock'}"
    command = ["gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "club:app"]
    environ = {"FLASK_WAMP_ROUTER_URL": url, "FLASK_ASKS": "true"}
    with Served(command, url, folder / "server.log", **environ) as server:
        ready(server)
        yield server
    stop_router(folder / "wamp.sock")


def refused(ask: t.Callable[[], object]) -> None:
    with pytest.raises(Refused, match="not_authorized"):
        ask()


@pytest.mark.slow
def test_the_app_decides(asking: Served) -> None:
    pytest.importorskip("flask_login")
    with Visitor(asking.port, "ann").join() as ann, Visitor(asking.port, "bob").join() as bob:
        assert ann.call("com.club.secret") == "secret"
        refused(lambda: bob.call("com.club.secret"))
        ann.subscribe("com.club.room.ann")
        refused(lambda: bob.subscribe("com.club.room.ann"))
        refused(lambda: ann.subscribe("com.club.room.ann", match="prefix"))
        for browser in (ann, bob):
            assert browser.call("com.club.order", "tea") == "tea"  # by the table
            for name in ("broken", "odd"):
                refused(lambda browser=browser, name=name: browser.call(f"com.club.{name}"))
    with Visitor(asking.port, "banned").join() as banned:
        refused(lambda: banned.call("com.club.order", "tea"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "procedure", ["wamp.session.list", STATUS, "com.club.flask_wamp.authorize"]
)
def test_what_is_reserved_stays_so(asking: Served, procedure: str) -> None:
    pytest.importorskip("flask_login")
    with Visitor(asking.port, "ann").join() as ann:
        refused(lambda: ann.call(procedure))


@pytest.mark.slow
def test_messages_keep_their_order_while_the_app_is_asked(asking: Served) -> None:
    pytest.importorskip("flask_login")
    with Visitor(asking.port, "ann").join() as ann:
        numbers = list(range(50))
        for number in numbers:
            ann.send([48, ann.next_id(), {}, "com.club.nothing", [number]])
        assert [ann.receive()[2] for _ in numbers] == [number + 1 for number in numbers]
