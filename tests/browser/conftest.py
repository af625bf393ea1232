"""A headless Chromium, and the quickstart app in a separate process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t
import urllib.request
from pathlib import Path

import pytest

from flask_wamp.crossbar import free_port

ROOT = Path(__file__).parents[2]
SECONDS = 30
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1000,1000",
]


def absent(what: str) -> t.NoReturn:
    """Skip, or fail if a browser is required."""
    if os.environ.get("FLASK_WAMP_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{what}, and FLASK_WAMP_REQUIRE_BROWSER=1 asks for it", pytrace=False)
    pytest.skip(what)


@contextlib.contextmanager
def chromium(profile: Path) -> t.Iterator[t.Any]:
    """A headless Chromium with its own profile and cookies."""
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        absent("selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        absent("chromium or chromedriver is not on PATH")

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in [*CHROMIUM_FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    # Naming the executable keeps Selenium from downloading one.
    driver = webdriver.Chrome(options=options, service=Service(executable_path=chromedriver))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[t.Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="session")
def second_driver(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[t.Any]:
    """Another browser, for another user."""
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def window(driver: t.Any) -> t.Iterator[t.Callable[[str], Page]]:
    """Open a page in a new window. The window is closed after the test."""
    blank = driver.current_window_handle
    opened: list[str] = []

    def open_window(url: str) -> Page:
        driver.switch_to.window(blank)
        driver.switch_to.new_window("window")
        opened.append(driver.current_window_handle)
        driver.get(url)
        return Page(driver, opened[-1])

    yield open_window
    for handle in opened:
        driver.switch_to.window(handle)
        driver.close()
    driver.switch_to.window(blank)


class Page:
    """The poll in one window."""

    def __init__(self, driver: t.Any, handle: str) -> None:
        self.driver = driver
        self.handle = handle

    def element(self, testid: str) -> t.Any:
        self.driver.switch_to.window(self.handle)
        return self.driver.find_element("css selector", f"[data-testid={testid}]")

    def text(self, testid: str) -> str:
        return t.cast(str, self.element(testid).text)

    def vote(self, choice: str) -> None:
        self.element(f"choice-{choice}").click()

    def bar(self, choice: str) -> float:
        """Measure how much of its button the bar covers, from 0 to 1."""
        bar, button = self.element(f"bar-{choice}").rect, self.element(f"choice-{choice}").rect
        return t.cast(float, (bar["x"] + bar["width"] - button["x"]) / button["width"])

    def events(self) -> int:
        """Return the number of received events that the page shows."""
        return len(self.element("wire").find_elements("css selector", "[data-kind=event]"))

    def wait(self, condition: t.Callable[[], t.Any], message: str) -> None:
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, SECONDS, 0.05).until(lambda _: condition(), message)

    def wait_for(self, testid: str, text: str) -> None:
        self.wait(lambda: self.text(testid) == text, f"{testid} did not become {text!r}")

    def wait_for_bars(self, totals: dict[str, int]) -> None:
        for choice, count in totals.items():
            share = count / max(1, sum(totals.values()))
            self.wait_for(f"count-{choice}", str(count))
            self.wait_for(f"percent-{choice}", f"{int(share * 100 + 0.5)}%")
            self.wait_for_bar(choice, share)

    def wait_for_bar(self, choice: str, share: float) -> None:
        message = f"the bar of {choice} did not move to {share:.2f}"
        self.wait(lambda: abs(self.bar(choice) - share) < 0.01, message)

    def run(self, script: str) -> t.Any:
        """Run the body of an async function in the page, and return what it returns."""
        self.driver.switch_to.window(self.handle)
        outcome = self.driver.execute_async_script(
            "const done = arguments[0];"
            f"(async () => {{ {script} }})().then((value) => done({{ value }}),"
            " (error) => done({ error: String(error) }));"
        )
        assert "error" not in outcome, outcome["error"]
        return outcome["value"]


Started = t.TypeVar("Started", bound="Example")


class Example:
    """``flask run`` of an example in a process."""

    def __init__(self, name: str, router: t.Any, log: Path, **environ: str) -> None:
        self.environ = environ
        self.app = f"examples/{name}/app.py" if "/" not in name else name
        self.router = router
        self.log = log
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port where it listens or listened."""
        return int(self.url.rpartition(":")[2])

    def __enter__(self: Started) -> Started:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self, port: int = 0) -> None:
        # Other FLASK_ variables are for this test run, not for the app.
        env = {key: value for key, value in os.environ.items() if not key.startswith("FLASK_")}
        env |= {"FLASK_WAMP_ROUTER_URL": self.router.url, "FLASK_WAMP_REALM": self.router.realm}
        env |= self.environ
        command = [sys.executable, "-m", "flask", "--app", self.app, "run", "--port", str(port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
        self.url = self._wait_for_url(self.process)

    def _wait_for_url(self, process: subprocess.Popen[bytes]) -> str:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                process.wait(0.05)
                break
            except subprocess.TimeoutExpired:
                if found := re.search(r"Running on (http://\S+)", self.log.read_text()):
                    return found[1]
        self.stop()
        raise RuntimeError(f"{self.app} did not start:\n{self.log.read_text()}")

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


class Quickstart(Example):
    """The quickstart, and ``curl``."""

    def vote(self, choice: str) -> dict[str, int]:
        """Vote as curl would."""
        return self._json(urllib.request.Request(f"{self.url}/vote/{choice}", method="POST"))

    def votes(self) -> dict[str, int]:
        return self._json(urllib.request.Request(f"{self.url}/votes"))

    def _json(self, request: urllib.request.Request) -> dict[str, int]:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            return t.cast("dict[str, int]", json.load(response))


class EmbeddedRouter:
    """The router that an example starts by itself."""

    realm = "realm1"

    def __init__(self, socket: Path) -> None:
        self.url = f"embedded:{socket}"
        self._info = Path(f"{socket}.json")

    def kill(self) -> None:
        """Kill it. The app restarts it."""
        pid = json.loads(self._info.read_text())["pid"]
        os.kill(pid, signal.SIGKILL)

    def come_back(self) -> None:
        """Do nothing, because the app restarts it."""

    def stop(self) -> None:
        """Stop it at the end of a test."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            self.kill()


class CrossbarRouter:
    """Crossbar.io."""

    def __init__(self, router: t.Any) -> None:
        self.url, self.realm = router.url, router.realm
        self.kill, self.come_back = router.stop, router.start


@pytest.fixture
def embedded_router() -> t.Iterator[EmbeddedRouter]:
    with tempfile.TemporaryDirectory(prefix="wamp-") as folder:
        router = EmbeddedRouter(Path(folder, "a.sock"))
        yield router
        router.stop()


@pytest.fixture(params=["embedded", "crossbar"])
def example_router(request: pytest.FixtureRequest) -> t.Any:
    """The router of an example, with the same interface for both routers."""
    if request.param == "embedded":
        return request.getfixturevalue("embedded_router")
    return CrossbarRouter(request.getfixturevalue("wamp_router"))


@pytest.fixture
def quickstart(example_router: t.Any, tmp_path: Path) -> t.Iterator[Quickstart]:
    with Quickstart("quickstart", example_router, tmp_path / "quickstart.log") as quickstart:
        yield quickstart


@pytest.fixture
def start_example(wamp_router: t.Any, tmp_path: Path) -> t.Iterator[t.Callable[[str], Example]]:
    """Start an example by its name."""
    with contextlib.ExitStack() as started:

        def start(name: str) -> Example:
            return started.enter_context(Example(name, wamp_router, tmp_path / f"{name}.log"))

        yield start


def own_crossbar(example: str, make_wamp_router: t.Any) -> t.Any:
    """Crossbar.io as an example configures it."""
    config = json.loads((ROOT / f"examples/{example}/router.json").read_text())
    port = config["workers"][0]["transports"][0]["endpoint"]["port"] = free_port()
    return make_wamp_router([f"ws://127.0.0.1:{port}/ws"], config=config)


@pytest.fixture(scope="session")
def presence_crossbar(make_wamp_router: t.Any) -> t.Any:
    """Crossbar.io as the presence example configures it: browsers have their own role."""
    return own_crossbar("presence", make_wamp_router)


@pytest.fixture(scope="session")
def chat_crossbar(make_wamp_router: t.Any) -> t.Any:
    """Crossbar.io as the chat configures it, with the app as its authenticator and authorizer."""
    return own_crossbar("chat", make_wamp_router)


def router_of(request: pytest.FixtureRequest, crossbar: str) -> t.Any:
    """The embedded router, or the Crossbar.io of an example, by the parameter of the fixture."""
    if request.param == "embedded":
        return request.getfixturevalue("embedded_router")
    return CrossbarRouter(request.getfixturevalue(crossbar))


@pytest.fixture(params=["embedded", "crossbar"])
def presence_router(request: pytest.FixtureRequest) -> t.Any:
    """The router of the presence example."""
    return router_of(request, "presence_crossbar")


@pytest.fixture
def presence(presence_router: t.Any, tmp_path: Path) -> t.Iterator[Example]:
    ticket = {
        "FLASK_WAMP_AUTHMETHODS": '["ticket"]',
        "FLASK_WAMP_AUTHID": "presence",
        "FLASK_WAMP_TICKET": "for-development-only",
    }
    environ = ticket if isinstance(presence_router, CrossbarRouter) else {}
    log = tmp_path / "presence.log"
    with Example("presence", presence_router, log, **environ) as presence:
        yield presence
