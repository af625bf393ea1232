"""Mistakes in ``wamp.allow()`` are errors that say how to write it."""

from __future__ import annotations

import typing as t

import pytest

from flask_wamp import FlaskWAMP, WAMPBlueprint

OBJECTS: list[t.Any] = [FlaskWAMP(), WAMPBlueprint("shop", ".shop")]


@pytest.mark.parametrize("on", OBJECTS, ids=["extension", "blueprint"])
@pytest.mark.parametrize(
    ("args", "kwargs", "given"),
    [
        (("anonymous", ".news"), {}, "not '.news'"),
        (("anonymous",), {"subscrib": ".news"}, "not subscrib="),
        (("anonymous", ".news"), {"cal": ".add"}, "not '.news', cal="),
    ],
)
def test_the_error_of_a_wrong_argument_shows_an_example(
    on: t.Any, args: tuple[str, ...], kwargs: dict[str, str], given: str
) -> None:
    with pytest.raises(
        TypeError, match="^allow takes roles, and call=.*For example: allow\\("
    ) as info:
        on.allow(*args, **kwargs)
    assert given in str(info.value)


@pytest.mark.parametrize("given", [True, False, 7, b"com.example.news", {".news": True}])
@pytest.mark.parametrize("action", ["call", "publish", "subscribe", "register"])
def test_the_error_of_a_value_that_is_no_uri_says_what_is_allowed(
    action: str, given: t.Any
) -> None:
    with pytest.raises(
        TypeError, match=f"^{action}=.*must be a URI such as '.news', or a list of URIs"
    ):
        FlaskWAMP().allow("anonymous", **{action: given})


@pytest.mark.parametrize(
    "uri", ["my news", ".my news", "com.example.#", "my news.", "com.my news..x"]
)
def test_an_invalid_uri_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="is not a URI, because it contains"):
        FlaskWAMP().allow("anonymous", subscribe=uri)


@pytest.mark.parametrize(
    "uri", [".news", "com.example.", ".user.{authid}.inbox", "com..x", ".<int:x>.y", ".a."]
)
def test_a_valid_uri_is_accepted(uri: str) -> None:
    FlaskWAMP().allow(["anonymous", "*"], subscribe=uri, call=[uri])
