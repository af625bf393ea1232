"""App factories: declarations inside a factory belong to the app that it creates, and end with it."""

from __future__ import annotations

import gc
import sys
import types
import typing as t
import weakref

import pytest
from flask import Flask, current_app

from flask_wamp import FlaskWAMP, WAMPBlueprint, callee
from tests.support.memory import MemoryRouter

MakeApp = t.Callable[..., Flask]
Factory = t.Callable[[str], Flask]

ORDERS = ["declares, then init_app", "init_app, then declares"]


class Money:
    def __init__(self, amount: int) -> None:
        self.amount = amount


@pytest.fixture(params=ORDERS)
def create_app(request: pytest.FixtureRequest, make_app: MakeApp) -> tuple[Factory, FlaskWAMP]:
    """A factory whose extension is outside. It declares one of everything."""
    wamp = FlaskWAMP()
    blueprint = WAMPBlueprint("shared", uri_prefix=".shared")

    @blueprint.callee
    def outside() -> str:
        return current_app.name

    def declare(name: str) -> None:
        ran: list[str] = []
        own = WAMPBlueprint("own", uri_prefix=".own")

        @wamp.callee
        def hello() -> list[str]:
            return [name, current_app.name]

        @wamp.callee
        def hooks() -> list[str]:
            return ran

        @wamp.before_dispatch
        def before(message: t.Any) -> None:
            ran.append(f"before {name}")

        @wamp.middleware
        def middleware(next_: t.Any, message: t.Any) -> object:
            ran.append(f"middleware {name}")
            return next_(message)

        @wamp.errorhandler(KeyError)
        def missing(error: KeyError) -> str:
            return f"handled by {name}"

        @wamp.callee
        def fail() -> None:
            raise KeyError

        @wamp.encoder(Money)
        def encode(money: Money) -> str:
            return f"{money.amount} of {name}"

        @wamp.callee
        def money() -> Money:
            return Money(5)

        @own.callee
        def inside() -> str:
            return name

        @own.before_dispatch
        def before_own(message: t.Any) -> None:
            ran.append(f"own {name}")

        wamp.register_blueprint(own)
        wamp.register_blueprint(blueprint)

    def create_app(name: str) -> Flask:
        app = make_app(name, WAMP_REALM=name)
        app.config["WAMP_URI_PREFIX"] = f"com.{name}"
        if request.param == ORDERS[0]:
            declare(name)
            wamp.init_app(app)
        else:
            wamp.init_app(app)
            declare(name)
        return app

    return create_app, wamp


def join(wamp: FlaskWAMP, app: Flask) -> None:
    with app.app_context():
        wamp.start()
        wamp.client.wait_until_joined(10)


def test_each_app_has_its_own_declarations(
    create_app: tuple[Factory, FlaskWAMP], router: MemoryRouter
) -> None:
    create, wamp = create_app
    names = ["one", "two", "three"]
    apps = [create(name) for name in names]
    for app in apps:
        join(wamp, app)
    for name in names:
        router.realm = name
        assert router.call(f"com.{name}.hello") == [name, name]
        assert router.call(f"com.{name}.fail") == f"handled by {name}"
        assert router.call(f"com.{name}.money") == f"5 of {name}"
        assert router.call(f"com.{name}.own.inside") == name
        assert router.call(f"com.{name}.shared.outside") == name
        one_call = [f"before {name}", f"middleware {name}"]
        ran = [*one_call * 3, f"before {name}", f"own {name}", f"middleware {name}"]
        ran += one_call * 2  # of the blueprint outside the factory, and of this call
        assert router.call(f"com.{name}.hooks") == ran


def test_second_app_while_the_first_is_joined(
    create_app: tuple[Factory, FlaskWAMP], router: MemoryRouter
) -> None:
    create, wamp = create_app
    for name in ("one", "two"):
        join(wamp, create(name))
    for name in ("one", "two"):
        router.realm = name
        assert router.call(f"com.{name}.hello") == [name, name]
        assert router.call(f"com.{name}.fail") == f"handled by {name}"


def test_deleted_apps_leave_no_objects(create_app: tuple[Factory, FlaskWAMP]) -> None:
    create, wamp = create_app
    items = wamp._items

    def kept() -> int:
        shared = [same for _, same in items._shared.values()]
        return sum(len(same) for same in [*shared, *items._next.values()])

    for name in ("one", "two"):
        create(name)
    before = kept()
    for name in ("three", "four"):
        create(name)
    assert kept() == before


def test_a_deleted_app_is_forgotten() -> None:
    wamp = FlaskWAMP()

    def create() -> weakref.ref[Flask]:
        app = Flask("short-lived")
        wamp.init_app(app)

        @wamp.callee
        def hello() -> str:
            return app.name

        @wamp.before_dispatch
        def before(message: t.Any) -> None:
            app.logger.info("before")

        return weakref.ref(app)

    for _ in range(3):
        gone = create()
        gc.collect()
        assert gone() is None


def test_declarations_of_a_module_belong_to_every_app(
    router: MemoryRouter, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A factory that imports its views after init_app: Python does not run the module a second time.
    wamp = FlaskWAMP()
    module = types.ModuleType("imported_by_a_factory")
    module.__dict__.update(wamp=wamp, ran=[])
    source = """
from flask import current_app

def through_a_helper(f):
    return wamp.callee(".helped")(f)

@wamp.callee
def hello():
    return current_app.name

@through_a_helper
def helped():
    return list(ran)

@wamp.before_dispatch
def before(message):
    ran.append(current_app.name)
"""

    def import_views() -> None:
        if module.__name__ not in sys.modules:
            monkeypatch.setitem(sys.modules, module.__name__, module)
            exec(compile(source, "imported_by_a_factory.py", "exec"), module.__dict__)

    for name in ("one", "two"):
        app = make_app(name, WAMP_REALM=name)
        app.config["WAMP_URI_PREFIX"] = f"com.{name}"
        wamp.init_app(app)
        import_views()
        join(wamp, app)
    for name in ("one", "two"):
        router.realm = name
        assert router.call(f"com.{name}.hello") == name
        assert router.call(f"com.{name}.helped")[-1] == name


def test_declaring_twice_in_one_app_is_still_an_error(
    router: MemoryRouter, make_app: MakeApp
) -> None:
    wamp = FlaskWAMP()

    def declare() -> None:
        @wamp.callee
        def again() -> None: ...

    wamp.init_app(make_app())
    declare()
    with pytest.raises(ValueError, match=r"com\.example\.again .* is declared twice"):
        declare()


def test_declaring_before_and_after_init_app_is_an_error_at_the_start(
    router: MemoryRouter, make_app: MakeApp
) -> None:
    wamp = FlaskWAMP()

    def declare() -> None:
        @wamp.callee
        def again() -> None: ...

    declare()
    wamp.init_app(make_app())
    declare()
    with pytest.raises(ValueError, match=r"declared twice, before and after init_app: .*again"):
        wamp.start()
    assert router.attempts == 0


def test_hooks_of_one_function_are_all_kept(router: MemoryRouter, make_app: MakeApp) -> None:
    wamp = FlaskWAMP()
    ran: list[int] = []

    def note(number: int) -> t.Callable[[t.Any], None]:
        return lambda message: ran.append(number)

    for number in (1, 2):
        wamp.before_dispatch(note(number))
    wamp.init_app(make_app())
    for number in (3, 4):
        wamp.before_dispatch(note(number))
    wamp.callee(".x")(lambda: None)
    join(wamp, next(iter(wamp._apps)))
    router.call("com.example.x")
    assert ran == [1, 2, 3, 4]


def test_the_client_of_the_last_created_app_declares_at_once(
    router: MemoryRouter, make_app: MakeApp
) -> None:
    wamp = FlaskWAMP()
    for name in ("one", "two"):
        app = make_app(name)
        wamp.init_app(app)
        join(wamp, app)
        wamp.callee(f".{name}")(lambda: current_app.name)
        assert router.call(f"com.example.{name}") == name


def test_factory_that_declares_on_a_blueprint_outside(
    router: MemoryRouter, make_app: MakeApp
) -> None:
    wamp, blueprint = FlaskWAMP(), WAMPBlueprint("outside")
    for name in ("one", "two"):
        ran: list[str] = []

        def declare(name: str, ran: list[str]) -> None:
            @blueprint.callee
            def hello() -> list[str]:
                return [name, *ran]

            @blueprint.before_dispatch
            def before(message: t.Any) -> None:
                ran.append(name)

        declare(name, ran)
        app = make_app(name, WAMP_REALM=name)
        app.config["WAMP_URI_PREFIX"] = f"com.{name}"
        wamp.init_app(app)
        wamp.register_blueprint(blueprint)
        join(wamp, app)
    for name in ("one", "two"):
        router.realm = name
        assert router.call(f"com.{name}.hello") == [name, name]


@pytest.mark.parametrize("order", ORDERS)
def test_jobs_belong_to_the_app_that_is_being_created(make_app: MakeApp, order: str) -> None:
    wamp = FlaskWAMP()

    def create(name: str) -> Flask:
        app = make_app(name)
        if order == ORDERS[1]:
            wamp.init_app(app)
        wamp.schedule.every().hour.do(print, name)
        if order == ORDERS[0]:
            wamp.init_app(app)
        return app

    def jobs(app: Flask) -> list[str]:
        group = app.extensions["wamp_state"].group
        return [str(job.job_func.args) for job in wamp.schedule.jobs_of(group)]

    one, two = create("one"), create("two")
    assert jobs(one) == ["('one',)"]
    assert jobs(two) == ["('two',)"]
    with one.app_context():  # as a handler does
        wamp.schedule.every().hour.do(print, "late")
    assert jobs(one) == ["('one',)", "('late',)"]
    assert jobs(two) == ["('two',)"]


class Adding:
    @callee
    def add(self, x: int) -> int:
        return x + 1


class Doubling:
    @callee
    def double(self, x: int) -> int:
        return x * 2


def test_objects_before_and_after_init_app(router: MemoryRouter, make_app: MakeApp) -> None:
    wamp, app = FlaskWAMP(), make_app()
    wamp.include(Adding())
    wamp.init_app(app)
    wamp.include(Doubling())
    join(wamp, app)
    assert router.call("com.example.add", 1) == router.call("com.example.double", 1) == 2


def test_jobs_of_deleted_apps_are_dropped() -> None:
    wamp = FlaskWAMP()
    wamp.schedule.every().hour.do(print)

    def create() -> None:
        wamp.init_app(Flask("short-lived"))
        wamp.schedule.every().hour.do(print)

    for _ in range(3):
        create()
        gc.collect()
    wamp.schedule.every().hour.do(print)
    assert len(wamp.schedule.jobs) == 2
