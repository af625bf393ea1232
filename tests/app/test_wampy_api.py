"""The API of wampy's client, with or without wampy, as wampy's own tests expect it."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask

from flask_wamp import WAMP, ApplicationError, FlaskWAMP, NotJoined
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import MemoryRouter

MakeApp = t.Callable[..., Flask]

URL = "ws://in.memory/ws"


@pytest.fixture
def wamp(make_app: MakeApp, router: MemoryRouter) -> FlaskWAMP:
    return FlaskWAMP(make_app(WAMP_ROUTER_URL=URL, WAMP_CONNECT_TIMEOUT=60.0))


# Start and stop.


def test_with_client_starts_and_stops(wamp: FlaskWAMP, router: MemoryRouter) -> None:
    wamp.callee(".add")(lambda a, b: a + b)
    with wamp.client as client:
        assert client is wamp.client
        assert client.session is not None
        assert client.session.id == client.session.session_id == client.session_id
        assert router.procedures == {"com.example.add"}
    assert client.session is None
    assert router.wait_for(m.Goodbye)


def test_it_can_be_started_again(wamp: FlaskWAMP, router: MemoryRouter) -> None:
    for _ in range(2):
        with wamp.client as client:
            router.register("com.example.add", lambda a, b: a + b)
            assert client.rpc.com.example.add(1, 2) == 3
    assert len(router.sent(m.Hello)) == 2


@pytest.mark.parametrize(
    "reason",
    [
        "wamp.error.authentication_failed",
        "wamp.error.no_matching_auth_method",
        "wamp.error.not_authorized",
        "wamp.error.no_such_role",
    ],
)
def test_a_refused_login_is_raised_at_once(
    wamp: FlaskWAMP, router: MemoryRouter, reason: str
) -> None:
    """It does not wait for ``WAMP_CONNECT_TIMEOUT``, which is a minute here."""
    router.abort = m.Abort({"message": "who are you?"}, reason)
    with pytest.raises(NotJoined, match="who are you") as info, wamp.client:
        pass
    assert info.value.reason == reason


def test_the_client_waits_for_a_realm_that_does_not_exist_yet(
    wamp: FlaskWAMP, router: MemoryRouter
) -> None:
    router.abort = m.Abort({"message": "starting"}, "wamp.error.no_such_realm")
    wamp.start()
    router.wait_for_attempts(2)
    router.abort = None
    wamp.client.wait_until_joined(60)
    assert wamp.client.joined


def test_a_refused_registration_is_returned(wamp: FlaskWAMP, router: MemoryRouter) -> None:
    wamp.callee(".good")(lambda: 1)
    wamp.callee(".bad")(lambda: 1)
    router.refuse("com.example.bad")
    [(uri, error)] = wamp.client.wait_until_joined().items()
    assert uri == "com.example.bad"
    assert isinstance(error, ApplicationError)
    assert error.uri == "wamp.error.not_authorized"
    assert router.procedures == {"com.example.good"}


def test_an_empty_result_means_that_nothing_was_refused(
    wamp: FlaskWAMP, router: MemoryRouter
) -> None:
    wamp.callee(".good")(lambda: 1)
    assert wamp.client.wait_until_joined() == {}


# Attributes.


def test_attributes(make_app: MakeApp, router: MemoryRouter) -> None:
    app = make_app("shop", WAMP_ROUTER_URL=URL, WAMP_REALM="r", WAMP_CALL_TIMEOUT=7)
    client = FlaskWAMP(app).client
    assert (client.name, client.realm, client.url, client.call_timeout) == ("shop", "r", URL, 7)
    assert client.cert_path is None
    assert client.request_ids == {}
    assert client.is_pinging is False
    assert client.roles["authmethods"] == ["anonymous"]
    assert set(t.cast(dict[str, object], client.roles["roles"])) == {
        "caller",
        "callee",
        "publisher",
        "subscriber",
    }


def test_a_session_has_realm_and_connection(serve: Serve) -> None:
    client = serve()[1].client
    session = client.session
    assert session is not None
    assert session.realm == client.realm == "realm1"
    assert session.connection.connected
    assert session.connection.is_pinging
    assert session.connection.url == client.url


def test_maps_are_ids_by_name(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".add")(lambda: 1)
        wamp.subscriber(".news")(lambda: None)

    client = serve(setup)[1].client
    assert client.session is not None
    for view in (client, client.session):
        assert list(view.registration_map) == ["com.example.add"]
        assert list(view.subscription_map) == ["com.example.news"]
        assert all(type(number) is int for number in view.registration_map.values())


@pytest.mark.parametrize(
    ("use", "hint"),
    [
        (lambda client: client.recv_message(), "call"),
        (lambda client: client.message_handler, "before_dispatch"),
        (lambda client: client.ipv, "WAMP_ROUTER_URL"),
        (lambda client: client._make_rpc(None), "call"),
        (lambda client: client._register_roles(), "wamp.include"),
    ],
)
def test_attributes_of_wampys_engine_raise_a_clear_error(
    wamp: FlaskWAMP, use: t.Callable[[t.Any], object], hint: str
) -> None:
    with pytest.raises(NotImplementedError, match=hint):
        use(wamp.client)


@pytest.mark.parametrize("name", ["session", "registration_map", "subscription_map", "_session"])
def test_reading_the_session_starts_the_client(
    wamp: FlaskWAMP, router: MemoryRouter, name: str
) -> None:
    wamp.callee(".add")(lambda: 1)
    getattr(wamp.client, name)
    eventually(lambda: wamp.client.session)
    eventually(lambda: wamp.client.registration_map)


def test_reading_the_session_never_fails(wamp: FlaskWAMP, router: MemoryRouter) -> None:
    wamp.start()
    wamp.stop()
    assert wamp.client.session is None
    assert wamp.client.registration_map == {}


# Code of flask-wamp 0.1.0: what its own tests do.


@pytest.fixture
def old_app(router: MemoryRouter) -> t.Iterator[Flask]:
    """An app that uses only the old names, without ``app.testing``."""
    app = Flask("old")
    yield app
    if "wamp" in app.extensions:
        app.extensions["wamp"].stop()


def test_the_old_name_connects_at_once(old_app: Flask, router: MemoryRouter) -> None:
    wamp = WAMP(old_app)
    assert isinstance(wamp, FlaskWAMP)
    eventually(lambda: old_app.extensions["flask_wamp"].client.session)

    @wamp.callee
    def simple_sum(a: int, b: int) -> int:
        return a + b

    got: list[object] = []

    @wamp.consume(topic="news", acknowledge=True, anything="else")
    def on_news(message: object) -> None:
        got.append(message)

    client = old_app.extensions["flask_wamp"].client
    eventually(lambda: len(client.session.registration_map) == 1)
    eventually(lambda: len(client.session.subscription_map) == 1)
    assert router.call("simple_sum", 1, 2) == 3
    router.publish("news", message="tea")
    eventually(lambda: got == ["tea"])


def test_the_old_name_of_an_app_factory_connects_too(old_app: Flask, router: MemoryRouter) -> None:
    wamp = WAMP()
    wamp.init_app(old_app)
    eventually(lambda: wamp.client.session)


def test_the_old_keys_are_set_as_defaults(old_app: Flask) -> None:
    WAMP(old_app)
    assert old_app.config["CROSSBAR_URL"] == "ws://127.0.0.1:8080/ws"
    assert old_app.config["REALM"] == "realm1"


def test_the_old_keys_are_read(old_app: Flask, router: MemoryRouter) -> None:
    old_app.config.update(CROSSBAR_URL="ws://elsewhere:8080", REALM="realm7")
    with pytest.warns(DeprecationWarning) as warned:
        wamp = WAMP(old_app)
    assert {str(each.message) for each in warned} == {
        "CROSSBAR_URL is now called WAMP_ROUTER_URL",
        "REALM is now called WAMP_REALM",
    }
    assert {each.filename for each in warned} == {__file__}
    assert (wamp.client.url, wamp.client.realm) == ("ws://elsewhere:8080", "realm7")
    assert old_app.config["CROSSBAR_URL"] == "ws://elsewhere:8080"


def test_the_old_name_respects_autostart(old_app: Flask, router: MemoryRouter) -> None:
    old_app.config["WAMP_AUTOSTART"] = False
    wamp = WAMP(old_app)
    assert wamp.client.session is None
    assert wamp.client.peer is None
