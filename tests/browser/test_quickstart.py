"""A browser, a real router and the quickstart: what a new user sees."""

from __future__ import annotations

import typing as t

import pytest

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


def test_a_new_page_starts_with_the_totals_of_now(window: Window, quickstart: Quickstart) -> None:
    quickstart.vote("lemonade")
    connected(window(quickstart.url)).wait_for_bars(quickstart.vote("water"))


def test_the_page_comes_back_after_a_router_restart(
    page: Page, quickstart: Quickstart, wamp_router: t.Any
) -> None:
    wamp_router.stop()
    try:
        page.wait_for("connection", "reconnecting…")
        page.vote("tea")
        page.wait_for("message", "Not connected right now: this vote was not sent.")
        totals = quickstart.vote("coffee")  # HTTP does not need the router
        assert totals == {"coffee": 1, "tea": 0, "lemonade": 0, "water": 0}
    finally:
        wamp_router.start()
    page.wait_for("connection", "connected")
    page.wait_for_bars(totals)
    page.vote("tea")
    page.wait_for_bars({**totals, "tea": 1})


def test_the_page_waits_for_an_app_that_is_gone(page: Page, quickstart: Quickstart) -> None:
    quickstart.stop()
    page.vote("tea")
    page.wait_for("connection", "waiting for the app…")
    quickstart.start()
    page.wait_for("connection", "connected")
    page.vote("tea")
    page.wait_for_bars(quickstart.votes() | {"tea": 1})


def test_an_unknown_choice_is_an_error(page: Page) -> None:
    page.run('document.querySelector("[data-choice=tea]").dataset.choice = "gin";')
    page.vote("tea")
    page.wait_for("message", "Not counted: There is no 'gin' in this poll.")


WAMP_JS = """
const { Wamp, ApplicationError, CallTimeout, NotJoined } = await import("/static/wamp.js");
const { routerUrl, realm } = document.body.dataset;
const wamp = new Wamp(routerUrl, realm);
const refused = await wamp.call("com.example.any").catch((error) => error.name);
const seen = [];
const subscribed = wamp.subscribe("com.example.js.topic", (args, kwargs, details) => {
  seen.push([args, kwargs, details.topic]);
});
const other = new Wamp(routerUrl, realm);
wamp.connect();
other.connect();
const unsubscribe = await subscribed;
const unregister = await other.register("com.example.js.add", async ([a, b]) => a + b);
await other.register("com.example.js.fail", () => {
  throw new ApplicationError("com.example.error.nope", ["no"], { code: 7 });
});
await other.register("com.example.js.never", () => new Promise(() => {}));
"""


def test_wamp_js(page: Page) -> None:
    outcome = page.run(
        WAMP_JS
        + """
        const sum = await wamp.call("com.example.js.add", [1, 2]);
        const error = await wamp.call("com.example.js.fail").catch((error) => error);
        const late = wamp.call("com.example.js.never", [], {}, { timeout: 20 });
        const timeout = await late.catch((error) => error.name);
        const publication = await other.publish(
          "com.example.js.topic", ["hello"], { to: "you" }, { acknowledge: true });
        await wamp.call("com.example.js.add", [0, 0]); // the event came before this answer
        await unsubscribe();
        await other.publish("com.example.js.topic", ["again"], {}, { acknowledge: true });
        await unregister();
        const gone = await wamp.call("com.example.js.add", [1, 2]).catch((error) => error.uri);
        const waiting = wamp.call("com.example.js.never").catch((error) => error.name);
        wamp.close();
        other.close();
        return { refused, sum, timeout, seen, gone, lost: await waiting,
          error: [error.name, error.uri, error.args, error.kwargs],
          publication: typeof publication };
        """
    )
    assert outcome == {
        "refused": "NotJoined",
        "sum": 3,
        "error": ["ApplicationError", "com.example.error.nope", ["no"], {"code": 7}],
        "timeout": "CallTimeout",
        "publication": "number",
        "seen": [[["hello"], {"to": "you"}, "com.example.js.topic"]],
        "gone": "wamp.error.no_such_procedure",
        "lost": "SessionLost",
    }


def test_wamp_js_restores_what_it_had_after_a_router_restart(
    page: Page, wamp_router: t.Any
) -> None:
    page.run(WAMP_JS + "Object.assign(window, { wamp, other, seen });")
    wamp_router.stop()
    try:
        page.wait(lambda: page.run("return wamp.session === null;"), "the session did not end")
    finally:
        wamp_router.start()
    sum_or_error = """
        return await wamp.call("com.example.js.add", [1, 2]).catch((error) => error.name);
    """
    page.wait(lambda: page.run(sum_or_error) == 3, "the procedure did not come back")
    page.run('await other.publish("com.example.js.topic", ["hello"], {}, { acknowledge: true });')
    page.wait(lambda: page.run("return seen.length;") == 1, "the subscription did not come back")
    page.run("wamp.close(); other.close();")


def test_wamp_js_tells_why_it_is_not_joined_and_tries_again(page: Page) -> None:
    outcome = page.run(
        """
        const { Wamp } = await import("/static/wamp.js");
        const { routerUrl, realm } = document.body.dataset;
        const start = (realm, onOpen, onClose) => {
          const wamp = new Wamp(routerUrl, realm, { onOpen, onClose, minDelay: 1 });
          wamp.connect();
          return wamp;
        };
        let wamp;
        const reasons = [];
        await new Promise((twice) => {
          wamp = start("nowhere", null, (reason) => reasons.push(reason) === 2 && twice());
        });
        wamp.close();

        const log = [];
        await new Promise((back) => {
          const opened = () => {
            if (log.push("open") === 3) return back();
            const how = { reason: "com.example.go", message: "away" };
            wamp.call("wamp.session.kill", [wamp.session], how).catch(() => {});
          };
          wamp = start(realm, opened, (reason) => log.push(reason));
        });
        wamp.close();
        return { reasons, log };
        """
    )
    refused = "wamp.error.no_such_realm"
    assert outcome["reasons"] == [refused, refused, "closed"]
    assert outcome["log"] == ["open", "com.example.go", "open", "closed"]
