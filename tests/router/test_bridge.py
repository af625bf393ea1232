"""``flask_wamp.bridge`` against a real Crossbar with the configuration of ``docs/bridge.rst``."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree

from flask_wamp import (
    ApplicationError,
    AuthenticationError,
    CallCanceled,
    CallResult,
    CallTimeout,
    FlaskWAMP,
    ProtocolError,
    SerializationError,
    SessionLost,
    TransportError,
)
from flask_wamp.bridge.client import BridgeClient
from flask_wamp.crossbar import free_port
from flask_wamp.exceptions import PayloadTooLarge
from flask_wamp.testing import MakeRouter
from tests.support.certificates import DAY, Authority
from tests.support.peers import AutobahnPeer

pytestmark = [pytest.mark.router, pytest.mark.crossbar("an HTTP bridge")]

PAGE = Path(__file__).parents[2] / "docs" / "bridge.rst"

SECRET = "change this"

CERTIFICATES: dict[str, dict[str, t.Any]] = {
    "good": {},
    "expired": {"start": -2 * DAY, "end": -DAY},
    "not yet valid": {"start": DAY, "end": 2 * DAY},
    "self-signed": {"self_signed": True},
    "wrong host": {"host": "127.0.0.2"},
}

TLS: dict[str, int] = {}
"""The router's ports, by their certificate."""


def blocks(language: str) -> list[str]:
    """The snippets of the page in one language."""
    tree = publish_doctree(PAGE.read_text(), str(PAGE), settings_overrides={"halt_level": 2})
    return [
        block.astext()
        for block in tree.findall(nodes.literal_block)
        if language in block["classes"]
    ]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def _add_tls(transports: list[t.Any], authority: Authority) -> None:
    """Add the same service over TLS with valid and invalid certificates, at the ports in ``TLS``."""
    for name, how in CERTIFICATES.items():
        certificate, key = authority.issue(name.replace(" ", "-"), **how)
        TLS[name] = free_port()
        endpoint = {"type": "tcp", "interface": "127.0.0.1", "port": TLS[name]}
        endpoint["tls"] = {"certificate": certificate, "key": key}
        transports.append({**transports[0], "endpoint": endpoint})


@pytest.fixture(scope="module")
def base(make_wamp_router: MakeRouter, authority: Authority) -> str:
    """The URL of a router that has the page's configuration, and ``/open``, which is not signed."""
    port = free_port()
    (source,) = blocks("json")
    config = json.loads(source.replace("8080", str(port)))
    (cron,) = (r for r in config["workers"][0]["realms"][0]["roles"] if r["name"] == "cron")
    # For the other tests. The page's own exact permissions come before it.
    everything = {"call": True, "publish": True}
    cron["permissions"].append({"uri": "com.example.", "match": "prefix", "allow": everything})
    paths = config["workers"][0]["transports"][0]["paths"]
    paths["call"]["options"]["post_body_limit"] = 50000
    unsigned = {
        kind: {name: value for name, value in paths[kind].items() if name != "options"}
        for kind in ("call", "publish")
    }
    paths["open"] = {"type": "path", "paths": unsigned}
    _add_tls(config["workers"][0]["transports"], authority)
    make_wamp_router([f"ws://127.0.0.1:{port}/ws"], config=config)
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def bridge(base: str) -> BridgeClient:
    return BridgeClient(f"{base}/call", f"{base}/publish", key="cron", secret=SECRET, timeout=10)


@pytest.fixture
def unsigned(base: str) -> BridgeClient:
    return BridgeClient(f"{base}/open/call", f"{base}/open/publish")


@pytest.fixture
def wamp(base: str, join: t.Callable[..., t.Any]) -> FlaskWAMP:
    extension: FlaskWAMP = join(f"{base}/ws".replace("http", "ws"), setup)[1]
    return extension


def setup(wamp: FlaskWAMP) -> None:
    """The procedures that the tests call."""

    @wamp.callee(validate=False)
    def echo(*args: t.Any, **kwargs: t.Any) -> CallResult:
        return CallResult(*args, **kwargs)

    @wamp.callee(validate=False)
    def fail(uri: str, *args: t.Any, **kwargs: t.Any) -> None:
        raise ApplicationError(uri, *args, **kwargs)

    @wamp.callee
    def binary() -> bytes:
        return b"abc"

    @wamp.callee
    def tidy(days: int) -> int:
        return days + 1


@pytest.mark.parametrize("way", ["bridge", "unsigned"])
def test_results_are_what_the_client_returns(
    way: str, wamp: FlaskWAMP, request: pytest.FixtureRequest
) -> None:
    bridge: BridgeClient = request.getfixturevalue(way)
    uri = "com.example.echo"
    assert bridge.call(uri) is None
    assert bridge.call(uri, {"ü": [1, 2.5, None, True, "\x01", 2**63]}) == {
        "ü": [1, 2.5, None, True, "\x01", 2**63]
    }
    assert bridge.call(uri, 1, 2, x=3) == CallResult(1, 2, x=3)
    assert bridge.call(uri, "m", message="m", meta={}) == "m"  # the form of wampy's callees
    assert bridge.call(uri, 1, message="m", meta={}) == CallResult(1, message="m", meta={})
    assert bridge.call(uri, dt.date(2026, 11, 21)) == "2026-11-21"
    assert bridge.call(uri, error="none") == CallResult(error="none")


def test_errors_that_come_with_200_are_raised(bridge: BridgeClient, wamp: FlaskWAMP) -> None:
    with pytest.raises(ApplicationError) as raised:
        bridge.call("com.example.fail", "com.example.error.sold_out", "tea", left=0)
    assert raised.value.uri == "com.example.error.sold_out"
    assert (raised.value.args, raised.value.kwargs) == (("tea",), {"left": 0})
    with pytest.raises(CallCanceled):
        bridge.call("com.example.fail", "wamp.error.canceled")
    for uri, why in [("com.example.x", "no_such_procedure"), ("org.x", "not_authorized")]:
        with pytest.raises(ApplicationError, match=why):
            bridge.call(uri)
    with pytest.raises(ApplicationError, match="wamp.error.not_authorized"):
        bridge.publish("org.x")


def test_events_arrive(bridge: BridgeClient, base: str) -> None:
    with AutobahnPeer(f"{base}/ws".replace("http", "ws")) as peer:
        topic = peer.subscribe("com.example.news")
        number = bridge.publish("com.example.news", "tea", price=2)
        event = topic.next()
    assert isinstance(number, int)
    assert (event.args, event.kwargs) == (["tea"], {"price": 2})


def test_the_snippet_for_users_of_wampify(base: str, wamp: FlaskWAMP) -> None:
    page = PAGE.with_name("coming-from-wampify.rst")
    tree = publish_doctree(page.read_text(), str(page), settings_overrides={"halt_level": 2})
    (source,) = (b.astext() for b in tree.findall(nodes.literal_block) if "bridge.py" in b["names"])
    names: dict[str, t.Any] = {}
    exec(source.replace("http://127.0.0.1:8080", base), names)
    with AutobahnPeer(f"{base}/ws".replace("http", "ws")) as peer:
        topic = peer.subscribe("com.example.hello")
        names["main"]()
        assert topic.next().kwargs == {"name": "Ada"}


def test_an_autobahn_callee_is_called(bridge: BridgeClient, base: str) -> None:
    with AutobahnPeer(f"{base}/ws".replace("http", "ws")) as peer:
        peer.register("com.example.autobahn")
        assert bridge.call("com.example.autobahn", "tea") == "tea"


@pytest.mark.parametrize(
    "credentials",
    [{}, {"key": "cron", "secret": "s-3-c-r"}, {"key": "who", "secret": SECRET}],
    ids=["unsigned", "secret", "key"],
)
def test_wrong_credentials(base: str, credentials: dict[str, str]) -> None:
    bridge = BridgeClient(f"{base}/call", f"{base}/publish", **credentials)
    for ask in (bridge.call, bridge.publish):
        with pytest.raises(AuthenticationError) as raised:
            ask("com.example.x")
        assert not any(value in str(raised.value) for value in credentials.values())


def test_requests_that_a_bridge_refuses(base: str, bridge: BridgeClient) -> None:
    with pytest.raises(PayloadTooLarge, match="over its limit"):
        bridge.call("com.example.echo", "x" * 60000)
    for path, why in [("nothing", "404: there is no HTTP bridge"), ("ws", "HTTP 4")]:
        with pytest.raises(TransportError, match=why):
            BridgeClient(f"{base}/{path}").call("com.example.echo")
    with pytest.raises(TransportError, match="missing key 'procedure'"):
        BridgeClient(f"{base}/open/call", f"{base}/open/call").publish("com.example.x")


def test_an_old_request_is_refused(
    bridge: BridgeClient, monkeypatch: pytest.MonkeyPatch, wamp: FlaskWAMP
) -> None:
    class Late(dt.datetime):
        @classmethod
        def now(cls, tz: t.Any = None) -> Late:
            return super().now(tz) - dt.timedelta(hours=1)  # type: ignore[return-value]

    monkeypatch.setattr("flask_wamp.bridge.client.dt.datetime", Late)
    with pytest.raises(TransportError, match="too old timestamp"):
        bridge.call("com.example.echo")


@pytest.mark.parametrize("name", ["options", "self", "procedure", "topic", "f"])
def test_keywords_that_the_bridge_uses_itself(bridge: BridgeClient, name: str) -> None:
    for ask in (bridge.call, bridge.publish):
        with pytest.raises(SerializationError, match=name):
            ask("com.example.echo", **{name: 1})


def test_bytes(bridge: BridgeClient, base: str, wamp: FlaskWAMP) -> None:
    for value in (b"abc", "\0abc", [{"x": b""}]):
        with pytest.raises(SerializationError, match="Base64"):
            bridge.call("com.example.echo", value)
    for text in ('"\0', 'a\\"\0', "a\0"):  # not bytes, because the string does not begin with NUL
        assert bridge.call("com.example.echo", text) == text
    impatient = BridgeClient(f"{base}/open/call", timeout=0.5)
    with pytest.raises(CallTimeout, match="com.example.binary did not answer within 0.5 s"):
        impatient.call("com.example.binary")


# Over TLS.


def secure(base: str, name: str, **options: t.Any) -> BridgeClient:
    url = f"https://127.0.0.1:{TLS[name]}"
    return BridgeClient(f"{url}/call", f"{url}/publish", key="cron", secret=SECRET, **options)


def test_calls_over_tls(base: str, authority: Authority, wamp: FlaskWAMP) -> None:
    bridge = secure(base, "good", ca=authority.path)
    assert [bridge.call("com.example.echo", number) for number in range(3)] == [0, 1, 2]
    assert bridge.call("com.example.echo", "x" * 40000) == "x" * 40000
    assert isinstance(bridge.publish("com.example.news"), int)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("expired", "certificate has expired; the bridge needs a new one"),
        ("not yet valid", "not yet valid; check the clocks"),
        ("self-signed", "self-signed certificate; set ca= to a PEM file"),
        ("wrong host", "use a URL with an address of the certificate"),
    ],
)
def test_bad_certificates_are_refused(
    base: str, authority: Authority, name: str, said: str
) -> None:
    with pytest.raises(TransportError, match="was refused") as raised:
        secure(base, name, ca=authority.path).call("com.example.echo")
    assert said in str(raised.value)
    assert "signature" not in str(raised.value)


def test_an_unknown_certificate_authority(base: str) -> None:
    with pytest.raises(TransportError, match="was refused: .*; set ca= to a PEM file"):
        secure(base, "good").call("com.example.echo")


def test_http_to_a_bridge_with_tls(base: str) -> None:
    with pytest.raises((SessionLost, ProtocolError)):
        BridgeClient(f"http://127.0.0.1:{TLS['good']}/call").call("com.example.echo")


def test_an_invalid_file_of_authorities(base: str, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    with pytest.raises(ValueError, match=r"ca='.*nothing.pem': .*No such file"):
        secure(base, "good", ca=str(nothing)).call("com.example.echo")
    nothing.write_text("nothing")
    with pytest.raises(ValueError, match=r"ca='.*nothing.pem': "):
        secure(base, "good", ca=str(nothing)).call("com.example.echo")


# Publish options.


def test_who_gets_an_event(bridge: BridgeClient, base: str) -> None:
    url = f"{base}/ws".replace("http", "ws")
    with AutobahnPeer(url) as one, AutobahnPeer(url) as two:
        peers = {"one": one, "two": two}
        topics = {name: each.subscribe("com.example.news") for name, each in peers.items()}

        def reached(**options: t.Any) -> set[str]:
            bridge.with_options(**options).publish("com.example.news", "told")
            bridge.publish("com.example.news", "end")
            return {name for name, topic in topics.items() if _until_end(topic) == ["told"]}

        assert reached() == {"one", "two"}
        assert reached(eligible=[one.session_id]) == {"one"}
        assert reached(exclude=[one.session_id]) == {"two"}
        assert reached(eligible_authid=[two.authid]) == {"two"}
        assert reached(exclude_authid=[two.authid]) == {"one"}
        assert reached(exclude_authrole=["anonymous"]) == set()
        assert reached(eligible_authrole=["anonymous"]) == {"one", "two"}


def _until_end(topic: t.Any) -> list[t.Any]:
    told = []
    while (value := topic.next().value) != "end":
        told.append(value)
    return told


def test_an_event_is_kept(bridge: BridgeClient, base: str) -> None:
    bridge.with_options(retain=True).publish("com.example.kept", "tea")
    with AutobahnPeer(f"{base}/ws".replace("http", "ws")) as peer:
        event = peer.subscribe("com.example.kept", get_retained=True).next()
    assert (event.value, event.details["retained"]) == ("tea", True)


def test_options_that_the_bridge_does_not_support(bridge: BridgeClient) -> None:
    for wrong in ("acknowledge", "cancel_mode", "exclude_me", "nonsense"):
        with pytest.raises(TypeError, match=f"the HTTP bridge has no option '{wrong}'"):
            bridge.with_options(**{wrong: True})
    with pytest.raises(TypeError, match="a list of session ids"):
        bridge.with_options(exclude="me")
    with pytest.raises(TypeError, match="a positive number of seconds"):
        bridge.with_options(timeout=0)


def test_the_timeout_of_one_call(bridge: BridgeClient, wamp: FlaskWAMP) -> None:
    released = threading.Event()

    @wamp.callee
    def slow() -> bool:
        return released.wait(10)

    with pytest.raises(CallTimeout, match="did not answer within 0.2 s"):
        bridge.with_options(timeout=0.2).call("com.example.slow")
    released.set()


def test_the_script_of_the_page(base: str, wamp: FlaskWAMP, tmp_path: Path) -> None:
    (source,) = blocks("python")
    script = tmp_path / "nightly.py"
    script.write_text(source)
    told: list[int] = []
    arrived = threading.Event()

    @wamp.subscriber(".tidied")
    def tidied(removed: int) -> None:
        told.append(removed)
        arrived.set()

    environ = {"ROUTER": base, "BRIDGE_SECRET": SECRET, "PYTHONPATH": str(PAGE.parents[1])}
    command = [sys.executable, "-W", "error", str(script)]
    result = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert arrived.wait(10)
    assert told == [31]
