"""If wampy is installed, our client is an instance of its client, and nothing else changes."""

from __future__ import annotations

import importlib.util
import typing as t
import warnings

import pytest
from flask import g

import flask_wamp
from flask_wamp import FlaskWAMP
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.support.memory import TIMEOUT, MemoryRouter
from tests.support.scripts import script

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("wampy") is None, reason="wampy is not installed"
)


@pytest.fixture
def wampy() -> t.Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wampy.errors
        import wampy.messages.call
        import wampy.messages.publish
        import wampy.peers.clients
        import wampy.testing
    return wampy


def test_the_client_is_an_instance_of_wampys_client(serve: Serve, wampy: t.Any) -> None:
    app, wamp = serve()
    with app.app_context():
        assert isinstance(g.wampy, wampy.peers.clients.Client)
        assert isinstance(g.wampy.with_options(timeout=1), wampy.peers.clients.Client)
    assert app.extensions["flask_wamp"].client is wamp.client


def test_errors_are_wampys(wampy: t.Any) -> None:
    assert issubclass(flask_wamp.WAMPError, wampy.errors.WampyError)
    for name in flask_wamp.__all__:
        kind = getattr(flask_wamp, name)
        if isinstance(kind, type) and issubclass(kind, flask_wamp.WAMPError):
            assert issubclass(kind, wampy.errors.WampyError)
    assert issubclass(flask_wamp.CallTimeout, wampy.errors.WampyTimeOutError)


def test_code_that_catches_wampys_errors(serve: Serve, router: MemoryRouter, wampy: t.Any) -> None:
    client = serve()[1].client
    router.hold("com.example.slow")
    with pytest.raises(wampy.errors.WampyTimeOutError):
        client.with_options(timeout=0.01).call("com.example.slow")
    with pytest.raises(wampy.errors.WampyError, match="no_such_procedure"):
        client.rpc.com.example.nothing()


def test_wait_functions_of_wampy(serve: Serve, router: MemoryRouter, wampy: t.Any) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".a")(lambda: None)
        wamp.callee(".b")(lambda: None)
        wamp.subscriber(".c")(lambda: None)

    client = serve(setup)[1].client
    wampy.testing.wait_for_session(client)
    wampy.testing.wait_for_registrations(client, 2)
    wampy.testing.wait_for_subscriptions(client, 1)
    assert set(client.session.registration_map) == {"com.example.a", "com.example.b"}
    assert set(client.session.subscription_map) == {"com.example.c"}


def test_wait_functions_of_wampy_before_it_has_joined(
    make_app: t.Any, router: MemoryRouter, wampy: t.Any
) -> None:
    wamp = FlaskWAMP(make_app())
    wamp.callee(".a")(lambda: None)
    wamp.start()
    wampy.testing.wait_for_registrations(wamp.client, 1)
    wampy.testing.wait_for_session(wamp.client)


def test_message_objects_of_wampy(serve: Serve, router: MemoryRouter, wampy: t.Any) -> None:
    client = serve()[1].client
    router.hold("com.example.x")
    publish = wampy.messages.publish.Publish(topic="com.example.t", options={})
    client.send_message(publish)
    sent = router.wait_for(m.Publish)
    assert sent.topic == "com.example.t"
    client.send_message(wampy.messages.call.Call(procedure="com.example.x", args=[1]))
    call = router.wait_for(m.Call)
    assert (call.procedure, call.args) == ("com.example.x", [1])
    assert [sent.request_id, call.request_id] == [1, 2]


def test_client_of_wampy_is_not_touched(wampy: t.Any) -> None:
    assert not hasattr(wampy.peers.clients.Client, "with_options")


def test_importing_changes_nothing() -> None:
    seen = script(
        """
        import json, logging, socket, threading, warnings
        before = socket.socket, threading.Thread, threading.Lock
        root = list(logging.root.handlers), logging.root.level
        import flask_wamp, wampy, gevent.monkey
        from wampy.peers.clients import Client
        wampy_logger = logging.getLogger("wampy")
        print(json.dumps({
            "unpatched": before == (socket.socket, threading.Thread, threading.Lock),
            "saved": sorted(gevent.monkey.saved),
            "root": root == (list(logging.root.handlers), logging.root.level),
            "logger": [wampy_logger.disabled, wampy_logger.level, len(wampy_logger.handlers)],
            "patch_all": gevent.monkey.patch_all.__module__,
            "basicConfig": logging.basicConfig.__module__,
            "derived": issubclass(flask_wamp.extension.Client, Client),
        }))
        """
    )
    assert seen == {
        "unpatched": True,
        "saved": [],
        "root": True,
        "logger": [False, 0, 0],
        "patch_all": "gevent.monkey",
        "basicConfig": "logging",
        "derived": True,
    }


def test_modules_that_the_user_imported_are_not_changed() -> None:
    seen = script(
        """
        import json, logging, socket, warnings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import wampy
        before = socket.socket, list(logging.root.handlers)
        import flask_wamp
        from wampy.peers.clients import Client
        print(json.dumps([
            before == (socket.socket, list(logging.root.handlers)),
            issubclass(flask_wamp.extension.Client, Client),
        ]))
        """,
        silent=False,  # wampy logs
    )
    assert seen == [True, True]


@pytest.mark.parametrize(
    ("first", "patched"), [("import flask_wamp", False), ("import wampy", True)]
)
def test_wampys_client_needs_wampy_to_be_imported_first(first: str, patched: bool) -> None:
    """As docs/client.rst says, it blocks forever without patching."""
    seen = script(
        f"""
        import json, warnings
        warnings.simplefilter("ignore")
        {first}
        import wampy, flask_wamp
        from gevent.monkey import is_module_patched
        print(json.dumps(bool(is_module_patched("socket"))))
        """,
        silent=False,  # wampy logs
    )
    assert seen is patched


def test_a_callee_in_wampys_form(serve: Serve, router: MemoryRouter) -> None:
    client = serve()[1].client
    held = router.hold("com.example.x")
    future = client.submit("com.example.x")
    meta = {"procedure_name": "com.example.x", "session_id": 1, "client_id": "x"}
    held.get(timeout=TIMEOUT).answer(["a", 1], message=["a", 1], meta=meta)
    assert future.result(TIMEOUT) == ["a", 1]
