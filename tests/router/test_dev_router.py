"""The development router: found, built, configured, started and stopped in time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import typing as t
from pathlib import Path

import pytest

from flask_wamp.crossbar import (
    DevRouter,
    RouterError,
    build_crossbar,
    crossbar_home,
    crossbar_python,
    find_crossbar,
    free_port,
    local_url,
    node_config,
)
from flask_wamp.crossbar.ports import answers, wait_until_free
from flask_wamp.testing import MakeRouter
from tests.support.peers import AutobahnPeer

pytestmark = pytest.mark.crossbar("an environment that is found, built and configured")

ROOT = Path(__file__).parents[2]
COMPLETE = "flask-wamp-complete"

linux = pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")


def program(path: Path, script: str) -> Path:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + textwrap.dedent(script))
    path.chmod(0o755)
    return path


def environ(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


@contextlib.contextmanager
def running(*command: object, **options: t.Any) -> t.Iterator[subprocess.Popen[str]]:
    """Run Python code that can import the package. The test reads its output."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **{"env": environ(), **options},
    )
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def said(process: subprocess.Popen[str], what: str) -> str:
    """Return the next line of its output that contains a text, or "" if there is none."""
    assert process.stdout is not None
    return next((line for line in process.stdout if what in line), "")


def free_url() -> str:
    return f"ws://127.0.0.1:{free_port()}/ws"


# A real node.

#: Joins, calls itself, and counts the sessions, which needs a permission for ``wamp.``.
AUTOBAHN = """
import json, sys
from autobahn.asyncio.component import Component, run
from autobahn.wamp.types import RegisterOptions

component = Component(transports=[json.loads(sys.argv[1])], realm=sys.argv[2])

@component.on_join
async def joined(session, details):
    def whoami(details):
        return details.caller

    await session.register(whoami, "com.example.whoami", RegisterOptions(details=True))
    assert await session.call("com.example.whoami") == details.session
    assert await session.call("wamp.session.count") >= 1
    print("it works", flush=True)
    session.leave()

run([component], log_level="error")
"""


def autobahn_transport(url: str) -> dict[str, t.Any]:
    endpoint = local_url(url)
    if endpoint.websocket:
        return {"type": "websocket", "url": url, "max_retries": 0}
    address: dict[str, t.Any] = {"type": "unix", "path": endpoint.path}
    if endpoint.port:
        address = {"type": "tcp", "host": endpoint.host, "port": endpoint.port}
    rawsocket = {"type": "rawsocket", "url": "rs://localhost", "serializer": "msgpack"}
    return {**rawsocket, "endpoint": address, "max_retries": 0}


@pytest.mark.router
@pytest.mark.parametrize("kind", ["url", "rawsocket_url", "unix_url"])
def test_an_autobahn_peer_joins_and_calls(wamp_router: DevRouter, kind: str) -> None:
    transport = json.dumps(autobahn_transport(getattr(wamp_router, kind)))
    peer = subprocess.run(
        [str(crossbar_python()), "-c", AUTOBAHN, transport, wamp_router.realm],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "it works" in peer.stdout, peer.stderr


@pytest.mark.router
def test_a_router_restarts_on_the_same_urls(make_wamp_router: MakeRouter) -> None:
    router = make_wamp_router()
    endpoints = [local_url(url) for url in router.urls]
    first = router.pid

    router.kill()
    assert not router.running
    assert not any(map(answers, endpoints))
    router.restart()
    assert router.running
    assert router.pid != first
    assert all(map(answers, endpoints))

    router.stop()
    router.stop()  # a second time is no error
    assert router.pid is None
    assert not any(map(answers, endpoints))


def handshake(url: str, origin: str | None) -> bytes:
    """Open a WebSocket as a browser does, and return the status line."""
    endpoint = local_url(url)
    lines = [
        f"GET {endpoint.path} HTTP/1.1",
        f"Host: 127.0.0.1:{endpoint.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: Zmxhc2std2FtcC1wcm9iZQ==",
        "Sec-WebSocket-Protocol: wamp.2.json",
        *([f"Origin: {origin}"] if origin else []),
        "",
        "",
    ]
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return connection.recv(1024).partition(b"\r\n")[0]


@pytest.mark.router
def test_a_web_page_of_another_site_may_not_join(make_wamp_router: MakeRouter) -> None:
    router = make_wamp_router(origins=["https://shop.example", "http://shop.example:8000"])
    for origin in (
        None,  # a program
        "http://127.0.0.1:5000",
        "http://localhost",
        "http://[::1]:5000",
        "https://shop.example",
        "http://shop.example:8000",
    ):
        assert b" 101 " in handshake(router.url, origin), origin
    for origin in (
        "https://evil.example",
        "http://shop.example",
        "https://shop.example:8443",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "https://evil.example/http://127.0.0.1:5000",
        "null",
        "file:///tmp/x.html",
    ):
        assert b" 101 " not in handshake(router.url, origin), origin


@pytest.mark.parametrize(
    "origin", ["shop.example", "https://shop.example/path", "ftp://shop.example"]
)
def test_an_invalid_origin(origin: str) -> None:
    with pytest.raises(RouterError, match="is not an origin"):
        node_config(origins=[origin])


def test_urls_are_shown_without_passwords(tmp_path: Path) -> None:
    secret = "hush-hush"
    for url in (f"ws://joe:{secret}@example.com/ws", f"ws://joe:{secret}@127.0.0.1:8080/a//b"):
        with pytest.raises(RouterError) as info:
            node_config([url])
        assert secret not in str(info.value)
    router = DevRouter(
        f"ws://joe:{secret}@127.0.0.1:{free_port()}/ws?token={secret}",
        crossbar=program(tmp_path / "crossbar", "exec sleep 60"),
    )
    assert secret not in "".join(router.shown_urls)
    router.start()
    with pytest.raises(RouterError, match="not ready on ws://127") as info:
        router.wait_until_ready(0.1)
    router.stop()
    assert secret not in str(info.value)


PARENT = """
import sys
from flask_wamp.crossbar import DevRouter

with DevRouter(sys.argv[1], log=sys.argv[2]) as router:
    print("ready", flush=True)
    router.wait()
"""


@pytest.mark.slow
@linux
@pytest.mark.router
def test_the_router_ends_with_its_parent(wamp_router: DevRouter, tmp_path: Path) -> None:
    endpoint = local_url(free_url())
    env = environ(TMPDIR=str(tmp_path))  # no process is left to remove its folder
    with running("-c", PARENT, endpoint.url, os.devnull, env=env) as parent:
        assert said(parent, "ready")
        assert answers(endpoint)
        parent.kill()
    wait_until_free(endpoint, timeout=10)
    assert not answers(endpoint)


JOE = {"ticket": "secret", "role": "user"}


@pytest.mark.slow
@pytest.mark.router
@pytest.mark.parametrize(
    ("urls", "options"),
    [
        (["ws://127.0.0.1:8080/ws", "tcp://127.0.0.1:8081", "unix:///tmp/router.sock"], {}),
        (
            ["ws://localhost:8080/", "ws://[::1]:8080/a/b/c"],
            {"realms": [{"name": "r", "roles": []}]},
        ),
        (
            ["ws://127.0.0.1/ws", "tcp://127.0.0.1:81"],
            {
                "auto_ping_interval_ms": 2000,
                "auto_ping_timeout_ms": 1000,
                "max_message_size": 65536,
                "roles": [{"name": "user", "permissions": []}],
                "auth": {"ticket": {"type": "static", "principals": {"joe": JOE}}},
            },
        ),
    ],
)
def test_crossbar_accepts_the_configuration(
    wamp_router: DevRouter, tmp_path: Path, urls: list[str], options: dict[str, t.Any]
) -> None:
    config = node_config(urls, "realm1", **options)
    (tmp_path / "config.json").write_text(json.dumps(config))
    check = subprocess.run(
        [str(find_crossbar()), "check", "--cbdir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert check.returncode == 0, check.stdout + check.stderr


# Unsupported URLs, and failed starts.


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://127.0.0.1:8080/ws", "is not a router URL"),
        ("ws://example.com/ws", "serves this machine only"),
        ("tcp://192.168.1.1:8081", "serves this machine only"),
        ("ws://0.0.0.0:8080/ws", "serves this machine only"),
        ("wss://127.0.0.1/ws", "has no certificate"),
        ("tcp://127.0.0.1", "needs a port"),
        ("ws://127.0.0.1:70000/ws", "no valid port"),
        ("ws://127.0.0.1:8080/a//b", "cannot serve the path"),
        ("unix://router.sock", "needs an absolute path"),
        ("unix:///" + 110 * "x", "too long"),
    ],
)
def test_a_url_that_the_router_cannot_serve(url: str, sentence: str) -> None:
    with pytest.raises(RouterError, match=sentence):
        node_config([url])


def test_a_port_in_use_is_reported_before_the_router_starts(tmp_path: Path) -> None:
    started = tmp_path / "started"
    crossbar = program(tmp_path / "crossbar", f"touch {started}")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        router = DevRouter(f"ws://127.0.0.1:{port}/ws", crossbar=crossbar)
        with pytest.raises(RouterError, match=rf"^port {port} on 127\.0\.0\.1 is in use by"):
            router.start()
    assert not router.running
    assert not started.exists()


def test_a_preferred_port_is_used_if_it_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        free = free_port()
        assert free_port(taken, free) == free
        assert free_port(taken) != taken


def test_a_stale_unix_socket_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "router.sock"
    url = f"unix://{path}"
    crossbar = program(tmp_path / "crossbar", "")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(RouterError, match="is in use by another program"):
            DevRouter(url, crossbar=crossbar).start()
    router = DevRouter(url, crossbar=crossbar)  # the socket still exists, but no process listens
    router.start()
    router.stop()
    assert not path.exists()


def test_the_error_of_an_early_end_contains_the_last_output(tmp_path: Path) -> None:
    crossbar = program(tmp_path / "crossbar", 'echo "Invalid node configuration"; exit 3')
    with (
        pytest.raises(RouterError, match="Invalid node configuration"),
        DevRouter(free_url(), crossbar=crossbar, log=tmp_path / "log"),
    ):
        pass


def test_a_router_that_is_not_ready_in_time_is_an_error(tmp_path: Path) -> None:
    router = DevRouter(free_url(), crossbar=program(tmp_path / "crossbar", "exec sleep 60"))
    router.start()
    with pytest.raises(RouterError, match=r"not ready on ws://.* after 0\.2 s"):
        router.wait_until_ready(0.2)
    router.stop()
    assert not router.running


def test_a_router_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    script = 'trap "" TERM\necho deaf\nsleep 60 & wait\nsleep 60'
    router = DevRouter(
        free_url(), crossbar=program(tmp_path / "crossbar", script), log=tmp_path / "log"
    )
    router.start()
    while "deaf" not in router.log_tail():
        assert router.wait(0.05) is None
    router.stop(timeout=0.2)
    assert not router.running


# Finding Crossbar.


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and no Crossbar elsewhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("FLASK_WAMP_CROSSBAR", raising=False)
    return tmp_path / "cache"


def test_crossbar_is_looked_for_in_three_places(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_crossbar() is None
    own = program(crossbar_home() / "bin" / "crossbar", "")
    program(own.with_name("python"), "")
    assert find_crossbar() == own
    assert crossbar_python() == own.with_name("python")
    on_path = program(tmp_path / "path" / "crossbar", "")
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert find_crossbar() == on_path
    assert crossbar_python() is None
    named = program(tmp_path / "named", "")
    monkeypatch.setenv("FLASK_WAMP_CROSSBAR", str(named))
    assert find_crossbar() == named


def test_a_named_crossbar_must_be_executable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASK_WAMP_CROSSBAR", str(tmp_path))
    with pytest.raises(RouterError, match="FLASK_WAMP_CROSSBAR names .*, which is not an exec"):
        find_crossbar()


def test_without_a_crossbar_the_error_says_how_to_get_one(cache: Path) -> None:
    with pytest.raises(RouterError, match="python -m flask_wamp.crossbar --build"):
        DevRouter(free_url())


def test_an_environment_without_its_marker_is_adopted_if_it_works(cache: Path) -> None:
    own = program(crossbar_home() / "bin" / "crossbar", "exit 1")
    program(own.with_name("python"), "")
    assert find_crossbar() is None
    program(own, '[ "$1" = version ]')
    assert find_crossbar() == own
    assert (crossbar_home() / COMPLETE).exists()


# Building. Python and pip are scripts here, because a real build takes a minute and the network.

FAKE_PYTHON = """
case "$*" in
    "-c import sys, venv"*) echo 3 12 ;;
    "-m venv"*) for home; do :; done; mkdir -p "$home/bin"; cp "$0" "$home/bin/python" ;;
    *"pip install"*) . "{pip}" ;;
    *) exit 9 ;;
esac
"""

PIP_WORKS = """
echo "Collecting crossbar==26.10.1"
echo "  Downloading crossbar-26.10.1-py3-none-any.whl (922 kB)"
echo "Processing /wheels/attrs-26.1.0-py3-none-any.whl (from crossbar)"
echo "  Building wheel for bjdata (pyproject.toml): started"
echo "Installing collected packages: attrs, crossbar"
cp "$0" "$(dirname "$0")/crossbar"
"""


@pytest.fixture
def fake_python(tmp_path: Path) -> t.Callable[[str], str]:
    def make(pip: str) -> str:
        script = tmp_path / "pip.sh"
        script.write_text(pip)
        return str(program(tmp_path / "python", FAKE_PYTHON.format(pip=script)))

    return make


def test_building_shows_its_progress(cache: Path, fake_python: t.Callable[[str], str]) -> None:
    said: list[str] = []
    crossbar = build_crossbar(said.append, python=fake_python(PIP_WORKS))
    assert crossbar == cache / "flask-wamp" / "crossbar" / "bin" / "crossbar"
    assert find_crossbar() == crossbar
    assert "380 MB" in said[1]
    assert [line.split(" s  ")[1] for line in said[2:-1]] == [
        "collecting crossbar",
        "collecting attrs",
        "building bjdata",
        "installing 2 packages",
    ]


def test_a_complete_environment_is_not_built_again(
    cache: Path, fake_python: t.Callable[[str], str]
) -> None:
    build_crossbar(lambda line: None, python=fake_python(PIP_WORKS))
    said: list[str] = []
    build_crossbar(said.append, python=fake_python("exit 1"))
    assert said == []


def test_a_half_built_environment_is_built_again(
    cache: Path, fake_python: t.Callable[[str], str]
) -> None:
    left_over = program(crossbar_home() / "lib" / "half", "")
    program(crossbar_home() / "bin" / "crossbar", "exit 1")
    build_crossbar(lambda line: None, python=fake_python(PIP_WORKS))
    assert not left_over.exists()
    assert (crossbar_home() / COMPLETE).exists()


NO_COMPILER = """
echo "WARNING: Retrying (Retry(total=4)) after connection broken by 'ReadTimeoutError'"
echo "      error: command 'gcc' failed: No such file or directory"
echo "  ERROR: Failed building wheel for py-ubjson"
exit 1
"""
NO_HEADERS = """
echo "      src/encoder.c:17:10: fatal error: Python.h: No such file or directory"
echo "      error: command '/usr/bin/x86_64-linux-gnu-gcc' failed with exit code 1"
exit 1
"""
NO_NETWORK = """
echo "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...'"
echo "ERROR: Could not find a version that satisfies the requirement crossbar (from versions: none)"
exit 1
"""
NO_SPACE = """
echo "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
exit 1
"""
SOMETHING_ELSE = """
echo "ERROR: Cannot do it: the moon is full."
exit 1
"""


@pytest.mark.parametrize(
    ("pip", "sentence"),
    [
        (NO_COMPILER, "there is no working C compiler"),
        (
            NO_HEADERS,
            r"there is no working C compiler to build it\. Install a compiler and Python's h",
        ),
        (NO_NETWORK, r"pip cannot reach its package index\. Check the network"),
        (NO_SPACE, "the disk is full"),
        (SOMETHING_ELSE, r"the moon is full\. \(pip's full output is in .*crossbar\.log\)"),
    ],
)
def test_a_failed_build_is_a_one_sentence_error_and_leaves_no_files(
    cache: Path, fake_python: t.Callable[[str], str], pip: str, sentence: str
) -> None:
    with pytest.raises(RouterError, match=sentence) as raised:
        build_crossbar(lambda line: None, python=fake_python(pip))
    assert "\n" not in str(raised.value)
    assert not crossbar_home().exists()


def test_a_python_that_is_too_old_is_not_used(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = program(tmp_path / "path" / "python3.11", "echo 3 9")
    program(tmp_path / "path" / "python3", "exit 127")  # a shim of a version manager
    monkeypatch.setenv("PATH", str(old.parent))
    monkeypatch.setattr(sys, "executable", str(old))
    with pytest.raises(
        RouterError, match=r"needs Python 3\.11 or newer, and there is none on PATH"
    ):
        build_crossbar(lambda line: None)


BUILD = "import sys, flask_wamp.crossbar as r; r.build_crossbar(python=sys.argv[1])"


@pytest.mark.slow
def test_two_processes_build_crossbar_once(
    cache: Path, tmp_path: Path, fake_python: t.Callable[[str], str]
) -> None:
    go, builds = tmp_path / "go", tmp_path / "builds"
    os.mkfifo(go)
    pip = f"echo Collecting it\necho once >> {builds}\nread line < {go}\n{PIP_WORKS}"
    command = ["-c", BUILD, fake_python(pip)]
    with running(*command) as first:
        assert said(first, "collecting it")
        with running(*command) as second:
            assert said(second, "Waiting for another process")
            go.write_text("\n")
    assert (first.returncode, second.returncode) == (0, 0)
    assert builds.read_text() == "once\n"


# ``flask wamp router --crossbar``.

APP = """
from flask import Flask
from flask_wamp.cli import wamp

app = Flask(__name__)
app.config["WAMP_REALM"] = "realm7"
app.config.from_prefixed_env("POLL")
app.cli.add_command(wamp)
"""


RunCommand = t.Callable[..., t.ContextManager[subprocess.Popen[str]]]


@pytest.fixture
def command(tmp_path: Path) -> RunCommand:
    """Run ``flask wamp router --crossbar`` for an app that has this router URL."""
    (tmp_path / "app.py").write_text(APP)

    def run(url: str, *args: str) -> t.ContextManager[subprocess.Popen[str]]:
        env = environ(POLL_WAMP_ROUTER_URL=url)
        return running("-m", "flask", "wamp", "router", "--crossbar", *args, cwd=tmp_path, env=env)

    return run


@pytest.mark.slow
@pytest.mark.router
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_the_apps_url_and_realm(
    wamp_router: DevRouter, command: RunCommand, signum: int
) -> None:
    endpoint = local_url(free_url())
    with command(endpoint.url, "--log-level", "info") as router:
        line = said(router, "router ready")
        assert line == f"router ready on {endpoint.url}, realm realm7\n"
        assert answers(endpoint)
        router.send_signal(signum)
        rest, _ = router.communicate()
    assert router.returncode == 0
    assert "Traceback" not in rest
    assert not answers(endpoint)


@pytest.mark.slow
@pytest.mark.router
def test_the_command_takes_other_urls_and_realms(
    wamp_router: DevRouter, command: RunCommand
) -> None:
    port = free_port()
    options = ["--port", str(port), "--realm", "other", "--log-level", "error"]
    keep = ["--keep", "com.kept", "--keep", "com.past."]
    with command("ws://127.0.0.1:9/x", *options, *keep) as router:
        line = said(router, "router ready")
        assert line == f"router ready on ws://127.0.0.1:{port}/x, realm other\n"
        with AutobahnPeer(f"ws://127.0.0.1:{port}/x", "other") as peer:
            for topic, match in (("com.kept", "exact"), ("com.past.", "prefix")):
                number = peer.call("wamp.subscription.lookup", topic, {"match": match}).value
                assert peer.call("wamp.subscription.get_events", number).value == []
        router.terminate()


@pytest.mark.slow
@pytest.mark.router
def test_the_command_fails_when_the_router_dies(
    wamp_router: DevRouter, command: RunCommand
) -> None:
    with command(free_url(), "--log-level", "info") as router:
        controller = said(router, "[Controller").partition("[Controller")[2].partition("]")[0]
        assert said(router, "router ready")
        os.kill(int(controller), signal.SIGKILL)
        rest, _ = router.communicate()
    assert router.returncode == 1
    assert "Error: Crossbar ended by itself" in rest


@pytest.mark.slow
def test_errors_of_the_command_are_one_line(command: RunCommand) -> None:
    with command("ws://example.com/ws") as router:
        output, _ = router.communicate()
    assert router.returncode == 1
    assert output.startswith("Error: a development router serves this machine only")
    assert len(output.splitlines()) == 1


# The fixtures in tests of another project.

USERS_TEST = """
pytest_plugins = ["flask_wamp.testing"]

def test_with_a_router(wamp_router):
    assert wamp_router.running
"""


@pytest.mark.slow
@pytest.mark.parametrize(("required", "outcome"), [("0", "1 skipped"), ("1", "1 error")])
def test_without_a_crossbar_the_fixture_skips_or_fails(
    cache: Path, tmp_path: Path, required: str, outcome: str
) -> None:
    (tmp_path / "test_users.py").write_text(USERS_TEST)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:pytest_wampy", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environ(FLASK_WAMP_REQUIRE_ROUTER=required, FLASK_WAMP_BUILD_CROSSBAR="0"),
        timeout=60,
    )
    assert outcome in run.stdout
    assert "there is no Crossbar.io: run" in run.stdout
