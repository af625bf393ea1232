"""Server-Sent Events in a real browser: the pages of ``examples/sse``."""

from __future__ import annotations

import json
import time
import typing as t
import urllib.error
import urllib.parse
import urllib.request

import pytest

from tests.conftest import eventually

if t.TYPE_CHECKING:
    from .conftest import Example, Page

pytestmark = [pytest.mark.browser, pytest.mark.router]

Window = t.Callable[[str], "Page"]


@pytest.fixture
def wall(start_example: t.Callable[[str], Example]) -> Example:
    return start_example("sse")


@pytest.fixture
def page(window: Window, wall: Example) -> Page:
    return live(window(wall.url))


def live(page: Page) -> Page:
    page.wait_for("connection", "live")
    return page


def write(page: Page, who: str, text: str) -> None:
    """Post a note as a user does."""
    for name, value in (("who", who), ("text", text)):
        page.element(name).clear()
        page.element(name).send_keys(value)
    page.element("send").click()


def notes(page: Page) -> list[str]:
    return [item.text for item in page.element("notes").find_elements("css selector", "li")]


def wait_for_notes(page: Page, *expected: str) -> None:
    """Wait until these are the newest notes, the last one first."""
    page.wait(
        lambda: notes(page)[: len(expected)] == list(expected),
        f"{expected} did not come to the page",
    )


def post(wall: Example, text: str) -> None:
    """Post a note as curl does."""
    data = urllib.parse.urlencode({"who": "curl", "text": text}).encode()
    with urllib.request.urlopen(f"{wall.url}/notes", data, timeout=30) as response:
        assert response.status == 201


def streams(wall: Example) -> dict[str, int]:
    """The open streams."""
    with urllib.request.urlopen(f"{wall.url}/health", timeout=30) as response:
        return t.cast("dict[str, int]", json.load(response)["streams"])


def test_a_note_appears_in_open_and_later_windows(
    page: Page, window: Window, wall: Example
) -> None:
    other = live(window(wall.url))
    write(page, "Ada", "Tea is ready")
    for each in (page, other):
        wait_for_notes(each, "Ada Tea is ready")
    post(wall, "<b>not bold</b>")
    for each in (page, other):
        wait_for_notes(each, "curl <b>not bold</b>", "Ada Tea is ready")
    assert streams(wall) == {"com.example.wall.note": 2}
    wait_for_notes(live(window(wall.url)), "curl <b>not bold</b>")


def test_a_closed_window_leaves_no_stream(page: Page, wall: Example) -> None:
    assert streams(wall) == {"com.example.wall.note": 1}
    page.driver.get("about:blank")

    def is_noticed() -> bool:
        post(wall, "anybody?")  # the sender notices that the window does not read
        return streams(wall) == {}

    eventually(is_noticed, 30)


def test_the_page_continues_after_a_router_restart(
    page: Page, wall: Example, wamp_router: t.Any
) -> None:
    write(page, "Ada", "before")
    wait_for_notes(page, "Ada before")
    wamp_router.stop()
    try:
        page.wait(lambda: not is_joined(wall), "the app did not notice")
        write(page, "Ada", "meanwhile")
        page.wait_for("message", "Not posted: the app has no router right now.")
    finally:
        wamp_router.start()
    gap = "The app was without its router; a note may be missing here."
    wait_for_notes(page, gap, "Ada before")
    page.element("send").click()
    wait_for_notes(page, "Ada meanwhile", gap, "Ada before")
    assert page.text("connection") == "live"  # the browser has not noticed the loss


def is_joined(wall: Example) -> bool:
    try:
        with urllib.request.urlopen(f"{wall.url}/health", timeout=30):
            return True
    except urllib.error.HTTPError as error:
        assert error.code == 503
        return False


def test_the_page_comes_back_after_a_restart_of_the_app(page: Page, wall: Example) -> None:
    post(wall, "before")
    wait_for_notes(page, "curl before")
    began = time.monotonic()
    wall.stop()
    print(f"the app ended in {time.monotonic() - began:.2f} s")
    page.wait_for("connection", "reconnecting…")
    wall.start(port=wall.port)
    live(page)
    post(wall, "after")
    wait_for_notes(page, "curl after", "curl before")  # each of them once
