"""No secret of the configuration is shown anywhere, whether it is right, wrong, or cannot be used."""

from __future__ import annotations

import base64
import contextlib
import logging
import pathlib
import sys
import traceback
import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP
from flask_wamp.cli import wamp as commands
from tests.conftest import eventually
from tests.router.test_authmethods import BAD, GOOD, KEY, Config, _rows
from tests.support.nodes import Node
from tests.support.peers import PATIENCE
from tests.support.served import PACKAGE, STARTS_WITHIN, Served

pytestmark = pytest.mark.router

MakeApp = t.Callable[..., Flask]

SECRET_KEYS = ("WAMP_TICKET", "WAMP_SECRET", "WAMP_PRIVATE_KEY")
WRONG = "hush-hush-wrong"
OTHER_KEY = "a1" * 31 + "b2"


def forms(secret: str) -> set[str]:
    """The secret as text, Base64 and hex; of a key in hex, its bytes too."""
    data = {secret.encode()}
    with contextlib.suppress(ValueError):
        data.add(bytes.fromhex(secret))
    found = {secret}
    for each in data:
        found |= {each.hex(), base64.b64encode(each).decode().rstrip("="), repr(each)}
    return {form.lower() for form in found}


def assert_hidden(config: Config, *shown: str) -> None:
    everything = "\n".join(shown).lower()
    for key in SECRET_KEYS:
        if key in config:
            for form in forms(config[key]):
                assert form not in everything, key


def with_wrong(config: Config) -> Config:
    """The same, with a secret that occurs nowhere by chance."""
    wrong = {"WAMP_TICKET": WRONG, "WAMP_SECRET": WRONG, "WAMP_PRIVATE_KEY": OTHER_KEY}
    return {key: wrong.get(key, value) for key, value in config.items()}


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> t.Iterator[pytest.LogCaptureFixture]:
    """All loggers at DEBUG, those of other libraries too."""
    known = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
    known += [logging.getLogger(f"websockets{rest}") for rest in ("", ".client", ".protocol")]
    levels = {logger: logger.level for logger in known}
    for logger in known:
        logger.setLevel(logging.DEBUG)
    caplog.set_level(logging.DEBUG)
    yield caplog
    for logger, level in levels.items():
        logger.setLevel(level)


def all_that_is_shown(app: Flask, wamp: FlaskWAMP) -> list[str]:
    """Everything that a developer, an operator or a load balancer may see of an app."""
    shown = [repr(wamp), repr(wamp.client), repr(wamp.client.settings), str(wamp.client.settings)]
    try:
        wamp.client.call("com.shop.nobody")
    except Exception as error:
        shown += traceback.format_exception(error)  # its cause, too
        shown += [repr(error), repr(vars(error)), repr(error.__cause__), repr(error.__context__)]
    shown += [repr(wamp.health()), repr(wamp.client.__dict__)]
    shown.append(app.test_cli_runner().invoke(commands, ["status"]).output)
    app.add_url_rule("/wamp/health", view_func=wamp.health_view)
    view = app.test_client().get("/wamp/health")
    assert view.status_code in (200, 503)
    return [*shown, view.get_data(as_text=True)]


@pytest.mark.parametrize("scheme", ["auth_url", "auth_rawsocket_url"])
@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
@pytest.mark.parametrize("config", _rows(BAD))
def test_whether_it_is_right_or_wrong(
    make_app: MakeApp,
    node: Node,
    everything_logged: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
    config: Config,
    right: bool,
    scheme: str,
    denied: str,
) -> None:
    name = next(name for name, each in BAD.items() if each is config)
    config = GOOD[name] if right else with_wrong(config)
    url = getattr(node, scheme)
    app = make_app(WAMP_ROUTER_URL=url, WAMP_RECONNECT_MIN=0.5, **config)
    wamp = FlaskWAMP(app)
    wamp.start()
    if right:
        wamp.client.wait_until_joined(PATIENCE)
    shown = all_that_is_shown(app, wamp)
    wamp.stop()
    assert wamp.client.joined is False
    assert_hidden(config, everything_logged.text, *shown)
    if not right:
        assert denied in "\n".join(shown)


def test_the_password_of_the_url(
    make_app: MakeApp, node: Node, everything_logged: pytest.LogCaptureFixture
) -> None:
    url = node.auth_url.replace("://", f"://joe:{WRONG}@")
    config = {**GOOD["ticket"], "WAMP_ROUTER_URL": url}
    app = make_app(**config)
    wamp = FlaskWAMP(app)
    wamp.client.wait_until_joined(PATIENCE)
    shown = all_that_is_shown(app, wamp)
    wamp.stop()
    assert_hidden({**config, "WAMP_SECRET": WRONG}, everything_logged.text, *shown)
    assert_hidden({"WAMP_SECRET": f"joe:{WRONG}"}, everything_logged.text, *shown)


@pytest.mark.parametrize("key", [KEY[:-1], KEY + "ab", "zz" + KEY[2:], "hush-hush-key", "/" + KEY])
def test_a_malformed_key(
    make_app: MakeApp, node: Node, everything_logged: pytest.LogCaptureFixture, key: str
) -> None:
    config = {"WAMP_AUTHID": "cryptosign-user", "WAMP_PRIVATE_KEY": key}
    with pytest.raises(ValueError, match="WAMP_PRIVATE_KEY") as info:
        FlaskWAMP(make_app(WAMP_ROUTER_URL=node.auth_url, **config))
    assert_hidden(config, everything_logged.text, *traceback.format_exception(info.value))


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [("scram argon2", "argon2", "argon2-cffi"), ("cryptosign", "cryptography", "cryptography")],
)
def test_a_dependency_that_is_missing(
    make_app: MakeApp,
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    everything_logged: pytest.LogCaptureFixture,
    name: str,
    module: str,
    package: str,
) -> None:
    for each in [each for each in sys.modules if each.split(".")[0] == module]:
        monkeypatch.setitem(sys.modules, each, None)
    monkeypatch.setitem(sys.modules, module, None)
    config = GOOD[name]
    shown: list[str] = []
    try:
        app = make_app(WAMP_ROUTER_URL=node.auth_url, **config)
        wamp = FlaskWAMP(app)
        shown = all_that_is_shown(app, wamp)
        wamp.stop()
    except Exception as error:
        shown += traceback.format_exception(error)
    assert f"pip install {package}" in "\n".join([everything_logged.text, *shown])
    assert_hidden(config, everything_logged.text, *shown)


@pytest.mark.slow
@pytest.mark.parametrize("config", _rows({name: GOOD[name] for name in ("ticket", "wampcra")}))
def test_a_worker_and_its_processes(node: Node, tmp_path: pathlib.Path, config: Config) -> None:
    settings = "".join(f"app.config[{key!r}] = {value!r}\n" for key, value in config.items())
    (tmp_path / "secretive.py").write_text(
        "import logging\nfrom flask import Flask\nfrom flask_wamp import FlaskWAMP\n"
        "logging.basicConfig(level=logging.DEBUG)\n"
        f"app = Flask(__name__)\napp.config['WAMP_ROUTER_URL'] = {node.auth_url!r}\n{settings}"
        "app.config['WAMP_URI_PREFIX'] = 'com.secretive'\n"
        "wamp = FlaskWAMP(app)\n@wamp.callee\ndef hello():\n    return 1\n"
    )
    command = ["flask", "--app", str(tmp_path / "secretive.py"), "wamp", "worker", "--workers", "2"]
    log = tmp_path / "log"
    with Served(command, node.auth_url, log, PYTHONPATH=f"{PACKAGE}:{tmp_path}") as worker:
        eventually(lambda: worker.log.count(":joined") >= 2, STARTS_WITHIN)
        lines = [_cmdline(pid) for pid in _family(worker.process.pid)]
    assert len(lines) >= 3, (lines, worker.log)
    assert_hidden(config, worker.log, *lines)


def _cmdline(pid: int) -> str:
    return pathlib.Path(f"/proc/{pid}/cmdline").read_text()


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _family(int(child)))]
