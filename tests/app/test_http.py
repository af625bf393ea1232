"""WAMP errors that an HTTP view does not catch: 502, 503, 504, unless the app handles them."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from flask_wamp import (
    ApplicationError,
    CallTimeout,
    FlaskWAMP,
    NotJoined,
    SerializationError,
    SessionLost,
    TransportError,
    WAMPError,
)
from tests.support.memory import MemoryRouter

ANSWERS: list[tuple[WAMPError, int]] = [
    (ApplicationError("com.example.error.secret", "detail"), 502),
    (CallTimeout("com.example.secret", 5), 504),
    (NotJoined("secret"), 503),
    (SessionLost("secret"), 503),
    (TransportError("secret"), 503),
    (SerializationError("secret"), 500),
]


class OwnError(ApplicationError):
    """An error class of the app."""


def new_app() -> Flask:
    app = Flask("tests")
    app.config["WAMP_AUTOSTART"] = False
    return app


@pytest.fixture
def app() -> Flask:
    app = new_app()
    FlaskWAMP(app)
    return app


def visit(app: Flask, error: Exception) -> t.Any:
    @app.get("/")
    def view() -> str:
        raise error

    return FlaskClient(app, app.response_class).get("/")


@pytest.mark.parametrize(("error", "status"), ANSWERS, ids=lambda value: type(value).__name__)
def test_unhandled_error(
    app: Flask, caplog: pytest.LogCaptureFixture, error: WAMPError, status: int
) -> None:
    response = visit(app, error)
    assert response.status_code == status
    assert "secret" not in response.text
    assert "secret" in caplog.text  # but in the log, with its traceback
    assert "in view" in caplog.text
    if status != 500:
        assert f"GET /: the view did not handle an error: {error}" in caplog.messages


@pytest.mark.parametrize("kind", [ApplicationError, WAMPError, Exception])
def test_the_apps_error_handler_takes_precedence(app: Flask, kind: type[Exception]) -> None:
    @app.errorhandler(kind)
    def handle(error: Exception) -> tuple[str, int]:
        return f"mine: {error}", 418

    response = visit(app, ApplicationError("com.example.error.x", 1))
    assert (response.status_code, response.text) == (418, "mine: com.example.error.x: 1")


def test_the_apps_handler_of_a_subclass_takes_precedence(app: Flask) -> None:
    @app.errorhandler(OwnError)
    def handle(error: OwnError) -> str:
        return "mine"

    assert visit(app, OwnError("x")).text == "mine"


def test_an_error_handler_from_before_init_app_takes_precedence() -> None:
    app = new_app()

    @app.errorhandler(ApplicationError)
    def handle(error: ApplicationError) -> str:
        return "mine"

    FlaskWAMP(app)
    assert visit(app, ApplicationError("com.example.error.x")).text == "mine"


def test_the_apps_handler_of_the_status_is_called(app: Flask) -> None:
    @app.errorhandler(502)
    def handle(error: Exception) -> tuple[dict[str, str], int]:
        return {"error": "upstream"}, 502

    response = visit(app, ApplicationError("com.example.error.x"))
    assert (response.status_code, response.get_json()) == (502, {"error": "upstream"})


def test_call_in_a_view_without_a_router(make_app: t.Any, router: MemoryRouter) -> None:
    router.down = True
    app = make_app()
    FlaskWAMP(app)

    @app.get("/")
    def view() -> str:
        return str(g.wampy.rpc.com.example.add(1))

    assert app.test_client().get("/").status_code == 503


def test_other_errors_are_left_alone(app: Flask) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(KeyError):
        visit(app, KeyError("x"))
