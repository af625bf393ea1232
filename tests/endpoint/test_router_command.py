"""``flask wamp router`` and ``python -m flask_wamp.router``: the built-in router in the foreground."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket as sockets
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from flask import Flask, g
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from flask_wamp import FlaskWAMP, WAMPError
from flask_wamp.crossbar import free_port, spawn_bound, stop_process
from flask_wamp.router.process.listeners import is_loopback
from tests.support.browser import Browser, Refused
from tests.support.certificates import Authority

pytestmark = pytest.mark.slow

MakeApp = t.Callable[..., Flask]
APP = """
from flask import Flask
from flask_wamp import FlaskWAMP

app = Flask(__name__)
app.config["WAMP_REALM"] = "realm7"
app.config["WAMP_ROUTER_URL"] = "{url}"
FlaskWAMP(app)
"""


class Command:
    """A router in a process of its own; ``with Command(...) as router:`` waits until it is ready."""

    def __init__(self, *command: str, cwd: Path, **environ: str) -> None:
        self._command = [sys.executable, "-m", *command]
        self._cwd = cwd
        self._environ = {**os.environ, **environ}

    def __enter__(self) -> Command:
        self.process = spawn_bound(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._cwd,
            env=self._environ,
        )
        self.said = self.read_line()
        return self

    def __exit__(self, *exc_info: object) -> None:
        stop_process(self.process, 10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def rest(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.read().decode()


def run(*urls: str, cwd: Path, **options: str) -> Command:
    arguments = [f"--{name}={value}" for name, value in options.items()]
    return Command("flask_wamp.router", *[f"--url={url}" for url in urls], *arguments, cwd=cwd)


@pytest.fixture
def url() -> str:
    return f"ws://127.0.0.1:{free_port()}/ws"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_that_it_is_ready_and_sends_goodbye(
    url: str, tmp_path: Path, number: int
) -> None:
    (tmp_path / "app.py").write_text(APP.format(url=url))
    with Command("flask", "wamp", "router", cwd=tmp_path) as router:
        assert router.said == f"router ready on {url}, realm realm7"
        assert router.read_line() == "open to every program on this machine, and to no web pages"
        browser = Browser(url, realm="realm7")
        with browser:
            router.process.send_signal(number)
            assert browser.ends() == "wamp.close.system_shutdown"
        assert router.process.wait(10) == 0
        assert router.rest() == ""


def test_the_command_of_an_app_with_an_embedded_router_uses_the_default_port(
    tmp_path: Path,
) -> None:
    (tmp_path / "app.py").write_text(APP.format(url="embedded:"))
    port = free_port()
    command = ("flask", "wamp", "router", "--port", str(port), "--realm", "other")
    with Command(*command, cwd=tmp_path) as router:
        assert router.said == f"router ready on ws://127.0.0.1:{port}/ws, realm other"


@pytest.mark.parametrize("serializer", ["json", "msgpack", "cbor"])
def test_every_transport_and_serializer(
    url: str, tmp_path: Path, make_app: MakeApp, serializer: str
) -> None:
    tcp = f"tcp://127.0.0.1:{free_port()}"
    unix = f"unix:///tmp/flask-wamp-{os.getpid()}-{free_port()}.sock"
    with run(url, tcp, unix, cwd=tmp_path):
        for each in (url, tcp, unix):
            app = make_app(
                WAMP_ROUTER_URL=each, WAMP_SERIALIZERS=[serializer], WAMP_AUTOSTART=False
            )
            wamp = FlaskWAMP(app)
            wamp.callee("com.example.echo")(lambda value: value)
            wamp.start()
            with app.app_context():
                wamp.client.wait_until_joined(10)
                value = {"bytes": b"\x00\xff", "text": "\N{SNOWMAN}", "list": [1, None, 2.5]}
                assert wamp.client.call("com.example.echo", value) == value
                wamp.stop()


def test_tls(tmp_path: Path, make_app: MakeApp) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("localhost")
    wss, tls = (f"{scheme}://localhost:{free_port()}" for scheme in ("wss", "tls"))
    (tmp_path / "app.py").write_text(APP.format(url=f"{wss}/ws"))
    options = [f"--url={wss}/ws", f"--url={tls}", f"--tls-cert={cert}", f"--tls-key={key}"]
    with Command("flask", "wamp", "router", *options, "--realm=realm1", cwd=tmp_path):
        for url in (f"{wss}/ws", tls):
            app = make_app(
                WAMP_ROUTER_URL=url, WAMP_TLS_CA=str(authority.path), WAMP_AUTOSTART=False
            )
            wamp = FlaskWAMP(app)
            wamp.callee("com.example.echo")(lambda value: value)
            wamp.start()
            with app.app_context():
                wamp.client.wait_until_joined(10)
                large = "x" * 3_000_000
                assert wamp.client.call("com.example.echo", large) == large
                wamp.stop()
        # A client that does not speak TLS affects only itself.
        port = int(tls.rpartition(":")[2])
        with sockets.create_connection(("127.0.0.1", port)) as plain:
            plain.sendall(b"\x7f\xf1\0\0" * 100)
            plain.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert plain.recv(100)[:1] in (b"", b"\x15")  # the end, or an alert
        app = make_app(WAMP_ROUTER_URL=tls, WAMP_TLS_CA=str(authority.path), WAMP_AUTOSTART=False)
        FlaskWAMP(app).start()
        with app.app_context():
            g.wampy.wait_until_joined(10)


def test_only_web_pages_of_allowed_origins_join(url: str, tmp_path: Path) -> None:
    with run(url, cwd=tmp_path, origin="http://127.0.0.1:5000") as router:
        assert "web pages of http://127.0.0.1:5000" in router.read_line()
        with Browser(url, origin="http://127.0.0.1:5000") as browser:
            assert browser.authrole == "anonymous"
        with pytest.raises(InvalidStatus, match="403"):
            Browser(url, origin="https://evil.example")
    with run(url, cwd=tmp_path), pytest.raises(InvalidStatus, match="403"):
        Browser(url, origin="http://127.0.0.1:5000")


def test_a_client_that_does_not_speak_wamp_is_refused(url: str, tmp_path: Path) -> None:
    with run(url, cwd=tmp_path):
        with pytest.raises(InvalidStatus) as refused, connect(url):
            pass
        assert refused.value.response.status_code == 400
        assert b"missing subprotocol" in refused.value.response.body


def test_a_path_other_than_that_of_the_url_is_not_found(url: str, tmp_path: Path) -> None:
    with run(url, cwd=tmp_path):
        with Browser(f"{url}?a=b") as browser:
            assert browser.authrole == "anonymous"
        for path in ("", "/", "/wamp", "/ws/", "/ws/ws"):
            with pytest.raises(InvalidStatus) as refused:
                Browser(url.removesuffix("/ws") + path)
            assert refused.value.response.status_code == 404
            assert refused.value.response.body == b"No WAMP router is at this path.\n"


def test_the_client_chooses_the_serializer(url: str, tmp_path: Path) -> None:
    with run(url, cwd=tmp_path):
        for names in (["json", "msgpack"], ["msgpack", "json"], ["bson", "json"]):
            offered = [Subprotocol(f"wamp.2.{name}") for name in names]
            with connect(url, subprotocols=offered) as socket:
                assert socket.subprotocol == [name for name in offered if "bson" not in name][0]
        with pytest.raises(InvalidStatus, match="400"):
            connect(url, subprotocols=[Subprotocol("wamp.2.bson")])


def test_the_meta_api_names_the_protocol(url: str, tmp_path: Path) -> None:
    with run(url, cwd=tmp_path), Browser(url) as browser:
        session = browser.call("wamp.session.get", browser.session_id)
        assert session["transport"]["websocket_protocol"] == "wamp.2.json"
        assert session["transport"]["channel_framing"] == "websocket"


ACCESS = {
    "principals": {
        "ticket": {"joe": {"ticket": "secret", "role": "device"}},
        "wampcra": {"sue": {"secret": "secret", "role": "device"}},
        "scram": {"ann": {"secret": "secret", "role": "backend"}},
    },
    "roles": {
        "backend": [{"uri": "", "match": "prefix", "allow": ["call", "register"]}],
        "device": [{"uri": "com.example.", "match": "prefix", "allow": ["call"]}],
    },
}


def test_principals(url: str, tmp_path: Path, make_app: MakeApp) -> None:
    pytest.importorskip("argon2")
    (tmp_path / "access.json").write_text(json.dumps(ACCESS))
    with run(url, cwd=tmp_path, principals="access.json") as router:
        assert router.read_line() == "open to its principals, and to no web pages"
        with pytest.raises(Refused):
            Browser(url)

        def join(**credentials: t.Any) -> FlaskWAMP:
            app = make_app(WAMP_ROUTER_URL=url, WAMP_AUTOSTART=False, **credentials)
            wamp = FlaskWAMP(app)
            wamp.start()
            wamp.client.wait_until_joined(10)
            return wamp

        ann = join(WAMP_AUTHID="ann", WAMP_SECRET="secret", WAMP_AUTHMETHODS=["scram"])
        ann.client.register(lambda: "hello", "com.example.hello")
        for wamp in (
            join(WAMP_AUTHID="joe", WAMP_TICKET="secret"),
            join(WAMP_AUTHID="sue", WAMP_SECRET="secret", WAMP_AUTHMETHODS=["wampcra"]),
        ):
            assert wamp.client.call("com.example.hello") == "hello"
            with pytest.raises(WAMPError, match="not_authorized"):
                wamp.client.register(lambda: "no", "com.example.other")
        wrong = make_app(
            WAMP_ROUTER_URL=url, WAMP_AUTHID="joe", WAMP_TICKET="wrong", WAMP_AUTOSTART=False
        )
        stranger = FlaskWAMP(wrong)
        stranger.start()
        with pytest.raises(WAMPError, match="denied|failed"):
            stranger.client.wait_until_joined(2)


def with_roles(roles: t.Any) -> str:
    """Return a file with one principal, whose role is ``app``."""
    principals = {"ticket": {"joe": {"ticket": "x", "role": "app"}}}
    return json.dumps({"principals": principals, "roles": roles})


def with_permission(**entry: t.Any) -> str:
    """Return a file whose second permission has these entries."""
    valid = {"uri": "com.example.add", "allow": ["call"]}
    return with_roles({"app": [valid, {**valid, **entry}]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read"),
        ("[]", "access.json is invalid: it must be a JSON object with 'principals'"),
        ("{}", "access.json is invalid: the key 'principals' is missing"),
        (
            '{"principal": {}}',
            "the key 'principal' is not one of principals, roles; did you mean principals?",
        ),
        ('{"principals": []}', "principals: must be a dictionary"),
        (
            '{"principals": {"tickets": {}}}',
            "principals: 'tickets' is not one of cryptosign, scram, wampcra, ticket, anonymous; did you "
            "mean ticket?",
        ),
        (
            '{"principals": {"ticket": {"joe": {"role": "x"}}}}',
            "principals.ticket.joe: the key 'ticket' is missing",
        ),
        (with_roles([]), "roles: must be an object of roles, not []"),
        (with_roles({"app": {}}), "roles.app: must be a list, not {}"),
        (with_roles({"app": ["x"]}), "roles.app[0]: must be an object, not 'x'"),
        (with_permission(uri=None), "roles.app[1].uri: None is not a URI"),
        (with_permission(uri="a..b"), "roles.app[1].uri: 'a..b' is not a URI"),
        (
            with_permission(match="prefx"),
            "roles.app[1].match: 'prefx' is not one of exact, prefix, wildcard; did you mean prefix?",
        ),
        (
            with_permission(allow=["call", "cal"]),
            "roles.app[1].allow[1]: 'cal' is not one of call, register, publish, subscribe; did you mean "
            "call?",
        ),
        (
            with_permission(allow={"call": False}),
            "roles.app[1].allow: must be a list of call, register, publish, subscribe, not {'call': "
            "False}",
        ),
        (
            with_permission(alow=[]),
            "roles.app[1]: the key 'alow' is not one of uri, match, allow; did you mean allow?",
        ),
        (with_roles({"app": [{"uri": "x"}]}), "roles.app[0]: the key 'allow' is missing"),
        (
            with_roles({"apps": []}),
            "principals.ticket.joe.role: 'app' is not one of the roles in 'roles': apps; did you mean "
            "apps?",
        ),
        (
            '{"principals": {"anonymous": {"role": "guest"}}, "roles": {"guests": []}}',
            "principals.anonymous.role: 'guest' is not one of the roles in 'roles': guests; did you mean "
            "guests?",
        ),
    ],
)
def test_an_invalid_file_of_principals_is_a_one_line_error(
    url: str, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "access.json").write_text(content)
    with run(url, cwd=tmp_path, principals="access.json") as router:
        assert message in router.said
        assert router.rest() == ""
        assert router.process.wait(10) == 1


def test_an_address_in_use_is_a_one_line_error(tmp_path: Path) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}/ws"
        with run(url, cwd=tmp_path) as router:
            assert router.said == f"Error: cannot listen on {url}: Address already in use"
            assert router.process.wait(10) == 1


def test_tls_without_a_certificate_is_a_one_line_error(tmp_path: Path) -> None:
    with run(f"wss://127.0.0.1:{free_port()}/ws", cwd=tmp_path) as router:
        assert "needs a certificate: pass --tls-cert and --tls-key" in router.said


def test_systemd_is_notified(url: str, tmp_path: Path) -> None:
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM) as listener:
        listener.bind(f"\0flask-wamp-tests-{os.getpid()}")
        listener.settimeout(20)
        environ = {"NOTIFY_SOCKET": f"@flask-wamp-tests-{os.getpid()}"}
        command = ("flask_wamp.router", f"--url={url}")
        with Command(*command, cwd=tmp_path, **environ) as router:
            assert listener.recv(1000).startswith(b"READY=1")
            router.process.terminate()
            assert listener.recv(1000).startswith(b"STOPPING=1")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("fe80::1%eth0", False),
        ("192.168.1.1", False),
        ("::ffff:10.0.0.1", False),
        ("", False),
        ("localhost", False),
    ],
)
def test_addresses_of_this_machine(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


def test_an_encrypted_key_never_prompts_for_its_password(tmp_path: Path) -> None:
    from flask_wamp.router.process.errors import ListenError
    from flask_wamp.router.process.foreground import serve

    with pytest.raises(ListenError, match="cannot use the certificate"):
        serve(["tls://127.0.0.1:1"], "realm1", tls_cert=str(tmp_path / "none.pem"))
