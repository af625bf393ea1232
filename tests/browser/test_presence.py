"""``examples/presence`` in two tabs: they show who joins and leaves, also after an absence."""

from __future__ import annotations

import typing as t

import pytest

if t.TYPE_CHECKING:
    from .conftest import Example, Page

pytestmark = [pytest.mark.browser, pytest.mark.router, pytest.mark.slow]

Window = t.Callable[[str], "Page"]


def people(page: Page) -> dict[str, bool]:
    """Return the session ids that the page shows, and whether it marks each as "you"."""
    script = """
        const cards = [...document.querySelectorAll("#people li")];
        return Object.fromEntries(cards.map((card) => [card.dataset.id, "you" in card.dataset]));
    """
    return t.cast("dict[str, bool]", page.run(script))


def wait_for_people(page: Page, count: int) -> None:
    page.wait_for("connection", "live")
    page.wait_for("count", str(count))
    assert len(people(page)) == count


def leave(page: Page) -> None:
    """Open another page in the same window."""
    page.driver.switch_to.window(page.handle)
    page.driver.get("about:blank")


def test_a_second_tab_joins_and_leaves(window: Window, presence: Example) -> None:
    page = window(presence.url)
    wait_for_people(page, 1)
    assert [*people(page).values()] == [True]
    other = window(presence.url)
    for each in (page, other):
        wait_for_people(each, 2)
        assert sorted(people(each).values()) == [False, True]
    assert people(page).keys() == people(other).keys()
    assert people(page) != people(other)
    leave(other)
    wait_for_people(page, 1)
    other.driver.switch_to.window(other.handle)
    other.driver.back()
    wait_for_people(page, 2)
    wait_for_people(other, 2)


def test_a_tab_is_closed(window: Window, presence: Example) -> None:
    page = window(presence.url)
    page.driver.switch_to.new_window("tab")
    tab = page.driver.current_window_handle
    page.driver.get(presence.url)
    wait_for_people(page, 2)
    page.driver.switch_to.window(tab)
    page.driver.close()
    wait_for_people(page, 1)


def test_the_app_is_started_again(window: Window, presence: Example) -> None:
    page, other = window(presence.url), window(presence.url)
    wait_for_people(page, 2)
    presence.stop()
    page.wait_for("connection", "the app is away")
    leave(other)
    presence.start(presence.port)
    wait_for_people(page, 1)
    other.driver.switch_to.window(other.handle)
    other.driver.get(presence.url)
    wait_for_people(page, 2)


def test_the_router_is_started_again(
    window: Window, presence: Example, presence_router: t.Any
) -> None:
    page, other = window(presence.url), window(presence.url)
    wait_for_people(page, 2)
    before = people(page).keys()
    presence_router.kill()
    presence_router.come_back()
    page.wait(lambda: not people(page).keys() & before, "nobody came back")
    for each in (page, other):
        wait_for_people(each, 2)


def test_a_browser_may_not_call_the_meta_api(window: Window, presence: Example) -> None:
    page = window(presence.url)
    wait_for_people(page, 1)
    asked = """
        const { connect } = await import("/wamp/client.js");
        const wamp = await connect("/wamp");
        const refused = [];
        for (const uri of ["wamp.session.list", "wamp.session.get", "wamp.session.kill"])
          refused.push(await wamp.call(uri, [wamp.session]).catch((error) => error.uri));
        refused.push(await wamp.subscribe("wamp.session.on_join", () => {}).catch((error) => error.uri));
        const options = { acknowledge: true };
        const changed = wamp.publish("com.example.presence.changed", [[]], {}, options);
        refused.push(await changed.catch((error) => error.uri));
        wamp.close();
        return refused;
    """
    assert page.run(asked) == ["wamp.error.not_authorized"] * 5
