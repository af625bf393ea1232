"""Browsers join through nginx, with the configuration of docs/deploying.rst."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import typing as t
from pathlib import Path

import pytest
from flask import Flask, request
from websockets.exceptions import InvalidStatus

from flask_wamp.concurrency.child_processes import spawn_bound, stop_process
from flask_wamp.crossbar import free_port
from tests.conftest import eventually
from tests.support.browser import Browser
from tests.support.certificates import Authority
from tests.support.served import Served

from .conftest import Serve, ready

pytestmark = pytest.mark.slow

DEPLOYING = Path(__file__).parents[2] / "docs" / "deploying.rst"
GUNICORN = (
    *("gunicorn", "-w", "2", "-k", "gthread", "--threads", "2"),
    *("-b", "127.0.0.1:{port}", "browsed:app"),
)


@pytest.fixture(scope="module")
def nginx() -> str:
    """The program."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        if os.environ.get("FLASK_WAMP_REQUIRE_NGINX") == "1":
            pytest.fail("no nginx, and FLASK_WAMP_REQUIRE_NGINX=1 asks for it", pytrace=False)
        pytest.skip("nginx is not installed")
    return found


def documented() -> str:
    """The configuration in the documentation."""
    found = re.search(
        r"\.\. code-block:: nginx\n\n((?:    .*\n|\n)+)", DEPLOYING.read_text(encoding="utf-8")
    )
    assert found is not None
    return re.sub(r"^    ", "", found.group(1), flags=re.M)


@contextlib.contextmanager
def before(
    nginx: str, app_port: int, folder: Path, tls: tuple[str, str] | None = None
) -> t.Iterator[tuple[int, int]]:
    """Run nginx in front of an app. Yield its port and its process."""
    port = free_port()
    if tls is None:
        text = re.sub(r"listen 443 ssl;", f"listen 127.0.0.1:{port};", documented())
        text = re.sub(r"^ *ssl_certificate.*\n", "", text, flags=re.M)
    else:
        text = documented().replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;")
        text = text.replace("/etc/ssl/shop.pem", tls[0])
        text = text.replace("/etc/ssl/shop.key", tls[1])
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{app_port}")
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log stderr notice;\n"
        f"events {{ worker_connections 256; }}\nhttp {{\naccess_log off;\n{temporary}{text}}}\n"
    )
    command = [nginx, "-p", str(folder), "-c", str(config), "-e", "stderr"]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stderr
    with (folder / "nginx.log").open("wb") as log:
        process = spawn_bound(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        eventually(lambda: listens(port))
        yield port, process.pid
    finally:
        stop_process(process, 10)


def listens(port: int) -> bool:
    """Whether nginx accepts connections."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def server(serve: Serve) -> t.Iterator[Served]:
    with serve(*GUNICORN) as started:
        ready(started)
        yield started


def test_a_browser_joins_through_nginx(nginx: str, server: Served, tmp_path: Path) -> None:
    with before(nginx, server.port, tmp_path) as (port, _):
        own = f"http://127.0.0.1:{port}"
        with Browser(f"ws://127.0.0.1:{port}/wamp", origin=own) as browser:
            assert browser.call("com.shop.add", 1, 2) == 3
            browser.subscribe("com.shop.news")
            assert server.get("/say/hello", "POST") == "said"
            assert browser.next_event() == ["hello"]


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:{app}", "null"])
def test_a_page_of_another_origin_does_not_join(
    nginx: str, server: Served, tmp_path: Path, origin: str
) -> None:
    with before(nginx, server.port, tmp_path) as (port, _), pytest.raises(InvalidStatus) as refused:
        Browser(f"ws://127.0.0.1:{port}/wamp", origin=origin.format(app=server.port))
    assert refused.value.response.status_code == 403


def test_a_restart_of_gunicorn_behind_nginx_disconnects_no_browser(
    nginx: str, server: Served, tmp_path: Path
) -> None:
    with before(nginx, server.port, tmp_path) as (port, _), contextlib.ExitStack() as stack:
        url = f"ws://127.0.0.1:{port}/wamp"
        browsers = [stack.enter_context(Browser(url)) for _ in range(10)]
        old = {browser.call("com.shop.who")["pid"] for browser in browsers}
        server.process.send_signal(signal.SIGHUP)

        def replaced() -> bool:
            return not {browser.call("com.shop.who")["pid"] for browser in browsers} & old

        eventually(replaced)
        for browser in browsers:
            browser.subscribe("com.shop.news")
        server.get("/say/again", "POST")
        assert all(browser.next_event() == ["again"] for browser in browsers)


def test_tls_ends_in_nginx(nginx: str, server: Served, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with before(nginx, server.port, tmp_path, authority.issue("localhost")) as (port, _):
        trust = ssl.create_default_context(cafile=authority.path)
        own = f"https://127.0.0.1:{port}"
        with Browser(f"wss://127.0.0.1:{port}/wamp", origin=own, tls=trust) as browser:
            assert browser.call("com.shop.add", 1, 2) == 3


def test_tls_in_front_of_the_routers_own_port(nginx: str, serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("waitress")
    port, origin = free_port(), "https://shop.example"
    environ = {
        "FLASK_WAMP_ROUTER_LISTEN": f"ws://127.0.0.1:{port}/ws",
        "FLASK_WAMP_ORIGINS": origin,
    }
    authority = Authority(tmp_path)
    trust = ssl.create_default_context(cafile=authority.path)
    with serve("waitress", "--listen", "127.0.0.1:{port}", "browsed:app", **environ) as server:
        ready(server)
        pair = authority.issue("localhost")
        with (
            before(nginx, port, tmp_path, pair) as (public, _),
            Browser(f"wss://127.0.0.1:{public}/ws", origin=origin, tls=trust) as browser,
        ):
            assert browser.authrole == "anonymous"
            assert browser.call("com.shop.add", 1, 2) == 3


def test_a_reload_of_nginx_disconnects_no_browser(
    nginx: str, server: Served, tmp_path: Path
) -> None:
    with before(nginx, server.port, tmp_path) as (port, pid), contextlib.ExitStack() as stack:
        url = f"ws://127.0.0.1:{port}/wamp"
        browser = stack.enter_context(Browser(url))
        os.kill(pid, signal.SIGHUP)
        log = tmp_path / "nginx.log"
        eventually(lambda: "gracefully shutting down" in log.read_text())
        assert stack.enter_context(Browser(url)).call("com.shop.add", 2, 2) == 4
        assert browser.call("com.shop.add", 1, 2) == 3


def test_the_address_of_a_browser_is_its_own() -> None:
    """This test uses the lines of the page."""
    text = DEPLOYING.read_text(encoding="utf-8")
    found = re.search(r"    :name: proxy.py\n\n((?:    .*\n|\n)+)", text)
    assert found is not None
    app = Flask("shop")
    app.get("/")(lambda: f"{request.remote_addr} {request.scheme}")
    exec(re.sub(r"^    ", "", found.group(1), flags=re.M), {"app": app})
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    assert app.test_client().get("/", headers=headers).text == "192.0.2.7 https"
