"""Every snippet of the README, run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
import typing as t
import urllib.request
from pathlib import Path

import pytest
from flask import abort

from flask_wamp import ApplicationError
from flask_wamp.concurrency.child_processes import spawn_bound, stop_process
from flask_wamp.crossbar import DevRouter, free_port
from flask_wamp.router.process.place import own_place
from flask_wamp.router.process.spawn import listens
from tests.conftest import eventually
from tests.endpoint.conftest import stop_router
from tests.support.browser import Browser, Refused

pytestmark = pytest.mark.router

README = (Path(__file__).parents[2] / "README.rst").read_text()


def snippet(name: str, language: str = "python") -> str:
    """A named snippet."""
    pattern = rf"\.\. code-block:: {language}\n    :name: {re.escape(name)}\n\n((?:    .*\n|\n)+)"
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


def test_every_snippet_is_run() -> None:
    names = re.findall(r"\.\. code-block:: python\n    :name: (\S+)\n", README)
    assert names == ["app.py", "factory.py", "client.py"]
    assert README.count(".. code-block:: python") == len(names)
    # tests/browser/test_readme.py
    assert re.findall(r"code-block:: html\n    :name: (\S+)\n", README) == ["static/index.html"]
    assert commands() == [
        "pip install tox && tox -e demo",  # tests/router/test_demo.py
        "pip install .",  # tox does that in each environment
        "flask --app app.py run",
        "curl -X POST http://127.0.0.1:5000/greet/you",
    ]


def test_the_application(module: t.Any, caplog: pytest.LogCaptureFixture) -> None:
    run(module, snippet("app.py"))
    module.wamp.start()
    module.wamp.client.wait_until_joined(5)
    http = module.app.test_client()
    assert http.get("/add/3/4").json == {"sum": 7}
    assert http.post("/greet/you").json == {"sum": 3}
    session = module.wamp.client.session_id
    eventually(lambda: f"hello you, from session {session}" in caplog.text)


def test_what_a_handler_raises(module: t.Any) -> None:
    run(module, snippet("app.py"))

    @module.wamp.callee
    def refuse(how: int) -> None:
        if how == 0:
            raise ApplicationError("com.example.error.sold_out", "tea")
        if how == 1:
            raise RuntimeError("a secret")
        abort(how)

    module.wamp.start()
    module.wamp.client.wait_until_joined(5)
    for how, uri in [
        (0, "com.example.error.sold_out"),
        (1, "wamp.error.runtime_error"),
        (403, "wamp.error.not_authorized"),
        (404, "com.example.error.not_found"),
        ("tea", "wamp.error.invalid_argument"),
    ]:
        with pytest.raises(ApplicationError) as raised:
            module.wamp.client.call("com.example.refuse", how)
        assert raised.value.uri == uri
        assert "secret" not in str(raised.value)


def test_the_factory(module: t.Any) -> None:
    run(module, snippet("factory.py"))
    app = module.create_app()
    assert app.test_client().get("/users/7").json == {"number": 7, "name": "Ada"}
    with app.app_context():
        module.wamp.start()
        module.g.wampy.wait_until_joined(5)
        assert module.g.wampy.call("com.example.users.get", 7)["number"] == 7


def test_the_commands(tmp_path: Path) -> None:
    """The app starts its own router, which handles the page's calls and events."""
    http = free_port()
    (tmp_path / "app.py").write_text(snippet("app.py"))
    environ = {k: v for k, v in os.environ.items() if not k.startswith("FLASK_")}
    run_it, curl = commands()[2:]
    log = tmp_path / "app.log"
    with log.open("w") as out:
        server = spawn_bound(
            [sys.executable, "-m", *run_it.split(), "--port", str(http)],
            cwd=tmp_path,
            env=environ | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    place = own_place(os.path.realpath(tmp_path), "app", "com.example", "realm1")
    origin = f"http://127.0.0.1:{http}"
    try:
        url = curl.split()[-1].replace("5000", str(http))
        answer = eventually(lambda: post(url), 30)
        assert listens(place)
        with urllib.request.urlopen(f"{origin}/wamp/client.js", timeout=10) as response:
            assert "connect" in response.read().decode()
        with Browser(f"ws://127.0.0.1:{http}/wamp", origin=origin) as page:
            page.subscribe("com.example.news")
            assert page.call("com.example.add", 1, 2) == {"sum": 3}
            page.publish("com.example.hello", "Ada")
            assert page.next_event() == ["Ada says hello"]
            post(url)
            assert page.next_event() == ["you says hello"]
            assert printed_by_client(tmp_path, environ) == snippet_results()
            assert page.next_event() == ["Ada says hello"]
            for refused in (
                lambda: page.subscribe("com.example.hello"),
                lambda: page.publish("com.example.news"),
                lambda: page.register("com.example.other"),
            ):
                with pytest.raises(Refused, match="not_authorized"):
                    refused()
    finally:
        stop_process(server, 10)
        stop_router(Path(place.socket))
    expected = re.search(r"/greet/you\n    (.*)\n", README)
    assert expected and answer == expected.group(1)
    assert "hello you, from session " in log.read_text()


def snippet_results() -> list[str]:
    """What the comments of ``client.py`` say it prints."""
    return re.findall(r"^ +print\(.*# .*?({.*})$", snippet("client.py"), flags=re.M)


def printed_by_client(folder: Path, environ: dict[str, str]) -> list[str]:
    """Run ``client.py`` beside the served app."""
    (folder / "client.py").write_text(snippet("client.py"))
    command = [sys.executable, "client.py"]
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4
    return done.stdout.splitlines()


def post(url: str) -> str | None:
    """Return the answer, or None until the app and its router are ready."""
    try:
        request = urllib.request.Request(url, method="POST")
        with urllib.request.urlopen(request, timeout=10) as response:
            return str(response.read().decode().strip())
    except OSError:
        return None
