"""Browsers join through the app's own server, and occupy nothing in it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import ssl
import sys
import typing as t
from pathlib import Path

import pytest
from flask import Flask
from websockets.exceptions import InvalidStatus, WebSocketException

from flask_wamp import ApplicationError, FlaskWAMP
from flask_wamp.crossbar import free_port
from tests.conftest import eventually
from tests.support.browser import Browser, Refused
from tests.support.certificates import Authority
from tests.support.served import STARTS_WITHIN, Served

from .conftest import Serve, ready, stop_router

pytestmark = pytest.mark.slow

COMMANDS = {
    "flask run": ["flask", "--app", "browsed", "run", "--port", "{port}"],
    "flask run --debug": ["flask", "--app", "browsed", "run", "--debug", "--port", "{port}"],
    "gunicorn sync": ["gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "browsed:app"],
    "gunicorn gthread": [
        *("gunicorn", "-w", "2", "-k", "gthread", "--threads", "2"),
        *("-b", "127.0.0.1:{port}", "browsed:app"),
    ],
    "gunicorn gevent": [
        "gunicorn", "-w", "2", "-k", "gevent", "-b", "127.0.0.1:{port}", "browsed:app",
    ],
    "gunicorn --preload": [
        "gunicorn", "-w", "2", "--preload", "-b", "127.0.0.1:{port}", "browsed:app",
    ],
    "gevent.pywsgi": ["browsed", "{port}"],
}  # fmt: skip


@contextlib.contextmanager
def served(serve: Serve, kind: str) -> t.Iterator[tuple[Served, str]]:
    """A server that has joined, and the URL of its endpoint."""
    with serve(*COMMANDS[kind]) as server:
        ready(server)
        yield server, f"ws://127.0.0.1:{server.port}/wamp"


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_browser_joins(serve: Serve, kind: str) -> None:
    with served(serve, kind) as (server, url), Browser(url) as browser:
        assert browser.authrole == "anonymous"
        assert browser.call("com.shop.add", 1, 2) == 3
        browser.subscribe("com.shop.news")
        assert server.get("/say/hello", "POST") == "said"
        assert browser.next_event() == ["hello"]
        with pytest.raises(Refused) as refused:
            browser.call("com.shop.secret")
        assert refused.value.uri == "wamp.error.not_authorized"
        assert "Traceback" not in server.log


@pytest.mark.parametrize("kind", ["flask run", "gunicorn gthread"])
def test_a_browser_joins_an_app_below_a_prefix(serve: Serve, kind: str) -> None:
    command = [part.replace("browsed", "mounted") for part in COMMANDS[kind]]
    with serve(*command) as server:
        ready(server)
        assert server.get("/shop/wamp/session", "POST")["url"] == "/shop/wamp"
        with Browser(f"ws://127.0.0.1:{server.port}/shop/wamp") as browser:
            assert browser.call("com.shop.add", 1, 2) == 3


@pytest.mark.parametrize("kind", ["gunicorn gthread", "gunicorn sync", "gunicorn gevent"])
def test_browsers_occupy_no_thread_of_the_server(serve: Serve, kind: str) -> None:
    with served(serve, kind) as (server, url), contextlib.ExitStack() as stack:
        fds = len(list(Path(f"/proc/{server.get('/who')['pid']}/fd").iterdir()))
        browsers = [stack.enter_context(Browser(url)) for _ in range(200)]
        assert len({browser.session_id for browser in browsers}) == 200
        pids = {server.get("/who")["pid"] for _ in range(20)}  # HTTP still works
        for pid in pids:

            def holds_nothing(pid: int = pid) -> bool:
                return len(list(Path(f"/proc/{pid}/fd").iterdir())) <= fds + 5

            eventually(holds_nothing)
        assert all(browser.call("com.shop.add", 1, 2) == 3 for browser in browsers)


def test_a_deploy_disconnects_no_browser(serve: Serve) -> None:
    with served(serve, "gunicorn gthread") as (server, url), contextlib.ExitStack() as stack:
        browsers = [stack.enter_context(Browser(url)) for _ in range(20)]
        before = {browser.call("com.shop.who")["pid"] for browser in browsers}
        server.process.send_signal(signal.SIGHUP)

        def replaced() -> bool:
            pids = {browser.call("com.shop.who")["pid"] for browser in browsers}
            return not pids & before

        eventually(replaced)
        server.get("/say/after", "POST")
        for browser in browsers:
            browser.subscribe("com.shop.news")
        server.get("/say/again", "POST")
        assert all(browser.next_event() == ["again"] for browser in browsers)


def test_calls_wait_for_the_next_process_at_the_default_router(
    serve: Serve, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("r")
    folder.chmod(0o700)
    environ = {
        "FLASK_WAMP_ROUTER_URL": "embedded:",
        "FLASK_WAMP_CALL_TIMEOUT": "60",
        "XDG_RUNTIME_DIR": str(folder),
    }
    command = COMMANDS["gunicorn sync"]
    try:
        with serve(*command, **environ) as server:
            ready(server)
            browser = Browser(f"ws://127.0.0.1:{server.port}/wamp")
        with browser:
            browser.send([48, browser.next_id(), {}, "com.shop.add", [1, 2]])
            with serve(*command, **environ):
                assert browser.receive()[3:] == [[3]]
    finally:
        for info in folder.rglob("*.sock.json"):
            stop_router(info.with_suffix(""))


def test_uwsgi(serve: Serve) -> None:
    program = Path(sys.executable).with_name("uwsgi")
    found = str(program) if program.exists() else shutil.which("uwsgi")
    if found is None:
        pytest.skip("uwsgi is not installed")
    command = [found, "--http-socket", "127.0.0.1:{port}", "--module", "browsed:app", "--master"]
    with serve(*command, "--lazy-apps", "--processes", "2", "--die-on-term") as server:
        ready(server)
        with Browser(f"ws://127.0.0.1:{server.port}/wamp") as browser:
            assert browser.call("com.shop.add", 1, 2) == 3


def test_a_server_that_keeps_its_sockets_says_what_to_do(serve: Serve) -> None:
    pytest.importorskip("waitress")
    command = ["waitress", "--listen", "127.0.0.1:{port}", "browsed:app"]
    with serve(*command) as server:
        ready(server)
        for _ in range(2):
            with pytest.raises(Exception, match="501"):
                Browser(f"ws://127.0.0.1:{server.port}/wamp")
        # A browser does not show the answer to the page, so the log says it too, once.
        assert server.log.count("pages cannot join at /wamp: this server does not give access") == 1
        assert (
            server.log.count("or set WAMP_ROUTER_LISTEN to give the router a port of its own") == 1
        )


def test_a_server_that_ends_tls_itself_says_what_to_do(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("localhost")
    trust = ssl.create_default_context(cafile=authority.path)
    command = [*COMMANDS["flask run"], "--cert", cert, "--key", key]
    with serve(*command) as server:

        def refused() -> bool:
            try:
                Browser(f"wss://127.0.0.1:{server.port}/wamp", tls=trust)
            except InvalidStatus as error:
                answer = error.response
                return answer.status_code == 501 and b"Terminate TLS in a proxy" in (
                    answer.body or b""
                )
            except OSError:  # it does not listen yet
                return False
            return False

        eventually(refused, STARTS_WITHIN)
        assert (
            server.log.count("pages cannot join at /wamp: this server terminates TLS itself") == 1
        )


@pytest.mark.parametrize("serializer", ["json", "msgpack", "cbor"])
def test_another_client_joins_at_the_endpoint(
    serve: Serve, make_app: t.Callable[..., Flask], serializer: str
) -> None:
    with served(serve, "gunicorn gthread") as (_, url):
        wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=url, WAMP_SERIALIZERS=[serializer]))
        wamp.start()
        wamp.client.wait_until_joined(20)
        assert wamp.client.call("com.shop.add", 1, 2) == 3
        with pytest.raises(ApplicationError, match="not_authorized"):
            wamp.client.call("com.shop.secret")


def at_its_own_port(serve: Serve, origins: str) -> tuple[Served, str]:
    """The app in a server that keeps its sockets, with a port for the router."""
    listen = f"ws://127.0.0.1:{free_port()}/ws"
    environ = {"FLASK_WAMP_ROUTER_LISTEN": listen, "FLASK_WAMP_ORIGINS": origins}
    return serve("waitress", "--listen", "127.0.0.1:{port}", "browsed:app", **environ), listen


def test_a_port_of_the_router_s_own(serve: Serve) -> None:
    pytest.importorskip("waitress")
    server, listen = at_its_own_port(serve, "http://shop.example")
    with server:
        ready(server)
        assert server.get("/wamp/session", "POST")["url"] == listen
        for origin in (None, "http://shop.example"):
            with Browser(listen, origin=origin) as browser:
                assert browser.call("com.shop.add", 1, 2) == 3
                with pytest.raises(Refused, match="not_authorized"):
                    browser.call("com.shop.secret")
        for origin in ("http://evil.example", f"http://127.0.0.1:{server.port}", "null"):
            with pytest.raises(InvalidStatus, match="403"):
                Browser(listen, origin=origin)


def test_all_origins_at_a_port_of_the_router_s_own(serve: Serve) -> None:
    pytest.importorskip("waitress")
    server, listen = at_its_own_port(serve, "*")
    with server:
        ready(server)
        with Browser(listen, origin="http://anywhere.example") as browser:
            assert browser.call("com.shop.add", 1, 2) == 3


def test_the_app_restarts_a_killed_router(serve: Serve, socket: Path) -> None:
    import json
    import os

    with served(serve, "gunicorn gthread") as (server, url):
        with Browser(url) as browser:
            browser.call("com.shop.add", 1, 2)
        pid = json.loads(Path(f"{socket}.json").read_text())["pid"]
        os.kill(pid, signal.SIGKILL)

        def back() -> bool:
            try:
                with Browser(url) as browser:
                    return bool(browser.call("com.shop.add", 1, 2) == 3)
            except (Refused, OSError, EOFError, WebSocketException):
                return False

        eventually(back)
        assert json.loads(Path(f"{socket}.json").read_text())["pid"] != pid
