"""Text of other peers in logs and errors: one line of printable characters, truncated."""

from __future__ import annotations

import gc
import typing as t
import weakref

import pytest

from flask_wamp._text import MAX_TEXT, get_logger, safe_repr, safe_text
from flask_wamp.exceptions import ApplicationError, CallCanceled, InvalidURI
from flask_wamp.protocol import messages as m
from flask_wamp.protocol import uris
from flask_wamp.protocol.session_events import Left
from tests.support.wire import joined_session

#: Characters that must not reach a terminal or a log line unescaped.
UNSAFE = {
    "escape": "\x1b[2J",
    "nul": "\0",
    "bell": "\a",
    "delete": "\x7f",
    "c1 control": "\x9b31m",
    "newline": "\n",
    "carriage return": "\r",
    "next line": "\x85",
    "line separator": "\u2028",
    "right-to-left override": "\u202e",
    "isolate": "\u2066",
    "right-to-left mark": "\u200f",
    "arabic letter mark": "\u061c",
    "zero width space": "\u200b",
    "byte order mark": "\ufeff",
    "tag": "\U000e0041",
    "lone surrogate": "\ud800",
}


def is_safe(text: str) -> bool:
    return all(character.isprintable() for character in text) and text.isascii()


@pytest.mark.parametrize("unsafe", UNSAFE.values(), ids=UNSAFE)
def test_unsafe_characters_are_escaped(unsafe: str) -> None:
    shown = safe_text(f"com.example{unsafe}.x")
    assert is_safe(shown)
    assert shown.startswith("com.example\\")


@pytest.mark.parametrize("text", ["com.example.é", "名前", "a b", "emoji 🎉", ""])
def test_ordinary_text_is_not_changed(text: str) -> None:
    assert safe_text(text) == text


def test_long_text_is_truncated_and_marked() -> None:
    shown = safe_text("x" * 500_000)
    assert len(shown) < MAX_TEXT + 50
    assert shown.endswith(f"x... ({500_000 - MAX_TEXT} more characters)")
    assert len(safe_repr("x" * 500_000)) < MAX_TEXT + 50
    assert len(safe_repr(["x" * 500_000])) < MAX_TEXT + 50


ARGUMENTS: dict[str, t.Callable[[str], t.Any]] = {
    "text": lambda text: text,
    "an error": ValueError,
    "an application error": lambda text: ApplicationError(text, text, **{text: text}),
    "an invalid URI": lambda text: InvalidURI(text, "topic"),
    "a list": lambda text: [text],
}


@pytest.mark.parametrize("make", ARGUMENTS.values(), ids=ARGUMENTS)
@pytest.mark.parametrize("unsafe", UNSAFE.values(), ids=UNSAFE)
def test_log_records_are_safe(
    make: t.Callable[[str], t.Any], unsafe: str, caplog: pytest.LogCaptureFixture
) -> None:
    get_logger("flask_wamp.tests").warning("from %s: %r", make(unsafe * 5000), make(unsafe * 5000))
    [record] = caplog.records
    assert is_safe(record.getMessage())
    assert len(record.getMessage()) < 12 * 5000
    assert record.msg == "from %s: %r"


def test_numbers_of_log_records_are_numbers(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("flask_wamp.tests").warning("%d %.1f %s %s", 1, 2.0, True, None)
    get_logger("flask_wamp.tests").warning("%(a)s", {"a": 1})
    assert [record.getMessage() for record in caplog.records] == ["1 2.0 True None", "1"]


class Broken:
    def __str__(self) -> str:
        raise ValueError

    __repr__ = __str__


def test_an_object_without_a_repr_does_not_raise(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("flask_wamp.tests").warning("%s %r", Broken(), Broken())
    shown = "<Broken that cannot be shown: ValueError>"
    assert [record.getMessage() for record in caplog.records] == [f"{shown} {shown}"]


def test_a_record_keeps_no_payload(caplog: pytest.LogCaptureFixture) -> None:
    class Payload(list[str]):
        """So logs can be searched for it."""

    payload = Payload(["x" * 1_000_000])
    kept = weakref.ref(payload)
    get_logger("flask_wamp.tests").warning("%s %r", payload, payload)
    del payload
    gc.collect()
    assert kept() is None
    assert "xxx" in caplog.text


@pytest.mark.parametrize("unsafe", UNSAFE.values(), ids=UNSAFE)
def test_errors_of_peers_are_safe(unsafe: str) -> None:
    for error in (
        ApplicationError(f"com.{unsafe}", unsafe, **{unsafe: unsafe}),
        CallCanceled(unsafe),
        InvalidURI(unsafe, "topic"),
    ):
        assert is_safe(str(error))


def test_errors_of_peers_are_short() -> None:
    large = "x" * 1_000_000
    assert len(str(ApplicationError(large, large, large, large, large, **{large: large}))) < 4000
    assert len(str(InvalidURI(large, "topic"))) < 1000


# The reason of GOODBYE and ABORT.


@pytest.mark.parametrize("kind", [m.Abort, m.Goodbye])
def test_the_reason_of_goodbye_is_short_and_safe(kind: t.Any) -> None:
    left = joined_session().receive(
        kind({"message": "\x1b" * 1_000_000, "more": "y" * 1_000_000}, "wamp.\n" * 100_000)
    )
    assert isinstance(left, Left)
    assert is_safe(left.reason)
    assert is_safe(left.details["message"])
    assert len(left.reason) + len(left.details["message"]) < 10_000
    assert left.details.keys() == {"message"}


def test_long_uris_are_not_remembered() -> None:
    uris._is_valid_cached.cache_clear()
    uris.check_uri("x" * uris.MAX_CACHED, "topic")
    uris.check_uri("x" * (uris.MAX_CACHED + 1), "topic")
    uris.check_uri("x" * 1_000_000, "topic")
    assert uris._is_valid_cached.cache_info().currsize == 1
    with pytest.raises(InvalidURI):
        uris.check_uri("x" * 1_000_000 + " ", "topic")


# Keywords of a peer.


@pytest.mark.parametrize("name", ["self", "cls", "args", "kwargs", "message", "uri", "error"])
def test_any_keyword_of_a_peer_is_payload(name: str) -> None:
    from flask_wamp.protocol.call_result import CallResult, outcome, remote_error

    assert outcome(m.Result(1, {}, [], {name: 1})) == CallResult(**{name: 1})
    for uri in ("com.example.x", "wamp.error.canceled"):
        error = remote_error(m.Error(48, 1, {}, uri, [], {name: 1}))
        assert error.kwargs == {name: 1}
        assert str(error)
