"""The configuration: the values that each key accepts, and the errors for other values."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP
from flask_wamp.config import KEYS, load_config

SECONDS = [0.5, 1, 10, 1e9]
NO_SECONDS = [0, -1, "5", True, float("nan"), float("inf"), 1e10]
COUNT = [1, 10_000]
NO_COUNT = [0, -1, 1.5, "5", True]
TEXT = ["text", 483920117]
NO_TEXT = ["", 1.5, True, b"text", ["text"]]
YES_OR_NO = [True, False, "False", "true"]

ACCEPTED: dict[str, list[t.Any]] = {
    "WAMP_ROUTER_URL": [
        "ws://localhost:8080/ws",
        "wss://example.org/ws",
        "tcp://127.0.0.1:8081",
        "tls://example.org:8443",
        "unix:///run/crossbar.sock",
        "embedded:",
        "embedded:/run/shop/wamp.sock",
        "memory:",
    ],
    "WAMP_REALM": TEXT,
    "WAMP_URI_PREFIX": ["com.example", "com"],
    "WAMP_SERIALIZERS": [
        ["json"],
        "json",
        "json, msgpack",
        ("cbor", "msgpack"),
        ["msgpack", "json", "cbor"],
    ],
    "WAMP_AUTHMETHODS": [["anonymous"], ("anonymous",), "anonymous"],
    "WAMP_AUTHID": TEXT,
    "WAMP_SECRET": [],  # needs an authid, below
    "WAMP_TICKET": [*TEXT, lambda: "text"],
    "WAMP_PRIVATE_KEY": ["4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510"],
    "WAMP_AUTHEXTRA": [{}, {"x": 1}, dict],
    "WAMP_TLS_CA": [],  # a file, below
    "WAMP_TLS_CERT": [],
    "WAMP_TLS_KEY": [],
    "WAMP_TLS_VERIFY": YES_OR_NO,
    "WAMP_CALL_TIMEOUT": SECONDS,
    "WAMP_CONNECT_TIMEOUT": SECONDS,
    "WAMP_DRAIN_TIMEOUT": [0, *SECONDS],
    "WAMP_RECONNECT_MIN": [0.001, 1],
    "WAMP_RECONNECT_MAX": SECONDS,
    "WAMP_LINGER": [0, *SECONDS],
    "WAMP_HEARTBEAT": SECONDS,
    "WAMP_WORKERS": COUNT,
    "WAMP_MAX_PENDING": COUNT,
    "WAMP_EVENT_QUEUE": COUNT,
    "WAMP_MAX_MESSAGE_SIZE": [512, 65536, 16777216],
    "WAMP_COMPRESSION": YES_OR_NO,
    "WAMP_AUTOSTART": ["auto", "lazy", False, "False"],
    "WAMP_SCHEDULE": ["once", "every", False, "false"],
    "WAMP_VALIDATE": YES_OR_NO,
    "WAMP_ENDPOINT": ["/wamp", "/", "/shop/wa-mp"],
    "WAMP_ORIGINS": [[], "https://shop.example", ["http://127.0.0.1:8000", "http://[::1]"], ["*"]],
    "WAMP_ROUTER_LISTEN": [
        [],
        ["ws://0.0.0.0:8080/ws"],
        ("ws://a.example:8443/ws",),
        "tcp://[::1]:81",
    ],
    "WAMP_TICKET_MAX_AGE": [0.5, 30, 3600],
    "WAMP_PRINCIPALS": [
        {},
        {"printer": {"role": "device", "secret": "x"}},
        {"door": {"role": "device", "public_key": "0a" * 32}},
        {"door": {"role": "device", "public_key": ["0A" * 32, "0b" * 32]}},
    ],
    "WAMP_AUTHENTICATOR_URI": ["com.example.authenticate", "flask.auth.ticket"],
    "WAMP_AUTHORIZER_URI": ["com.example.authorize", "flask.auth.authorize"],
    "WAMP_DOCS": YES_OR_NO,
    "WAMP_DATES": ["iso", "http", False],
    "WAMP_TRUSTED_LINKS": [[], ["rlink"], ("rlink", "backup"), "rlink,backup"],
    "WAMP_HEADERS": [{}, {"Authorization": "Bearer x"}, lambda: {"X-Tea": "1"}],
    "WAMP_PROXY": ["http://proxy.example:3128", "socks5h://joe:pw@[::1]:1080"],
}

REFUSED: dict[str, list[t.Any]] = {
    "WAMP_ROUTER_URL": [
        "http://localhost",
        "localhost:8080",
        "embedded:wamp.sock",
        "embedded://host/a",
        "memory:x",
        "tcp://localhost",
        "",
        8080,
    ],
    "WAMP_REALM": NO_TEXT,
    "WAMP_URI_PREFIX": ["com.", ".com", "com..example", "com.exam ple", "com.#", "", 5],
    "WAMP_SERIALIZERS": [[], "", "xml", ["xml"], ["json", 5], [["json"]], {"json": 1}, 5],
    "WAMP_AUTHMETHODS": [[], "tickets", ["password"], [["ticket"]], 5],
    "WAMP_AUTHID": NO_TEXT,
    "WAMP_SECRET": NO_TEXT,
    "WAMP_TICKET": NO_TEXT,
    "WAMP_PRIVATE_KEY": NO_TEXT,
    "WAMP_AUTHEXTRA": ["text", [], 5],
    "WAMP_TLS_CA": NO_TEXT,
    "WAMP_TLS_CERT": NO_TEXT,
    "WAMP_TLS_KEY": NO_TEXT,
    "WAMP_TLS_VERIFY": [0, 1, "yes", "no"],
    "WAMP_CALL_TIMEOUT": NO_SECONDS,
    "WAMP_CONNECT_TIMEOUT": NO_SECONDS,
    "WAMP_DRAIN_TIMEOUT": [*NO_SECONDS[1:], False],
    "WAMP_RECONNECT_MIN": NO_SECONDS,
    "WAMP_RECONNECT_MAX": NO_SECONDS,
    "WAMP_LINGER": [*NO_SECONDS[1:], False],
    "WAMP_HEARTBEAT": NO_SECONDS,
    "WAMP_WORKERS": NO_COUNT,
    "WAMP_MAX_PENDING": NO_COUNT,
    "WAMP_EVENT_QUEUE": NO_COUNT,
    "WAMP_MAX_MESSAGE_SIZE": [*NO_COUNT, 511, 16777217],
    "WAMP_COMPRESSION": [0, 1, "yes", "deflate"],
    "WAMP_AUTOSTART": [True, "eager", 0, ""],
    "WAMP_SCHEDULE": [True, "twice", 0, ""],
    "WAMP_VALIDATE": [0, 1, "yes", []],
    "WAMP_ENDPOINT": ["wamp", "", "/wamp/<name>", "/wamp/", "/wamp?a=1", True, False, ["/wamp"]],
    "WAMP_ORIGINS": ["shop.example", ["https://shop.example/"], ["https://*.shop.example"], [5], 5],
    "WAMP_ROUTER_LISTEN": [
        ["unix:///a"],
        ["http://0.0.0.0"],
        ["memory:"],
        ["tcp://a"],
        "embedded:",
        5,
    ],
    "WAMP_TICKET_MAX_AGE": [*NO_SECONDS, 3601],
    "WAMP_PRINCIPALS": [
        [],
        "printer",
        5,
        {"printer": "x"},
        {"printer": {"role": "device"}},
        {"printer": {"secret": "x"}},
        {"printer": {"role": "*", "secret": "x"}},
        {"printer": {"role": "device", "secret": ""}},
        {"printer": {"role": "device", "secret": "x", "public_key": "0a" * 32}},
        {"printer": {"role": "device", "public_key": "0a"}},
        {"printer": {"role": "device", "public_key": []}},
        {"printer": {"role": "device", "ticket": "x"}},
        {"": {"role": "device", "secret": "x"}},
        {7: {"role": "device", "secret": "x"}},
    ],
    "WAMP_AUTHENTICATOR_URI": ["com.", ".com", "com.exam ple", "com.<name>", "", 5],
    "WAMP_AUTHORIZER_URI": ["com.", ".com", "com.exam ple", "com.<name>", "", 5],
    "WAMP_DOCS": [0, 1, "yes"],
    "WAMP_DATES": ["ISO", "rfc822", "", 5],
    "WAMP_TRUSTED_LINKS": [[1.5], [""], True, {"rlink": True}],
    "WAMP_HEADERS": [
        "text",
        [],
        {"X": 1},
        {1: "x"},
        {"X Y": "x"},
        {"X": "a\r\nY: b"},
        {"Host": "x"},
        {"Sec-WebSocket-Key": "x"},
    ],
    "WAMP_PROXY": ["proxy.example:3128", "http://proxy.example", "ftp://x:1", "https://x:1", "", 5],
}

SECRET = (
    "WAMP_SECRET",
    "WAMP_TICKET",
    "WAMP_PRIVATE_KEY",
    "WAMP_AUTHEXTRA",
    "WAMP_HEADERS",
    "WAMP_PRINCIPALS",
)


def pairs(table: dict[str, list[t.Any]]) -> list[tuple[str, t.Any]]:
    return [(name, value) for name, values in table.items() for value in values]


def init(**config: t.Any) -> FlaskWAMP:
    app = Flask("tests")
    app.config.update(config)
    return FlaskWAMP(app)


def test_tables_have_every_key() -> None:
    assert list(ACCEPTED) == list(REFUSED) == [key.name for key in KEYS]


@pytest.mark.parametrize(("name", "value"), pairs(ACCEPTED))
def test_accepted(name: str, value: t.Any) -> None:
    if name == "WAMP_PRIVATE_KEY":
        pytest.importorskip("cryptography")
    if name == "WAMP_PROXY":
        pytest.importorskip("python_socks")
    needs_url = name in ("WAMP_COMPRESSION", "WAMP_HEADERS", "WAMP_PROXY")
    others = {"WAMP_ROUTER_URL": "ws://localhost/ws"} if needs_url else {}
    init(**{name: value}, **others)


@pytest.mark.parametrize(("name", "value"), pairs(REFUSED))
def test_an_error_names_the_key_the_value_and_what_is_allowed(name: str, value: t.Any) -> None:
    with pytest.raises(ValueError, match=f"{name}=") as info:
        init(**{name: value})
    message = str(info.value)
    allowed = next(key.allowed for key in KEYS if key.name == name)
    assert message.startswith(f"{name}={shown(name, value)} is not allowed; it takes {allowed}")


def shown(name: str, value: t.Any) -> str:
    """The part of a wrong value that an error shows: strings and numbers, and the type of other values."""
    if name in SECRET:
        return "..."
    if isinstance(value, list):
        return f"[{', '.join(shown(name, item) for item in value)}]"
    if isinstance(value, bytes | dict):
        return f"<{type(value).__name__}>"
    return repr(value)


def test_an_endpoint_of_none_does_not_mean_the_default() -> None:
    app = Flask("tests")
    assert load_config(app.config)["WAMP_ENDPOINT"] == "/wamp"
    assert load_config({"WAMP_ENDPOINT": None})["WAMP_ENDPOINT"] is None


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("TICKET", "483920117", "483920117"),
        ("TICKET", "0123", "0123"),
        ("TLS_VERIFY", "False", False),
        ("COMPRESSION", "true", True),
        ("SERIALIZERS", "json,msgpack", ["json", "msgpack"]),
        ("ORIGINS", "https://A.example", ["https://a.example"]),
        ("CALL_TIMEOUT", "2.5", 2.5),
        ("AUTHEXTRA", '{"a": 1}', {"a": 1}),
        ("ENDPOINT", "null", None),
        ("SCHEDULE", "False", False),
    ],
)
def test_environment_variables_are_read_as_intended(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: t.Any
) -> None:
    monkeypatch.setenv(f"FLASK_WAMP_{name}", text)
    app = Flask("tests")
    app.config.from_prefixed_env()
    assert load_config(app.config)[f"WAMP_{name}"] == value


def test_an_environment_variable_that_lost_its_text_is_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLASK_WAMP_TICKET", "1e5")
    app = Flask("tests")
    app.config.from_prefixed_env()
    with pytest.raises(ValueError, match="WAMP_TICKET=... is not allowed; .*double quotes"):
        FlaskWAMP(app)


@pytest.mark.parametrize("name", [key.name for key in KEYS])
def test_none_means_the_default(name: str) -> None:
    init(**{name: None})


def test_defaults() -> None:
    settings = init().client.settings
    assert settings.router_url.url == "embedded:"
    assert settings.realm == "realm1"
    assert settings.serializers == ["msgpack", "json", "cbor"]
    assert settings.credentials.offered == ("anonymous",)
    assert (settings.call_timeout, settings.connect_timeout, settings.drain_timeout) == (10, 5, 10)
    assert (settings.reconnect_min, settings.reconnect_max) == (0.05, 1)
    assert settings.heartbeat == 10
    assert settings.workers is None
    assert (settings.max_pending, settings.event_queue) == (10_000, 10_000)
    assert settings.max_message_size == 16_777_216
    assert settings.tls.verify is True


# Names.


@pytest.mark.parametrize("name", ["WAMP_URL", "WAMP_CALL_TIMOUT", "WAMP_", "WAMP_realm"])
def test_the_error_of_an_unknown_key_lists_the_known_keys(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown configuration key {name}") as info:
        init(**{name: "x"})
    assert all(key.name in str(info.value) for key in KEYS)


def test_the_error_of_a_misspelled_key_names_the_similar_one() -> None:
    with pytest.raises(ValueError, match=r"did you mean WAMP_CALL_TIMEOUT\? The keys are"):
        init(WAMP_CALL_TIMOUT=3)
    with pytest.raises(ValueError, match="WAMP_ELEPHANT; the keys are"):
        init(WAMP_ELEPHANT="x")


def test_other_keys_are_left_alone() -> None:
    init(WAMPUM=1, MY_WAMP_REALM=2, SECRET_KEY="x", wamp_url=3)


def test_our_environment_variables_are_not_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_WAMP_CROSSBAR", "/usr/bin/crossbar")
    monkeypatch.setenv("FLASK_WAMP_REQUIRE_ROUTER", "1")
    monkeypatch.setenv("FLASK_WAMP_REQUIRE_NODE", "1")
    monkeypatch.setenv("FLASK_WAMP_REALM", "from the environment")
    app = Flask("tests")
    app.config.from_prefixed_env()
    assert FlaskWAMP(app).client.realm == "from the environment"


# Secrets.


@pytest.mark.parametrize("name", SECRET)
@pytest.mark.parametrize("value", [b"hunter2", ["hunter2"]])
def test_an_invalid_secret_is_not_shown(name: str, value: t.Any) -> None:
    with pytest.raises(ValueError, match=name) as info:
        init(**{name: value})
    assert "hunter2" not in str(info.value)


@pytest.mark.parametrize(
    "config",
    [
        {"WAMP_SECRET": "hunter2"},
        {"WAMP_PRIVATE_KEY": "hunter2"},
        {"WAMP_AUTHID": "joe", "WAMP_SECRET": "hunter2", "WAMP_AUTHMETHODS": ["ticket"]},
        {"WAMP_TICKET": "hunter2", "WAMP_AUTHEXTRA": {"x": "hunter2", "channel_binding": "y"}},
    ],
)
def test_a_secret_is_not_shown_if_another_value_is_invalid(config: dict[str, t.Any]) -> None:
    with pytest.raises(ValueError, match="WAMP_") as info:
        init(**config)
    assert "hunter2" not in f"{info.value!r}{info.value.__cause__!r}"


def test_a_secret_is_not_shown_in_a_repr() -> None:
    wamp = init(WAMP_AUTHID="joe", WAMP_SECRET="hunter2", WAMP_TICKET="hunter2")
    client = wamp.client
    assert "hunter2" not in f"{client!r}{client.settings!r}{wamp!r}{client.rpc.x!r}"


# Keys that depend on each other.


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"WAMP_SECRET": "x"}, "WAMP_AUTHID"),
        ({"WAMP_AUTHMETHODS": ["wampcra"], "WAMP_AUTHID": "joe"}, "WAMP_SECRET"),
        ({"WAMP_AUTHMETHODS": ["ticket"]}, "WAMP_TICKET"),
        ({"WAMP_AUTHMETHODS": ["cryptosign"]}, "WAMP_PRIVATE_KEY"),
        ({"WAMP_RECONNECT_MIN": 5, "WAMP_RECONNECT_MAX": 1}, "WAMP_RECONNECT_MIN=5"),
        ({"WAMP_RECONNECT_MIN": 5}, "WAMP_RECONNECT_MAX=1"),
        (
            {"WAMP_ROUTER_URL": "tcp://localhost:1", "WAMP_HEADERS": {"X": "1"}},
            "WAMP_HEADERS needs",
        ),
    ],
)
def test_keys_that_depend_on_each_other(config: dict[str, t.Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        init(**config)


def test_secret_with_an_authid() -> None:
    url = "ws://localhost/ws"
    wamp = init(WAMP_ROUTER_URL=url, WAMP_AUTHID="joe", WAMP_SECRET="x")
    assert "wampcra" in wamp.client.settings.credentials.offered


def test_the_embedded_router_needs_no_credentials() -> None:
    wamp = init(WAMP_AUTHID="joe", WAMP_SECRET="x")
    assert wamp.client.settings.credentials.offered == ("anonymous",)


@pytest.mark.parametrize("name", ["WAMP_TLS_CA", "WAMP_TLS_CERT"])
@pytest.mark.parametrize("url", ["wss://localhost/ws", "tls://localhost:8443"])
def test_a_missing_tls_file(name: str, url: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}.*nowhere\.pem"):
        init(WAMP_ROUTER_URL=url, **{name: "/nowhere.pem"})


@pytest.mark.parametrize("name", ["WAMP_TLS_CA", "WAMP_TLS_CERT"])
def test_tls_file_that_is_not_a_certificate(name: str, tmp_path: t.Any) -> None:
    path = tmp_path / "file.pem"
    path.write_text("not a certificate")
    with pytest.raises(ValueError, match=rf"{name}.*file\.pem"):
        init(WAMP_ROUTER_URL="wss://localhost/ws", **{name: str(path)})


def test_tls_files_are_not_read_without_tls() -> None:
    init(WAMP_ROUTER_URL="ws://localhost/ws", WAMP_TLS_CA="/nowhere.pem")


def test_cbor_alone_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_wamp.protocol.serializers._has_cbor2", lambda: False)
    assert init().client.settings.serializers == ["msgpack", "json"]
    with pytest.raises(ValueError, match=r"WAMP_SERIALIZERS.*pip install cbor2"):
        init(WAMP_SERIALIZERS=["cbor"])


# The environment.


@pytest.mark.parametrize(
    ("override", "on_first_use"),
    [("false", False), ("0", False), ("off", False), ("False", False), ("lazy", True)],
)
def test_environment_overrides_autostart(
    monkeypatch: pytest.MonkeyPatch, override: str, on_first_use: bool
) -> None:
    monkeypatch.setenv("FLASK_WAMP_AUTOSTART", override)
    assert init(WAMP_AUTOSTART="auto").client.start_policy.on_first_use is on_first_use


@pytest.mark.parametrize(
    ("value", "on_first_use"), [("auto", True), ("lazy", True), (False, False)]
)
def test_autostart(value: t.Any, on_first_use: bool) -> None:
    policy = init(WAMP_AUTOSTART=value).client.start_policy
    assert policy.on_first_use is on_first_use
    assert policy.on_first_request is on_first_use


def test_an_invalid_environment_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_WAMP_AUTOSTART", "maybe")
    with pytest.raises(ValueError, match="WAMP_AUTOSTART='maybe' is not allowed"):
        init()


def test_an_empty_environment_variable_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_WAMP_AUTOSTART", "")
    assert init(WAMP_AUTOSTART=False).client.start_policy.on_first_use is False


def test_an_environment_variable_that_the_app_also_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_WAMP_AUTOSTART", "0")
    app = Flask("tests")
    app.config.from_prefixed_env()
    assert FlaskWAMP(app).client.start_policy.on_first_use is False
