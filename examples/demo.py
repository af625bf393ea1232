"""Run an example that has pages. ``tox -e demo`` runs the quickstart with it.

Starts the application, prints the address to open, and stops it on Ctrl-C. The application starts a router of
its own. With ``--crossbar`` it joins Crossbar.io instead, which is built in an environment of its own if
there is none.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

from flask_wamp.crossbar import (
    DevRouter,
    RouterError,
    ensure_crossbar,
    free_port,
    interruptible,
    local_url,
    spawn_bound,
    stop_process,
)

EXAMPLES = Path(__file__).parent
STARTUP_TIMEOUT = 60

App = subprocess.Popen[bytes]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Run an example with pages.")
    names = sorted(path.parent.name for path in EXAMPLES.glob("*/templates"))
    parser.add_argument("example", nargs="?", default="quickstart", choices=names)
    parser.add_argument("--port", type=int, help="the app's port; 5000 or a free one by default")
    parser.add_argument("--check", action="store_true", help="start, fetch the page, and stop")
    parser.add_argument("--crossbar", action="store_true", help="use Crossbar.io as the router")
    options = parser.parse_args()
    run = with_crossbar if options.crossbar else demo
    try:
        with interruptible():
            run(options.example, options.port, check=options.check)
    except RouterError as error:
        sys.exit(f"Error: {error}")
    print("Stopped.")


def demo(example: str, port: int | None, *, check: bool = False) -> None:
    """Run the app until it ends. With ``check``, only fetch the page."""
    port = choose_port(port)
    page = f"http://127.0.0.1:{port}/"
    with running_app(example, port, {}) as app:
        wait_until_served(app, page)
        if check:
            say(f"The page has {len(fetch(page) or b'')} bytes.")
            return
        say(f"\nOpen {page} in two tabs. Press Ctrl-C to stop.\n")
        parent = os.getppid()
        while os.getppid() == parent:  # else tox, for example, has been killed
            check_runs(app, 0.5)


def with_crossbar(example: str, port: int | None, *, check: bool = False) -> None:
    """Run Crossbar.io and the app until one of them ends. With ``check``, only fetch the page."""
    port = choose_port(port)
    crossbar = ensure_crossbar()
    url = f"ws://127.0.0.1:{free_port(8080)}/ws"
    page = f"http://127.0.0.1:{port}/"
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="flask-wamp-demo-"))
        log = Path(folder, "crossbar.log")
        config = own_config(example, url)
        router = DevRouter(url, crossbar=crossbar, log=log, config=config)
        stack.callback(router.stop)
        say("Starting Crossbar.io and the app ...")
        router.start()
        router.wait_until_ready(STARTUP_TIMEOUT)
        environ = {"FLASK_WAMP_ROUTER_URL": url, **credentials(config)}
        app = stack.enter_context(running_app(example, port, environ))
        wait_until_served(app, page)
        say(f"\nRouter ready on {url}, realm {router.realm}")
        if check:
            say(f"The page has {len(fetch(page) or b'')} bytes.")
            return
        say(f"Open {page} in two tabs. Press Ctrl-C to stop.\n")
        wait_until_one_ends(router, app)


def credentials(config: dict[str, t.Any] | None) -> dict[str, str]:
    """Return the environment variables with which the app joins according to its router configuration."""
    if config is None:
        return {}
    (path,) = config["workers"][0]["transports"][0]["paths"].values()
    auth = path["auth"]
    if "wampcra" in auth:
        ((authid, user),) = auth["wampcra"]["users"].items()
        return {"FLASK_WAMP_AUTHID": authid, "FLASK_WAMP_SECRET": user["secret"]}
    ((authid, principal),) = auth["ticket"]["principals"].items()
    return {
        "FLASK_WAMP_AUTHMETHODS": '["ticket"]',
        "FLASK_WAMP_AUTHID": authid,
        "FLASK_WAMP_TICKET": principal["ticket"],
    }


def own_config(example: str, url: str) -> dict[str, t.Any] | None:
    """Return the example's own router configuration for this URL, or None if it has none."""
    path = EXAMPLES / example / "router.json"
    if not path.exists():
        return None
    config: dict[str, t.Any] = json.loads(path.read_text())
    config["workers"][0]["transports"][0]["endpoint"]["port"] = local_url(url).port
    return config


def choose_port(port: int | None) -> int:
    """Return the given port if it is free. By default, return 5000 or another free port."""
    free = free_port(port or 5000)
    if port is not None and free != port:
        raise RouterError(
            f"port {port} on 127.0.0.1 is in use by another program. "
            "Stop it, or choose another --port"
        )
    return free


@contextlib.contextmanager
def running_app(example: str, port: int, configuration: t.Mapping[str, str]) -> t.Iterator[App]:
    """Run the example's app with ``flask run``, configured by environment variables."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("FLASK_")}
    environ.update(configuration)
    app_path = str(EXAMPLES / example / "app.py")
    command = [sys.executable, "-m", "flask", "--app", app_path, "run", "--port", str(port)]
    app = spawn_bound(command, stdin=subprocess.DEVNULL, env=environ)
    try:
        yield app
    finally:
        # Before the app listens, SIGINT would cause a traceback. After that, it ends the app cleanly.
        served = free_port(port) != port
        stop_process(app, 10, signal.SIGINT if served else signal.SIGTERM)


def wait_until_served(app: App, page: str) -> None:
    """Wait until the app answers."""
    deadline = time.monotonic() + STARTUP_TIMEOUT
    while not fetch(page):
        check_runs(app, 0.1)
        if time.monotonic() > deadline:
            raise RouterError(f"the app does not answer on {page} after {STARTUP_TIMEOUT} s")


def wait_until_one_ends(router: DevRouter, app: App) -> None:
    """Wait until the router or the app ends by itself, and report which one did.

    Return when the parent process, for example tox, has been killed.
    """
    parent = os.getppid()
    while os.getppid() == parent:
        check_runs(app, 0.5)
        if not router.running:
            raise RouterError(f"Crossbar.io ended by itself, {router.log_tail()}")


def check_runs(app: App, timeout: float) -> None:
    """Raise an error if the app ends within ``timeout`` seconds."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        code = app.wait(timeout)
        raise RouterError(f"the app ended by itself, with exit code {code}; its output is above")


def fetch(page: str) -> bytes | None:
    """Return the page, or None if the app does not answer."""
    try:
        with urllib.request.urlopen(page, timeout=5) as response:
            return t.cast(bytes, response.read())
    except urllib.error.HTTPError as error:
        raise RouterError(f"{page} answers {error}") from None
    except OSError:
        return None


def say(line: str) -> None:
    """Print and flush, because stdout may be a pipe."""
    print(line, flush=True)


if __name__ == "__main__":
    main()
