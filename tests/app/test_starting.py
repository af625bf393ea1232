"""Places where a client must not start by itself: commands, tests, imports, the reloader's parent."""

from __future__ import annotations

import contextlib
import queue
import socket
import textwrap
import threading
import typing as t
from pathlib import Path

import click
import pytest
from flask import Flask, g
from flask.cli import run_command

from flask_wamp import FlaskWAMP
from flask_wamp.peer import heartbeat
from tests.conftest import our_threads
from tests.support.memory import TIMEOUT, MemoryRouter
from tests.support.scripts import run

APP = """
import sys, threading
from flask import Flask, g
from flask_wamp import FlaskWAMP
from flask_wamp.peer import heartbeat

app = Flask(__name__)
app.config.update(WAMP_ROUTER_URL={url!r}, WAMP_CONNECT_TIMEOUT=2)
wamp = FlaskWAMP(app)

@app.get("/")
@wamp.callee
def index():
    return "hello"

@app.cli.command()
def idle():
    print("threads:", [each.name for each in threading.enumerate() if "wamp" in each.name])

@app.cli.command()
def busy():
    try:
        g.wampy.rpc.add(1)
    except Exception as error:
        print(type(error).__name__)

if __name__ == "__main__":
    print(app.test_client().get("/").text if "visit" in sys.argv else "imported")
"""

TEST = """
from app import app

def test_view():
    app.config["TESTING"] = True
    assert app.test_client().get("/").text == "hello"
"""


class Listener:
    """Counts connections, and closes each at once."""

    def __init__(self) -> None:
        self.count = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._socket.getsockname()[1]}/ws"
        self._thread = threading.Thread(target=self._accept, name="listener")
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._socket.accept()[0].close()
                self.count += 1

    def close(self) -> None:
        """Close it. All connections until now are counted."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


@pytest.fixture
def listener() -> t.Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture
def folder(tmp_path: Path, listener: Listener) -> Path:
    """A folder with an app whose router is the listener."""
    (tmp_path / "app.py").write_text(textwrap.dedent(APP.format(url=listener.url)))
    (tmp_path / "test_app.py").write_text(textwrap.dedent(TEST))
    return tmp_path


@pytest.mark.parametrize(
    ("args", "output"),
    [
        (["-m", "flask", "routes"], "index"),
        (["-m", "flask", "idle"], "threads: []"),
        (["-c", "import app; print('imported')"], "imported"),
        (["app.py"], "imported"),
        (["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:pytest_wampy"], "1 passed"),
    ],
    ids=["routes", "command", "import", "script", "pytest"],
)
def test_commands_and_shells_do_not_connect(
    folder: Path, listener: Listener, args: list[str], output: str
) -> None:
    done = run(*args, cwd=folder)
    assert output in done.stdout, done.stderr
    listener.close()
    assert listener.count == 0


def test_command_that_uses_the_client_connects(folder: Path, listener: Listener) -> None:
    done = run("-m", "flask", "busy", cwd=folder)
    assert done.stdout == "NotJoined\n", done.stderr
    listener.close()
    assert listener.count >= 1


def test_an_environment_variable_prevents_the_start(folder: Path, listener: Listener) -> None:
    done = run("-m", "flask", "busy", cwd=folder, FLASK_WAMP_AUTOSTART="false")
    assert done.stdout == "NotJoined\n", done.stderr
    listener.close()
    assert listener.count == 0


# The first request, in unrecognized servers.


def test_request_in_a_test_commands_and_shells_do_not_connect(
    make_app: t.Any, router: MemoryRouter
) -> None:
    app = make_app()
    FlaskWAMP(app)
    app.test_client().get("/")
    assert app.testing
    assert router.attempts == 0


@pytest.mark.parametrize(("autostart", "attempts"), [("auto", 1), ("lazy", 1), (False, 0)])
def test_the_first_request_connects_outside_tests(
    make_app: t.Any, router: MemoryRouter, autostart: t.Any, attempts: int
) -> None:
    app = make_app(WAMP_AUTOSTART=autostart)
    app.testing = False
    wamp = FlaskWAMP(app)
    app.add_url_rule("/", "index", lambda: "hello")
    for _ in range(3):
        assert app.test_client().get("/").text == "hello"
    if attempts:
        wamp.client.wait_until_joined(10)
    assert router.attempts == attempts


def test_first_request_may_call(make_app: t.Any, router: MemoryRouter) -> None:
    router.register("com.example.add", lambda a, b: a + b)
    app = make_app()
    app.testing = False
    FlaskWAMP(app)
    app.add_url_rule("/", "index", lambda: str(g.wampy.rpc.com.example.add(1, 2)))
    assert app.test_client().get("/").text == "3"


def test_an_event_published_in_the_first_request_reaches_the_apps_subscriber(
    make_app: t.Any, router: MemoryRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may publish before the reader does anything with the new session."""
    published, seen = threading.Event(), queue.SimpleQueue[int]()
    watch = heartbeat.watch

    def watch_later(*args: t.Any) -> None:
        assert published.wait(TIMEOUT)
        watch(*args)

    monkeypatch.setattr(heartbeat, "watch", watch_later)
    wamp = FlaskWAMP(make_app())
    wamp.subscriber(".news")(seen.put)
    wamp.start()
    wamp.client.with_options(exclude_me=False).publish("com.example.news", 1)
    published.set()
    assert seen.get(timeout=TIMEOUT) == 1


# flask run with its reloader.


@contextlib.contextmanager
def flask_run(**params: t.Any) -> t.Iterator[None]:
    """Simulate an app that ``flask run`` loads."""
    with click.Context(run_command) as context:
        context.params.update(params)
        yield


@pytest.mark.parametrize(
    ("reload", "debug"), [(True, "0"), (True, "1"), (None, "1")], ids=["reload", "both", "debug"]
)
def test_parent_of_the_reloader_never_starts(
    make_app: t.Any,
    router: MemoryRouter,
    monkeypatch: pytest.MonkeyPatch,
    reload: bool | None,
    debug: str,
) -> None:
    monkeypatch.setenv("FLASK_DEBUG", debug)
    monkeypatch.delenv("WERKZEUG_RUN_MAIN", raising=False)
    with flask_run(reload=reload):
        app: Flask = make_app()
        app.testing = False
        FlaskWAMP(app)
    app.test_client().get("/")
    assert router.attempts == 0
    assert our_threads() == []
