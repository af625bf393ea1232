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


def run(folder: Path, suite: str, *options: str) -> str:
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
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_imports_nothing_of_the_package(tmp_path: Path) -> None:
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
