"""The free decorators: the functions that an app finds, and the warnings about others."""

from __future__ import annotations

import logging
import sys
import types
import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, callee, subscriber
from tests.app.conftest import Serve
from tests.support.memory import MemoryRouter

MakeApp = t.Callable[..., Flask]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module with a marked function ``hello``."""
    module = types.ModuleType("module_with_marks")
    source = "from flask_wamp import callee\n@callee\ndef hello() -> str:\n    return 'hello'\n"
    exec(compile(source, "module_with_marks.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.mark.parametrize("first", ["include", "route"])
def test_view_of_an_included_module_is_declared_once(
    router: MemoryRouter, make_app: MakeApp, module: t.Any, first: str
) -> None:
    app = make_app()
    wamp = FlaskWAMP(app)
    if first == "include":
        wamp.include(module)
    app.get("/hello")(module.hello)
    if first == "route":
        wamp.include(module)
    wamp.start()
    wamp.client.wait_until_joined(10)
    assert router.call("com.example.hello") == app.test_client().get("/hello").text == "hello"


def test_marked_function_that_is_not_served_is_named(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    @callee
    def forgotten() -> None: ...

    class Counter:
        @subscriber(".count")
        def count(self) -> None: ...

    with caplog.at_level(logging.WARNING, "flask_wamp"):
        serve()
    said = [record.getMessage() for record in caplog.records if "not served" in record.getMessage()]
    for name in ("forgotten", "Counter.count"):
        [message] = [message for message in said if name in message]
        assert f"{__file__}:" in message
        assert "wamp.include()" in message


def test_marks_are_named_once_and_only_where_no_app_serves_them(
    router: MemoryRouter, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    apps = [make_app("one"), make_app("two", WAMP_REALM="two"), make_app("three")]
    wamps = [FlaskWAMP(app) for app in apps]

    @callee
    def view_of_two() -> str:
        return "two"

    @callee
    def included_in_three() -> str:
        return "three"

    @callee
    def nowhere() -> None: ...

    apps[1].get("/")(view_of_two)
    wamps[2].include(included_in_three)
    for wamp in wamps:
        wamp.start()
        wamp.client.wait_until_joined(10)
    said = [record.getMessage() for record in caplog.records if "not served" in record.getMessage()]
    said = [message for message in said if __name__ in message]
    assert [message for message in said if "two" in message or "three" in message] == []
    assert len([message for message in said if "nowhere" in message]) == 1


# Methods.


def test_extension_does_not_decorate_methods(make_app: MakeApp) -> None:
    wamp = FlaskWAMP(make_app())
    for decorate in (wamp.callee, wamp.callee(".add"), wamp.subscriber, wamp.consume):
        with pytest.raises(TypeError, match=r"Counter\.add is a method.*wamp\.include\(obj\)"):

            class Counter:
                @decorate
                def add(self, amount: int) -> int:
                    return amount


def test_extension_decorates_static_methods(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        class Tools:
            @wamp.callee
            @staticmethod
            def double(x: int) -> int:
                return x * 2

    serve(setup)
    assert router.call("com.example.double", 4) == 8


class Calculator:
    @callee
    @staticmethod
    def marked_outside(x: int) -> int:
        return x

    @staticmethod
    @callee
    def marked_inside(x: int) -> int:
        return x

    @classmethod
    @callee
    def of_the_class(cls) -> str:
        return cls.__name__


class Method:
    @callee
    def add(self, x: int) -> int:
        return x


@pytest.mark.parametrize("thing", [Calculator, Calculator()], ids=["class", "object"])
def test_static_and_class_methods_are_included(
    serve: Serve, router: MemoryRouter, thing: t.Any
) -> None:
    serve(lambda wamp: wamp.include(thing))
    assert router.call("com.example.marked_outside", 1) == 1
    assert router.call("com.example.marked_inside", 2) == 2
    assert router.call("com.example.of_the_class") == "Calculator"


def test_class_with_methods_is_not_included(make_app: MakeApp) -> None:
    with pytest.raises(TypeError, match=r"Method\.add is a method.*with an object"):
        FlaskWAMP(make_app()).include(Method)
