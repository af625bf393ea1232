"""``wamp.authorizer``: the app decides before the table of rights does."""

from __future__ import annotations

import gc
import typing as t

import pytest
from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP, Identity, WAMPBlueprint
from flask_wamp.router import app_api
from flask_wamp.router.procedures import CONFIGURE, STATUS
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


def test_reserved_uris_do_not_call_the_authorizer(app: Flask) -> None:
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


def test_a_blueprints_authorizer_decides_about_its_uris(app: Flask) -> None:
    wamp = FlaskWAMP(app)
    outer = WAMPBlueprint("outer", ".outer", allow="user")
    inner = WAMPBlueprint("inner", ".inner")
    asked: list[tuple[str, str, str]] = []

    @wamp.authorizer
    def everywhere(identity: Identity, action: str, uri: str, options: Options) -> bool | None:
        asked.append(("everywhere", action, uri))
        return None

    @outer.authorizer
    def of_outer(identity: Identity, action: str, uri: str, options: Options) -> bool | None:
        asked.append(("outer", action, uri))
        return {"com.shop.outer.no": False, "com.shop.outer.yes": True}.get(uri)

    @inner.authorizer
    def of_inner(identity: Identity, action: str, uri: str, options: Options) -> bool | None:
        asked.append(("inner", action, uri))
        return uri != "com.shop.outer.inner.no"

    for blueprint, name in ((outer, "no"), (outer, "table"), (inner, "no"), (inner, "yes")):
        blueprint.callee(f".{name}")(lambda: None)
    outer.callee(".yes", allow="nobody")(lambda: None)
    wamp.callee(".elsewhere", allow="user")(lambda: None)
    wamp.allow("user", subscribe=".outer.")
    inner.allow("nobody", subscribe=".news")
    outer.register_blueprint(inner)
    wamp.register_blueprint(outer)

    def who_was_asked() -> list[str]:
        names = [name for name, action, uri in asked if not uri.startswith("wamp.")]
        asked.clear()
        return names

    with wamp.test_client("ann") as peer:
        who_was_asked()
        assert peer.call("com.shop.outer.inner.yes") is None
        assert who_was_asked() == ["inner"]
        assert peer.call("com.shop.outer.yes") is None
        assert who_was_asked() == ["outer"]
        assert peer.call("com.shop.outer.table") is None
        assert who_was_asked() == ["outer", "everywhere"]
        assert peer.call("com.shop.elsewhere") is None
        assert who_was_asked() == ["everywhere"]
        for name in ("outer.no", "outer.inner.no"):
            with pytest.raises(ApplicationError, match="not_authorized"):
                peer.call(f"com.shop.{name}")
        who_was_asked()
        peer.subscribe("com.shop.outer.inner.news")
        assert who_was_asked() == ["inner"]
        # The pattern also matches URIs outside the inner prefix, so the inner True is ignored.
        peer.subscribe("com.shop.outer.", match="prefix")
        assert who_was_asked() == ["inner", "outer", "everywhere"]
        with pytest.raises(ApplicationError, match="not_authorized"):
            peer.subscribe("com.shop.", match="prefix")
        assert who_was_asked() == []  # it reaches what is reserved


def test_a_blueprints_authorizer_refuses_patterns_that_overlap_its_uris(app: Flask) -> None:
    wamp = FlaskWAMP(app)
    private = WAMPBlueprint("private", ".private")
    private.authorizer(lambda identity, action, uri, options: False)
    wamp.register_blueprint(private)
    wamp.allow("user", subscribe="com.shop.")
    with wamp.test_client("ann") as peer:
        peer.subscribe("com.shop.news.", match="prefix")
        for topic, match in (("com.shop.", "prefix"), ("com.shop..x", "wildcard")):
            with pytest.raises(ApplicationError, match="not_authorized"):
                peer.subscribe(topic, match=match)


class Asked:
    """Counts the calls of an authorizer."""

    def __init__(self) -> None:
        self.uris: list[str] = []

    def __call__(self, identity: Identity, action: str, uri: str, options: Options) -> bool | None:
        if not uri.startswith("wamp."):
            self.uris.append(f"{identity.authid} {action} {uri}")
        return {"com.shop.no": False, "com.shop.yes": True}.get(uri)

    def take(self) -> list[str]:
        uris, self.uris = self.uris, []
        return uris


def test_cached_answers_call_the_authorizer_once(app: Flask) -> None:
    wamp = FlaskWAMP(app)
    asked = Asked()
    wamp.authorizer(cache=True)(asked)
    for name in ("yes", "no"):
        wamp.callee(f".{name}")(lambda: None)
    wamp.callee(".table", allow="user")(lambda: None)
    with wamp.test_client("ann") as ann, wamp.test_client("bob") as bob:
        asked.take()
        for peer in (ann, bob):
            for _ in range(3):
                assert peer.call("com.shop.yes") is None
                assert peer.call("com.shop.table") is None
                with pytest.raises(ApplicationError, match="not_authorized"):
                    peer.call("com.shop.no")
        once = ["call com.shop.yes", "call com.shop.table", "call com.shop.no"]
        assert asked.take() == [f"{who} {what}" for who in ("ann", "bob") for what in once]
        # Another action or match policy is another request.
        for options in ({}, {"match": "prefix"}):
            with pytest.raises(ApplicationError, match="not_authorized"):
                ann.subscribe("com.shop.no", **options)
        assert asked.take() == ["ann subscribe com.shop.no"] * 2
        # A new version of the app, or a restarted process, may answer otherwise.
        state = wamp._state()
        assert state.own_router is not None
        wamp.client.call(CONFIGURE, *state.own_router._configuration())
        ann.call("com.shop.yes")
        assert asked.take() == ["ann call com.shop.yes"]


def test_authorizers_without_cache_are_called_every_time(app: Flask) -> None:
    wamp = FlaskWAMP(app)
    changing, stable = Asked(), Asked()
    wamp.authorizer(changing)
    wamp.authorizer(cache=True)(stable)
    wamp.callee(".table", allow="user")(lambda: None)
    with wamp.test_client("ann") as peer:
        changing.take()
        for _ in range(3):
            peer.call("com.shop.table")
        assert changing.take() == ["ann call com.shop.table"] * 3


def test_the_number_of_cached_answers_is_limited(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_api, "MOST_ANSWERS", 10)
    wamp = FlaskWAMP(app)
    wamp.authorizer(cache=True)(lambda identity, action, uri, options: True)
    with wamp.test_client("ann") as peer:
        router = wamp._state().own_router
        assert router is not None
        (rules,) = router._api._rules.values()
        for number in range(50):
            peer.publish(f"com.shop.{number}", acknowledge=True)
            assert all(len(each) <= 10 for each in rules.answers.values())
        peer.publish(f"com.shop.{'x' * 1000}", acknowledge=True)
        assert not any("xxx" in str(each) for each in rules.answers.values())
    del peer  # it keeps the identity
    gc.collect()
    assert len(rules.answers) == 0


@pytest.mark.parametrize("cache", [None, 1, "yes", 60.0])
def test_cache_must_be_a_bool(app: Flask, cache: t.Any) -> None:
    with pytest.raises(TypeError, match="cache=True or cache=False"):
        FlaskWAMP(app).authorizer(cache=cache)


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
def test_an_authorizer_cannot_open_reserved_uris(asking: Served, procedure: str) -> None:
    pytest.importorskip("flask_login")
    with Visitor(asking.port, "ann").join() as ann:
        refused(lambda: ann.call(procedure))


@pytest.mark.slow
def test_messages_keep_their_order_while_the_authorizer_runs(asking: Served) -> None:
    pytest.importorskip("flask_login")
    with Visitor(asking.port, "ann").join() as ann:
        numbers = list(range(50))
        for number in numbers:
            ann.send([48, ann.next_id(), {}, "com.club.nothing", [number]])
        assert [ann.receive()[2] for _ in numbers] == [number + 1 for number in numbers]
