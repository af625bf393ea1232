"""The extension: apps, factories, several of each, and the names of flask-wamp 0.1.0."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import typing as t
import weakref
from pathlib import Path

import pytest
from flask import Flask, current_app, g

import flask_wamp
from flask_wamp import WAMP, FlaskWAMP
from flask_wamp.client.client import Client
from tests.app.conftest import Serve
from tests.support.memory import MemoryRouter

MakeApp = t.Callable[..., Flask]


def join(*wamps: FlaskWAMP) -> None:
    for wamp in wamps:
        wamp.start()
    for wamp in wamps:
        wamp.client.wait_until_joined(10)


def test_extension_with_an_app(router: MemoryRouter, make_app: MakeApp) -> None:
    wamp = FlaskWAMP(make_app())

    @wamp.callee
    def add(a: int, b: int) -> int:
        return a + b

    join(wamp)
    assert router.call("com.example.add", 1, 2) == 3


def test_decorators_before_init_app(router: MemoryRouter, make_app: MakeApp) -> None:
    wamp = FlaskWAMP()

    @wamp.callee
    def add(a: int, b: int) -> int:
        return a + b

    wamp.init_app(make_app())
    join(wamp)
    assert router.call("com.example.add", 1, 2) == 3


def test_app_factory(router: MemoryRouter, make_app: MakeApp) -> None:
    wamp = FlaskWAMP()

    @wamp.callee
    def name() -> str:
        return current_app.name

    def create_app() -> Flask:
        app = make_app("from the factory")
        wamp.init_app(app)
        return app

    create_app()
    join(wamp)
    assert router.call("com.example.name") == "from the factory"


def test_function_is_returned_unchanged(make_app: MakeApp) -> None:
    wamp = FlaskWAMP(make_app())

    def add(a: int, b: int) -> int:
        return a + b

    assert wamp.callee(add) is add
    assert wamp.callee("com.other.add")(add) is add
    assert wamp.subscriber(".topic")(add) is add
    assert add(1, 2) == 3


# Several apps.


def test_two_apps_in_one_process(router: MemoryRouter, make_app: MakeApp) -> None:
    apps = [make_app(name, WAMP_REALM=name) for name in ("one", "two")]
    wamps = [FlaskWAMP(app) for app in apps]
    for app, wamp in zip(apps, wamps, strict=True):

        @wamp.callee(f".{app.name}")
        def whoami() -> list[t.Any]:
            return [current_app.name, g.wampy.realm, g.wampy.session_id]

    join(*wamps)
    sessions = [wamp.client.session_id for wamp in wamps]
    assert len(router.transports) == 2
    assert len(set(sessions)) == 2
    for app, session_id in zip(apps, sessions, strict=True):
        router.realm = app.name
        assert router.call(f"com.example.{app.name}") == [app.name, app.name, session_id]


def test_apps_call_each_other(router: MemoryRouter, make_app: MakeApp) -> None:
    one, two = FlaskWAMP(make_app("one")), FlaskWAMP(make_app("two"))

    @one.callee
    def outer(x: int) -> int:
        return int(g.wampy.rpc.com.example.inner(x)) + 1

    @two.callee
    def inner(x: int) -> int:
        return x * 10

    join(one, two)
    assert router.call("com.example.outer", 4) == 41


def test_one_extension_for_two_apps(router: MemoryRouter, make_app: MakeApp) -> None:
    wamp = FlaskWAMP()

    @wamp.callee
    def name() -> str:
        return current_app.name

    one, two = make_app("one"), make_app("two", WAMP_REALM="two")
    two.config["WAMP_URI_PREFIX"] = "org.example"
    wamp.init_app(one)
    wamp.init_app(two)

    @wamp.callee
    def late() -> str:
        return current_app.name

    for app in (one, two):
        with app.app_context():
            wamp.start()
            wamp.client.wait_until_joined(10)
    assert router.procedures == {"com.example.name"}
    assert router.call("com.example.name") == "one"
    router.realm = "two"
    assert router.procedures == {"org.example.name", "org.example.late"}
    assert router.call("org.example.name") == router.call("org.example.late") == "two"


def test_client_of_one_extension_for_two_apps(make_app: MakeApp) -> None:
    wamp = FlaskWAMP()
    with pytest.raises(RuntimeError, match=r"wamp\.init_app\(app\)"):
        wamp.client  # noqa: B018
    one, two, other = make_app("one"), make_app("two"), make_app("other")
    wamp.init_app(one)
    with one.app_context():
        first = wamp.client
    assert wamp.client is first
    wamp.init_app(two)
    with pytest.raises(RuntimeError, match=r"with app\.app_context\(\)"):
        wamp.client  # noqa: B018
    for app in (one, two):
        with app.app_context():
            assert wamp.client is g.wampy
    with other.app_context(), pytest.raises(RuntimeError):
        wamp.client  # noqa: B018


def test_a_current_app_without_the_extension_means_the_only_app_with_it(make_app: MakeApp) -> None:
    wamp = FlaskWAMP(make_app())
    with make_app("other").app_context():
        assert isinstance(wamp.client, Client)
        assert not hasattr(g, "wampy")


def test_second_init_app_says_what_to_do(make_app: MakeApp) -> None:
    app = make_app()
    wamp = FlaskWAMP(app)
    with pytest.raises(RuntimeError, match=r"Call init_app once.*app\.extensions\['wamp'\]"):
        wamp.init_app(app)
    with pytest.raises(RuntimeError, match="Call init_app once"):
        FlaskWAMP(app)
    assert app.extensions["wamp"] is wamp


def test_an_app_that_is_no_longer_used_is_forgotten() -> None:
    wamp = FlaskWAMP()
    app = Flask("short-lived")
    wamp.init_app(app)
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None
    with pytest.raises(RuntimeError, match="there is no app yet"):
        wamp.client  # noqa: B018


# Code for flask-wamp 0.1.0.


def test_names_of_flask_wamp(make_app: MakeApp) -> None:
    app = make_app()
    wamp = WAMP(app)
    assert issubclass(WAMP, FlaskWAMP)
    assert app.extensions["wamp"] is app.extensions["flask_wamp"] is wamp
    with app.app_context():
        assert app.extensions["flask_wamp"].client is g.wampy


def test_code_for_flask_wamp(router: MemoryRouter, make_app: MakeApp) -> None:
    app = make_app()
    app.config["WAMP_URI_PREFIX"] = None
    wamp = WAMP(app)
    heard: list[str] = []

    @app.route("/hello")
    @wamp.callee
    def hello() -> str:
        return "hello"

    @wamp.consume(topic="topic")
    def on_topic(message: str) -> None:
        heard.append(message)

    @app.route("/publish")
    def publish() -> str:
        view = g.wampy.with_options(exclude_me=False, acknowledge=True)
        view.publish(topic="topic", message="heard")
        return str(g.wampy.rpc.hello())

    join(wamp)
    assert app.test_client().get("/publish").text == "hello"
    assert app.test_client().get("/hello").text == "hello"
    wamp.stop()
    assert heard == ["heard"]


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("CROSSBAR_URL", "WAMP_ROUTER_URL", "ws://127.0.0.1:9999/ws"),
        ("REALM", "WAMP_REALM", "realm9"),
    ],
)
def test_configuration_of_flask_wamp(make_app: MakeApp, old: str, new: str, value: str) -> None:
    app = make_app(**{old: value})
    with pytest.warns(DeprecationWarning, match=f"{old} is now called {new}") as warned:
        wamp = FlaskWAMP(app)
    assert value in (wamp.client.url, wamp.client.realm)
    assert [warning.filename for warning in warned] == [__file__]


def test_new_configuration_keys_take_precedence(make_app: MakeApp) -> None:
    app = make_app(REALM="old", WAMP_REALM="new")
    assert FlaskWAMP(app).client.realm == "new"


@pytest.mark.parametrize("name", ["WAMP_REALM", "WAMP_NO_SUCH_KEY", "CROSSBAR_URL"])
def test_configuration_after_init_app_is_an_error(
    router: MemoryRouter, make_app: MakeApp, name: str
) -> None:
    app = make_app()
    wamp = FlaskWAMP(app)
    app.config[name] = "late"
    with pytest.raises(RuntimeError, match=f"{name} in app.config was changed after") as raised:
        wamp.start()
    assert "before FlaskWAMP(app) or wamp.init_app(app)" in str(raised.value)
    with app.app_context(), pytest.raises(RuntimeError, match=name):
        g.wampy.call("com.example.add")
    assert router.attempts == 0


# What the extension does not change.


def test_globals_class_of_the_app_is_kept(serve: Serve, make_app: MakeApp) -> None:
    app = make_app()

    class Globals(app.app_ctx_globals_class):  # type: ignore[misc,name-defined]
        own = "attribute"

    app.app_ctx_globals_class = Globals
    FlaskWAMP(app)
    with app.app_context():
        assert g.own == "attribute"
        assert isinstance(g.wampy, Client)


def test_g_is_still_an_ordinary_namespace(make_app: MakeApp) -> None:
    app = make_app()
    FlaskWAMP(app)
    with app.app_context():
        assert list(g) == []
        g.x = 1
        assert list(g) == ["x"]
        assert "y" not in g
        assert g.get("x") == g.pop("x") == 1
        assert g.get("y", 2) == 2


def test_g_knows_the_client_by_name(make_app: MakeApp) -> None:
    app = make_app()
    FlaskWAMP(app)
    with app.app_context():
        assert "wampy" in g
        assert g.get("wampy") is g.wampy
    with make_app().app_context():
        assert "wampy" not in g
        assert g.get("wampy") is None


def test_forgotten_init_app_says_what_to_do(make_app: MakeApp) -> None:
    FlaskWAMP()
    with make_app("forgotten").app_context():
        with pytest.raises(AttributeError, match=r"Call wamp\.init_app\(app\)"):
            g.wampy  # noqa: B018
        with pytest.raises(AttributeError, match="^other$"):
            g.other  # noqa: B018
        assert not hasattr(g, "wampy")


def test_nothing_connects_before_the_first_use(router: MemoryRouter, make_app: MakeApp) -> None:
    app = make_app()
    wamp = FlaskWAMP(app)

    @wamp.callee
    @app.get("/")
    def index() -> str:
        return "hello"

    assert app.test_client().get("/").text == "hello"
    with app.app_context():
        assert not g.wampy.joined
        assert g.wampy.session_id is None
    assert router.attempts == 0


TWICE = {
    "app.py": """
        from flask import Flask
        from flask_wamp import FlaskWAMP

        app = Flask(__name__)
        wamp = FlaskWAMP(app)
        import views
        """,
    "views.py": """
        from app import wamp
        """,
}


def test_the_error_of_an_app_that_a_circular_import_creates_twice_says_so(tmp_path: Path) -> None:
    for name, source in TWICE.items():
        (tmp_path / name).write_text(textwrap.dedent(source))
    environ = {**os.environ, "PYTHONPATH": str(Path(flask_wamp.__file__).parents[1])}
    for command, is_said in (
        (["app.py"], True),
        (["-m", "app"], True),
        (["-c", "import app"], False),
    ):
        arguments = [sys.executable, *command]
        done = subprocess.run(
            arguments, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
        )
        assert ("imports it again as 'app'" in done.stderr) is is_said, done.stderr
        assert ("flask --app app run" in done.stderr) is is_said
