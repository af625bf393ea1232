"""Errors that callers get: of inner calls, with lazy text, and of unusual classes."""

from __future__ import annotations

import pickle
import typing as t

import pytest
from flask import abort, g
from markupsafe import Markup
from werkzeug.exceptions import HTTPException, NotFound

from flask_wamp import ApplicationError, CallCanceled, FlaskWAMP
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.support.memory import TIMEOUT, MemoryRouter

SECRET = "SELECT * FROM users WHERE token = 'hunter2'"
URI = "com.example.f"


def failure(router: MemoryRouter, *args: t.Any) -> ApplicationError:
    with pytest.raises(ApplicationError) as raised:
        router.call(URI, *args)
    return raised.value


# Errors of inner calls.


def refuse() -> None:
    raise ApplicationError("com.bank.error.failed", SECRET)


def inner() -> t.Any:
    return g.wampy.call("com.bank.withdraw")


def streamed() -> t.Any:
    return g.wampy.stream("com.bank.withdraw")


def submitted() -> t.Any:
    return g.wampy.submit("com.bank.withdraw").result(TIMEOUT)


def handled() -> t.Any:
    try:
        return inner()
    except ApplicationError as error:
        raise error


INNER = [inner, streamed, submitted, handled]


@pytest.mark.parametrize("f", INNER)
def test_the_payload_of_an_inner_error_is_not_relayed(
    serve: Serve, router: MemoryRouter, f: t.Callable[..., t.Any], caplog: t.Any
) -> None:
    caplog.set_level("INFO", "flask_wamp.dispatch")
    router.register("com.bank.withdraw", refuse)
    app, _ = serve(lambda wamp: wamp.callee(URI)(f))
    app.testing = False
    error = failure(router)
    assert (error.uri, error.args, error.kwargs) == ("com.bank.error.failed", (), {})
    assert "hunter2" in caplog.text  # this app's log contains it


@pytest.mark.parametrize("flag", ["debug", "testing"])
def test_the_payload_is_relayed_in_debug_mode(
    serve: Serve, router: MemoryRouter, flag: str
) -> None:
    router.register("com.bank.withdraw", refuse)
    app, _ = serve(lambda wamp: wamp.callee(URI)(inner))
    app.testing = False
    setattr(app, flag, True)
    assert failure(router).args == (SECRET,)


def test_an_exposed_error_is_relayed(serve: Serve, router: MemoryRouter) -> None:
    def exposing() -> t.Any:
        try:
            return inner()
        except ApplicationError as error:
            raise error.expose() from None

    router.register("com.bank.withdraw", refuse)
    app, _ = serve(lambda wamp: wamp.callee(URI)(exposing))
    app.testing = False
    assert failure(router).args == (SECRET,)


def test_the_callees_own_error_is_answered_in_full(serve: Serve, router: MemoryRouter) -> None:
    def own() -> None:
        raise ApplicationError("com.example.error.sold_out", "tea", left=0)

    app, _ = serve(lambda wamp: wamp.callee(URI)(own))
    app.testing = False
    error = failure(router)
    assert (error.args, error.kwargs) == (("tea",), {"left": 0})


def test_an_error_handler_decides(serve: Serve, router: MemoryRouter) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(URI)(inner)
        wamp.errorhandler(ApplicationError)(lambda error: error)

    router.register("com.bank.withdraw", refuse)
    app, wamp = serve(setup)
    app.testing = False
    assert failure(router).args == ()
    wamp.errorhandler(ApplicationError)(lambda error: error.expose())
    assert failure(router).args == (SECRET,)


def test_a_timeout_of_an_inner_call_names_no_procedure(serve: Serve, router: MemoryRouter) -> None:
    router.hold("com.bank.withdraw")
    app, _ = serve(
        lambda wamp: wamp.callee(URI)(
            lambda: g.wampy.with_options(timeout=0.05).call("com.bank.withdraw")
        )
    )
    app.testing = False
    error = failure(router)
    assert (error.uri, error.args) == ("wamp.error.timeout", ())
    app.testing = True
    assert "com.bank.withdraw" in failure(router).args[0]


def test_an_inner_cancel_is_not_relayed(serve: Serve, router: MemoryRouter) -> None:
    held = router.hold("com.bank.withdraw")
    app, _ = serve(lambda wamp: wamp.callee(URI)(inner))
    app.testing = False
    answer = router.invoke(URI)
    held.get(timeout=TIMEOUT).fail("wamp.error.canceled", SECRET)
    message = answer.result(TIMEOUT)
    assert isinstance(message, m.Error)
    assert (message.error, message.args) == ("wamp.error.canceled", [])


# Subclasses whose __init__ does not call ApplicationError.__init__.


class SoldOut(ApplicationError):
    def __init__(self, item: str, left: int = 0) -> None:
        self.item = item
        self.left = left


class Named(ApplicationError):
    uri = "com.shop.error.named"

    def __init__(self) -> None:
        pass


class Canceled(CallCanceled):
    def __init__(self) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "uri", "args"),
    [
        (SoldOut("tea"), "com.example.error.sold_out", ("tea",)),
        (SoldOut("tea", left=1), "com.example.error.sold_out", ("tea",)),
        (Named(), "com.shop.error.named", ()),
        (Canceled(), "wamp.error.canceled", ()),
    ],
)
def test_subclasses_that_skip_init(
    serve: Serve, router: MemoryRouter, error: ApplicationError, uri: str, args: tuple[t.Any, ...]
) -> None:
    assert error.kwargs == {}
    assert str(error).startswith(error.uri or type(error).__name__)
    assert type(pickle.loads(pickle.dumps(error))) is type(error)

    def f() -> None:
        raise error

    serve(lambda wamp: wamp.callee(URI)(f))
    found = failure(router)
    assert (found.uri, found.args, found.kwargs) == (uri, args, {})


def test_the_keywords_of_two_errors_are_two_dictionaries() -> None:
    SoldOut("tea").kwargs["x"] = 1
    assert SoldOut("tea").kwargs == {}


# Lazy text, as in flask_babel, and Markup.


class Lazy:
    """Text that is created when it is used."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __getattr__(self, name: str) -> t.Any:
        return getattr(str(self), name)


TEXTS: dict[str, t.Any] = {
    "lazy": Lazy("Kein <b>Tee</b>"),
    "markup": Markup("Kein <b>Tee</b>"),
    "text": "Kein <b>Tee</b>",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_abort_takes_lazy_text_and_markup(serve: Serve, router: MemoryRouter, text: t.Any) -> None:
    app, _ = serve(lambda wamp: wamp.callee(URI)(lambda code: abort(code, text)))
    app.testing = False
    kwargs = {"code": 404, "name": "Not Found", "description": "Kein <b>Tee</b>"}
    assert failure(router, 404).kwargs == kwargs
    refused = failure(router, 403)
    assert (refused.uri, refused.args) == ("wamp.error.not_authorized", ("Kein <b>Tee</b>",))


def test_a_view_returns_markup(serve: Serve, router: MemoryRouter) -> None:
    def view(code: int) -> t.Any:
        return Markup("Kein <b>Tee</b>"), code

    app, wamp = serve()
    app.add_url_rule("/<int:code>", "view", wamp.callee(URI)(view))
    assert router.call(URI, 200) == "Kein <b>Tee</b>"
    assert failure(router, 410).kwargs["description"] == "Kein <b>Tee</b>"
    assert failure(router, 401).args == ("Kein <b>Tee</b>",)


def test_markup_in_results_and_errors(serve: Serve, router: MemoryRouter) -> None:
    def f(fails: bool) -> t.Any:
        if fails:
            raise ApplicationError("com.example.error.x", Markup("<b>"), text=[Markup("<i>")])
        return {"a": [Markup("<b>")]}

    serve(lambda wamp: wamp.callee(URI)(f))
    assert router.call(URI, False) == {"a": ["<b>"]}
    error = failure(router, True)
    assert (error.args, error.kwargs) == (("<b>",), {"text": ["<i>"]})


class NoDescription(HTTPException):
    code = 418
    description = None


@pytest.mark.parametrize(
    ("error", "description"),
    [(NoDescription(), ""), (NotFound(""), ""), (NotFound(t.cast(str, 7)), "7")],
)
def test_unusual_descriptions_of_abort(
    serve: Serve, router: MemoryRouter, error: HTTPException, description: str
) -> None:
    def f() -> None:
        raise error

    serve(lambda wamp: wamp.callee(URI)(f))
    assert failure(router).kwargs["description"] == description


# Logs.


def test_the_payload_of_an_error_forges_no_log_line(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "flask_wamp.dispatch")

    def f(text: str) -> None:
        raise ApplicationError("com.example.error.bad", text)

    serve(lambda wamp: wamp.callee("com.example", match="prefix")(f))
    for text in ("\nERROR all is lost\x1b[31m\x9b", "x" * 1_000_000):
        with pytest.raises(ApplicationError):
            router.call("com.example.\x1b[31m", text)
    for record in caplog.records:
        message = record.getMessage()
        assert message.isprintable()
        assert len(message) < 2000
    assert len(caplog.records) == 2
