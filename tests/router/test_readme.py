"""Every snippet of the README, run."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import types
import typing as t
import urllib.request
from pathlib import Path

import pytest

from flask_wamp.concurrency.child_processes import spawn_bound, stop_process
from flask_wamp.config import KEYS
from flask_wamp.crossbar import DevRouter, free_port
from tests.conftest import eventually
from tests.support.peers import AutobahnPeer

pytestmark = pytest.mark.router

README = (Path(__file__).parents[2] / "README.rst").read_text()


def snippet(name: str) -> str:
    """A named Python snippet."""
    pattern = rf"\.\. code-block:: python\n    :name: {re.escape(name)}\n\n((?:    .*\n|\n)+)"
    found = re.search(pattern, README)
    assert found, f"no snippet {name}"
    return re.sub(r"^    ", "", found.group(1), flags=re.M)


def commands() -> list[str]:
    """Every console command."""
    blocks = re.findall(r"\.\. code-block:: console\n\n((?:    .*\n|\n)+)", README)
    return re.findall(r"^    \$ (.*)$", "".join(blocks), flags=re.M)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, wamp_router: DevRouter) -> t.Iterator[t.Any]:
    """A module to run snippets in, with a router configured; its client is stopped."""
    monkeypatch.setenv("FLASK_WAMP_ROUTER_URL", wamp_router.url)
    monkeypatch.setenv("FLASK_DEBUG", "0")
    made = types.ModuleType("readme")
    monkeypatch.setitem(sys.modules, "readme", made)
    yield made
    if "wamp" in vars(made) and made.wamp._apps:
        made.wamp.stop()


def run(module: t.Any, source: str) -> None:
    exec(compile(source, "README.rst", "exec"), vars(module))


def test_there_is_no_snippet_that_is_not_run() -> None:
    names = re.findall(r"\.\. code-block:: python\n    :name: (\S+)\n", README)
    assert names == [
        *("app.py", "factory.py", "handlers.py", "client.py", "more.py"),
        *("conftest.py", "health.py", "old.py"),
    ]
    assert README.count(".. code-block:: python") == len(names)
    assert commands() == [
        "pip install tox && tox -e demo",  # tests/router/test_demo.py
        "pip install tox && tox",  # .ci/run
        "pip install flask-wamp",  # tests/test_packaging.py
        "flask --app app.py wamp router",
        "flask --app app.py run",
        "curl -X POST http://127.0.0.1:5000/greet/you",
        "flask --app app.py wamp worker --workers 3",
        "flask --app app.py wamp status",
    ]


def test_the_lines_that_matter_and_the_client(module: t.Any) -> None:
    run(module, snippet("app.py"))
    run(module, snippet("handlers.py"))
    module.wamp.start()
    run(module, snippet("client.py"))
    with module.app.app_context():
        call = module.g.wampy.call
        assert call("com.example.order", "coffee") == {"item": "coffee", "day": "2026-01-01"}
        for args, uri in [
            (("coffee", 0), "com.example.error.bad_amount"),
            (("tea",), "com.example.error.sold_out"),
            (("secret",), "wamp.error.not_authorized"),
            (("coffee", "many"), "wamp.error.invalid_argument"),
        ]:
            with pytest.raises(module.ApplicationError) as raised:
                call("com.example.order", *args)
            assert raised.value.uri == uri
        whoami = call("com.example.whoami")
        assert whoami == module.CallResult(module.g.wampy.session_id, role="anonymous")
    run(module, snippet("health.py"))
    assert module.app.test_client().get("/add/3/4").json == {"sum": 7}
    assert module.app.test_client().get("/wamp/health").json == module.wamp.health()


def test_streams_patterns_and_presence(module: t.Any, wamp_router: DevRouter) -> None:
    run(module, snippet("app.py"))
    run(module, snippet("more.py"))
    module.wamp.start()
    client = module.app.test_client()
    with module.app.app_context():
        module.g.wampy.wait_until_joined(5)
        assert module.g.wampy.call("com.example.users.7.get") == {"id": 7}
        assert list(module.g.wampy.stream("com.example.count", 3)) == [0, 1, 2]
        with module.g.wampy.events("com.example.news") as events, AutobahnPeer(wamp_router.url):
            assert events.next(5).args[0].endswith("has come")
    assert client.get("/users/7").json == {"id": 7}
    assert client.get("/count/3").text == "0\n1\n2\n"


def test_the_factory_and_the_test_of_a_user(
    module: t.Any, wamp_router: DevRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(module, snippet("factory.py"))
    run(module, snippet("conftest.py"))
    module.test_get_user(wamp_router, monkeypatch)


@pytest.mark.filterwarnings("ignore:(CROSSBAR_URL|REALM) is now called:DeprecationWarning")
def test_code_written_for_flask_wamp(module: t.Any, wamp_router: DevRouter) -> None:
    printed: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
    module.print = lambda *values: printed.put(values)
    run(module, snippet("old.py").replace("ws://127.0.0.1:8080/ws", wamp_router.url))
    module.client.start()
    module.client.wait_until_joined(5)
    others = module.client.with_options(exclude_me=False, acknowledge=True)
    others.publish(topic="news", message="tea is ready")
    assert "tea is ready" in map(str, printed.get(timeout=5))
    assert module.app.test_client().get("/").text == "data"


def test_the_commands(tmp_path: Path) -> None:
    port, http = free_port(), free_port()
    (tmp_path / "app.py").write_text(snippet("app.py"))
    environ = {
        **os.environ,
        "FLASK_WAMP_ROUTER_URL": f"ws://127.0.0.1:{port}/ws",
        "PYTHONUNBUFFERED": "1",
    }
    started = []
    try:
        for command in commands()[3:5]:
            words = command.split()
            if words[-1] == "run":
                words += ["--port", str(http)]
            log = (tmp_path / f"{words[-1]}.log").open("w")
            started.append(
                spawn_bound(
                    [sys.executable, "-m", *words],
                    cwd=tmp_path,
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
            log.close()
        url = commands()[5].split()[-1].replace("5000", str(http))
        answer = eventually(lambda: post(url), 30)
    finally:
        for process in reversed(started):
            stop_process(process, 10)
    expected = re.search(r"/greet/you\n    (.*)\n", README)
    assert expected and answer == expected.group(1)


def test_the_commands_in_production(tmp_path: Path, wamp_router: DevRouter) -> None:
    worker, status = commands()[6:8]
    (tmp_path / "app.py").write_text(snippet("app.py"))
    environ = {**os.environ, "FLASK_WAMP_ROUTER_URL": wamp_router.url, "PYTHONUNBUFFERED": "1"}
    options: dict[str, t.Any] = {"cwd": tmp_path, "env": environ, "stdin": subprocess.DEVNULL}
    log = tmp_path / "worker.log"
    with log.open("w") as out:
        started = spawn_bound(
            [sys.executable, "-m", *worker.split()], stdout=out, stderr=out, **options
        )
    try:
        eventually(lambda: log.read_text() == said(worker), 30)
        told = subprocess.run(
            [sys.executable, "-m", *status.split()],
            capture_output=True,
            text=True,
            timeout=30,
            **options,
        )
    finally:
        stop_process(started, 10)
    assert told.stdout == said(status).replace("ws://127.0.0.1:8080/ws", wamp_router.url)
    assert (told.stderr, told.returncode) == ("", 0)


def said(command: str) -> str:
    """What the README says a command says."""
    found = re.search(rf"\n    \$ {re.escape(command)}\n((?:    .*\n)+)", README)
    assert found
    return re.sub(r"^    ", "", found.group(1), flags=re.M)


def post(url: str) -> str | None:
    """The answer; None until the app and its router are ready."""
    try:
        request = urllib.request.Request(url, method="POST")
        with urllib.request.urlopen(request, timeout=10) as response:
            return str(response.read().decode().strip())
    except OSError:
        return None


def test_the_configuration_table_names_every_key() -> None:
    table = README[README.index("Configuration\n---") : README.index("A router\n---")]
    assert re.findall(r"^``(WAMP_\w+)``", table, flags=re.M) == [key.name for key in KEYS]
