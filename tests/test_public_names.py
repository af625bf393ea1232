"""The paths and names that users import: they stay, wherever the code behind them moves."""

from __future__ import annotations

import importlib

import pytest

PUBLIC: dict[str, set[str]] = {
    "flask_wamp": {
        "WAMP",
        "ApplicationError",
        "AuthenticationError",
        "CallCanceled",
        "CallResult",
        "CallTimeout",
        "Event",
        "FlaskWAMP",
        "Identity",
        "InvalidPayload",
        "InvalidURI",
        "Invocation",
        "NotJoined",
        "PayloadTooLarge",
        "ProtocolError",
        "SerializationError",
        "SessionInfo",
        "SessionLost",
        "TaskAborted",
        "TooSlow",
        "TransportError",
        "WAMPBlueprint",
        "WAMPError",
        "__version__",
        "background_tasks",
        "callee",
        "event",
        "invocation",
        "subscriber",
    },
    "flask_wamp.signals": {
        "dispatch_failed",
        "dispatch_finished",
        "dispatch_started",
        "event_dropped",
        "registration_refused",
        "session_joined",
        "session_left",
        "session_lost",
        "task_failed",
    },
    "flask_wamp.middlewares": {"AccessLog", "RateLimit", "Timeout"},
    "flask_wamp.exceptions": {
        "ApplicationError",
        "AuthenticationError",
        "CallCanceled",
        "CallTimeout",
        "InvalidURI",
        "NotJoined",
        "PayloadTooLarge",
        "ProtocolError",
        "SerializationError",
        "SessionLost",
        "TaskAborted",
        "TooSlow",
        "TransportError",
        "WAMPError",
    },
    "flask_wamp.testing": {"wamp_router", "make_wamp_router", "TestClient", "NothingArrived"},
    "flask_wamp.gunicorn": {"post_worker_init", "worker_exit"},
    "flask_wamp.bridge": {"BridgeClient"},
    "flask_wamp.client": {"Client"},
    "flask_wamp.cli": {"wamp"},
    "flask_wamp.blueprints": {"WAMPBlueprint"},
    "flask_wamp.extension": {"FlaskWAMP"},
}


@pytest.mark.parametrize("path", PUBLIC)
def test_public_names_are_importable(path: str) -> None:
    module = importlib.import_module(path)
    assert PUBLIC[path] - set(dir(module)) == set()
    assert all(getattr(module, name) is not None for name in PUBLIC[path])


def test_the_package_exports_what_is_public() -> None:
    import flask_wamp

    assert PUBLIC["flask_wamp"] <= set(flask_wamp.__all__)
    assert set(flask_wamp.__all__) <= set(vars(flask_wamp))


def test_every_exception_can_be_imported_from_the_package() -> None:
    import flask_wamp
    from flask_wamp import exceptions

    for name, value in vars(exceptions).items():
        if isinstance(value, type) and issubclass(value, exceptions.WAMPError) and name[0] != "_":
            assert getattr(flask_wamp, name, None) is value, name
