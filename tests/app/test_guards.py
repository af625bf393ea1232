"""A handler below other decorators of its view: these decorators would not run over WAMP."""

from __future__ import annotations

import functools
import typing as t

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView

from flask_wamp import FlaskWAMP, callee
from tests.app.conftest import Serve
from tests.support.memory import MemoryRouter

MakeApp = t.Callable[..., Flask]
View = t.Callable[..., t.Any]


def guard(f: View) -> View:
    @functools.wraps(f)
    def guarded(*args: t.Any, **kwargs: t.Any) -> t.Any:
        return f"guarded {f(*args, **kwargs)}"

    return guarded


def guard_without_wraps(f: View) -> View:
    def guarded(*args: t.Any, **kwargs: t.Any) -> t.Any:
        return f"guarded {f(*args, **kwargs)}"

    return guarded


class GuardObject:
    def __init__(self, f: View) -> None:
        self.f = f
        self.__name__ = "secret"

    def __call__(self) -> str:
        return f"guarded {self.f()}"


GUARDS = [guard, guard_without_wraps, GuardObject, lambda f: guard(guard_without_wraps(f))]
IDS = ["wraps", "without wraps", "object", "two"]


@pytest.mark.parametrize("kind", ["callee", "subscriber"])
@pytest.mark.parametrize("protect", GUARDS, ids=IDS)
def test_a_decorator_below_a_guard_of_a_view_is_an_error_at_the_start(
    router: MemoryRouter, make_app: MakeApp, protect: t.Any, kind: str
) -> None:
    app = make_app()
    wamp = FlaskWAMP(app)

    @getattr(wamp, kind)
    def secret() -> str:
        return "secret"

    app.post("/secret")(protect(secret))
    with pytest.raises(
        ValueError, match=r"secret \(.*test_guards\.py:\d+\) is served over WAMP"
    ) as e:
        wamp.start()
    assert "guard" in str(e.value)
    assert "Put the WAMP decorator outermost" in str(e.value)
    assert "bypass=True" in str(e.value)
    assert router.attempts == 0


@pytest.mark.parametrize("protect", GUARDS, ids=IDS)
def test_an_outermost_decorator_serves_the_guarded_view(
    serve: Serve, router: MemoryRouter, protect: t.Any
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        def secret() -> str:
            return "secret"

        app = next(iter(wamp._apps))
        wamp.callee(".secret")(app.post("/secret")(protect(secret)))

    app, _ = serve(setup)
    assert router.call("com.example.secret") == app.test_client().post("/secret").text
    assert router.call("com.example.secret").startswith("guarded")


def test_bypass_serves_the_unguarded_function(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        app = next(iter(wamp._apps))

        @app.post("/secret")
        @guard
        @wamp.callee(bypass=True)
        def secret() -> str:
            return "secret"

    app, _ = serve(setup)
    assert router.call("com.example.secret") == "secret"
    assert app.test_client().post("/secret").text == "guarded secret"


def test_a_decorator_below_a_guard_of_a_view_is_an_error_while_joined(
    serve: Serve, router: MemoryRouter
) -> None:
    app, wamp = serve()

    def secret() -> str:
        return "secret"

    app.post("/secret")(guard(secret))
    with pytest.raises(ValueError, match="served over WAMP without the decorators"):
        wamp.callee(secret)
    assert router.procedures == set()


@pytest.mark.parametrize("included", [True, False])
def test_a_free_decorator_below_a_guard_of_a_blueprints_view(
    router: MemoryRouter, make_app: MakeApp, included: bool
) -> None:
    app = make_app()
    wamp = FlaskWAMP(app)
    blueprint = Blueprint("blueprint", __name__)

    @guard
    @callee
    def secret() -> str:
        return "secret"

    blueprint.post("/secret")(secret)
    app.register_blueprint(blueprint)
    if included:  # the included function is the undecorated view
        wamp.include(secret.__wrapped__)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="served over WAMP without the decorators"):
        wamp.start()


class Guarded(MethodView):
    decorators: t.ClassVar = [guard]

    @callee(".get")
    def get(self) -> str:
        return "secret"


class Open(MethodView):
    @callee(".get")
    def get(self) -> str:
        return "open"


def test_method_of_a_guarded_class_of_views(router: MemoryRouter, make_app: MakeApp) -> None:
    app = make_app()
    wamp = FlaskWAMP(app)
    app.add_url_rule("/secret", view_func=Guarded.as_view("secret"))
    wamp.include(Guarded())
    with pytest.raises(ValueError, match=r"Guarded\.get .* without the decorators"):
        wamp.start()


def test_method_of_a_class_of_views_without_decorators(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        app = next(iter(wamp._apps))
        app.add_url_rule("/open", view_func=Open.as_view("open"))
        wamp.include(Open())

    serve(setup)
    assert router.call("com.example.get") == "open"


def test_a_view_that_calls_a_handler_does_not_wrap_it(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        app = next(iter(wamp._apps))

        @wamp.callee
        def add(a: int, b: int) -> int:
            return a + b

        @app.get("/three")
        def three() -> str:
            return str(add(1, 2))

    app, _ = serve(setup)
    assert router.call("com.example.add", 2, 3) == 5
    assert app.test_client().get("/three").text == "3"
