"""The device of docs/client.rst: a program with autobahn, and an application whose views call it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import typing as t
import urllib.error
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree

from flask_wamp.concurrency.child_processes import spawn_bound, stop_process
from tests.conftest import eventually
from tests.support.peers import python_with_autobahn
from tests.support.served import STARTS_WITHIN, Served

PAGE = Path(__file__).parents[2] / "docs" / "client.rst"
SECRET = "the secret of the printer"


def snippet(name: str) -> str:
    tree = publish_doctree(PAGE.read_text(encoding="utf-8"))
    [block] = [b for b in tree.findall(nodes.literal_block) if name in b["names"]]
    return t.cast(str, block.astext())


@pytest.fixture
def server(socket: Path, tmp_path: Path) -> t.Iterator[Served]:
    (tmp_path / "printers.py").write_text(snippet("printers.py"))
    command = ["flask", "--app", str(tmp_path / "printers.py"), "run", "-p", "{port}"]
    environ = {"FLASK_WAMP_ROUTER_URL": f"embedded:{socket}", "PRINTER_SECRET": SECRET}
    with Served(command, "", tmp_path / "server.log", **environ) as server:
        yield server


@contextlib.contextmanager
def device(
    server: Served, folder: Path, secret: str = SECRET
) -> t.Iterator[subprocess.Popen[t.Any]]:
    """Run the program of the printer."""
    source = snippet("printer.py")
    assert "//127.0.0.1:5000/" in source
    (folder / "printer.py").write_text(source.replace(":5000/", f":{server.port}/"))
    with (folder / "printer.log").open("w") as log:
        process = spawn_bound(
            [python_with_autobahn(), "-u", str(folder / "printer.py")],
            env={**os.environ, "PRINTER_SECRET": secret},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        stop_process(process, 10)


def status(server: Served, path: str, method: str = "GET") -> int:
    try:
        server.get(path, method)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    return 200


def is_online(server: Served) -> bool:
    return server.get("/printers/printer-1") == {"online": True}


@pytest.mark.slow
def test_a_view_calls_the_device_of_the_page(server: Served, tmp_path: Path) -> None:
    job = "/printers/printer-1/hello"
    assert not is_online(server)
    assert status(server, job, "POST") == 503
    with device(server, tmp_path) as process:
        eventually(lambda: is_online(server), STARTS_WITHIN)
        assert server.get(job, "POST") == {"printed": "hello"}
        assert "hello" in (tmp_path / "printer.log").read_text()
        os.kill(process.pid, signal.SIGSTOP)  # it hangs
        try:
            assert status(server, job, "POST") == 504
            assert is_online(server)  # as far as the router knows
        finally:
            os.kill(process.pid, signal.SIGCONT)
    eventually(lambda: not is_online(server), STARTS_WITHIN)
    assert status(server, job, "POST") == 503


@pytest.mark.slow
def test_the_device_joins_again(server: Served, socket: Path, tmp_path: Path) -> None:
    with device(server, tmp_path):
        eventually(lambda: is_online(server), STARTS_WITHIN)
        os.kill(json.loads(Path(f"{socket}.json").read_text())["pid"], signal.SIGKILL)
        log = tmp_path / "printer.log"
        eventually(lambda: log.read_text().count("connecting once") > 1, STARTS_WITHIN)
        eventually(lambda: status(server, "/printers/printer-1/x", "POST") == 200, STARTS_WITHIN)


@pytest.mark.slow
def test_a_device_with_another_secret_does_not_join(server: Served, tmp_path: Path) -> None:
    assert not is_online(server)
    with device(server, tmp_path, "another secret"):
        log = tmp_path / "printer.log"
        eventually(lambda: "the answer to the challenge is wrong" in log.read_text(), STARTS_WITHIN)
        assert not is_online(server)
