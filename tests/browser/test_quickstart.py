"""A browser, a real router and the quickstart: what a new user sees."""

from __future__ import annotations

import typing as t

import pytest

from .conftest import EmbeddedRouter

if t.TYPE_CHECKING:
    from .conftest import Page, Quickstart

pytestmark = [pytest.mark.browser, pytest.mark.router]

Window = t.Callable[[str], "Page"]


@pytest.fixture
def page(window: Window, quickstart: Quickstart) -> Page:
    return connected(window(quickstart.url))


def connected(page: Page) -> Page:
    page.wait_for("connection", "connected")
    return page


def test_a_vote_moves_the_bars_of_every_window(
    page: Page, window: Window, quickstart: Quickstart
) -> None:
    other = connected(window(quickstart.url))
    assert page.bar("tea") == other.bar("tea") == 0
    page.vote("tea")
    page.wait_for_bars({"coffee": 0, "tea": 1, "lemonade": 0, "water": 0})
    other.wait_for_bars({"coffee": 0, "tea": 1, "lemonade": 0, "water": 0})
    assert other.events() == 1, "the other window was not told"
    other.vote("water")
    page.wait_for_bars({"coffee": 0, "tea": 1, "lemonade": 0, "water": 1})
    page.wait_for("total", "2 votes")
    assert quickstart.votes() == {"coffee": 0, "tea": 1, "lemonade": 0, "water": 1}


def test_a_vote_by_http_moves_the_bars_of_every_window(
    page: Page, window: Window, quickstart: Quickstart
) -> None:
    other = connected(window(quickstart.url))
    totals = quickstart.vote("coffee")
    for each in (page, other):
        each.wait_for_bars(totals)
        assert each.events() == 1


def test_a_new_page_starts_with_the_current_totals(window: Window, quickstart: Quickstart) -> None:
    quickstart.vote("lemonade")
    connected(window(quickstart.url)).wait_for_bars(quickstart.vote("water"))


def test_the_page_comes_back_after_a_router_restart(
    page: Page, quickstart: Quickstart, example_router: t.Any
) -> None:
    session = page.text("session")
    example_router.kill()
    try:
        page.wait(lambda: page.text("session") != session, "the session did not end")
        totals = quickstart.vote("coffee")  # HTTP does not need the router
        assert totals == {"coffee": 1, "tea": 0, "lemonade": 0, "water": 0}
    finally:
        example_router.come_back()
    page.wait_for("connection", "connected")
    page.wait_for_bars(totals)
    page.vote("tea")
    page.wait_for_bars({**totals, "tea": 1})


# The app's own router is back before a user can vote.
@pytest.mark.parametrize("example_router", ["crossbar"], indirect=True)
def test_a_vote_without_a_router_is_not_sent(page: Page, wamp_router: t.Any) -> None:
    wamp_router.stop()
    try:
        page.wait_for("connection", "reconnecting…")
        page.vote("tea")
        page.wait_for("message", "Not connected right now: this vote was not sent.")
    finally:
        wamp_router.start()
    page.wait_for("connection", "connected")


def test_the_page_waits_until_the_app_is_back(
    page: Page, quickstart: Quickstart, example_router: t.Any
) -> None:
    quickstart.stop()
    page.vote("tea")
    quickstart.start(quickstart.port)
    page.wait_for("connection", "connected")
    # The embedded router keeps a call until the app is back. Crossbar answers that there is no procedure.
    first = 1 if isinstance(example_router, EmbeddedRouter) else 0
    page.wait_for_bars(quickstart.votes() | {"tea": first})
    page.vote("tea")
    page.wait_for_bars(quickstart.votes() | {"tea": first + 1})


def test_an_unknown_choice_is_an_error(page: Page) -> None:
    page.run('document.querySelector("[data-choice=tea]").dataset.choice = "gin";')
    page.vote("tea")
    page.wait_for("message", "Not counted: There is no 'gin' in this poll.")
