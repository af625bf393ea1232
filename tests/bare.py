"""Serve the README's application without any extra, as after ``pip install .``, and call it.

The other environments install all extras, so they do not show when the library cannot do without one.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path

from websockets.sync.client import connect

README = Path(__file__).parents[1] / "README.rst"
EXTRAS = ("argon2", "cbor2", "cryptography", "gevent", "python_socks", "wampy")
SECONDS = 20.0


def main() -> None:
    present = [name for name in EXTRAS if importlib.util.find_spec(name) is not None]
    assert not present, f"these are installed, and should not be: {present}"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text(snippet("app.py"))
        command = [sys.executable, "-m", "flask", "--app", "app.py", "run", "--port", "0"]
        app = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        try:
            port = port_of(app)
            assert json.loads(greet(port)) == {"sum": 3}
            join(port)
        finally:
            # Not SIGINT, which processes ignore that a shell has started in the background.
            app.terminate()
            try:
                app.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                app.kill()
                raise
    print("2 passed, 0 failed")


def snippet(name: str) -> str:
    found = re.search(rf"    :name: {re.escape(name)}\n\n((?:    .*\n|\n)+)", README.read_text())
    assert found, f"{README} has no {name}"
    return textwrap.dedent(found[1])


def port_of(app: subprocess.Popen[str]) -> int:
    assert app.stderr is not None
    lines = []
    for line in app.stderr:
        lines.append(line)
        if found := re.search(r"Running on http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise AssertionError(f"the application did not start: {''.join(lines)}")


def greet(port: int) -> bytes:
    """Have a view publish and call; the application may still be joining."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/greet/you", method="POST")
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"{error}: {error.read().decode()}") from None
        time.sleep(0.1)


def join(port: int) -> None:
    """Join and call as a browser does."""
    url = f"ws://127.0.0.1:{port}/wamp"
    with connect(url, subprotocols=["wamp.2.json"], open_timeout=SECONDS) as browser:  # type: ignore[list-item]
        browser.send(json.dumps([1, "realm1", {"roles": {"caller": {}}}]))
        assert json.loads(browser.recv(SECONDS))[0] == 2
        browser.send(json.dumps([48, 1, {}, "com.example.add", [1, 2]]))
        answer = json.loads(browser.recv(SECONDS))
        assert answer[:2] == [50, 1] and answer[3:] == [[{"sum": 3}]], answer


if __name__ == "__main__":
    main()
