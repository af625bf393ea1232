"""URIs: valid ones, relative ones, names from class names; and router URLs."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_wamp.exceptions import InvalidURI
from flask_wamp.protocol.uris import MATCHES, check_uri, resolve, snake_case
from flask_wamp.transports.urls import RouterURL, parse_router_url

# By match: whether the URI may be sent. Source: WAMP Basic Profile, "URIs".

URIS: dict[str, set[str]] = {
    "com": {"exact", "prefix", "wildcard"},
    "com.example.add": {"exact", "prefix", "wildcard"},
    "com.example.Größe-2_x": {"exact", "prefix", "wildcard"},
    "com.example.": {"prefix", "wildcard"},
    "com..add": {"wildcard"},
    "com.example..": {"wildcard"},
    ".example.add": {"wildcard"},
    "..": {"wildcard"},
    "": set(),
    "com.exa mple": set(),
    "com.exa\tmple": set(),
    "com.example\n": set(),
    "com.#": set(),
    "com.exa#mple": set(),
    "#": set(),
    " ": set(),
    "\0": set(),
    "\0Y29t": set(),
    "com.exa\0mple": set(),
    "com.\ud800": set(),
    "com.\udfff.add": set(),
}


@pytest.mark.parametrize("match", MATCHES)
@pytest.mark.parametrize("uri", URIS)
def test_uri(uri: str, match: str) -> None:
    if match in URIS[uri]:
        assert check_uri(uri, "procedure", match) == uri
    else:
        with pytest.raises(InvalidURI, match="is not a valid procedure"):
            check_uri(uri, "procedure", match)


@pytest.mark.parametrize("uri", [None, 1, b"com.example", ["com"], ("com",), {}])
def test_a_uri_that_is_not_a_string(uri: t.Any) -> None:
    with pytest.raises(InvalidURI, match="is not a valid topic"):
        check_uri(uri, "topic")


def test_invalid_uri_is_a_value_error_with_the_facts() -> None:
    with pytest.raises(ValueError, match=r"'com\.\.x' is not a valid error URI") as info:
        check_uri("com..x", "error URI")
    assert isinstance(info.value, InvalidURI)
    assert (info.value.uri, info.value.what) == ("com..x", "error URI")


@given(st.text(max_size=30))
def test_exact_uri_has_no_empty_part_and_no_space(uri: str) -> None:
    parts = uri.split(".")
    valid = all(parts) and not any(char.isspace() or char in "#\0" for char in uri)
    try:
        check_uri(uri, "procedure")
    except InvalidURI:
        assert not valid
    else:
        assert valid


@pytest.mark.parametrize(
    ("uri", "prefix", "absolute"),
    [
        (".add", "com.example", "com.example.add"),
        (".math.add", "com.example", "com.example.math.add"),
        (".add", None, "add"),
        (".math.add", None, "math.add"),
        ("add", "com.example", "add"),
        ("org.add", "com.example", "org.add"),
        ("", "com.example", ""),
    ],
)
def test_relative_uri(uri: str, prefix: str | None, absolute: str) -> None:
    assert resolve(uri, prefix) == absolute


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("OutOfStock", "out_of_stock"),
        ("Not Found", "not_found"),
        ("HTTPError", "http_error"),
        ("MyHTTPError", "my_http_error"),
        ("Error404Page", "error404_page"),
        ("I'm a Teapot", "i_m_a_teapot"),
        ("already_snake", "already_snake"),
        ("_Private", "private"),
        ("X", "x"),
        ("ABC", "abc"),
    ],
)
def test_snake_case(name: str, expected: str) -> None:
    assert snake_case(name) == expected


@given(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*[A-Za-z0-9]", fullmatch=True))
def test_every_class_name_becomes_a_valid_uri(name: str) -> None:
    check_uri(f"com.example.error.{snake_case(name)}", "error URI")


# Router URLs.

URLS: dict[str, RouterURL] = {
    url: RouterURL(url, *rest)
    for url, *rest in (
        ("ws://127.0.0.1:8080/ws", "ws", "127.0.0.1", 8080, "/ws"),
        ("ws://example.org", "ws", "example.org", 80, "/"),
        ("wss://example.org/a/b?c=d", "wss", "example.org", 443, "/a/b?c=d"),
        ("WS://Example.ORG:80/ws", "ws", "example.org", 80, "/ws"),
        ("ws://[::1]:8080/ws", "ws", "::1", 8080, "/ws"),
        ("tcp://127.0.0.1:8081", "tcp", "127.0.0.1", 8081, "/"),
        ("tcp://127.0.0.1:8081/", "tcp", "127.0.0.1", 8081, "/"),
        ("tls://example.org:8443", "tls", "example.org", 8443, "/"),
        ("unix:///run/crossbar.sock", "unix", "localhost", 0, "/run/crossbar.sock"),
        ("embedded:", "embedded", "localhost", 0, ""),
        ("embedded:/run/shop.sock", "embedded", "localhost", 0, "/run/shop.sock"),
        ("memory:", "memory", "localhost", 0, ""),
    )
}


@pytest.mark.parametrize("url", URLS)
def test_router_url(url: str) -> None:
    parsed = parse_router_url(url)
    assert parsed == URLS[url]
    scheme = parsed.scheme
    assert parsed.websocket is (scheme in ("ws", "wss"))
    assert parsed.secure is (scheme in ("wss", "tls"))
    assert parsed.unix is (scheme in ("unix", "embedded"))
    assert parsed.embedded is (scheme == "embedded")
    assert parsed.memory is (scheme == "memory")
    assert parsed.local is (parsed.host != "example.org")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8080",
        "localhost",
        "http://127.0.0.1:8080/ws",
        "rs://127.0.0.1:8080",
        "ws://",
        "ws:///ws",
        "ws://127.0.0.1:port/ws",
        "ws://127.0.0.1:99999/ws",
        "ws://127.0.0.1:8080/ws#fragment",
        "ws://[::1/ws",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:8081/path",
        "tls://example.org",
        "unix://relative/path",
        "unix:",
        "unix:///" + 110 * "x",
        "unix:///a?b",
        "embedded:a",
        "embedded:/" + 110 * "x",
        "memory:x",
        "memory:/x",
        "tcp://127.0.0.1:8081?x",
        None,
        1,
        b"ws://127.0.0.1:8080/ws",
    ],
)
def test_not_a_router_url(url: t.Any) -> None:
    with pytest.raises(ValueError, match="is not a router URL: .*; use embedded:"):
        parse_router_url(url)


@given(st.text(max_size=40))
def test_any_text_is_a_router_url_or_a_value_error(url: str) -> None:
    for candidate in (url, f"ws://{url}", f"tcp://{url}"):
        try:
            parsed = parse_router_url(candidate)
        except ValueError as error:
            assert "is not a router URL" in str(error)
        else:
            assert parsed.host
