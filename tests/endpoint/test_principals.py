"""``wamp.principal`` and ``WAMP_PRINCIPALS``: devices join by a secret or a key, on both routers."""

from __future__ import annotations

import json
import typing as t

import pytest
from flask import Flask
from websockets.exceptions import ConnectionClosed

from flask_wamp import FlaskWAMP
from flask_wamp.crossbar import DevRouter
from flask_wamp.crossbar.build import crossbar_python
from tests.support.browser import Browser, Refused
from tests.support.peers import SCRIPT, AutobahnPeer, RemoteError
from tests.support.served import Served

from .conftest import BOTH_ROUTERS, ready
from .visitor import Visitor

MakeApp = t.Callable[..., Flask]
Join = t.Callable[..., tuple[Flask, FlaskWAMP]]

KEY = "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510"
PUBLIC_KEY = "1adfc8bfe1d35616e64dffbd900096f23b066f914c8c2ffbb66f6075b96e116d"
OTHER_KEY = "00" * 32
OTHER_PUBLIC_KEY = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
SECRET = "the secret of the printer"


def cra(authid: str, secret: str) -> dict[str, t.Any]:
    return {"method": "wampcra", "authid": authid, "secret": secret}


def cryptosign(authid: str | None, key: str, pubkey: str) -> dict[str, t.Any]:
    return {"method": "cryptosign", "authid": authid, "key": key, "pubkey": pubkey}


class CompletePeer(AutobahnPeer):
    """Uses the Python of Crossbar.io, which has everything that autobahn needs for cryptosign."""

    def __init__(self, url: str) -> None:
        python = crossbar_python()
        if python is None:
            pytest.skip("there is no Crossbar.io")
        self._open([str(python), "-I", str(SCRIPT), url, "realm1", "json"])


# In real processes, with a real autobahn client.


@pytest.fixture(scope="module")
def club(router: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Served]:
    """The club. One of its devices is in its code, and one in its configuration."""
    pytest.importorskip("flask_login")
    configured = {"door": {"role": "device", "public_key": PUBLIC_KEY.upper()}}
    environ = {
        **router,
        "FLASK_WAMP_PRINCIPALS": json.dumps(configured),
        "FLASK_PRINTER": SECRET,
    }
    command = ["gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "club:app"]
    log = tmp_path_factory.mktemp("club") / "server.log"
    with Served(command, "", log, **environ) as server:
        ready(server)
        yield server


@pytest.fixture
def device(club: Served, router: dict[str, str]) -> t.Iterator[AutobahnPeer]:
    """An anonymous autobahn session where browsers join, which can join as others."""
    listen = router.get("FLASK_WAMP_ROUTER_LISTEN")
    url = json.loads(listen)[0] if listen else f"ws://127.0.0.1:{club.port}/wamp"
    with CompletePeer(url) as peer:
        assert peer.authrole == "anonymous"
        yield peer


@pytest.mark.slow
@BOTH_ROUTERS
@pytest.mark.parametrize(
    ("auth", "authid"),
    [
        (cra("printer", SECRET), "printer"),
        (cryptosign("door", KEY, PUBLIC_KEY), "door"),
        (cryptosign(None, KEY, PUBLIC_KEY), "door"),
    ],
)
def test_a_device_joins(device: AutobahnPeer, auth: dict[str, t.Any], authid: str) -> None:
    pytest.importorskip("cryptography")
    who = device.visit(auth, "com.club.whoami").value
    assert who == {"authid": authid, "authrole": "device", "caller_authid": authid}
    with pytest.raises(RemoteError, match="not_authorized"):
        device.visit(auth, "com.club.secret")


@pytest.mark.slow
@BOTH_ROUTERS
@pytest.mark.parametrize(
    "auth",
    [
        cra("printer", "wrong"),
        cra("nobody", SECRET),
        cra("door", SECRET),
        cra("ann", SECRET),
        cryptosign("door", OTHER_KEY, OTHER_PUBLIC_KEY),
        cryptosign("printer", KEY, PUBLIC_KEY),
        cryptosign("nobody", KEY, PUBLIC_KEY),
        cryptosign(None, OTHER_KEY, OTHER_PUBLIC_KEY),
    ],
    ids=lambda auth: f"{auth['method']}-{auth['authid']}",
)
def test_other_clients_do_not_join(device: AutobahnPeer, auth: dict[str, t.Any]) -> None:
    pytest.importorskip("cryptography")
    with pytest.raises(RemoteError, match="wamp.error"):
        device.visit(auth, "com.club.whoami")


@pytest.mark.slow
@BOTH_ROUTERS
def test_a_key_without_its_private_half(club: Served) -> None:
    hello = {"authmethods": ["cryptosign"], "authextra": {"pubkey": PUBLIC_KEY}}
    url = Visitor(club.port).session()["url"]
    url = f"ws://127.0.0.1:{club.port}/wamp" if url == "/wamp" else url
    for signature in ("", "00" * 64, "00" * 96, "x"):
        with pytest.raises((Refused, ConnectionClosed)):
            Browser(url, ticket={"authid": "door", "ticket": signature}, hello=hello)


@pytest.mark.slow
@BOTH_ROUTERS
def test_browsers_join_as_before(club: Served) -> None:
    with Visitor(club.port, "ann").enter() as ann, Visitor(club.port).enter() as visitor:
        assert (ann.authid, visitor.authrole) == ("ann", "anonymous")
        details = {"authmethod": "wampcra"}
        for browser in (ann, visitor):
            with pytest.raises(Refused, match=r"not_authorized|no_such_procedure"):
                browser.call("com.club.flask_wamp.authenticate", "realm1", "printer", details)
    assert SECRET not in club.log
    assert "Traceback" not in club.log


@pytest.mark.router
def test_only_the_router_gets_a_secret(join: Join, wamp_router: DevRouter) -> None:
    """This test uses a realm whose sessions may call everything."""

    def setup(wamp: FlaskWAMP) -> None:
        wamp.principal("printer", secret=SECRET, role="device")

    join(wamp_router.url, setup)
    forged = [{"session": 1, "authid": "x", "authrole": "trusted"}]
    request = ["realm1", "printer", {"authmethod": "wampcra"}]
    with Browser(wamp_router.url) as stranger:
        for options in ({}, {"forward_for": forged}, {"forward_for": forged * 2}):
            with pytest.raises(Refused, match=r"not_authorized.*for the router only"):
                stranger.ask(48, options, "com.example.flask_wamp.authenticate", request)


# Validation.


@pytest.fixture
def wamp(make_app: MakeApp) -> FlaskWAMP:
    printer = {"printer": {"role": "device", "secret": SECRET}}
    return FlaskWAMP(make_app(WAMP_ROUTER_URL="memory:", WAMP_PRINCIPALS=printer))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either a secret or a public_key"),
        ({"secret": SECRET, "public_key": PUBLIC_KEY}, "give either a secret or a public_key"),
        ({"secret": ""}, "secret must be a non-empty string"),
        ({"secret": b"x"}, "secret must be a non-empty string"),
        ({"public_key": "x"}, "public_key must be 64 hex digits"),
        ({"public_key": ["x"]}, "public_key must be 64 hex digits"),
        ({"public_key": []}, "public_key is an empty list"),
        ({"secret": SECRET, "role": ""}, "role must be the name of a role"),
        ({"secret": SECRET, "role": None}, "role must be the name of a role"),
        ({"secret": SECRET, "role": "*"}, "role must be the name of a role"),
    ],
)
def test_an_invalid_principal(wamp: FlaskWAMP, options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        wamp.principal("door", **{"role": "device", **options})
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("authid", ["", None, 7])
def test_an_invalid_authid(wamp: FlaskWAMP, authid: t.Any) -> None:
    with pytest.raises(ValueError, match="the authid of a principal must be a non-empty string"):
        wamp.principal(authid, role="device", secret=SECRET)


def test_two_principals_with_the_same_authid_or_key(wamp: FlaskWAMP) -> None:
    with pytest.raises(ValueError, match="there are two principals with the authid 'printer'"):
        wamp.principal("printer", role="device", secret="other")
    wamp.principal("door", role="device", public_key=PUBLIC_KEY)
    with pytest.raises(
        ValueError, match="two principals have the public key .*: 'door' and 'gate'"
    ):
        wamp.principal("gate", role="device", public_key=PUBLIC_KEY.upper())


def test_the_error_of_an_invalid_configuration_says_what_is_wrong(make_app: MakeApp) -> None:
    for printer, message in (
        ({"role": "device"}, "principal 'printer': give either a secret or a public_key$"),
        (
            {"secret": SECRET},
            "WAMP_PRINCIPALS=... is not allowed.*principal 'printer': role must be",
        ),
        (
            {"role": "x", "password": SECRET},
            "principal 'printer' has unknown keys: password. Use role",
        ),
        (
            {"rol": "x", "secret": SECRET},
            r"unknown keys: rol. Use role, and secret or public_key; did you mean role\?$",
        ),
        (SECRET, "principal 'printer' must be a dictionary$"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            FlaskWAMP(make_app(WAMP_PRINCIPALS={"printer": printer}))
        assert SECRET not in str(error.value)


def test_a_secret_is_not_shown(wamp: FlaskWAMP) -> None:
    principals = wamp._state().group.principals
    found = principals.with_secret("printer")
    assert found is not None and found.secret == SECRET
    assert SECRET not in repr(found)
    assert SECRET not in repr(wamp._state().config)
