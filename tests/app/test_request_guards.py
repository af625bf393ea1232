"""With request_context=True, the guards of a view over HTTP also guard it over WAMP."""

from __future__ import annotations

import queue
import typing as t

import flask_login
import pytest
from flask import Blueprint, Flask, abort, jsonify, redirect, request, url_for
from flask.ctx import AppContext
from werkzeug.wrappers import Response

from flask_wamp import ApplicationError, FlaskWAMP
from flask_wamp.handlers import flask_versions
from flask_wamp.protocol.identity import Identity
from tests.app.conftest import Serve
from tests.support.memory import TIMEOUT, MemoryRouter
from tests.support.memory_peer import MemoryPeer

NOT_AUTHORIZED = "wamp.error.not_authorized"
URI = "com.example.f"


def failure(router: MemoryRouter, uri: str, *args: t.Any, **kwargs: t.Any) -> ApplicationError:
    """The error that a call gets."""
    with pytest.raises(ApplicationError) as raised:
        router.call(uri, *args, **kwargs)
    return raised.value


def where() -> list[t.Any]:
    """The view's data in the request."""
    rule = request.url_rule
    return [request.endpoint, request.blueprint, rule and rule.rule, request.view_args]


# Endpoint, blueprint and rule.


def test_a_view_has_its_endpoint_blueprint_and_rule(serve: Serve, router: MemoryRouter) -> None:
    app, wamp = serve()
    blueprint = Blueprint("shop", "shop", url_prefix="/shop")

    @blueprint.post("/teas/<name>/<int:cups>")
    @wamp.callee(".order", request_context=True)
    def order(name: str, cups: int) -> list[t.Any]:
        return where()

    app.register_blueprint(blueprint)
    values = {"name": "green", "cups": 2}
    expected = ["shop.order", "shop", "/shop/teas/<name>/<int:cups>", values]
    assert app.test_client().post("/shop/teas/green/2").json == expected
    assert router.call("com.example.order", "green", cups="2") == expected


def test_a_handler_that_is_not_a_view_has_none(serve: Serve, router: MemoryRouter) -> None:
    app, _ = serve(lambda wamp: wamp.callee(URI, request_context=True)(where))

    @app.route("/<path:anything>", methods=["POST"])
    def catch_all(anything: str) -> str:
        return anything

    assert router.call(URI) == [None, None, None, None]


def test_a_view_that_is_added_later_is_found(serve: Serve, router: MemoryRouter) -> None:
    app, _ = serve(lambda wamp: wamp.callee(URI, request_context=True)(where))
    assert router.call(URI)[0] is None
    app.add_url_rule("/where", "where", where)
    assert router.call(URI)[0] == "where"


def test_arguments_that_no_url_has_are_not_in_view_args(serve: Serve, router: MemoryRouter) -> None:
    app, wamp = serve()

    @app.get("/<int:x>")
    @wamp.callee(URI, request_context=True, validate=False)
    def view(x: t.Any) -> t.Any:
        return [x, request.view_args]

    for value in ("no number", -5, None, [], {"x": 1}):
        assert router.call(URI, value) == [value, {}]


def test_parts_of_the_uri_are_in_view_args(serve: Serve, router: MemoryRouter) -> None:
    app, wamp = serve()

    @app.get("/users/<int:user_id>/<name>")
    @wamp.callee(".users.<int:user_id>.rename", request_context=True)
    def rename(user_id: int, name: str) -> t.Any:
        return request.view_args

    expected = {"user_id": 7, "name": "Ada"}
    assert router.call("com.example.users.7.rename", "Ada") == expected


# Guards.


def test_a_blueprint_guard_runs(serve: Serve, router: MemoryRouter) -> None:
    app, wamp = serve()
    blueprint = Blueprint("admin", "admin", url_prefix="/admin")
    wiped = []

    @blueprint.before_request
    def guard() -> None:
        abort(403)

    @blueprint.post("/wipe")
    @wamp.callee(".wipe", request_context=True)
    def wipe() -> str:
        wiped.append(True)
        return "wiped"

    app.register_blueprint(blueprint)
    assert app.test_client().post("/admin/wipe").status_code == 403
    assert failure(router, "com.example.wipe").uri == NOT_AUTHORIZED
    assert not wiped


def test_a_blueprints_after_request_sees_what_it_sees_over_http(
    serve: Serve, router: MemoryRouter
) -> None:
    app, wamp = serve()
    blueprint = Blueprint("shop", "shop")
    seen: list[t.Any] = []

    @blueprint.after_request
    def after(response: t.Any) -> t.Any:
        seen.append((response.status_code, response.json))
        return response

    @blueprint.post("/order")
    @wamp.callee(".order", request_context=True)
    def order() -> t.Any:
        return {"ordered": True}, 201

    app.register_blueprint(blueprint)
    assert app.test_client().post("/order").json == {"ordered": True}
    assert router.call("com.example.order") == {"ordered": True}
    assert seen == [(201, {"ordered": True})] * 2


def test_an_argument_of_another_type_does_not_pass_a_guard_of_view_args(
    serve: Serve, router: MemoryRouter
) -> None:
    app, wamp = serve()

    @app.before_request
    def guard() -> None:
        if (request.view_args or {}).get("number") == 1:
            abort(403)

    @app.get("/<int:number>")
    @wamp.callee(URI, request_context=True)
    def view(number: int) -> int:
        return number

    assert router.call(URI, 2) == 2
    for value in (1, "1", "01"):
        assert failure(router, URI, value).uri == NOT_AUTHORIZED
        assert failure(router, URI, number=value).uri == NOT_AUTHORIZED


# Flask-Login.


def login(app: Flask, **views: t.Any) -> None:
    """Initialize Flask-Login without a logged-in user."""
    app.secret_key = "secret"
    manager = flask_login.LoginManager(app)
    manager.user_loader(lambda user_id: None)
    manager.login_message = None
    for name, view in views.items():
        setattr(manager, name, view)
    app.add_url_rule("/login", "login", lambda: "log in")


def guarded(app: Flask, wamp: FlaskWAMP) -> None:
    """A view for logged-in users, over HTTP and WAMP."""

    @app.post("/secret")
    @wamp.callee(URI, request_context=True)
    @flask_login.login_required
    def secret() -> str:
        return "secret"


def test_login_required_refuses_anonymous_callers(serve: Serve, router: MemoryRouter) -> None:
    app, wamp = serve()
    login(app)
    guarded(app, wamp)
    assert app.test_client().post("/secret").status_code == 401
    assert failure(router, URI).uri == NOT_AUTHORIZED


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("needs_request", [flask_login.login_required, lambda f: request.get_json])
def test_a_decorator_that_needs_a_request_fails_with_a_hint(
    serve: Serve,
    router: MemoryRouter,
    caplog: pytest.LogCaptureFixture,
    needs_request: t.Any,
    debug: bool,
) -> None:
    def handler() -> t.Any:
        return needs_request(lambda: None)()

    app, _ = serve(lambda wamp: wamp.callee(URI)(handler))
    app.testing = debug
    login(app)
    error = failure(router, URI)
    hint = (
        "A handler has no request unless it is decorated with request_context=True; see 'Request contexts' "
        "in docs/handlers.rst"
    )
    assert error.uri == "wamp.error.runtime_error"
    assert any("failed. " in message and message.endswith(hint) for message in caplog.messages)
    assert [str(arg).endswith(hint) for arg in error.args] == ([True] if debug else [])


def test_other_errors_have_no_such_hint(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    def handler() -> None:
        raise RuntimeError("Working outside of request context.")

    serve(lambda wamp: wamp.callee(URI, request_context=True)(handler))
    assert failure(router, URI).args == ("RuntimeError: Working outside of request context.",)
    assert "request_context=True" not in caplog.text


@pytest.mark.parametrize("view", ["login", "/login", "https://id.example/login"])
def test_a_redirect_to_the_login_is_not_authorized(
    serve: Serve, router: MemoryRouter, view: str
) -> None:
    app, wamp = serve()
    login(app, login_view=view)
    guarded(app, wamp)
    code = app.test_client().post("/secret").status_code
    assert code in (302, 303)  # Flask 3.2 redirects with 303
    error = failure(router, URI)
    assert (error.uri, error.kwargs["code"]) == (NOT_AUTHORIZED, code)
    assert error.kwargs["location"].startswith(("/login", "https://id.example/login"))


def test_the_apps_unauthorized_handler_answers(serve: Serve, router: MemoryRouter) -> None:
    app, wamp = serve()
    login(app, unauthorized_callback=lambda: (jsonify(please="log in"), 401))
    guarded(app, wamp)
    error = failure(router, URI)
    assert (error.uri, error.args) == (NOT_AUTHORIZED, ({"please": "log in"},))


def whoami() -> list[t.Any]:
    """The id of the current user, and whether the user is logged in."""
    user = flask_login.current_user
    return [user.get_id(), user.is_authenticated]


class Users:
    """A ``user_loader`` with one user."""

    def __init__(self, user_id: t.Any = "joe") -> None:
        self.asked: list[str] = []
        self.user = flask_login.UserMixin()
        self.user.id = user_id

    def __call__(self, user_id: str) -> t.Any:
        self.asked.append(user_id)
        return self.user if type(self.user.id)(user_id) == self.user.id else None


def with_users(app: Flask, users: t.Callable[[str], t.Any]) -> None:
    login(app)
    app.login_manager.user_loader(users)  # type: ignore[attr-defined]


def test_current_user_is_the_caller(serve: Serve, router: MemoryRouter) -> None:
    users = Users()
    app, wamp = serve(lambda wamp: wamp.callee(URI, request_context=True)(whoami))
    with_users(app, users)
    assert router.call(URI) == ["joe", True]
    assert users.asked == ["joe"]
    app.add_url_rule("/who", "who", lambda: whoami())
    assert app.test_client().get("/who").json == [None, False]


def test_login_required_lets_the_caller_in(serve: Serve, router: MemoryRouter) -> None:
    app, wamp = serve()
    with_users(app, Users())
    guarded(app, wamp)
    assert router.call(URI) == "secret"
    assert app.test_client().post("/secret").status_code == 401


def test_current_user_is_the_publisher(serve: Serve, router: MemoryRouter) -> None:
    seen: queue.SimpleQueue[list[t.Any]] = queue.SimpleQueue()
    app, _ = serve(
        lambda wamp: wamp.subscriber(URI, request_context=True)(lambda: seen.put(whoami()))
    )
    with_users(app, Users())
    router.publish(URI)
    assert seen.get(timeout=TIMEOUT) == ["joe", True]


def unknown(user_id: str) -> t.Any:
    return None


def numbers(user_id: str) -> t.Any:
    return Users(int(user_id)).user


def other(user_id: str) -> t.Any:
    """Return a user with another id, as a loader does that ignores case."""
    return Users("Joe").user


def inactive(user_id: str) -> t.Any:
    class Inactive(flask_login.UserMixin):
        id = "joe"
        is_active = False

    return Inactive()


@pytest.mark.parametrize("loader", [unknown, numbers, other])
def test_a_caller_that_is_no_user_is_anonymous(
    serve: Serve, router: MemoryRouter, loader: t.Callable[[str], t.Any]
) -> None:
    app, wamp = serve(lambda wamp: wamp.callee(URI, request_context=True)(whoami))
    with_users(app, loader)
    assert router.call(URI) == [None, False]


def test_an_inactive_user_is_refused(serve: Serve, router: MemoryRouter) -> None:
    app, wamp = serve()
    with_users(app, inactive)
    guarded(app, wamp)
    assert failure(router, URI).uri == NOT_AUTHORIZED


def test_an_anonymous_caller_is_no_user(serve: Serve, router: MemoryRouter) -> None:
    app, _ = serve(lambda wamp: wamp.callee(URI, request_context=True)(whoami))
    with_users(app, lambda user_id: Users(user_id).user)  # every id is a user
    assert router.call(URI) == ["joe", True]
    anonymous = Identity("anonymous-1", "anonymous")
    router._peers[router.realm] = MemoryPeer(router.core, router.realm, anonymous)
    assert router.call(URI) == [None, False]


def test_a_principal_is_no_user(serve: Serve, router: MemoryRouter) -> None:
    app, wamp = serve(lambda wamp: wamp.callee(URI, request_context=True)(whoami))
    with_users(app, Users())
    wamp.principal("joe", role="device", secret="secret")
    assert router.call(URI) == [None, False]


def test_an_undisclosed_caller_is_anonymous(serve: Serve, router: MemoryRouter) -> None:
    router.disclose = False
    app, _ = serve(lambda wamp: wamp.callee(URI, request_context=True)(whoami))
    with_users(app, Users())
    assert router.call(URI) == [None, False]


def test_another_session_cannot_claim_to_be_a_user(serve: Serve, router: MemoryRouter) -> None:
    app, _ = serve(lambda wamp: wamp.callee(URI, request_context=True)(whoami))
    with_users(app, Users("bob"))
    router.options = {
        "caller_authid": "bob",
        "forward_for": [{"authid": "joe", "authrole": "user"}],
    }
    assert router.call(URI) == [None, False]


def test_the_apps_request_loader_is_for_http_only(serve: Serve, router: MemoryRouter) -> None:
    app, _ = serve(lambda wamp: wamp.callee(URI, request_context=True)(whoami))
    with_users(app, Users())
    app.add_url_rule("/who", "who", lambda: whoami())
    assert router.call(URI) == ["joe", True]
    key_holder = Users("key").user
    app.login_manager.request_loader(  # type: ignore[attr-defined]
        lambda request: key_holder if "X-Key" in request.headers else None
    )
    assert router.call(URI) == ["joe", True]
    http = app.test_client()
    assert http.get("/who", headers={"X-Key": "1"}).json == ["key", True]
    assert http.get("/who").json == [None, False]


# Redirects are not results.


def test_a_before_request_that_redirects_refuses(serve: Serve, router: MemoryRouter) -> None:
    ran = []
    app, _ = serve(lambda wamp: wamp.callee(URI, request_context=True)(lambda: ran.append(1)))
    app.add_url_rule("/login", "login", lambda: "log in")

    @app.before_request
    def guard() -> t.Any:
        return redirect(url_for("login"), 303)

    error = failure(router, URI)
    assert (error.uri, error.args) == (NOT_AUTHORIZED, ("redirected to /login",))
    assert error.kwargs == {"code": 303, "location": "/login"}
    assert not ran


REDIRECTS: dict[str, tuple[t.Callable[[], t.Any], str, int]] = {
    "response": (lambda: redirect("/orders/1", 303), "see_other", 303),
    "tuple": (lambda: ("", 301, {"Location": "/orders/1"}), "moved_permanently", 301),
    "response in a tuple": (lambda: (redirect("/orders/1"), 307), "temporary_redirect", 307),
    "aborted": (lambda: abort(redirect("/orders/1", 302)), "found", 302),
    "not modified": (lambda: Response(status=304), "not_modified", 304),
}


@pytest.mark.parametrize("with_request", [True, False])
@pytest.mark.parametrize(("make", "name", "code"), REDIRECTS.values(), ids=REDIRECTS)
def test_a_handler_that_redirects_is_answered_as_an_error(
    serve: Serve,
    router: MemoryRouter,
    make: t.Callable[[], t.Any],
    name: str,
    code: int,
    with_request: bool,
) -> None:
    app, wamp = serve()
    app.add_url_rule("/f", "f", wamp.callee(URI, request_context=with_request)(make))
    error = failure(router, URI)
    assert (error.uri, error.kwargs["code"]) == (f"com.example.error.{name}", code)
    assert error.kwargs["location"] == ("/orders/1" if code != 304 else None)


# Hosts and URIs.


@pytest.mark.parametrize(
    ("config", "host"),
    [
        ({"TRUSTED_HOSTS": ["shop.example"]}, "shop.example"),
        ({"TRUSTED_HOSTS": [".shop.example", "other.example"]}, "shop.example"),
        ({"TRUSTED_HOSTS": ["localhost"]}, "localhost"),
        ({"TRUSTED_HOSTS": [".b.example"], "SERVER_NAME": "www.b.example"}, "www.b.example"),
        ({"SERVER_NAME": "shop.example:8443"}, "shop.example:8443"),
        ({}, "localhost"),
    ],
)
def test_links_use_a_trusted_host(
    serve: Serve, router: MemoryRouter, config: dict[str, t.Any], host: str
) -> None:
    def link() -> list[str]:
        return [request.host, url_for("tea", _external=True)]

    app, _ = serve(lambda wamp: wamp.callee(URI, request_context=True)(link), **config)
    app.add_url_rule("/tea", "tea", lambda: "")
    assert router.call(URI) == [host, f"http://{host}/tea"]


@pytest.mark.parametrize(
    "part", ["a?b=1", "50%41", "a/b", "a;b", "é", "//host", "a+b", "\U0001f375"]
)
def test_any_uri_is_the_path(serve: Serve, router: MemoryRouter, part: str) -> None:
    def seen() -> list[t.Any]:
        return [request.path, dict(request.args), request.get_json()]

    serve(lambda wamp: wamp.callee("com.x", match="prefix", request_context=True)(seen))
    assert router.call(f"com.x.{part}", 1) == [f"/com.x.{part}", {}, [1]]


# Flask's methods take the context first from 3.2 on.


class _Newer(Flask):
    """Behave as Flask 3.2."""

    seen: t.ClassVar[list[str]] = []

    def preprocess_request(self, ctx: AppContext) -> t.Any:  # type: ignore[override]
        return self._call("preprocess_request", ctx)

    def process_response(self, ctx: AppContext, response: t.Any) -> t.Any:  # type: ignore[override]
        return self._call("process_response", ctx, response)

    def handle_http_exception(self, ctx: AppContext, e: t.Any) -> t.Any:  # type: ignore[override]
        return self._call("handle_http_exception", ctx, e)

    def handle_exception(self, ctx: AppContext, e: t.Any) -> t.Any:  # type: ignore[override]
        return self._call("handle_exception", ctx, e)

    def _call(self, name: str, ctx: AppContext, *args: t.Any) -> t.Any:
        assert ctx.app is self
        self.seen.append(name)
        return flask_versions.call_method(t.cast(Flask, super()), name, *args)


def test_methods_that_need_the_context_get_it() -> None:
    app = _Newer("tests")
    with app.test_request_context():
        assert flask_versions.call_method(app, "preprocess_request") is None
        response = flask_versions.call_method(app, "process_response", app.make_response("x"))
        assert response.get_data() == b"x"
        with pytest.raises(ZeroDivisionError):
            app.testing = True
            try:
                1 / 0  # noqa: B018
            except ZeroDivisionError as error:
                flask_versions.call_method(app, "handle_exception", error)
    assert _Newer.seen == ["preprocess_request", "process_response", "handle_exception"]


# Flask-Limiter.


@pytest.mark.filterwarnings("ignore:.* has merged with:DeprecationWarning")
def test_a_limit_by_endpoint_counts_calls(serve: Serve, router: MemoryRouter) -> None:
    import flask_limiter  # Flask 3.2 warns about an import of Flask-Limiter 4.1

    app, wamp = serve(RATELIMIT_STORAGE_URI="memory://")
    limiter = flask_limiter.Limiter(lambda: "everybody", app=app)

    @app.post("/buy")
    @wamp.callee(".buy", request_context=True)
    @limiter.limit("3/hour")
    def buy() -> str:
        return "bought"

    http = app.test_client()
    assert [http.post("/buy").status_code for _ in range(2)] == [200, 200]
    assert router.call("com.example.buy") == "bought"
    assert failure(router, "com.example.buy").uri == "com.example.error.too_many_requests"
    assert http.post("/buy").status_code == 429
