"""WAMPBlueprint: prefixes, nesting, handlers added later, several apps."""

from __future__ import annotations

import gc
import typing as t
import weakref

import pytest
from flask import Blueprint, Flask

from flask_wamp import ApplicationError, FlaskWAMP, InvalidURI, WAMPBlueprint, callee, invocation
from tests.support.notes import Notes, publish

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]


def whoami() -> str:
    """Return the URI of the call."""
    return invocation.procedure


def answers(wamp: FlaskWAMP, *uris: str) -> list[str]:
    """Return the answers of :func:`whoami` by URI."""
    return [wamp.client.call(uri) for uri in uris]


def is_absent(wamp: FlaskWAMP, uri: str) -> bool:
    """Return whether a procedure has no callee."""
    with pytest.raises(ApplicationError) as raised:
        wamp.client.call(uri)
    return raised.value.uri == "wamp.error.no_such_procedure"


# Prefixes.

PREFIXES: dict[str, tuple[str | None, str | None, str]] = {
    "none": (None, None, "com.example.whoami"),
    "relative": (".users", None, "com.example.users.whoami"),
    "absolute": ("org.shop", None, "org.shop.whoami"),
    "deep": (".users.admin", None, "com.example.users.admin.whoami"),
    "relative uri": (".users", ".who", "com.example.users.who"),
    "absolute uri": (".users", "org.shop.who", "org.shop.who"),
}


@pytest.mark.parametrize(("prefix", "uri", "expected"), PREFIXES.values(), ids=PREFIXES)
def test_prefix(wamp: FlaskWAMP, prefix: str | None, uri: str | None, expected: str) -> None:
    blueprint = WAMPBlueprint("users", uri_prefix=prefix)
    blueprint.callee(uri)(whoami)
    wamp.register_blueprint(blueprint)
    assert answers(wamp, expected) == [expected]


NESTED: dict[str, tuple[str | None, str | None, str]] = {
    "relative in relative": (".shop", ".tea", "com.example.shop.tea.whoami"),
    "relative in absolute": ("org.shop", ".tea", "org.shop.tea.whoami"),
    "absolute in relative": (".shop", "org.tea", "org.tea.whoami"),
    "none in relative": (".shop", None, "com.example.shop.whoami"),
    "relative in none": (None, ".tea", "com.example.tea.whoami"),
}


@pytest.mark.parametrize(("outer", "inner", "expected"), NESTED.values(), ids=NESTED)
def test_nested_prefixes(
    wamp: FlaskWAMP, outer: str | None, inner: str | None, expected: str
) -> None:
    shop, tea = WAMPBlueprint("shop", outer), WAMPBlueprint("tea", inner)
    tea.callee(whoami)
    shop.register_blueprint(tea)
    wamp.register_blueprint(shop)
    assert answers(wamp, expected) == [expected]


def test_an_app_without_a_prefix(make_app: t.Callable[..., Flask], wamp_router: DevRouter) -> None:
    app = make_app(WAMP_ROUTER_URL=wamp_router.url)
    del app.config["WAMP_URI_PREFIX"]
    wamp = FlaskWAMP(app)
    blueprint = WAMPBlueprint("users", ".users")
    blueprint.callee(whoami)
    wamp.register_blueprint(blueprint)
    wamp.start()
    wamp.client.wait_until_joined()
    assert answers(wamp, "users.whoami") == ["users.whoami"]


@pytest.mark.parametrize("prefix", ["", ".", "..users", "com.", "com example", "com..shop"])
def test_an_invalid_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidURI, match="URI prefix"):
        WAMPBlueprint("users", uri_prefix=prefix)


# Handlers.


def test_a_blueprint_has_subscribers_and_included_handlers(wamp: FlaskWAMP, notes: Notes) -> None:
    class Users:
        @callee(".who")
        def who(self) -> str:
            return invocation.procedure

    blueprint = WAMPBlueprint("users", ".users")
    blueprint.subscriber(".hello")(lambda name: notes(name))
    blueprint.consume(topic=".bye")(lambda name: notes(name))
    blueprint.include(Users())
    wamp.register_blueprint(blueprint)
    publish(wamp, "com.example.users.hello", "Ada")
    publish(wamp, "com.example.users.bye", "Bob")
    assert {notes.next(), notes.next()} == {"Ada", "Bob"}
    assert answers(wamp, "com.example.users.who") == ["com.example.users.who"]


@pytest.fixture
def notes() -> Notes:
    return Notes()


def test_decorators_return_the_function(wamp: FlaskWAMP) -> None:
    blueprint = WAMPBlueprint("users")
    assert blueprint.callee(whoami) is whoami
    assert blueprint.subscriber(".x")(whoami) is whoami
    assert blueprint.before_dispatch(whoami) is whoami
    assert blueprint.middleware(whoami) is whoami
    assert blueprint.errorhandler(KeyError)(whoami) is whoami


def test_handlers_added_later_are_served_at_once(wamp: FlaskWAMP) -> None:
    outer, inner = WAMPBlueprint("outer", ".outer"), WAMPBlueprint("inner", ".inner")
    wamp.register_blueprint(outer)
    outer.callee(".early")(whoami)
    outer.register_blueprint(inner)
    inner.callee(".late")(whoami)
    uris = ["com.example.outer.early", "com.example.outer.inner.late"]
    assert answers(wamp, *uris) == uris


def test_handlers_added_later_are_served_by_later_apps(join: Join, wamp_router: DevRouter) -> None:
    blueprint = WAMPBlueprint("users", ".users")

    def setup(wamp: FlaskWAMP) -> None:
        wamp.register_blueprint(blueprint)
        blueprint.callee(whoami)

    _, wamp = join(wamp_router.rawsocket_url, setup)
    assert answers(wamp, "com.example.users.whoami") == ["com.example.users.whoami"]


def test_a_blueprint_may_be_registered_before_init_app(
    make_app: t.Callable[..., Flask], wamp_router: DevRouter
) -> None:
    wamp, blueprint = FlaskWAMP(), WAMPBlueprint("users", ".users")
    wamp.register_blueprint(blueprint)
    blueprint.callee(whoami)
    wamp.init_app(make_app(WAMP_ROUTER_URL=wamp_router.url))
    wamp.client.wait_until_joined(10)
    assert answers(wamp, "com.example.users.whoami") == ["com.example.users.whoami"]


# Several apps, and several places.


def test_one_blueprint_on_two_apps(
    make_app: t.Callable[..., Flask], wamp_router: DevRouter, notes: Notes
) -> None:
    blueprint = WAMPBlueprint("users", ".users")
    blueprint.callee(whoami)
    blueprint.before_dispatch(lambda message: notes(message.uri))
    wamps = []
    for name in ("shop", "bank"):
        app = make_app(name, WAMP_ROUTER_URL=wamp_router.url)
        app.config["WAMP_URI_PREFIX"] = f"com.{name}"
        wamps.append(FlaskWAMP(app))
        wamps[-1].register_blueprint(blueprint)
        wamps[-1].client.wait_until_joined(10)
    blueprint.callee(".late")(whoami)
    uris = [f"com.{app}.users.{name}" for app in ("shop", "bank") for name in ("whoami", "late")]
    for wamp in wamps:
        assert answers(wamp, *uris) == uris
    assert notes.rest == uris * 2
    wamps[0].stop()
    assert is_absent(wamps[1], "com.shop.users.whoami")
    assert answers(wamps[1], "com.bank.users.late") == ["com.bank.users.late"]


def test_one_extension_with_a_blueprint_serves_two_apps(
    make_app: t.Callable[..., Flask], wamp_router: DevRouter
) -> None:
    wamp, blueprint = FlaskWAMP(), WAMPBlueprint("users", ".users")
    wamp.register_blueprint(blueprint)
    apps = []
    for name in ("shop", "bank"):
        apps.append(make_app(name, WAMP_ROUTER_URL=wamp_router.url))
        apps[-1].config["WAMP_URI_PREFIX"] = f"com.{name}"
        wamp.init_app(apps[-1])
    blueprint.callee(whoami)
    for app in apps:
        with app.app_context():
            wamp.client.wait_until_joined(10)
    uris = ["com.shop.users.whoami", "com.bank.users.whoami"]
    for app in apps:
        with app.app_context():
            assert answers(wamp, *uris) == uris


def test_one_blueprint_in_two_places_of_an_app(wamp: FlaskWAMP) -> None:
    shop, bank, users = (
        WAMPBlueprint("shop", ".shop"),
        WAMPBlueprint("bank", ".bank"),
        WAMPBlueprint("users", ".users"),
    )
    users.callee(whoami)
    shop.before_dispatch(lambda message: "closed")
    for blueprint in (shop, bank):
        blueprint.register_blueprint(users)
        wamp.register_blueprint(blueprint)
    found = answers(wamp, "com.example.shop.users.whoami", "com.example.bank.users.whoami")
    assert found == ["closed", "com.example.bank.users.whoami"]


def test_a_blueprint_does_not_keep_an_app_alive(make_app: t.Callable[..., Flask]) -> None:
    blueprint = WAMPBlueprint("users")
    app = Flask("short-lived")
    wamp = FlaskWAMP(app)
    wamp.register_blueprint(blueprint)
    gone = weakref.ref(app)
    del app, wamp
    gc.collect()
    assert gone() is None
    blueprint.callee(whoami)


# Mistakes.


def test_registering_a_blueprint_twice_is_refused(wamp: FlaskWAMP) -> None:
    blueprint = WAMPBlueprint("users")
    wamp.register_blueprint(blueprint)
    with pytest.raises(ValueError, match="<WAMPBlueprint 'users'> is registered here already"):
        wamp.register_blueprint(blueprint)


def test_registering_a_blueprint_in_itself_is_refused() -> None:
    outer, middle, inner = (WAMPBlueprint(name) for name in ("outer", "middle", "inner"))
    outer.register_blueprint(middle)
    middle.register_blueprint(inner)
    for blueprint in (outer, middle, inner):
        with pytest.raises(ValueError, match="cannot be registered in itself"):
            inner.register_blueprint(blueprint)


@pytest.mark.parametrize("scope", [FlaskWAMP, lambda: WAMPBlueprint("outer")])
def test_registering_something_else_is_refused(scope: t.Callable[[], t.Any]) -> None:
    for thing in (Blueprint("users", "users"), "users", WAMPBlueprint, FlaskWAMP()):
        with pytest.raises(TypeError, match="takes a WAMPBlueprint, not"):
            scope().register_blueprint(thing)


def test_one_uri_by_two_blueprints_is_refused(wamp: FlaskWAMP) -> None:
    first, second = WAMPBlueprint("first", ".users"), WAMPBlueprint("second", ".users")
    first.callee(whoami)
    second.callee(".whoami")(answers)
    wamp.register_blueprint(first)
    with pytest.raises(
        ValueError, match=r"com\.example\.users\.whoami .*\.whoami \(.*\.answers \("
    ):
        wamp.register_blueprint(second)
