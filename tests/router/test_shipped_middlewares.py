"""The middlewares that come with the library: Timeout, AccessLog, RateLimit."""

from __future__ import annotations

import logging
import re
import threading
import time
import typing as t

import pytest
from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP
from flask_wamp.concurrency.threads import is_monkey_patched
from flask_wamp.middlewares import AccessLog, RateLimit, Timeout
from tests.conftest import eventually
from tests.support.notes import Notes, publish
from tests.support.peers import PATIENCE

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]


@pytest.fixture
def notes() -> Notes:
    return Notes()


def failure(wamp: FlaskWAMP, *args: t.Any) -> ApplicationError:
    """The error that a call gets."""
    with pytest.raises(ApplicationError) as raised:
        wamp.client.call(*args)
    return raised.value


# Timeout.


def test_timeout_answers_at_the_deadline(
    wamp: FlaskWAMP, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()
    wamp.middleware(Timeout(0.2))
    wamp.teardown_dispatch(lambda message, error: notes("torn down"))

    @wamp.callee("com.example.slow")
    def slow() -> str:
        try:
            release.wait(PATIENCE)
        finally:
            notes("unwound")
        notes("went on")
        return "late"

    started = time.monotonic()
    error = failure(wamp, "com.example.slow")
    assert 0.2 <= time.monotonic() - started < 2
    assert error.uri == "wamp.error.timeout"
    if is_monkey_patched():  # the greenlet was ended: the code after the wait never runs
        assert notes.until("torn down") == ["unwound", "torn down"]
        expected = "took too long and was ended"
    else:
        assert notes.rest == []
        release.set()
        assert notes.until("torn down") == ["unwound", "went on", "torn down"]
        expected = "com.example.slow ended too late; its result is dropped"
    eventually(lambda: expected in caplog.text)
    assert [r.levelname for r in caplog.records if expected in r.getMessage()] == ["WARNING"]


def test_timeout_is_configured_and_disabled_by_name(wamp: FlaskWAMP) -> None:
    wamp.middleware(Timeout(0.1))
    pause = threading.Event()

    def slow() -> str:
        pause.wait(0.3)
        return "done"

    wamp.callee("com.example.default")(slow)
    wamp.callee("com.example.longer", middlewares={"timeout": {"duration": 5}})(slow)
    wamp.callee("com.example.endless", middlewares={"timeout": False})(slow)
    assert failure(wamp, "com.example.default").uri == "wamp.error.timeout"
    assert wamp.client.call("com.example.longer") == "done"
    assert wamp.client.call("com.example.endless") == "done"


def test_timeout_of_an_event_is_logged(
    wamp: FlaskWAMP, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    wamp.middleware(Timeout(0.1))
    wamp.teardown_dispatch(lambda message, error: notes("torn down"))
    pause = threading.Event()

    @wamp.subscriber("com.example.slow")
    def slow() -> None:
        pause.wait(0.3)
        notes("went on")

    publish(wamp, "com.example.slow")
    ended = ["torn down"] if is_monkey_patched() else ["went on", "torn down"]
    assert notes.until("torn down") == ended
    (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert re.search(r"<Event \d+ on com\.example\.slow> .*took", record.getMessage())


def test_a_deadline_does_not_end_the_teardown(wamp: FlaskWAMP, notes: Notes) -> None:
    pause = threading.Event()

    @wamp.teardown_dispatch
    def last(message: t.Any, error: t.Any) -> None:
        notes("last")

    @wamp.teardown_dispatch
    def slow(message: t.Any, error: t.Any) -> None:
        pause.wait(0.3)
        notes("slow")

    wamp.callee("com.example.quick", timeout=0.1)(lambda: "in time")
    assert failure(wamp, "com.example.quick").uri == "wamp.error.timeout"
    assert notes.take(2) == ["slow", "last"]


# AccessLog.


def test_access_log_has_a_line_for_each_message(
    wamp: FlaskWAMP, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flask_wamp.access")
    wamp.middleware(AccessLog())
    wamp.callee("com.example.square")(_square)
    wamp.callee("com.example.quiet", middlewares={"access_log": False})(lambda: None)
    wamp.callee("com.example.loud", middlewares={"access_log": {"level": logging.WARNING}})(
        lambda: None
    )
    wamp.callee("com.example.slow", timeout=0.05)(lambda: threading.Event().wait(0.15))
    wamp.subscriber("com.example.news")(lambda: notes("news"))
    wamp.client.call("com.example.square", 2)
    wamp.client.call("com.example.quiet")
    wamp.client.call("com.example.loud")
    for args in (["com.example.square", "x"], ["com.example.square", 0], ["com.example.slow"]):
        failure(wamp, *args)
    publish(wamp, "com.example.news")
    lines = eventually(lambda: _six_lines(caplog))
    session, ms = wamp.client.session_id, r"\d+\.\d ms"
    expected = [
        rf"INFO com\.example\.square from {session}: ok in {ms}",
        rf"WARNING com\.example\.loud from {session}: ok in {ms}",
        rf"INFO com\.example\.square from {session}: wamp\.error\.invalid_argument in {ms}",
        rf"INFO com\.example\.square from {session}: ZeroDivisionError in {ms}",
        rf"INFO com\.example\.slow from {session}: wamp\.error\.timeout in {ms}",
        rf"INFO com\.example\.news from {session}: ok in {ms}",
    ]
    for line, pattern in zip(sorted(lines), sorted(expected), strict=True):
        assert re.fullmatch(pattern, line)


def _square(x: float) -> float:
    return x * x + 0 / x


def _six_lines(caplog: pytest.LogCaptureFixture) -> list[str] | None:
    lines = [
        f"{r.levelname} {r.getMessage()}" for r in caplog.records if r.name == "flask_wamp.access"
    ]
    return lines if len(lines) >= 6 else None


# RateLimit.


def too_many(wamp: FlaskWAMP, uri: str) -> bool:
    """Return whether a call is refused. The error must be that of a rate limit."""
    try:
        wamp.client.call(uri)
    except ApplicationError as error:
        assert error.uri == "com.example.error.too_many_requests"
        assert error.kwargs["code"] == 429
        return True
    return False


@pytest.mark.parametrize("per", ["caller", "procedure"])
def test_rate_limit(join: Join, wamp_router: DevRouter, wamp: FlaskWAMP, per: str) -> None:
    wamp.middleware(RateLimit(2, 3600, per=per))
    wamp.callee("com.example.one")(lambda: None)
    wamp.callee("com.example.two")(lambda: None)
    wamp.callee("com.example.more", middlewares={"rate_limit": {"limit": 3}})(lambda: None)
    _, other = join(wamp_router.rawsocket_url)
    assert [too_many(wamp, "com.example.one") for _ in range(3)] == [False, False, True]
    assert too_many(wamp, "com.example.two") == (per == "caller")
    assert too_many(other, "com.example.one") == (per == "procedure")
    refused = [too_many(wamp, "com.example.more") for _ in range(4)]
    assert refused == [False, False, False, True]


def test_rate_limit_ends_after_its_period(wamp: FlaskWAMP) -> None:
    wamp.callee("com.example.one", middlewares=[RateLimit(1, 0.2)])(lambda: None)
    assert [too_many(wamp, "com.example.one") for _ in range(2)] == [False, True]
    eventually(lambda: not too_many(wamp, "com.example.one"))


def test_rate_limit_drops_events(
    wamp: FlaskWAMP, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    wamp.middleware(RateLimit(1, 3600))
    wamp.subscriber("com.example.news")(lambda text: notes(text))
    wamp.subscriber("com.example.end", middlewares={"rate_limit": False})(lambda: notes("end"))
    for text in ("first", "second"):
        publish(wamp, "com.example.news", text)
    eventually(lambda: "on com.example.news> is dropped: more than 1 in 3600 s" in caplog.text)
    publish(wamp, "com.example.end")
    assert notes.until("end") == ["first", "end"]


def test_rate_limit_forgets_callers_it_has_not_seen_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RateLimit, "MAX_BUCKETS", 3)
    limit = RateLimit(1, 3600)
    assert all(limit._take(caller) for caller in range(100))
    assert len(limit._buckets) <= 3


@pytest.mark.parametrize(
    "options", [{"limit": 0}, {"limit": 1, "period": 0}, {"limit": 1, "per": "realm"}]
)
def test_rate_limit_refuses_invalid_arguments(options: dict[str, t.Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        RateLimit(**options)
