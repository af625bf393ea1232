"""Importing has no side effects: no thread, no patching, no logging setup, no large package."""

from __future__ import annotations

import importlib
import importlib.util
import typing as t

import pytest

from tests.support.scripts import script

WITH_WAMPY = importlib.util.find_spec("wampy") is not None

LOOK = """
import json, logging, sys, threading, socket, time, select, subprocess, os
before = socket.socket, threading.Lock, threading.Thread, time.sleep, select.select, os.fork
logging.root.setLevel(logging.ERROR)
{code}
names = [name for name in logging.root.manager.loggerDict if name.startswith("flask_wamp")]
loggers = [logging.root, *map(logging.getLogger, names)]
print(json.dumps({{
    "threads": [thread.name for thread in threading.enumerate()],
    "handlers": sum(len(logger.handlers) for logger in loggers),
    "levels": sorted({{logger.level for logger in loggers}}),
    "unpatched": before == (
        socket.socket, threading.Lock, threading.Thread, time.sleep, select.select, os.fork
    ),
    "modules": sorted({{name.partition(".")[0] for name in sys.modules}}),
}}))
"""

IMPORT = "import flask_wamp"

IMPORT_ALL = """
import flask_wamp, pkgutil, importlib
skipped = ("__main__", "testing", "gunicorn")  # commands, pytest's fixtures, hooks of a server
for module in pkgutil.walk_packages(flask_wamp.__path__, "flask_wamp."):
    if not module.name.endswith(skipped):
        importlib.import_module(module.name)
"""

BUILD = """
from flask import Flask
from flask_wamp import FlaskWAMP
app = Flask("tests")
wamp = FlaskWAMP(app)

@app.get("/add/<int:a>/<int:b>")
@wamp.callee
def add(a: int, b: int) -> dict:
    return {"sum": a + b}

@wamp.subscriber(".topic")
def on_topic(text: str) -> None: ...

with app.app_context():
    from flask import g
    assert not g.wampy.joined
"""

#: Packages that are slow to import and rarely needed are imported on first use.
BIG = {"pydantic", "websockets", "cbor2", "cryptography", "argon2", "asyncio", "pytest", "schedule"}


def look(code: str) -> t.Any:
    return script(LOOK.format(code=code))


@pytest.mark.parametrize("code", [IMPORT, IMPORT_ALL, BUILD], ids=["import", "all", "build"])
def test_importing_has_no_side_effects(code: str) -> None:
    seen = look(code)
    assert seen["threads"] == ["MainThread"]
    assert seen["handlers"] == 0
    assert seen["levels"] == [0, 40]
    assert seen["unpatched"] is True


@pytest.mark.parametrize("code", [IMPORT, BUILD], ids=["import", "build"])
def test_importing_loads_no_large_package(code: str) -> None:
    modules = set(look(code)["modules"])
    flask = set(look("import flask, blinker")["modules"])
    unwanted = BIG - flask
    if WITH_WAMPY:
        unwanted -= {"asyncio", "cryptography"}  # wampy imports them
        assert "wampy" in modules
    else:
        unwanted |= {"wampy", "gevent", "eventlet"}
    assert modules & unwanted == set()


def test_the_test_client_is_imported_when_it_is_used() -> None:
    code = f"{BUILD}\nprint(json.dumps([name for name in sys.modules if 'flask_wamp.testing' in name]))"
    assert script(f"import json, sys\n{code}") == []


def test_the_test_client_works_without_pytest() -> None:
    use = "app.testing = True\nwith wamp.test_client() as peer: assert peer.call('add', 1, 2) == {'sum': 3}"
    build = BUILD.replace("@wamp.callee\n", "@wamp.callee('add')\n")
    code = f"{build}\n{use}\nprint(json.dumps('pytest' in sys.modules))"
    assert script(f"import json, sys\n{code}") is False


def test_version_is_that_of_the_package() -> None:
    import flask_wamp

    assert flask_wamp.__version__ == "0.1.0"


def test_public_names_exist() -> None:
    import flask_wamp

    for name in flask_wamp.__all__:
        assert getattr(flask_wamp, name) is not None
