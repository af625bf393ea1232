"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SUITE = """
import pytest
from flask import Flask, g
from flask_wamp import FlaskWAMP

@pytest.fixture
def app():
    app = Flask("shop")
    app.config.update(TESTING=True, WAMP_URI_PREFIX="com.shop")
    wamp = FlaskWAMP(app)
    @wamp.callee(".echo", allow="member")
    def echo(text):
        g.wampy.publish(".echoed", text)
        return text
    return app

def test_echo(app):
    wamp = app.extensions["wamp"]
    with wamp.test_client() as peer, peer.stub("com.bank.price", returns=3):
        inbox = peer.subscribe(".echoed")
        assert peer.call(".echo", "tea") == "tea"
        assert inbox.get().args == ["tea"]
        assert inbox.all() == []
        assert wamp.client.call("com.bank.price") == 3
        print("AT", wamp.health()["router_url"], wamp.client.peer.connection.transport)

@pytest.mark.wamp_memory
def test_rights(app):
    with app.extensions["wamp"].test_client(authid="ann", authrole="member") as peer:
        assert peer.call(".echo", "tea") == "tea"
"""


def run(folder: Path, suite: str, *options: str, code: int = 0) -> str:
    (folder / "test_suite.py").write_text(suite)
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-W", "error", "-p", "no:pytest_wampy"]
    command += ["-p", "flask_wamp_pytest", "-p", "no:cacheprovider", *options, "test_suite.py"]
    # One plugin: where the package is installed, its entry point is there too.
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_the_plugin_imports_nothing_of_the_package(tmp_path: Path) -> None:
    suite = (
        "import sys\n"
        "def test(): assert not [n for n in sys.modules if n.partition('.')[0] in "
        "('flask', 'flask_wamp', 'werkzeug')]\n"
    )
    assert "1 passed" in run(tmp_path, suite)


def test_one_suite_in_memory(tmp_path: Path) -> None:
    out = run(tmp_path, SUITE)
    assert "2 passed" in out and "MemoryTransport" in out


def test_one_suite_on_the_embedded_router(tmp_path: Path) -> None:
    out = run(tmp_path, SUITE, "--wamp=embedded")
    assert "1 passed, 1 skipped" in out and "MemoryTransport" not in out


@pytest.mark.router
def test_one_suite_on_crossbar(tmp_path: Path, wamp_router: object) -> None:
    out = run(tmp_path, SUITE, "--wamp=crossbar")
    assert "1 passed, 1 skipped" in out and "AT ws://127.0.0.1:" in out


def test_the_fixtures_are_there(tmp_path: Path) -> None:
    out = run(tmp_path, "def test(): pass\n", "--fixtures")
    assert "wamp_router" in out and "make_wamp_router" in out


LEAKS = """
import threading, pytest
from flask import Flask, g
from flask_wamp import FlaskWAMP

def make():
    app = Flask("shop")
    app.config.update(TESTING=True)
    return app, FlaskWAMP(app)

def test_left():
    app, wamp = make()
    with app.app_context():
        g.wampy.publish("com.x")

def test_next():
    assert not [t.name for t in threading.enumerate() if t.name.startswith("wamp-")]

@pytest.fixture(scope="module")
def for_many():
    app, wamp = make()
    wamp.start()
    yield wamp
    wamp.stop()

@pytest.mark.parametrize("n", [1, 2])
def test_of_many(for_many, n):
    for_many.client.wait_until_joined()
"""


def test_a_test_that_leaves_an_app_joined_gets_a_warning(tmp_path: Path) -> None:
    out = run(tmp_path, LEAKS, "-W", "default")
    assert "4 passed, 1 warning" in out
    assert "test_suite.py::test_left\n" in out
    assert "the test has left behind the session " in out
    out = run(tmp_path, LEAKS, code=1)
    assert "4 passed, 1 error" in out


LOGS = """
import logging, warnings
from flask import Flask
from flask_wamp import FlaskWAMP

app = Flask("shop")
app.config["TESTING"] = True
wamp = FlaskWAMP(app)

@wamp.subscriber("com.news")
def on_news():
    warn()

@wamp.callee("com.warn")
def warn():
    warnings.warn("the tea is cold")
    logging.getLogger("shop").warning("no sugar")

def test_quiet():
    with wamp.test_client():
        pass

def test_loud():
    with wamp.test_client() as peer:
        peer.publish("com.news")  # it is handled before the block ends

def test_fails():
    with wamp.test_client() as peer:
        peer.call("com.warn")
        assert False
"""


def test_warnings_and_logs_of_handlers_belong_to_their_test(tmp_path: Path) -> None:
    out = run(tmp_path, LOGS, "-W", "default", code=1)
    warned = out[out.index("warnings summary") :]
    assert "test_suite.py::test_loud\n" in warned and "the tea is cold" in warned
    assert "test_quiet" not in warned
    assert "no sugar" in out[out.index("test_fails") : out.index("warnings summary")]


MARKED = """
import pytest

@pytest.mark.wamp_memory
def test(): pass
"""


def test_the_marker_is_known(tmp_path: Path) -> None:
    assert "1 passed" in run(tmp_path, MARKED, "--strict-markers")
    assert "1 skipped" in run(tmp_path, MARKED, "--strict-markers", "--wamp=embedded")


ASYNC = """
import asyncio
import pytest
from flask import Flask
from flask_wamp import FlaskWAMP

app = Flask("shop")
app.config["TESTING"] = True
wamp = FlaskWAMP(app)

@wamp.callee("com.echo")
def echo(text):
    return text

@wamp.callee("com.slow")
async def slow(text):
    await asyncio.sleep(0)
    return text

@pytest.MARK
async def test_threads():
    with wamp.test_client() as peer:
        inbox = peer.subscribe("com.news")
        assert peer.call("com.slow", "tea") == "tea"
        assert await asyncio.wrap_future(peer.submit("com.slow", "jam")) == "jam"
        assert await asyncio.to_thread(peer.call, "com.echo", "tea") == "tea"
        wamp.client.publish("com.news", 1)
        assert inbox.get().args == [1]

@pytest.MARK
async def test_inline():
    with wamp.test_client(inline=True) as peer:
        assert peer.call("com.echo", "tea") == "tea"
        # A coroutine needs a thread without a running loop, as with Flask's views.
        assert await asyncio.to_thread(peer.call, "com.slow", "tea") == "tea"
"""


@pytest.mark.parametrize(
    ("plugin", "mark", "options"),
    [
        (
            "pytest_asyncio",
            "mark.asyncio",
            ["-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function"],
        ),
        ("anyio", "mark.anyio", ["-p", "anyio"]),
    ],
)
def test_async_tests(tmp_path: Path, plugin: str, mark: str, options: list[str]) -> None:
    pytest.importorskip(plugin)
    pytest.importorskip("asgiref")
    suite = ASYNC.replace("MARK", mark)
    if plugin == "anyio":
        suite += "\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    assert "2 passed" in run(tmp_path, suite, *options)


@pytest.mark.slow
def test_several_workers_of_xdist(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    many = SUITE.replace(
        "def test_echo(app)", "@pytest.mark.parametrize('n', range(8))\ndef test_echo(app, n)"
    )
    options = ["-p", "xdist", "-n", "2"]
    assert "9 passed" in run(tmp_path, many, *options)
    assert "8 passed, 1 skipped" in run(tmp_path, many, *options, "--wamp=embedded")


@pytest.mark.slow
@pytest.mark.router
def test_several_workers_of_xdist_on_crossbar(tmp_path: Path, wamp_router: object) -> None:
    pytest.importorskip("xdist")
    assert "1 passed, 1 skipped" in run(
        tmp_path, SUITE, "-p", "xdist", "-n", "2", "--wamp=crossbar"
    )


def test_tracebacks_leave_out_the_library(tmp_path: Path) -> None:
    suite = SUITE.partition("def test_echo")[0] + (
        "@pytest.mark.parametrize('inline', [False, True])\n"
        "@pytest.mark.parametrize('call', [('.nothing',), ('.echo',)])\n"
        "def test_wrong(app, inline, call):\n"
        "    with app.extensions['wamp'].test_client(inline=inline) as peer:\n"
        "        peer.call(*call)\n"
    )
    output = run(tmp_path, suite, code=1)
    assert "4 failed" in output and "com.shop.nothing is not registered" in output
    assert "peer.call(*call)" in output
    assert "flask_wamp/" not in output
