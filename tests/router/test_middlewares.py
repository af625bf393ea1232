"""Middlewares around handlers: their order, and their options by name."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, WAMPBlueprint
from flask_wamp.middlewares import Timeout
from tests.support.notes import Notes, publish
from tests.support.peers import PATIENCE

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router


class Labelled:
    """Records its label before and after the handler."""

    def __init__(self, note: Notes, label: str) -> None:
        self._note = note
        self._label = label
        self.name = label.split()[0]

    def __call__(self, next_: t.Any, message: t.Any) -> t.Any:
        self._note(f"> {self._label}")
        result = next_(message)
        self._note(f"< {self._label}")
        return result

    def configured(self, label: str) -> Labelled:
        return Labelled(self._note, f"{self._label} {label}")


class OnlyHooks:
    """A middleware that has hooks and is not called itself."""

    name = "only_hooks"

    def __init__(self, note: Notes, label: str = "object") -> None:
        self._note = note
        self._label = label

    def before_dispatch(self, message: t.Any) -> None:
        self._note(f"before {self._label}")

    def after_dispatch(self, message: t.Any, result: t.Any) -> t.Any:
        self._note(f"after {self._label}")
        return result

    def teardown_dispatch(self, message: t.Any, error: t.Any) -> None:
        self._note(f"teardown {self._label}")

    def configured(self, label: str) -> OnlyHooks:
        return OnlyHooks(self._note, label)


@pytest.fixture
def notes() -> Notes:
    return Notes()


# Order.


@pytest.mark.parametrize("kind", ["call", "event"])
def test_middlewares_wrap_from_the_app_to_the_handler(
    wamp: FlaskWAMP, notes: Notes, kind: str
) -> None:
    blueprint = WAMPBlueprint("users")
    wamp.register_blueprint(blueprint)
    wamp.before_dispatch(lambda message: notes("before"))
    wamp.after_dispatch(lambda message, result: notes("after"))
    wamp.middleware(Labelled(notes, "first"))
    wamp.middleware(Labelled(notes, "second"))
    blueprint.middleware(Labelled(notes, "blueprint"))
    decorate = blueprint.callee if kind == "call" else blueprint.subscriber
    own = [Labelled(notes, "own"), Labelled(notes, "inner")]
    decorate("com.example.handler", middlewares=own)(lambda: notes("handler"))
    if kind == "call":
        wamp.client.call("com.example.handler")
    else:
        publish(wamp, "com.example.handler")
    around = ["first", "second", "blueprint", "own", "inner"]
    inward, outward = [f"> {each}" for each in around], [f"< {each}" for each in around]
    expected = ["before", *inward, "handler", *reversed(outward), "after"]
    assert notes.until("after") == expected


def test_a_middleware_may_answer_change_and_catch(wamp: FlaskWAMP) -> None:
    @wamp.middleware
    def shop(next_: t.Any, message: t.Any) -> t.Any:
        if message.args == ["closed"]:
            return "come back"
        try:
            return f"{next_(message)}!"
        except KeyError as error:
            return f"no {error.args[0]}"

    @wamp.callee("com.example.buy")
    def buy(tea: str) -> str:
        return {"green": "here you are"}[tea]

    answers = [wamp.client.call("com.example.buy", tea) for tea in ("closed", "green", "black")]
    assert answers == ["come back", "here you are!", "no black"]


def test_an_object_may_have_hooks(wamp: FlaskWAMP, notes: Notes) -> None:
    wamp.before_dispatch(lambda message: notes("before function"))
    wamp.middleware(OnlyHooks(notes))
    wamp.after_dispatch(lambda message, result: notes("after function"))
    wamp.callee("com.example.one")(lambda: notes("handler"))
    wamp.client.call("com.example.one")
    expected = ["before function", "before object", "handler", "after function", "after object"]
    assert notes.rest == [*expected, "teardown object"]


def test_a_handler_may_have_its_own_object_with_hooks(wamp: FlaskWAMP, notes: Notes) -> None:
    wamp.callee("com.example.one", middlewares=[OnlyHooks(notes)])(lambda: notes("handler"))
    wamp.callee("com.example.two")(lambda: notes("handler"))
    wamp.client.call("com.example.one")
    wamp.client.call("com.example.two")
    expected = ["before object", "handler", "after object", "teardown object", "handler"]
    assert notes.rest == expected


# By name.


def test_a_handler_configures_or_leaves_out_middlewares_by_name(
    wamp: FlaskWAMP, notes: Notes
) -> None:
    wamp.middleware(Labelled(notes, "outer"))
    wamp.middleware(Labelled(notes, "inner"))
    wamp.middleware(OnlyHooks(notes))
    options: list[dict[str, t.Any]] = [
        {},
        {"inner": {"label": "changed"}, "only_hooks": {"label": "changed"}},
        {"outer": False, "only_hooks": None},
    ]
    for number, middlewares in enumerate(options):
        handler = wamp.callee(f"com.example.n{number}", middlewares=middlewares)
        handler(lambda: None)
        wamp.client.call(f"com.example.n{number}")
    plain = ["before object", "> outer", "> inner", "< inner", "< outer"]
    assert notes.take(7) == [*plain, "after object", "teardown object"]
    changed = ["before changed", "> outer", "> inner changed", "< inner changed", "< outer"]
    assert notes.take(7) == [*changed, "after changed", "teardown changed"]
    assert notes.rest == ["> inner", "< inner"]


def shout(next_: t.Any, message: t.Any) -> t.Any:
    return next_(message)


MISTAKES: dict[str, tuple[t.Any, type[Exception], str]] = {
    "unknown": (
        {"timeuot": {"duration": 1}},
        ValueError,
        "'timeuot'.* there is no middleware of this name. The names are shout, timeout$",
    ),
    "not configurable": ({"shout": {"loud": True}}, ValueError, "shout takes no options"),
    "unknown option": ({"timeout": {"seconds": 1}}, TypeError, "seconds"),
    "no list": (shout, TypeError, "must be a list, or a dictionary"),
    "no middleware": (["timeout"], TypeError, "'timeout' is not a middleware"),
}


@pytest.mark.parametrize(("given", "kind", "says"), MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("when", ["start", "decoration"])
def test_mistakes_are_errors_at_the_start(
    make_app: t.Callable[..., Flask],
    wamp_router: DevRouter,
    when: str,
    given: t.Any,
    kind: type[Exception],
    says: str,
) -> None:
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=wamp_router.rawsocket_url))
    wamp.middleware(shout)
    wamp.middleware(Timeout(1))
    if when == "decoration":
        wamp.start()
        wamp.client.wait_until_joined(PATIENCE)
    with pytest.raises(kind, match=rf"test_middlewares\.shout: .*{says}"):
        wamp.callee("com.example.mistaken", middlewares=given)(shout)
        wamp.start()


def test_a_mistake_in_an_app_without_middlewares(make_app: t.Callable[..., Flask]) -> None:
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL="ws://127.0.0.1:1/ws"))
    wamp.callee("com.example.mistaken", middlewares={"nope": False})(lambda: None)
    with pytest.raises(
        ValueError, match="no middleware of this name. No middleware was added to the application"
    ):
        wamp.start()


async def slowly(next_: t.Any, message: t.Any) -> t.Any:
    return next_(message)


@pytest.mark.parametrize(
    ("given", "says"),
    [("x", "not a middleware"), (Timeout, "not a middleware"), (slowly, "must not be async")],
    ids=["text", "class", "async"],
)
def test_a_value_that_is_not_a_middleware_is_refused(given: t.Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        FlaskWAMP().middleware(given)
