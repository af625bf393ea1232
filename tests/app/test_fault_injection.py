"""Any code of the app may raise anything: each message has one outcome, and the next one works."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import typing as t
from typing import Annotated

import pydantic
import pytest
from flask import Flask, appcontext_pushed, has_app_context, has_request_context
from flask.json.provider import DefaultJSONProvider
from flask.sessions import SecureCookieSessionInterface

from flask_wamp import ApplicationError, FlaskWAMP, background_tasks, signals
from flask_wamp.handlers.context import current_message
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter

RUNTIME_ERROR = "wamp.error.runtime_error"
URI = "com.example.f"


class Fatal(BaseException):
    """An exception that ``except Exception`` does not catch."""


def _kinds() -> list[type[BaseException]]:
    kinds = [RuntimeError, MemoryError, Fatal, SystemExit, asyncio.CancelledError]
    with contextlib.suppress(ImportError):
        import gevent
        import greenlet

        kinds += [greenlet.GreenletExit, gevent.Timeout]
    return kinds


class Fault:
    """Raises while it is armed, whatever its arguments are."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind
        self.armed = False
        self.raised = 0

    def __call__(self, *args: t.Any, **kwargs: t.Any) -> None:
        if self.armed:
            self.raised += 1
            raise self.kind

    def passes(self, value: t.Any) -> t.Any:
        """Works as a hook that changes nothing."""
        self()
        return value


Declare = t.Callable[[Flask, FlaskWAMP, Fault], t.Any]


class Site(t.NamedTuple):
    """Code of the app that raises.

    :param declare: Sets it up.
    :param harmless: Whether the caller gets its result anyway.
    :param asked: Whether the code must run at all.
    """

    declare: Declare
    harmless: bool
    asked: bool


SITES: dict[str, Site] = {}


def site(*, harmless: bool, asked: bool = True) -> t.Callable[[Declare], Declare]:
    def note(f: Declare) -> Declare:
        SITES[f.__name__.replace("_", " ").strip()] = Site(f, harmless, asked)
        return f

    return note


def answer(wamp: FlaskWAMP, value: t.Any = 42, **options: t.Any) -> None:
    """Serve a handler that succeeds."""
    wamp.callee(URI, **options)(lambda: value)


# Handlers.


@site(harmless=False)
def handler(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    wamp.callee(URI)(lambda: fault.passes(42))


@site(harmless=False)
def async_handler(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    @wamp.callee(URI)
    async def f() -> int:
        await asyncio.sleep(0)
        fault()
        return 42


@site(harmless=False)
def generator(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    @wamp.callee(URI)
    def f() -> t.Iterator[int]:
        yield 1
        fault()
        return 42


@site(harmless=False)
def end_of_a_generator(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    @wamp.callee(URI)
    def f() -> t.Iterator[int]:
        try:
            yield 1
        finally:
            fault()
        return 42


@site(harmless=False)
def async_generator(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    @wamp.callee(URI)
    async def f() -> t.AsyncIterator[int]:
        yield 42
        await asyncio.sleep(0)
        fault()


@site(harmless=False)
def validator(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    check = pydantic.BeforeValidator(fault.passes)

    @wamp.callee(URI)
    def f(x: Annotated[int, check, pydantic.Field(validate_default=True)] = 42) -> int:
        return x


# Around handlers.


@site(harmless=False)
def before_dispatch(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    wamp.before_dispatch(fault)
    answer(wamp)


@site(harmless=False)
def after_dispatch(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    wamp.after_dispatch(lambda message, value: fault.passes(value))
    answer(wamp)


@site(harmless=True)
def teardown_dispatch(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    wamp.teardown_dispatch(fault)
    answer(wamp)


@site(harmless=True)
def async_teardown_dispatch(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    @wamp.teardown_dispatch
    async def teardown(message: t.Any, error: t.Any) -> None:
        fault()

    answer(wamp)


@site(harmless=False)
def middleware_before(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    wamp.middleware(lambda next_, message: (fault(), next_(message))[1])
    answer(wamp)


@site(harmless=False)
def middleware_after(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    wamp.middleware(lambda next_, message: fault.passes(next_(message)))
    answer(wamp)


@site(harmless=False)
def error_handler(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    def fail() -> t.Any:
        raise KeyError

    wamp.errorhandler(KeyError)(lambda error: fault.passes(42))
    wamp.callee(URI)(fail)


# Signals.


def _receiver(name: str) -> Declare:
    def connect(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
        def receive(sender: Flask, **payload: t.Any) -> None:
            fault()

        signal = getattr(signals, name)
        signal.connect(receive, app)
        app.extensions["kept"] = receive  # signals keep weak references
        answer(wamp)

    connect.__name__ = f"receiver_of_{name}"
    return connect


site(harmless=True)(_receiver("dispatch_started"))
site(harmless=True)(_receiver("dispatch_finished"))


@site(harmless=True)
def async_receiver(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    async def receive(sender: Flask, **payload: t.Any) -> None:
        fault()

    signals.dispatch_finished.connect(receive, app)
    app.extensions["kept"] = receive
    answer(wamp)


# Payloads.


class Payload:
    """Fails in each of its methods, one at a time."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault


@site(harmless=False)
def encoder(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    wamp.encoder(Payload)(lambda value: fault.passes(42))
    answer(wamp, Payload(fault))


@site(harmless=False)
def json_provider(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    class Provider(DefaultJSONProvider):
        @staticmethod
        def default(o: t.Any) -> t.Any:
            return fault.passes(42)

    app.json = Provider(app)
    answer(wamp, Payload(fault))


class HTML(Payload):
    def __html__(self) -> t.Any:
        return self.fault.passes(_Text("42"))


class _Text(str):
    __slots__ = ()


class Model(Payload):
    def model_dump(self) -> int:
        return t.cast(int, self.fault.passes(42))


class Sized(list[t.Any]):
    """A list whose items fail to be listed."""

    fault: Fault

    def __iter__(self) -> t.Iterator[t.Any]:
        self.fault()
        return super().__iter__()


class Keyed(dict[t.Any, t.Any]):
    """A dictionary whose keys fail to be listed."""

    fault: Fault

    def keys(self) -> t.Any:
        self.fault()
        return super().keys()

    def __iter__(self) -> t.Iterator[t.Any]:
        self.fault()
        return super().__iter__()


class Hashed(str):
    """Text that fails to be compared and hashed."""

    fault: Fault

    def __eq__(self, other: object) -> bool:
        self.fault()
        return super().__eq__(other)

    def __hash__(self) -> int:
        self.fault()
        return super().__hash__()

    def __str__(self) -> str:
        self.fault()
        return super().__str__()


@site(harmless=False)
def html(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    answer(wamp, HTML(fault))


@site(harmless=False)
def model_dump(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    answer(wamp, Model(fault))


@site(harmless=False)
def items_of_a_payload(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    items = Sized([42])
    items.fault = fault
    answer(wamp, items)


@site(harmless=False)
def keys_of_a_payload(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    values = Keyed({"x": 42})
    values.fault = fault
    answer(wamp, values)


def _hashed(fault: Fault) -> Hashed:
    text = Hashed("42")
    text.fault = fault
    return text


@site(harmless=True, asked=False)
def hash_and_eq_of_a_payload(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    wamp.after_dispatch(lambda message, value: value)
    answer(wamp, [_hashed(fault), {"x": _hashed(fault)}])


@site(harmless=False, asked=False)
def str_of_an_error(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    class Failing(Exception):
        def __str__(self) -> str:
            fault()
            return "42"

    def f() -> int:
        if fault.armed:
            raise Failing
        return 42

    wamp.callee(URI)(f)


@site(harmless=False)
def payload_of_an_error(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    def f() -> int:
        if fault.armed:
            raise ApplicationError("com.example.error.x", HTML(fault))
        return 42

    wamp.callee(URI)(f)


@site(harmless=False, asked=False)
def str_of_an_application_error(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    class Odd(ApplicationError):
        def __str__(self) -> str:
            fault()
            return "42"

    def f() -> int:
        if fault.armed:
            raise Odd("payload")
        return 42

    wamp.callee(URI)(f)


# The app's contexts.


@site(harmless=True)
def teardown_appcontext(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    app.teardown_appcontext(fault)
    answer(wamp)


@site(harmless=True)
def teardown_request(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    app.teardown_request(fault)
    answer(wamp, request_context=True)


@site(harmless=False)
def before_request(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    app.before_request(fault)
    answer(wamp, request_context=True)


@site(harmless=False)
def after_request(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    app.after_request(fault.passes)
    answer(wamp, request_context=True)


@site(harmless=False)
def open_session(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    class Sessions(SecureCookieSessionInterface):
        def open_session(self, app: t.Any, request: t.Any) -> t.Any:
            fault()
            return None

    app.session_interface = Sessions()
    answer(wamp, request_context=True)


# Logs.


class FailingHandler(logging.Handler):
    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self._fault = fault

    def emit(self, record: logging.LogRecord) -> None:
        self._fault()


class FailingFilter(logging.Filter):
    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self._fault = fault

    def filter(self, record: logging.LogRecord) -> bool:
        self._fault()
        return True


def _fails(wamp: FlaskWAMP, fault: Fault) -> None:
    """Serve a handler whose error is logged, and let everything else that is logged fail too."""

    def f() -> int:
        if fault.armed:
            raise KeyError
        return 42

    wamp.callee(URI)(f)

    @wamp.teardown_dispatch
    def teardown(message: t.Any, error: t.Any) -> None:
        f()


@pytest.fixture
def cleanup() -> t.Iterator[contextlib.ExitStack]:
    """Undo the changes that a site has made outside its app."""
    with contextlib.ExitStack() as stack:
        yield stack


@site(harmless=False)
def log_handler(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    failing = FailingHandler(fault)
    logging.getLogger("flask_wamp").addHandler(failing)
    app.extensions["undo"] = lambda: logging.getLogger("flask_wamp").removeHandler(failing)
    _fails(wamp, fault)


@site(harmless=False)
def log_filter(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    failing, logger = FailingFilter(fault), logging.getLogger("flask_wamp.dispatch")
    logger.addFilter(failing)
    app.extensions["undo"] = lambda: logger.removeFilter(failing)
    _fails(wamp, fault)


@site(harmless=False)
def receiver_of_dispatch_failed(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    _receiver("dispatch_failed")(app, wamp, fault)
    wamp.before_dispatch(lambda message: fault())


# After the answer.


@site(harmless=True)
def background_task(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    @wamp.callee(URI)
    def f() -> int:
        background_tasks.add(fault)
        return 42


@site(harmless=True)
def task_failed_receiver(app: Flask, wamp: FlaskWAMP, fault: Fault) -> None:
    def receive(sender: Flask, **payload: t.Any) -> None:
        fault()

    signals.task_failed.connect(receive, app)
    app.extensions["kept"] = receive
    background_task(app, wamp, fault)


# The tests.


class Seen:
    """The objects that messages leave behind, seen from outside their handlers."""

    def __init__(self, app: Flask, wamp: FlaskWAMP) -> None:
        self.pushed = self.torn_down = 0
        self.left: list[str] = []
        wamp.before_dispatch(lambda message: message.when_done(self._look))
        appcontext_pushed.connect(self._pushed, app)

        @app.teardown_appcontext
        def torn_down(error: t.Any) -> None:
            self.torn_down += 1

    def _pushed(self, sender: Flask, **kwargs: t.Any) -> None:
        self.pushed += 1

    def _look(self, well: bool) -> None:
        if has_app_context() or has_request_context():
            self.left.append("a context")
        if current_message() is not None:
            self.left.append("a message")


@pytest.mark.parametrize("kind", _kinds(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("where", SITES.values(), ids=SITES)
def test_each_message_has_one_outcome(
    serve: Serve,
    router: MemoryRouter,
    cleanup: contextlib.ExitStack,
    where: Site,
    kind: type[BaseException],
) -> None:
    fault = Fault(kind)
    app, wamp = serve(WAMP_WORKERS=1, SECRET_KEY="secret")
    app.testing = False
    where.declare(app, wamp, fault)
    cleanup.callback(app.extensions.get("undo", lambda: None))
    seen = Seen(app, wamp)
    session_id, good = wamp.client.session_id, router.call(URI)
    fault.armed = True
    outcomes = [router.invoke(URI).result(TIMEOUT) for _ in range(3)]
    for outcome in outcomes:
        if where.harmless:
            assert outcome.args == [good]
        else:
            assert outcome.error in (RUNTIME_ERROR, "wamp.error.timeout", "com.example.error.odd")
    if where.asked:
        eventually(lambda: fault.raised >= 3)
    fault.armed = False
    assert [router.call(URI) for _ in range(2)] == [good] * 2
    results = [each for each in router.sent(m.Yield) if not each.options.get("progress")]
    answered = [each.request_id for each in results + router.sent(m.Error)]
    assert len(answered) == len(set(answered)) == 6
    assert wamp.client.session_id == session_id
    # Our function is not called if another one has raised before.
    unseen = 3 if where.declare is teardown_appcontext else 0
    eventually(lambda: seen.torn_down >= seen.pushed - unseen)
    assert not seen.left


@pytest.mark.parametrize("kind", _kinds(), ids=lambda kind: kind.__name__)
def test_events_are_still_handled(
    serve: Serve, router: MemoryRouter, kind: type[BaseException]
) -> None:
    fault, came = Fault(kind), threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.subscriber(".news")
        def news(last: bool) -> None:
            if last:
                came.set()
            fault()

        wamp.teardown_dispatch(fault)

    app, wamp = serve(setup)
    app.teardown_appcontext(fault)
    fault.armed = True
    for last in (False, False, True):
        router.publish("com.example.news", last)
    assert came.wait(TIMEOUT)
    eventually(lambda: fault.raised == 9)
    fault.armed = False
    assert wamp.client.joined


CREDENTIALS: dict[str, t.Callable[[Fault], dict[str, t.Any]]] = {
    "ticket": lambda fault: {"WAMP_TICKET": lambda: fault.passes("ticket")},
    "secret": lambda fault: {
        "WAMP_AUTHID": "joe",
        "WAMP_SECRET": lambda: fault.passes("secret"),
    },
    "authextra": lambda fault: {"WAMP_AUTHEXTRA": lambda: fault.passes({"x": 1})},
}


@pytest.mark.parametrize("kind", _kinds(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("config", CREDENTIALS.values(), ids=CREDENTIALS)
def test_a_failing_credentials_function_does_not_stop_the_client(
    make_app: t.Callable[..., Flask],
    router: MemoryRouter,
    config: t.Callable[[Fault], dict[str, t.Any]],
    kind: type[BaseException],
) -> None:
    fault = Fault(kind)
    fault.armed = True
    app = make_app(
        WAMP_ROUTER_URL="wss://router.in.memory/ws", WAMP_RECONNECT_MAX=0.1, **config(fault)
    )
    wamp = FlaskWAMP(app)
    answer(wamp)
    wamp.start()
    eventually(lambda: fault.raised >= 1)
    fault.armed = False
    wamp.client.wait_until_joined(TIMEOUT)
    assert router.call(URI) == 42


class Publishing(logging.Handler):
    """A log handler that publishes, as those of an app may."""

    def __init__(self, wamp: FlaskWAMP) -> None:
        super().__init__()
        self._wamp = wamp

    def emit(self, record: logging.LogRecord) -> None:
        self._wamp.client.publish("com.example.log", record.getMessage())


def test_a_log_handler_may_publish(
    serve: Serve, router: MemoryRouter, cleanup: contextlib.ExitStack
) -> None:
    def fail() -> None:
        raise KeyError

    _, wamp = serve(lambda wamp: wamp.callee(URI)(fail))
    handler, logger = Publishing(wamp), logging.getLogger("flask_wamp")
    logger.addHandler(handler)
    cleanup.callback(logger.removeHandler, handler)
    for _ in range(3):
        assert router.invoke(URI).result(TIMEOUT).error == RUNTIME_ERROR
    topic = router.wait_for(m.Publish, 3).topic
    assert topic == "com.example.log"
