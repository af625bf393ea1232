"""request_context=True: a handler sees a request, and the app's request functions run."""

from __future__ import annotations

import dataclasses
import io
import typing as t

import flask_login
import pydantic
import pytest
from flask import (
    Flask,
    abort,
    after_this_request,
    g,
    has_request_context,
    jsonify,
    make_response,
    request,
    send_file,
    session,
    url_for,
)

from flask_wamp import ApplicationError, CallResult, FlaskWAMP, event, invocation
from tests.support.notes import Notes, publish

pytestmark = pytest.mark.router

URI = "com.example.handler"


@pytest.fixture
def notes() -> Notes:
    return Notes()


def answer(wamp: FlaskWAMP, f: t.Callable[..., t.Any], *args: t.Any, **kwargs: t.Any) -> t.Any:
    """Register a function with a request context, and call it."""
    wamp.callee(URI, request_context=True)(f)
    return wamp.client.call(URI, *args, **kwargs)


def failure(wamp: FlaskWAMP, f: t.Callable[..., t.Any], *args: t.Any) -> ApplicationError:
    """The error that such a call gets."""
    with pytest.raises(ApplicationError) as raised:
        answer(wamp, f, *args)
    return raised.value


# The request.

PAYLOADS: dict[str, tuple[list[t.Any], dict[str, t.Any], t.Any]] = {
    "none": ([], {}, {}),
    "keywords": ([], {"tea": "green", "cups": 2}, {"tea": "green", "cups": 2}),
    "positional": ([1, "x", None], {}, [1, "x", None]),
    "both": ([1], {"tea": "green"}, {"args": [1], "kwargs": {"tea": "green"}}),
    "bytes": ([b"\x00\xff", {"raw": b""}], {}, ["\0AP8=", {"raw": "\0"}]),
}


@pytest.mark.parametrize(("args", "kwargs", "expected"), PAYLOADS.values(), ids=PAYLOADS)
def test_the_payload_is_the_requests_json(
    wamp: FlaskWAMP, args: list[t.Any], kwargs: dict[str, t.Any], expected: t.Any
) -> None:
    def handler() -> t.Any:  # it has no parameters, so it reads the request as a view does
        assert (request.get_json(), request.is_json) == (expected, True)
        return request.json

    assert answer(wamp, handler, *args, **kwargs) == expected


def test_a_handler_with_parameters_gets_them_too(wamp: FlaskWAMP) -> None:
    def handler(x: int, tea: str = "") -> t.Any:
        return [x, tea, request.json]

    json = {"args": ["3"], "kwargs": {"tea": "green"}}
    assert answer(wamp, handler, "3", tea="green") == [3, "green", json]


def test_the_request_is_a_post_to_the_uri(wamp: FlaskWAMP) -> None:
    def handler() -> t.Any:
        return [request.method, request.path, request.host, request.content_type, request.endpoint]

    expected = ["POST", f"/{URI}", "localhost", "application/json", None]
    assert answer(wamp, handler) == expected


def test_url_for_makes_links_of_the_app(app: Flask, wamp: FlaskWAMP) -> None:
    app.config.update(
        SERVER_NAME="shop.example", PREFERRED_URL_SCHEME="https", APPLICATION_ROOT="/v1"
    )
    app.add_url_rule("/tea/<name>", "tea", lambda name: name)

    def handler() -> t.Any:
        return [url_for("tea", name="green"), url_for("tea", name="green", _external=True)]

    expected = ["/v1/tea/green", "https://shop.example/v1/tea/green"]
    assert answer(wamp, handler) == expected


def test_url_for_without_a_server_name(app: Flask, wamp: FlaskWAMP) -> None:
    app.add_url_rule("/tea", "tea", lambda: "")
    assert answer(wamp, lambda: url_for("tea")) == "/tea"


def test_session_is_empty_writable_and_forgotten(app: Flask, wamp: FlaskWAMP) -> None:
    app.secret_key = "secret"

    def handler() -> t.Any:
        found = dict(session)
        session["user"] = "Ada"
        return [found, session["user"]]

    wamp.callee(URI, request_context=True)(handler)
    assert [wamp.client.call(URI) for _ in range(2)] == [[{}, "Ada"]] * 2


def test_g_is_new_and_shared_with_hooks_and_request_functions(app: Flask, wamp: FlaskWAMP) -> None:
    app.before_request(lambda: setattr(g, "seen", [*g.get("seen", []), "before_request"]))
    wamp.before_dispatch(lambda message: g.seen.append("before_dispatch"))
    wamp.callee(URI, request_context=True)(lambda: [*g.seen, g.wampy.realm])
    expected = ["before_request", "before_dispatch", "realm1"]
    assert [wamp.client.call(URI) for _ in range(2)] == [expected] * 2


def test_the_invocation_is_available_too(wamp: FlaskWAMP) -> None:
    assert answer(wamp, lambda: invocation.procedure) == URI


def test_there_is_no_request_without_request_context(wamp: FlaskWAMP) -> None:
    wamp.callee(URI)(lambda: has_request_context())
    assert wamp.client.call(URI) is False


def test_the_user_of_flask_login_is_anonymous(app: Flask, wamp: FlaskWAMP) -> None:
    app.secret_key = "secret"
    manager = flask_login.LoginManager(app)
    manager.user_loader(lambda user_id: None)

    def handler() -> t.Any:
        user = flask_login.current_user
        return [user.is_anonymous, user.is_authenticated]

    assert answer(wamp, handler) == [True, False]
    wamp.callee("com.example.private", request_context=True)(flask_login.login_required(handler))
    with pytest.raises(ApplicationError) as raised:
        wamp.client.call("com.example.private")
    assert raised.value.uri == "wamp.error.not_authorized"


# Request functions.


def test_request_functions_run_around_the_handler(
    app: Flask, wamp: FlaskWAMP, notes: Notes
) -> None:
    app.before_request(lambda: notes("before_request"))
    app.after_request(lambda response: notes("after_request") or response)
    app.teardown_request(lambda error: notes("teardown_request"))
    wamp.before_dispatch(lambda message: notes("before_dispatch"))
    wamp.after_dispatch(lambda message, result: notes("after_dispatch"))
    wamp.teardown_dispatch(lambda message, error: notes("teardown_dispatch"))
    answer(wamp, lambda: notes("handler"))
    assert notes.take(7) == [
        "before_request",
        "before_dispatch",
        "handler",
        "after_dispatch",
        "after_request",
        "teardown_dispatch",
        "teardown_request",
    ]


def test_a_before_request_that_aborts_is_an_error(app: Flask, wamp: FlaskWAMP) -> None:
    app.before_request(lambda: abort(401, "Who are you?"))
    error = failure(wamp, lambda: "secret")
    assert (error.uri, error.args) == ("wamp.error.not_authorized", ("Who are you?",))


def test_a_before_request_may_answer(app: Flask, wamp: FlaskWAMP, notes: Notes) -> None:
    app.before_request(lambda: {"maintenance": True} if request.json else ("no", 503))
    app.after_request(lambda response: notes("after_request") or response)
    assert answer(wamp, lambda: "handler", 1) == {"maintenance": True}
    with pytest.raises(ApplicationError, match="service_unavailable"):
        wamp.client.call(URI)
    assert notes.rest == ["after_request"] * 2


@dataclasses.dataclass
class Tea:
    name: str


class Order(pydantic.BaseModel):
    cups: int


RESULTS: dict[str, tuple[t.Callable[[], t.Any], t.Any, t.Any]] = {
    # What the handler returns, what after_request functions see as JSON, and what the caller gets.
    "dict": (lambda: {"left": 1}, {"left": 1}, {"left": 1}),
    "list": (lambda: [1, None], [1, None], [1, None]),
    "number": (lambda: 3, 3, 3),
    "none": (lambda: None, None, None),
    "bytes inside": (lambda: {"raw": b"\x00"}, {"raw": "\0AA=="}, {"raw": b"\x00"}),
    "dataclass": (lambda: Tea("green"), {"name": "green"}, {"name": "green"}),
    "model": (lambda: [Order(cups=2)], [{"cups": 2}], [{"cups": 2}]),
    "several values": (lambda: CallResult(1, x=2), None, CallResult(1, x=2)),
    "response": (lambda: jsonify(left=1), {"left": 1}, {"left": 1}),
}


@pytest.mark.parametrize(("make", "seen", "expected"), RESULTS.values(), ids=RESULTS)
def test_after_request_functions_see_the_result(
    app: Flask,
    wamp: FlaskWAMP,
    notes: Notes,
    make: t.Callable[[], t.Any],
    seen: t.Any,
    expected: t.Any,
) -> None:
    @app.after_request
    def only_headers(response: t.Any) -> t.Any:
        notes(response.get_json())
        response.headers["X-Seen"] = "yes"
        return response

    assert answer(wamp, make) == expected
    assert notes.rest == [seen]


@pytest.mark.parametrize("value", ["text", b"\x00bytes"])
def test_after_request_functions_see_text_and_bytes(
    app: Flask, wamp: FlaskWAMP, notes: Notes, value: t.Any
) -> None:
    app.after_request(lambda response: notes(response.get_data()) or response)
    assert answer(wamp, lambda: value) == value
    assert notes.rest == [value if isinstance(value, bytes) else value.encode()]


def test_an_after_request_that_changes_the_json_changes_the_result(
    app: Flask, wamp: FlaskWAMP
) -> None:
    @app.after_request
    def wrap(response: t.Any) -> t.Any:
        return jsonify(data=response.json)

    assert answer(wamp, lambda: {"left": 1}) == {"data": {"left": 1}}


def test_an_after_request_that_changes_the_status_makes_an_error(
    app: Flask, wamp: FlaskWAMP
) -> None:
    app.after_request(lambda response: make_response("none left", 410))
    error = failure(wamp, lambda: "fine")
    assert (error.uri, error.kwargs["description"]) == ("com.example.error.gone", "none left")


def test_after_this_request(wamp: FlaskWAMP, notes: Notes) -> None:
    def handler() -> str:
        after_this_request(lambda response: notes(response.status_code) or response)
        return "fine"

    assert answer(wamp, handler) == "fine"
    assert notes.rest == [200]


def test_a_file_that_is_sent(wamp: FlaskWAMP) -> None:
    def handler() -> t.Any:
        return send_file(io.BytesIO(b"\x00\x01"), "application/octet-stream")

    assert answer(wamp, handler) == b"\x00\x01"


def test_a_view_serves_both_sides(app: Flask, wamp: FlaskWAMP) -> None:
    @app.post("/orders")
    @wamp.callee(URI, request_context=True)
    def order() -> t.Any:
        if not request.json.get("tea"):
            return {"missing": "tea"}, 400
        return {"ordered": request.json["tea"]}, 201

    assert app.test_client().post("/orders", json={"tea": "green"}).status_code == 201
    assert wamp.client.call(URI, tea="green") == {"ordered": "green"}
    with pytest.raises(ApplicationError, match="bad_request"):
        wamp.client.call(URI)


def test_events(app: Flask, wamp: FlaskWAMP, notes: Notes) -> None:
    app.after_request(lambda response: notes(response.json) or response)

    @wamp.subscriber("com.example.news", request_context=True)
    def news() -> t.Any:
        notes([event.topic, request.path, request.json])
        return {"seen": True}

    publish(wamp, "com.example.news", tea="green")
    expected = ["com.example.news", "/com.example.news", {"tea": "green"}]
    assert notes.take(2) == [expected, {"seen": True}]
