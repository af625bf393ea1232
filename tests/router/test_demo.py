"""``examples/demo.py``: one command starts a router and an app, and stops both."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import typing as t
import urllib.request
from pathlib import Path

import pytest

from flask_wamp.crossbar import DevRouter, find_crossbar, free_port, local_url
from flask_wamp.crossbar.ports import answers

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def demo(*args: object) -> t.Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "demo.py"), *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def read_until(process: subprocess.Popen[str], what: str) -> str:
    """Return its output up to the line that contains a text."""
    lines: list[str] = []
    for line in t.cast(t.IO[str], process.stdout):
        lines.append(line)
        if what in line:
            break
    return "".join(lines)


def test_the_demo_serves_until_ctrl_c_and_stops_everything() -> None:
    with demo() as process:
        output = read_until(process, "Press Ctrl-C to stop")
        page = re.search(r"Open (http://127\.0\.0\.1:\d+/) in two tabs", output)
        assert page, output
        with urllib.request.urlopen(page[1], timeout=10) as response:
            assert "What gets you through the afternoon?" in response.read().decode()
        join = urllib.request.Request(f"{page[1]}wamp/session", method="POST")
        with urllib.request.urlopen(join, timeout=10) as response:
            assert json.load(response)["url"] == "/wamp"
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate()
    assert process.returncode == 0
    assert "Traceback" not in output + rest
    assert rest.endswith("Stopped.\n")
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(page[1], timeout=10)


@pytest.mark.router
@pytest.mark.crossbar("a demo with --crossbar")
def test_the_demo_on_crossbar_serves_until_ctrl_c_and_stops_everything(
    wamp_router: DevRouter,
) -> None:
    with demo("--crossbar") as process:
        output = read_until(process, "Press Ctrl-C to stop")
        url = re.search(r"ws://127\.0\.0\.1:\d+/ws", output)
        page = re.search(r"Open (http://127\.0\.0\.1:\d+/) in two tabs", output)
        assert url and page, output
        join = urllib.request.Request(f"{page[1]}wamp/session", method="POST")
        with urllib.request.urlopen(join, timeout=10) as response:
            assert json.load(response)["url"] == url[0]
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate()
    assert process.returncode == 0
    assert "Traceback" not in output + rest
    assert rest.endswith("Stopped.\n")
    assert not answers(local_url(url[0]))
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(page[1], timeout=10)


@pytest.mark.router
@pytest.mark.crossbar("a demo with --crossbar")
@pytest.mark.parametrize("example", ["presence", "chat"])
def test_the_demo_runs_other_examples_with_their_own_router(
    wamp_router: DevRouter, example: str
) -> None:
    if example == "chat":
        for extension in ("flask_login", "flask_sqlalchemy", "flask_wtf"):
            pytest.importorskip(extension)
    with demo(example, "--check", "--crossbar") as process:
        output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "The page has" in output
    assert "refused" not in output


def test_a_requested_port_in_use_is_a_one_sentence_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with demo("--port", port) as process:
            output, _ = process.communicate()
    assert process.returncode == 1
    assert output == (
        f"Error: port {port} on 127.0.0.1 is in use by another program. "
        "Stop it, or choose another --port\n"
    )


@pytest.mark.router
@pytest.mark.crossbar("a demo with --crossbar")
def test_the_demo_reports_the_end_of_the_router_and_stops_the_app(
    wamp_router: DevRouter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid, crossbar = tmp_path / "pid", tmp_path / "crossbar"
    crossbar.write_text(f'#!/bin/sh\necho $$ > {pid}\nexec "{find_crossbar()}" "$@"\n')
    crossbar.chmod(0o755)
    monkeypatch.setenv("FLASK_WAMP_CROSSBAR", str(crossbar))
    port = free_port()
    with demo("--port", port, "--crossbar") as process:
        assert f"Open http://127.0.0.1:{port}/" in read_until(process, "Press Ctrl-C to stop")
        os.kill(int(pid.read_text()), signal.SIGKILL)
        output, _ = process.communicate()
    assert process.returncode == 1
    assert "Error: Crossbar.io ended by itself" in output
    assert free_port(port) == port
