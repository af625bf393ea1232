"""Patterns of URIs: the registrations, and the parts of the actual URI that the handler gets."""

from __future__ import annotations

import functools
import inspect
import threading
import typing as t
import uuid
from typing import Annotated

import pydantic
import pytest
from flask import Flask, g, request

from flask_wamp import ApplicationError, FlaskWAMP, WAMPBlueprint, callee, event, invocation
from flask_wamp.handlers.arguments import ArgumentBinder
from flask_wamp.handlers.registry import callee_spec
from flask_wamp.handlers.validation import InvalidArgument, URIArguments
from flask_wamp.middlewares import RateLimit
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.patterns import Pattern
from flask_wamp.protocol.uris import COUNT_CALLEES
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter
from tests.support.told import Told

INVALID = "wamp.error.invalid_argument"
GET = ".users.<int:user_id>.get"
GET_7 = "com.example.users.7.get"


@pytest.fixture
def handle(serve: Serve, router: MemoryRouter) -> t.Callable[..., t.Any]:
    """Register a function for a pattern; return what calls a URI."""

    def handle(pattern: str, f: t.Callable[..., t.Any], **options: t.Any) -> t.Any:
        serve(lambda wamp: wamp.callee(pattern, **options)(f))
        return router.call

    return handle


Handle = t.Callable[..., t.Callable[..., t.Any]]


def errors(call: t.Callable[[], t.Any]) -> list[tuple[list[t.Any], str]]:
    """Return the errors of a call's arguments: location and type."""
    with pytest.raises(ApplicationError) as info:
        call()
    assert info.value.uri == INVALID, info.value
    return [(error["loc"], error["type"]) for error in info.value.kwargs["errors"]]


# What is sent to the router.


@pytest.mark.parametrize(
    ("pattern", "uri"),
    [
        (GET, "com.example.users..get"),
        ("org.other.<a>.<b>", "org.other.."),
        ("<realm>.users.<user_id>", ".users."),
        ("org..users.<user_id>", "org..users."),
    ],
)
def test_named_parts_are_a_wildcard(
    serve: Serve, router: MemoryRouter, pattern: str, uri: str
) -> None:
    serve(lambda wamp: wamp.callee(pattern)(lambda **kwargs: kwargs))
    [message] = router.sent(m.Register)
    assert (message.procedure, message.options["match"]) == (uri, "wildcard")


def test_relative_without_a_prefix(make_app: t.Callable[..., Flask], router: MemoryRouter) -> None:
    app = make_app(WAMP_ROUTER_URL="ws://router/ws")
    app.config["WAMP_URI_PREFIX"] = None
    wamp = FlaskWAMP(app)
    wamp.callee(".<user_id>.get")(lambda user_id: user_id)
    wamp.start()
    wamp.client.wait_until_joined(10)
    assert router.call("7.get") == "7"


def test_names_of_parts_do_not_distinguish_patterns(serve: Serve) -> None:
    _, wamp = serve(lambda wamp: wamp.callee("a.<x>.b")(lambda x: x))
    for again, options in (("a.<int:y>.b", {}), ("a..b", {"match": "wildcard"})):
        with pytest.raises(ValueError, match=r"a\.\.b \(match='wildcard'\) is declared twice"):
            wamp.callee(again, **options)(lambda **kwargs: kwargs)


@pytest.mark.parametrize(
    ("pattern", "options", "why"),
    [
        (".<path:x>.a", {}, "'path' in '<path:x>' is not a converter; use one of 'string', 'int'"),
        (".<any(a,b):x>.a", {}, r"'any\(a,b\)' in .* is not a converter"),
        (".<intt:x>.a", {}, "'intt' in '<intt:x>' is not a converter"),
        (".<:x>.a", {}, "'' in '<:x>' is not a converter"),
        (".foo<x>bar.a", {}, "'foo<x>bar' is neither a name nor a whole part such as"),
        (".<x.a", {}, "'<x' is neither a name nor a whole part"),
        (".<x><y>.a", {}, "'<x><y>' is neither a name nor a whole part"),
        (".<float(min=1.5):x>.a", {}, r"'<float\(min=1' is neither a name nor a whole part"),
        (".<>.a", {}, "'' in '<>' cannot be the name of a parameter"),
        (".<int:a-b>.a", {}, "'a-b' in '<int:a-b>' cannot be the name"),
        (".<class>.a", {}, "'class' in '<class>' cannot be the name"),
        (".<x>.<int:x>", {}, "has two parts with the name 'x'"),
        (".<z>.a", {}, "has a part 'z', but the function takes no such argument"),
        (".<rest>.a", {}, "has a part 'rest', but the function takes no such argument"),
        (".<first>.a", {}, "has a part 'first', but the function takes no such argument"),
        (
            ".<x>.a",
            {"match": "exact"},
            "has named parts, which require match='wildcard', not 'exact'",
        ),
        (
            ".<x>.a",
            {"match": "prefix"},
            "has named parts, which require match='wildcard', not 'prefix'",
        ),
    ],
)
@pytest.mark.parametrize("decorator", ["callee", "subscriber"])
def test_an_invalid_pattern_is_refused_when_decorating(
    decorator: str, pattern: str, options: dict[str, t.Any], why: str
) -> None:
    def get(first: int, /, x: int, *rest: t.Any) -> None: ...

    with pytest.raises(ValueError, match=why) as info:
        getattr(FlaskWAMP(), decorator)(pattern, **options)(get)
    assert "test_patterns.test_an_invalid_pattern_is_refused_when_decorating" in str(info.value)


def test_a_pattern_of_one_part_is_refused(serve: Serve) -> None:
    _, wamp = serve()
    with pytest.raises(ValueError, match="'<x>' needs a second part, or a prefix"):
        wamp.callee("<x>")(lambda x: x)


@pytest.mark.parametrize(
    ("topic", "match"), [(".<x>.a", None), (".a", "prefix"), ("a..b", "wildcard")]
)
def test_a_pattern_has_no_retained_events(topic: str, match: t.Any) -> None:
    with pytest.raises(ValueError, match="get_retained=True requires an exact topic"):
        FlaskWAMP().subscriber(topic, match=match, get_retained=True)(lambda x: x)


def test_the_prefix_of_the_app_may_not_be_a_pattern(make_app: t.Callable[..., Flask]) -> None:
    app = make_app()
    app.config["WAMP_URI_PREFIX"] = "com.<x>"
    with pytest.raises(ValueError, match="WAMP_URI_PREFIX"):
        FlaskWAMP(app)


# What the handler gets.


def get(user_id: int, verbose: bool = False) -> list[t.Any]:
    return [invocation.procedure, user_id, verbose]


def test_a_part_is_an_argument(handle: Handle) -> None:
    call = handle(GET, get)
    assert call(GET_7) == [GET_7, 7, False]


@pytest.mark.parametrize("validate", [True, False])
def test_arguments_of_the_call_are_for_the_other_parameters(handle: Handle, validate: bool) -> None:
    def f(a: int, first: str, b: int = 0, *rest: int, second: str, c: int = 0) -> list[t.Any]:
        return [a, first, b, *rest, second, c]

    call = handle(".<first>.<second>", f, validate=validate)
    uri = "com.example.x.y"
    assert call(uri, 1) == [1, "x", 0, "y", 0]
    assert call(uri, 1, 2) == [1, "x", 2, "y", 0]
    assert call(uri, 1, 2, 3, 4, c=5) == [1, "x", 2, 3, 4, "y", 5]
    assert call(uri, a=1, b=2) == [1, "x", 2, "y", 0]
    assert call(uri, 1, b=2) == [1, "x", 2, "y", 0]


def test_parts_behind_positional_only_parameters(handle: Handle) -> None:
    def f(a: int, /, first: str, b: int) -> list[t.Any]:
        return [a, first, b]

    call = handle(".<first>.f", f)
    assert call("com.example.x.f", "1", b=2) == call("com.example.x.f", "1", 2) == [1, "x", 2]


@pytest.mark.parametrize("validate", [True, False])
def test_a_caller_cannot_set_a_part_of_the_uri(handle: Handle, validate: bool) -> None:
    call = handle(GET, get, validate=validate)
    for same in (8, 7):
        assert errors(functools.partial(call, GET_7, user_id=same)) == [(["user_id"], "uri_part")]
    assert call(GET_7, 1)[1] == 7
    assert errors(lambda: call(GET_7, 1, 2))
    assert errors(lambda: call(GET_7, 1, verbose=1))


def test_a_caller_cannot_set_a_part_of_a_function_with_var_keywords(handle: Handle) -> None:
    call = handle(GET, lambda **kwargs: kwargs)
    assert call(GET_7, a=1) == {"user_id": 7, "a": 1}
    assert errors(lambda: call(GET_7, user_id=8)) == [(["user_id"], "uri_part")]


UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"


@pytest.mark.parametrize(
    ("converter", "text", "value"),
    [
        ("", "7", "7"),
        ("string:", "7", "7"),
        ("string:", "Käse", "Käse"),
        ("int:", "007", 7),
        ("float:", "15", 15.0),
        ("float:", "15e-1", 1.5),
        ("uuid:", UUID, uuid.UUID(UUID)),
    ],
)
@pytest.mark.parametrize("validate", [True, False])
def test_converters(
    handle: Handle, converter: str, text: str, value: t.Any, validate: bool
) -> None:
    call = handle(f".<{converter}x>.f", lambda x: [type(x).__name__, str(x)], validate=validate)
    assert call(f"com.example.{text}.f") == [type(value).__name__, str(value)]


@pytest.mark.parametrize(
    ("converter", "text"),
    [
        *[("int", text) for text in ("x", "-7", "+7", "1_0", "٣", "7" * 5000)],
        *[("float", text) for text in ("x", "nan", "inf", "1e999", "-1", "1_0")],
        *[("uuid", text) for text in ("x", UUID.replace("-", ""), "{" + UUID + "}")],
    ],
)
@pytest.mark.parametrize("validate", [True, False])
def test_values_that_a_converter_refuses(
    handle: Handle, converter: str, text: str, validate: bool
) -> None:
    call = handle(f".<{converter}:x>.f", lambda x: x, validate=validate)
    assert errors(lambda: call(f"com.example.{text}.f")) == [(["x"], f"{converter}_parsing")]


def test_the_error_lists_all_invalid_arguments(handle: Handle) -> None:
    call = handle(".<int:x>.<uuid:y>", lambda x, y: [x, y])
    found = [(["x"], "int_parsing"), (["y"], "uuid_parsing")]
    assert errors(lambda: call("com.example.a.b")) == found


def test_annotations_apply_to_parts_too(handle: Handle) -> None:
    def f(x: Annotated[int, pydantic.Field(lt=10)], y: int, n: int = 0) -> list[int]:
        return [x, y, n]

    call = handle(".<int:x>.<y>", f)
    assert call("com.example.7.8", "9") == [7, 8, 9]
    assert errors(lambda: call("com.example.17.b", "c")) == [
        ([0], "int_parsing"),
        (["x"], "less_than"),
        (["y"], "int_parsing"),
    ]


def test_anonymous_parts_are_in_the_procedure(handle: Handle) -> None:
    call = handle("com.example..get", lambda: invocation.procedure, match="wildcard")
    assert call("com.example.7.get") == "com.example.7.get"


def test_anonymous_parts_are_passed_to_numbered_parameters(handle: Handle) -> None:
    def f(part2: int, text: str = "", **rest: t.Any) -> list[t.Any]:
        return [part2, text, rest]

    call = handle("com..<name>..get", f)
    assert call("com.a.b.7.get", "x") == [7, "x", {"name": "b"}]
    assert errors(lambda: call("com.a.b.7.get", part2=8)) == [(["part2"], "uri_part")]


def test_the_rest_of_a_prefix_is_in_the_procedure(handle: Handle) -> None:
    call = handle(".files.", lambda: invocation.procedure, match="prefix")
    assert call("com.example.files.a.b") == "com.example.files.a.b"


def test_a_router_that_does_not_send_the_procedure(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    serve(lambda wamp: wamp.callee(".<x>.f")(lambda x: x))
    answer = router.invoke("com.example.7.f")
    assert answer.result(10).args == ["7"]
    router.send(m.Invocation(5000, router.registration_id("com.example..f"), {}, [], {}))
    eventually(lambda: "sent 'com.example..f' for 'com.example.<x>.f'" in caplog.text)


SIGNATURES: list[t.Callable[..., t.Any]] = [
    lambda x: locals(),
    lambda a, x, b=0: locals(),
    lambda x, a, y, b=0, *args, c=0: locals(),
    lambda a, /, x, b, *, c=0, y: locals(),
    lambda a=0, b=1, x=2, **kwargs: locals(),
    lambda *args, x, c=0, **kwargs: locals(),
    lambda a, x, _h="app", b=0, *, c=0, _i="app": locals(),
    lambda _h="app", x=0, a=1, *, y, **kwargs: locals(),
]


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("f", SIGNATURES, ids=lambda f: str(inspect.signature(f)))
def test_the_payload_is_for_the_function_without_its_parts(
    f: t.Callable[..., t.Any], validated: bool
) -> None:
    signature = inspect.signature(f)
    names = [name for name in ("x", "y") if name in signature.parameters]
    hidden = dict.fromkeys([name for name in signature.parameters if name[0] == "_"], "app")
    rest = [p for name, p in signature.parameters.items() if name not in {*names, *hidden}]
    pattern = ".".join([*(f"<{name}>" for name in names), "f"])
    uri = ".".join([*names, "f"])
    for args in map(range, range(4)):
        for given in ("", "a", "b", "c", "z", "ab", "abc", "bcz", "_h"):
            kwargs = {"_h": 9} if given == "_h" else dict.fromkeys(given, 9)
            if hidden and "_h" in kwargs:
                with pytest.raises(InvalidArgument):
                    call_with(f, pattern, uri, args, kwargs, validated)
                continue
            try:
                bound = signature.replace(parameters=rest).bind(*args, **kwargs)
            except TypeError:
                with pytest.raises(InvalidArgument):
                    call_with(f, pattern, uri, args, kwargs, validated)
                continue
            bound.apply_defaults()
            got = call_with(f, pattern, uri, args, kwargs, validated)
            assert {name: got.pop(name) for name in names} == dict(zip(names, names, strict=True))
            assert {name: got.pop(name) for name in hidden} == hidden
            assert got == bound.arguments


def call_with(
    f: t.Callable[..., t.Any],
    pattern: str,
    uri: str,
    args: t.Sequence[int],
    kwargs: dict[str, int],
    validated: bool,
) -> dict[str, t.Any]:
    """The arguments that a function got."""
    parts = URIArguments(Pattern.parse(pattern, None), f)
    binder = ArgumentBinder(
        callee_spec(f, pattern), f, parts, validated=validated, in_request=False
    )
    found: dict[str, t.Any] = binder.call_handler(uri, args, kwargs)
    return found


# All kinds of handlers.


def test_one_function_is_a_callee_and_a_subscriber(serve: Serve, router: MemoryRouter) -> None:
    app, wamp = serve()

    @app.get("/users/<int:user_id>")
    @wamp.callee(GET)
    def get_user(user_id: int) -> dict[str, int]:
        return {"id": user_id}

    assert router.call(GET_7) == {"id": 7}
    assert app.test_client().get("/users/7").get_json() == {"id": 7}
    assert app.test_client().get("/users/x").status_code == 404
    assert errors(lambda: router.call("com.example.users.x.get"))


def test_a_marked_view(make_app: t.Callable[..., Flask], router: MemoryRouter) -> None:
    app = make_app(WAMP_ROUTER_URL="ws://router/ws")
    wamp = FlaskWAMP(app)

    @app.get("/users/<int:user_id>")
    @callee(GET)
    def get_user(user_id: int) -> int:
        return user_id

    wamp.start()
    wamp.client.wait_until_joined(10)
    assert router.call(GET_7) == 7


class Users:
    def __init__(self, name: str) -> None:
        self.name = name

    @callee(GET)
    def get(self, user_id: int, verbose: bool = False) -> list[t.Any]:
        return [self.name, user_id, verbose]


def test_methods(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve()
    wamp.include(Users("marked"))
    wamp.callee(".<user_id>.got")(Users("bound").get)
    assert router.call(GET_7, True) == ["marked", 7, True]
    assert router.call("com.example.8.got", True) == ["bound", 8, True]


def test_async_handlers_and_generators(serve: Serve, router: MemoryRouter) -> None:
    pytest.importorskip("asgiref")
    _, wamp = serve()

    @wamp.callee(".<int:x>.async")
    async def later(x: int) -> int:
        return x + 1

    @wamp.callee(".<int:x>.count")
    def count(x: int, start: int = 0) -> t.Iterator[int]:
        yield from range(start, x)

    assert router.call("com.example.7.async") == 8
    answer = router.invoke("com.example.3.count", 1)
    answer.result(10)
    assert [each.args for each in answer.progress] == [[1], [2]]


@pytest.mark.parametrize("validate", [True, False])
def test_a_view_that_takes_its_payload_from_the_request(
    handle: Handle, router: MemoryRouter, validate: bool
) -> None:
    def put(user_id: int) -> list[t.Any]:
        return [user_id, request.get_json()]

    call = handle(GET, put, request_context=True, validate=validate)
    assert call(GET_7, name="x") == [7, {"name": "x"}]
    assert call(GET_7, 1, 2) == [7, [1, 2]]


def test_blueprints(serve: Serve, router: MemoryRouter) -> None:
    users = WAMPBlueprint("users", ".users.<int:user_id>")
    orders = WAMPBlueprint("orders", ".orders")

    @users.callee
    def get(user_id: int) -> int:
        return user_id

    @orders.callee(".<uuid:order>.get")
    def get_order(user_id: int, order: uuid.UUID) -> list[t.Any]:
        return [user_id, order]

    users.register_blueprint(orders)
    _, wamp = serve()
    wamp.register_blueprint(users)
    assert router.call(GET_7) == 7
    assert router.call(f"com.example.users.7.orders.{UUID}.get") == [7, UUID]
    with pytest.raises(ValueError, match="has a part 'user_id', but the function takes no such"):
        users.callee(".x")(lambda: None)
    with pytest.raises(ValueError, match="'path' in '<path:x>' is not a converter"):
        WAMPBlueprint("files", ".<path:x>")


def test_at_run_time(serve: Serve, router: MemoryRouter, told: Told) -> None:
    app, _ = serve()
    with app.app_context():
        g.wampy.register(lambda x: x, ".<int:x>.f")
        g.wampy.register(lambda: invocation.procedure, "com.example.b", match="prefix")
        g.wampy.subscribe(told.put, ".<item>.news")
        assert router.call("com.example.7.f") == 7
        assert router.call("com.example.b.c") == "com.example.b.c"
        router.publish("com.example.7.news")
        assert told.next() == "7"
        g.wampy.unregister("com.example.<int:x>.f")
        g.wampy.unregister("com.example.b", match="prefix")
        g.wampy.unsubscribe("com.example..news", match="wildcard")
    assert router.procedures == router.topics == set()


def test_concurrency_is_that_of_the_pattern(handle: Handle, router: MemoryRouter) -> None:
    running, most, lock = 0, 0, threading.Lock()
    full, leave = threading.Event(), threading.Event()

    def f(x: str) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 2:
                full.set()
        leave.wait(10)
        with lock:
            running -= 1

    handle(".<x>.f", f, concurrency=2)
    answers = [router.invoke(f"com.example.{x}.f") for x in "abcdef"]
    assert full.wait(10)
    leave.set()
    for answer in answers:
        answer.result(10)
    assert most == 2


def test_handlers_know_how_they_match(handle: Handle) -> None:
    call = handle(".<x>.f", lambda x: invocation.options["match"])
    assert call("com.example.7.f") == "wildcard"


def test_the_last_callee_waits_for_its_successor(serve: Serve, router: MemoryRouter) -> None:
    counts = router.hold(COUNT_CALLEES)
    _, wamp = serve(lambda wamp: wamp.callee(GET)(get), WAMP_LINGER=TIMEOUT)
    stopping = threading.Thread(target=wamp.stop)
    stopping.start()
    try:
        counts.get(timeout=TIMEOUT).answer(1)
        assert router.sent(m.Register)[-1].procedure == "com.example.users._.get.leaving"
        assert router.call(GET_7)[1] == 7
        counts.get(timeout=TIMEOUT).answer(2)
    finally:
        stopping.join()
    assert router.procedures == set()


# Events.


def test_events(serve: Serve, router: MemoryRouter, told: Told) -> None:
    _, wamp = serve()

    @wamp.consume(".<int:item>.sold")
    def on_sold(count: int, item: int, *, meta: t.Any = None) -> None:
        told.put((event.topic, item, count, meta["topic"]))

    router.publish("com.example.7.sold", 2)
    assert told.next() == ("com.example.7.sold", 7, 2, "com.example.7.sold")


def test_meta_may_be_a_part(serve: Serve, router: MemoryRouter, told: Told) -> None:
    serve(lambda wamp: wamp.subscriber(".<meta>.x")(lambda meta: told.put(meta)))
    router.publish("com.example.7.x")
    assert told.next() == "7"


@pytest.mark.parametrize("delivery", ["every", "one"])
def test_events_that_do_not_fit_are_dropped_and_logged(
    serve: Serve,
    router: MemoryRouter,
    told: Told,
    caplog: pytest.LogCaptureFixture,
    delivery: str,
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.subscriber(".<int:item>.sold", delivery=delivery)(told.put)

    router.register(
        "wamp.registration.count_callees", lambda number: 1
    )  # so that it leaves at once
    serve(setup)
    eventually(lambda: "com.example..sold" in router.topics)
    router.publish("com.example.x.sold")
    router.publish("com.example.7.sold", item=8)
    router.publish("com.example.9.sold")
    assert told.next() == 9
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "com.example.x.sold" in warnings[0]
    assert "It is a part of the URI" in warnings[1]


def test_each_subscriber_of_several_that_match_gets_it_once(
    serve: Serve, router: MemoryRouter, told: Told
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        for topic, match in (
            (".a.sold", "exact"),
            (".a.sold", "prefix"),
            (".a", "prefix"),
            ("com.example..sold", "wildcard"),
        ):
            wamp.subscriber(topic, match=match)(functools.partial(told.put, (topic, match)))
        wamp.subscriber(".<x>.<y>")(lambda x, y: told.put((x, y)))

    serve(setup)
    router.publish("com.example.a.sold")
    got = [told.next() for _ in range(5)]
    assert sorted(got) == [
        (".a", "prefix"),
        (".a.sold", "exact"),
        (".a.sold", "prefix"),
        ("a", "sold"),
        ("com.example..sold", "wildcard"),
    ]
    router.publish("com.example.a.sold.more")
    got = [told.next() for _ in range(2)]
    assert sorted(got) == [(".a", "prefix"), (".a.sold", "prefix")]


# Middlewares.


def test_a_rate_limit_per_procedure_counts_all_uris_of_the_pattern(
    serve: Serve, router: MemoryRouter
) -> None:
    _, wamp = serve()
    wamp.middleware(RateLimit(2, 60.0, per="procedure"))
    wamp.callee(GET)(get)
    for number in (1, 2):
        router.call(f"com.example.users.{number}.get")
    with pytest.raises(ApplicationError, match="too_many_requests"):
        router.call("com.example.users.3.get")
