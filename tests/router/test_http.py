"""The response of a view that does not catch a WAMP error."""

from __future__ import annotations

import concurrent.futures
import typing as t

import pytest
from flask import Blueprint, Flask, g
from werkzeug.exceptions import HTTPException

from flask_wamp import (
    ApplicationError,
    CallCanceled,
    CallTimeout,
    FlaskWAMP,
    NotJoined,
    SessionLost,
    WAMPError,
)
from flask_wamp.crossbar import free_port
from tests.support.peers import PATIENCE, AutobahnPeer
from tests.support.sockets import Forwarder

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

MakeApp = t.Callable[..., Flask]
Join = t.Callable[..., tuple[Flask, FlaskWAMP]]


def add_view(app: Flask, procedure: str = "com.shop.nothing", **options: t.Any) -> None:
    """An app whose view ``/`` calls a procedure and does not catch its errors."""

    @app.get("/")
    def view() -> t.Any:
        return {"answer": g.wampy.with_options(**options).call(procedure)}


# The default responses.


def test_an_application_error_is_a_bad_gateway(
    app: Flask, peer: AutobahnPeer, caplog: pytest.LogCaptureFixture
) -> None:
    peer.register("com.shop.buy", "fail", error={"uri": "x.secret", "args": ["tea"], "kwargs": {}})
    add_view(app, "com.shop.buy")
    response = app.test_client().get("/")
    assert response.status_code == 502
    assert "secret" not in response.text
    assert "tea" not in response.text
    assert "x.secret: 'tea'" in caplog.text
    assert "Traceback" in caplog.text


def test_an_unknown_procedure_is_a_bad_gateway(app: Flask) -> None:
    add_view(app)
    assert app.test_client().get("/").status_code == 502


def test_a_timeout_is_a_gateway_timeout(app: Flask, peer: AutobahnPeer) -> None:
    peer.register("com.shop.slow", "hold")
    add_view(app, "com.shop.slow", timeout=0.1)
    assert app.test_client().get("/").status_code == 504


def test_a_missing_router_is_service_unavailable(make_app: MakeApp) -> None:
    app = make_app(WAMP_ROUTER_URL=f"ws://127.0.0.1:{free_port()}/ws")
    FlaskWAMP(app)
    add_view(app)
    assert app.test_client().get("/").status_code == 503


def test_a_lost_router_is_service_unavailable(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    procedure = peer.register("com.shop.slow", "hold")
    with Forwarder(wamp_router.rawsocket_url) as line:
        app, wamp = join(line.url)
        add_view(app, "com.shop.slow")
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            response = executor.submit(app.test_client().get, "/")
            procedure.next()
            line.cut()
            assert response.result(PATIENCE).status_code == 503
        wamp.stop()


def test_other_views_work_without_a_router(make_app: MakeApp) -> None:
    app = make_app(WAMP_ROUTER_URL=f"ws://127.0.0.1:{free_port()}/ws")
    FlaskWAMP(app)
    app.add_url_rule("/", view_func=lambda: "here")
    assert app.test_client().get("/").text == "here"


# The app's own error handlers.


@pytest.fixture(params=["before init_app", "after init_app"])
def pair(
    request: pytest.FixtureRequest, make_app: MakeApp, wamp_router: DevRouter
) -> tuple[Flask, t.Callable[[], None]]:
    """An app whose extension is initialized before or after its error handlers are registered."""
    app = make_app(WAMP_ROUTER_URL=wamp_router.rawsocket_url)
    wamp = FlaskWAMP()
    add_view(app)
    if request.param == "after init_app":
        wamp.init_app(app)
        return app, lambda: None
    return app, lambda: wamp.init_app(app)


@pytest.mark.parametrize("kind", [ApplicationError, WAMPError, Exception])
def test_the_apps_handler_for_the_class_or_a_base_takes_precedence(
    pair: tuple[Flask, t.Callable[[], None]], kind: type[Exception]
) -> None:
    app, init = pair

    @app.errorhandler(kind)
    def own(error: t.Any) -> t.Any:
        return f"{type(error).__name__}: {error.uri}", 418

    init()
    response = app.test_client().get("/")
    assert response.status_code == 418
    assert response.text == "ApplicationError: wamp.error.no_such_procedure"


@pytest.mark.parametrize("what", [502, HTTPException])
def test_the_apps_handler_for_the_status_takes_precedence(
    pair: tuple[Flask, t.Callable[[], None]], what: t.Any
) -> None:
    app, init = pair

    @app.errorhandler(what)
    def own(error: HTTPException) -> t.Any:
        return f"own page for {error.code}", 502

    init()
    assert app.test_client().get("/").text == "own page for 502"


def test_the_most_specific_of_the_apps_handlers_is_called(
    pair: tuple[Flask, t.Callable[[], None]],
) -> None:
    app, init = pair
    app.register_error_handler(Exception, lambda error: ("any", 418))
    app.register_error_handler(WAMPError, lambda error: ("wamp", 418))
    init()
    assert app.test_client().get("/").text == "wamp"


def test_a_handler_for_another_error_is_not_called(
    pair: tuple[Flask, t.Callable[[], None]],
) -> None:
    app, init = pair
    app.register_error_handler(CallTimeout, lambda error: ("timeout", 418))
    app.register_error_handler(LookupError, lambda error: ("lookup", 418))
    init()
    assert app.test_client().get("/").status_code == 502


@pytest.mark.parametrize("kind", [ApplicationError, WAMPError, Exception])
def test_a_blueprints_handler_takes_precedence_in_the_blueprint(
    app: Flask, kind: type[Exception]
) -> None:
    blueprint = Blueprint("shop", __name__)

    @blueprint.get("/shop")
    def shop() -> t.Any:
        return {"answer": g.wampy.call("com.shop.nothing")}

    @blueprint.errorhandler(kind)
    def own(error: t.Any) -> t.Any:
        return "the shop is closed", 418

    app.register_blueprint(blueprint)
    add_view(app)
    assert app.test_client().get("/shop").text == "the shop is closed"
    assert app.test_client().get("/").status_code == 502


def test_a_view_may_handle_its_errors(app: Flask) -> None:
    @app.get("/careful")
    def careful() -> t.Any:
        try:
            return {"answer": g.wampy.call("com.shop.nothing")}
        except ApplicationError as error:
            return {"error": error.uri}, 404

    response = app.test_client().get("/careful")
    assert (response.status_code, response.get_json()) == (
        404,
        {"error": "wamp.error.no_such_procedure"},
    )


ERRORS: dict[str, tuple[Exception, int]] = {
    "application error": (ApplicationError("com.shop.sold_out"), 502),
    "canceled": (CallCanceled(), 502),
    "timeout": (CallTimeout("com.shop.slow", 1), 504),
    "not joined": (NotJoined("still connecting"), 503),
    "lost": (SessionLost("gone"), 503),
}


@pytest.mark.parametrize(("error", "status"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("testing", [True, False], ids=["testing", "production"])
def test_each_error_has_its_status(
    app: Flask, error: Exception, status: int, testing: bool
) -> None:
    app.testing = testing

    @app.get("/raise")
    def fail() -> None:
        raise error

    assert app.test_client().get("/raise").status_code == status


def test_other_errors_are_not_changed(app: Flask) -> None:
    app.testing = False

    @app.get("/raise")
    def fail() -> None:
        raise LookupError

    assert app.test_client().get("/raise").status_code == 500
    assert app.test_client().get("/nowhere").status_code == 404
