"""``examples/chat`` in two browsers, with a user in each. Each user sees only what is allowed."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from .conftest import SECONDS, CrossbarRouter, Example, router_of

pytestmark = [pytest.mark.browser, pytest.mark.router, pytest.mark.slow]

PASSWORD = "correct horse"
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
REFUSED = "wamp.error.not_authorized"
UNKNOWN = "com.example.chat.error.not_found"


@pytest.fixture(params=["embedded", "crossbar"])
def chat_router(request: pytest.FixtureRequest) -> t.Any:
    return router_of(request, "chat_crossbar")


@pytest.fixture
def chat(chat_router: t.Any, tmp_path: Path) -> t.Iterator[Example]:
    environ = {
        "FLASK_SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/chat.db",
        "FLASK_SECRET_KEY": "of the chat's tests",
    }
    if isinstance(chat_router, CrossbarRouter):
        environ |= {"FLASK_WAMP_AUTHID": "chat", "FLASK_WAMP_SECRET": "for-development-only"}
    with Example("chat", chat_router, tmp_path / "chat.log", **environ) as chat:
        yield chat
        assert "Traceback" not in chat.log.read_text()


class User:
    """A user in a browser; ``tab`` opens another tab of the same browser."""

    def __init__(self, driver: t.Any, chat: Example, name: str, handle: str | None = None) -> None:
        self.driver = driver
        self.chat = chat
        self.name = name
        self.handle = handle or driver.current_window_handle

    def focus(self) -> t.Any:
        self.driver.switch_to.window(self.handle)
        return self.driver

    def find(self, css: str) -> t.Any:
        return self.focus().find_element("css selector", css)

    def texts(self, css: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
        return t.cast("list[str]", self.focus().execute_script(script, css))

    def script(self, body: str) -> t.Any:
        """Run the body of an async function in the page, and return what it returns."""
        outcome = self.focus().execute_async_script(
            "const done = arguments[0];"
            f"(async () => {{ {body} }})().then((value) => done({{ value }}),"
            " (error) => done({ error: String(error) }));"
        )
        assert "error" not in outcome, outcome["error"]
        return outcome["value"]

    def wait(self, condition: t.Callable[[], t.Any], message: str) -> None:
        from selenium.common.exceptions import (
            NoSuchElementException,
            StaleElementReferenceException,
        )
        from selenium.webdriver.support.wait import WebDriverWait

        ignored = [NoSuchElementException, StaleElementReferenceException]
        waiting = WebDriverWait(self.focus(), SECONDS, 0.05, ignored)
        waiting.until(lambda _: condition(), f"{self.name}: {message}")

    def wait_for(self, css: str, *texts: str) -> None:
        """Wait until the elements have these texts."""
        self.wait(lambda: self.texts(css) == list(texts), f"{css} is not {texts}")

    def wait_for_connection(self, state: str = "connected") -> None:
        self.wait(lambda: self.find("body").get_attribute("data-connection") == state, state)

    def wait_for_path(self, path: str) -> None:
        self.wait(lambda: self.focus().current_url.startswith(self.chat.url + path), path)

    # What users do.

    def account(self, page: str) -> None:
        """Register or log in."""
        self.focus().get(f"{self.chat.url}/{page}")
        for name, value in (("name", self.name), ("password", PASSWORD)):
            self.find(f"[name={name}]").send_keys(value)
        self.find("button.primary").click()
        self.wait_for_connection()

    def tab(self) -> User:
        self.focus().switch_to.new_window("tab")
        self.driver.get(self.chat.url)
        tab = User(self.driver, self.chat, self.name)
        tab.wait_for_connection()
        return tab

    def go(self, css: str, name: str) -> None:
        """Click an entry of the list."""
        self.wait(lambda: self.click(css, name), f"no {name} in {css}")
        self.wait_for("#title", name)
        self.wait(lambda: self.find("#text").is_enabled(), "cannot write")

    def click(self, css: str, name: str) -> bool:
        script = """
            const [css, name] = arguments;
            const all = [...document.querySelectorAll(css)];
            const found = all.find((each) => each.querySelector("bdi").textContent === name);
            (found?.querySelector("a, button"))?.click();
            return Boolean(found);
        """
        return bool(self.focus().execute_script(script, css, name))

    def write(self, text: str) -> None:
        self.wait(lambda: self.find("#text").is_enabled(), "cannot write")
        self.find("#text").send_keys(text)

    def say(self, text: str) -> None:
        self.write(text)
        self.find("#send").click()

    def create_room(self, name: str, *, private: bool) -> str:
        """Create a room. Return its id."""
        self.find("#new-room").click()
        self.find("#room-name").send_keys(name)
        if private:
            self.find("#room-private").click()
        self.find("#room-dialog .primary").click()
        self.wait_for("#title", name)
        return str(self.focus().current_url).rpartition("-")[2]

    # What pages show.

    def wait_for_messages(self, *texts: str) -> None:
        self.wait_for("#messages .text", *texts)

    def online(self) -> list[str]:
        return self.texts("#people [data-online] bdi")

    def count(self, css: str, name: str) -> str:
        """Return how many unread messages an entry of the list shows."""
        script = """
            const [css, name] = arguments;
            const all = [...document.querySelectorAll(css)];
            const found = all.find((each) => each.querySelector("bdi").textContent === name);
            return found?.querySelector(".count").textContent ?? "none";
        """
        return str(self.focus().execute_script(script, css, name))


@pytest.fixture
def ann(driver: t.Any, chat: Example) -> t.Iterator[User]:
    yield from registered(driver, chat, "Ann Lee")


@pytest.fixture
def bob(second_driver: t.Any, chat: Example, ann: User) -> t.Iterator[User]:
    yield from registered(second_driver, chat, "Bob")


def registered(driver: t.Any, chat: Example, name: str) -> t.Iterator[User]:
    first = driver.current_window_handle
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    user = User(driver, chat, name)
    user.account("register")
    yield user
    for handle in driver.window_handles:
        if handle != first:
            driver.switch_to.window(handle)
            driver.close()
    driver.switch_to.window(first)
    driver.get("about:blank")


def test_two_users_talk(ann: User, bob: User) -> None:
    ann.wait(lambda: ann.online() == ["Bob"], "Bob is not online")
    bob.wait(lambda: bob.online() == ["Ann Lee"], "Ann is not online")
    bob.write("So")
    ann.wait_for("#typing", "Bob is typing…")
    bob.find("#send").click()
    ann.wait_for("#typing", "")
    for user in (ann, bob):
        user.wait_for_messages("So")
        user.wait_for("#messages .from bdi", {ann: "Bob", bob: "You"}[user])
    ann.say("<img src=x onerror=alert(1)>")
    for user in (ann, bob):
        user.wait_for_messages("So", "<img src=x onerror=alert(1)>")
        assert not user.texts("#messages img")
    bob.focus().refresh()
    bob.wait_for_messages("So", "<img src=x onerror=alert(1)>")
    bob.focus().get("about:blank")
    ann.wait(lambda: ann.online() == [], "Bob is online")


#: After hold(), the page loses its connection. Then results are kept from it until release(); events are not.
HOLD = """
    window.held = null;
    window.events = [];
    window.WebSocket = class extends WebSocket {
      set onmessage(handle) {
        window.hold = () => {
          window.held = [];
          this.close();
        };
        super.onmessage = (message) => {
          if (window.held && message.data.startsWith("[50,")) return window.held.push([handle, message]);
          if (message.data.startsWith("[36,")) window.events.push(message.data);
          handle(message);
        };
      }
    };
    window.release = () => {
      const held = window.held;
      window.held = null;
      for (const [handle, message] of held) handle(message);
    };
"""


def test_an_event_is_not_undone_by_an_older_answer(ann: User, bob: User) -> None:
    bob.focus().get("about:blank")
    script = ann.focus().execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": HOLD})
    ann.focus().refresh()
    ann.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    ann.wait_for_connection()
    ann.wait(lambda: ann.online() == [], "Bob is online")
    ann.script("hold()")
    ann.wait(lambda: ann.script("return held.length"), "the app has not answered")
    bob.focus().get(bob.chat.url)
    bob.wait_for_connection()
    bob.create_room("lunch", private=False)
    ann.wait(lambda: "lunch" in ann.script("return events.join()"), "there is no event")
    ann.script("release()")
    ann.wait_for_connection()
    ann.wait(lambda: ann.online() == ["Bob"], "Bob is not online")
    ann.wait(lambda: "lunch" in ann.texts("#others bdi"), "the room is missing")


def test_private_messages_and_rooms(ann: User, bob: User) -> None:
    tab = bob.tab()
    ann.go("#people li", "Bob")
    ann.say("Between us")
    for each in (bob, tab):
        each.wait(lambda each=each: each.count("#people li", "Ann Lee") == "1", "not counted")
    bob.go("#people li", "Ann Lee")
    bob.wait_for_messages("Between us")
    tab.wait(lambda: tab.count("#people li", "Ann Lee") == "", "still counted in the other tab")

    ann.create_room("plans", private=True)
    ann.say("Secret")
    assert "plans" not in bob.texts("#drawer bdi")
    ann.find("#invite").click()
    assert ann.click("#candidates li", "Bob")
    bob.go("#rooms li", "plans")
    bob.wait_for_messages("Secret")

    ann.focus().execute_script("document.querySelector('#invite-dialog').close()")
    ann.create_room("lunch", private=False)
    bob.wait(lambda: "lunch" in bob.texts("#others bdi"), "no public room")
    bob.go("#others li", "lunch")
    bob.say("Soup?")
    ann.wait_for_messages("Soup?")


CRAFTED = """
    const {{ connect }} = await import("/wamp/client.js");
    const wamp = await connect("/wamp");
    const outcomes = {{}};
    const attempt = async (name, promise) => {{
      outcomes[name] = await promise.then(() => "done", (error) => error.uri ?? String(error));
    }};
    const chat = (name) => `com.example.chat.${{name}}`;
    for (const topic of ["user.1.inbox", "room.{room}"]) {{
      await attempt(`subscribe ${{topic}}`, wamp.subscribe(chat(topic), () => {{}}));
      const options = {{ acknowledge: true }};
      await attempt(`publish ${{topic}}`, wamp.publish(chat(topic), ["said"], {{}}, options));
    }}
    for (const [topic, match] of [["", "prefix"], ["room.", "prefix"], ["user..inbox", "wildcard"]])
      await attempt(`${{match}} ${{topic}}`, wamp.subscribe(chat(topic), () => {{}}, {{ match }}));
    const room = Number("{room}");
    for (const [name, ...args] of [
      ["history", room], ["say", room, "I am in", "some-token"], ["typing", room], ["read", room, 1],
      ["room.enter", room], ["room.invite", room, 2],
    ])
      await attempt(`call ${{name}}`, wamp.call(chat(name), args));
    // Crossbar.io would answer another policy than that of the app before it asks the app.
    await attempt("register say", wamp.register(chat("say"), () => {{}}, {{ invoke: "roundrobin" }}));
    for (const name of ["list", "get", "kill"])
      await attempt(`call wamp.session.${{name}}`, wamp.call(`wamp.session.${{name}}`, [wamp.session]));
    wamp.close();
    return outcomes;
"""


def test_a_page_without_the_right_is_refused(ann: User, bob: User) -> None:
    room = ann.create_room("plans", private=True)
    ann.say("Secret")
    ann.wait_for_messages("Secret")
    outcomes = bob.script(CRAFTED.format(room=room))
    calls = {f"call {name}" for name in ("history", "say", "typing", "read")}
    calls |= {"call room.enter", "call room.invite"}
    assert outcomes == {name: UNKNOWN if name in calls else REFUSED for name in outcomes}
    assert len(outcomes) == 17
    ann.wait_for_messages("Secret")


def test_logging_out_in_one_tab_ends_the_other(ann: User, bob: User) -> None:
    tab = bob.tab()
    tab.find("#logout").click()
    for each in (tab, bob):
        each.wait_for_path("/login")
    ann.wait(lambda: ann.online() == [], "Bob is online")
    ann.say("Is Bob gone?")
    bob.focus().get(bob.chat.url)
    bob.wait_for_path("/login")
    bob.account("login")
    bob.wait_for_messages("Is Bob gone?")


def test_a_message_that_is_written_without_a_connection_is_sent_later(
    ann: User, bob: User, chat: Example
) -> None:
    ann.say("Before")
    bob.wait_for_messages("Before")
    chat.stop()
    ann.wait(lambda: ann.find("body").get_attribute("data-connection") != "connected", "connected")
    for text in ("While", "away"):
        ann.say(text)
    ann.wait_for_messages("Before", "While", "away")
    assert len(ann.texts("#messages [data-state=waiting]")) == 2
    chat.start(chat.port)
    bob.wait_for_messages("Before", "While", "away")
    ann.wait(lambda: not ann.texts("#messages [data-state]"), "still waiting")
    ann.wait_for_messages("Before", "While", "away")


def test_the_router_is_killed(ann: User, bob: User, chat_router: t.Any) -> None:
    ann.say("Before")
    bob.wait_for_messages("Before")
    chat_router.kill()
    ann.say("Meanwhile")
    chat_router.come_back()
    for user in (ann, bob):
        user.wait_for_messages("Before", "Meanwhile")
        user.wait_for_connection()
    ann.wait(lambda: ann.online() == ["Bob"], "Bob is not online")


def test_the_chat_fits_a_phone(ann: User, bob: User) -> None:
    bob.focus().execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    try:
        look_at_the_phone(ann, bob)
    finally:
        bob.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def look_at_the_phone(ann: User, bob: User) -> None:
    ann.say("A long word: " + "ab" * 400)
    bob.wait(lambda: bob.texts("#messages .text"), "no message")
    assert is_within(bob)
    assert not bob.find("#drawer").is_displayed()
    ann.go("#people li", "Bob")
    ann.say("psst")
    bob.wait(lambda: bob.find("#unread-elsewhere").is_displayed(), "no dot")
    bob.find("#open-drawer").click()
    bob.wait(lambda: bob.find("#drawer").is_displayed(), "no drawer")
    assert is_within(bob)
    bob.go("#people li", "Ann Lee")
    bob.wait(lambda: not bob.find("#drawer").is_displayed(), "the drawer is still there")
    bob.wait_for_messages("psst")
    sizes = bob.script("""
        const fields = [...document.querySelectorAll("input:not([type=hidden], [type=checkbox]), textarea")];
        return fields.map((field) => parseFloat(getComputedStyle(field).fontSize));
    """)
    assert min(sizes) >= 16  # iOS zooms in on less


def is_within(user: User) -> bool:
    """Return whether nothing is wider than the screen."""
    return bool(
        user.script(
            "return document.documentElement.scrollWidth <= innerWidth && visualViewport.scale === 1"
            " && document.querySelector('#scroller').scrollWidth <= innerWidth;"
        )
    )
