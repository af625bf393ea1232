"""A handler below other decorators of its view: these decorators would not run over WAMP."""

from __future__ import annotations

import functools
import sys
import types
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


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module with a blueprint, two views of it that have a guard, and a handler that is not a view."""
    module = types.ModuleType("module_with_views")
    source = """
from flask import Blueprint
from flask_wamp import callee
from tests.app.test_guards import guard
bp = Blueprint("bp", __name__)

@bp.get("/bypassing")
@guard
@callee(".bypassing", bypass=True)
def bypassing() -> str:
    return "secret"

@bp.get("/safe")
@guard
@callee(".safe")
def safe() -> str:
    return "secret"

@callee(".other")
def other() -> str:
    return "other"
"""
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source, "module_with_views.py", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("include_first", [True, False])
def test_only_bypass_serves_the_unguarded_function_of_an_included_module(
    serve: Serve, router: MemoryRouter, module: t.Any, include_first: bool
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        app = next(iter(wamp._apps))
        if include_first:
            wamp.include(module)
        app.register_blueprint(module.bp)
        if not include_first:
            wamp.include(module)

    app, _ = serve(setup)
    assert router.call("com.example.bypassing") == "secret"
    assert router.call("com.example.safe") == "guarded secret"
    assert router.call("com.example.other") == "other"
    assert app.test_client().get("/bypassing").text == "guarded secret"


class Counter:
    def __init__(self) -> None:
        self.count = 5

    @guard
    @callee(".count", bypass=True)
    def bypassing(self) -> int:
        return self.count

    @guard
    @callee(".guarded_count")
    def safe(self) -> int:
        return self.count

    @classmethod
    @guard
    @callee(".name", bypass=True)
    def name(cls) -> str:
        return cls.__name__

    @staticmethod
    @guard
    @callee(".static", bypass=True)
    def static() -> str:
        return "static"


def test_only_bypass_serves_the_unguarded_methods_of_an_included_object(
    serve: Serve, router: MemoryRouter
) -> None:
    serve(lambda wamp: wamp.include(Counter()))
    assert router.call("com.example.count") == 5
    assert router.call("com.example.guarded_count") == "guarded 5"
    assert router.call("com.example.name") == "Counter"
    assert router.call("com.example.static") == "static"


@guard
@callee(".function", bypass=True)
def bypassing_function() -> str:
    return "secret"


@guard
@callee(".guarded_function")
def safe_function() -> str:
    return "secret"


def test_only_bypass_serves_an_included_function_without_its_guard(
    serve: Serve, router: MemoryRouter
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        counter = Counter()
        for thing in (bypassing_function, safe_function, counter.bypassing, counter.safe):
            wamp.include(thing)

    serve(setup)
    assert router.call("com.example.function") == "secret"
    assert router.call("com.example.guarded_function") == "guarded secret"
    assert router.call("com.example.count") == 5
    assert router.call("com.example.guarded_count") == "guarded 5"


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
