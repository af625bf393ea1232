"""A page that the user leaves ends its session, and joins again when the user comes back."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from tests.support.served import APPS

from .conftest import EmbeddedRouter, Example, Page

pytestmark = [pytest.mark.browser]

Window = t.Callable[[str], Page]

JOIN = """
    const { connect } = await import("/wamp/client.js");
    window.states = [];
    const onState = (state, reason) => states.push(state === "lost" ? `lost: ${reason}` : state);
    window.wamp = await connect("/wamp", { onState });
"""
REGISTER = """
    const registered = wamp.register("com.example.mine", () => document.title);
    return registered.then(() => "registered", (error) => error.uri);
"""


@pytest.fixture
def pages(embedded_router: EmbeddedRouter, tmp_path: Path) -> t.Iterator[Example]:
    with Example(str(APPS / "pages.py"), embedded_router, tmp_path / "app.log") as pages:
        yield pages


def follow(page: Page, link: str) -> None:
    """Leave the page as a user does, through a link."""
    page.run(f"setTimeout(() => (location.href = {link!r}));")
    page.wait(lambda: page.driver.current_url.endswith(link), f"{link} was not opened")
    page.wait(lambda: page.run("return document.readyState;") == "complete", "it was not loaded")


def go_back(page: Page) -> None:
    page.driver.back()
    page.wait(
        lambda: page.run("return Boolean(window.states);"),
        "the browser has not kept the page, so this test says nothing",
    )


def register(page: Page) -> None:
    page.wait(lambda: page.run(REGISTER) == "registered", "another page has the procedure")


def wait_until(page: Page, state: str) -> None:
    page.wait(lambda: page.run("return wamp.state;") == state, f"the page is not {state}")


def test_a_page_that_was_left_leaves_the_realm(window: Window, pages: Example) -> None:
    page = window(f"{pages.url}/page/one")
    page.run(JOIN)
    register(page)
    page.run(
        """
        await wamp.register("com.example.slow", () => new Promise(() => {}));
        wamp.call("com.example.slow").catch((error) => (window.failed = String(error)));
        """
    )
    follow(page, "/page/two")
    page.run(JOIN)
    register(page)
    assert page.run('return wamp.call("com.example.mine");') == "two"

    go_back(page)
    wait_until(page, "joined")
    assert page.run("return document.title;") == "one"
    assert page.run("return states;") == [
        *("joining", "joined"),
        "lost: the page was left",
        *("joining", "joined"),
    ]
    assert page.run("return failed;") == (
        "SessionLost: com.example.slow: session lost (the page was left)"
    )


def test_what_a_page_has_registered_is_there_again(window: Window, pages: Example) -> None:
    page = window(f"{pages.url}/page/one")
    page.run(JOIN)
    register(page)
    follow(page, "/page/two")
    go_back(page)
    wait_until(page, "joined")
    assert page.run('return wamp.call("com.example.mine");') == "one"


def test_a_client_that_the_page_has_closed_stays_closed(window: Window, pages: Example) -> None:
    page = window(f"{pages.url}/page/one")
    page.run(JOIN)
    page.run("wamp.close();")
    page.run('addEventListener("pageshow", () => (window.shown = true), { once: true });')
    follow(page, "/page/two")
    go_back(page)
    page.wait(lambda: page.run("return window.shown;"), "the page was not shown again")
    assert page.run("return states;") == ["joining", "joined", "closed"]


@pytest.mark.parametrize("is_first", [True, False], ids=["before the client", "after the client"])
def test_a_page_may_close_and_open_the_client_itself(
    window: Window, pages: Example, is_first: bool
) -> None:
    listen = """
        addEventListener("pagehide", () => wamp.close());
        addEventListener("pageshow", () => wamp.open());
    """
    page = window(f"{pages.url}/page/one")
    page.run(listen + JOIN if is_first else JOIN + listen)
    register(page)
    for _ in range(2):
        follow(page, "/page/two")
        page.run(JOIN)
        register(page)
        page.run("wamp.close();")
        go_back(page)
        wait_until(page, "joined")
        assert page.run('return wamp.call("com.example.mine");') == "one"


def test_a_page_may_publish_a_last_event(window: Window, pages: Example) -> None:
    other, page = window(f"{pages.url}/page/other"), window(f"{pages.url}/page/one")
    other.run(JOIN)
    other.run('await wamp.subscribe("com.example.bye", ([from]) => (window.bye = from));')
    page.run('addEventListener("pagehide", () => wamp.publish("com.example.bye", ["one"]));' + JOIN)
    follow(page, "/page/two")
    other.wait(lambda: other.run("return window.bye;") == "one", "the event did not arrive")
