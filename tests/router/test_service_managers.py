"""``flask wamp worker`` under systemd, and as the first process of a container."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.router.test_worker import WORKER, callees, wait_for_line
from tests.support.peers import AutobahnPeer
from tests.support.served import Serve

pytestmark = [pytest.mark.router, pytest.mark.slow]

DEPLOYING = Path(__file__).parents[2] / "docs" / "deploying.rst"


class Systemd:
    """The systemd end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(30)

    def next(self) -> dict[str, str]:
        """Return the next notification."""
        lines = self._socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> t.Iterator[Systemd]:
    systemd = Systemd(tmp_path / "notify.sock")
    yield systemd
    systemd.close()


def test_systemd_is_notified_of_start_reload_and_stop(
    serve: Serve, peer: AutobahnPeer, systemd: Systemd
) -> None:
    with serve(*WORKER, "--workers", "2", NOTIFY_SOCKET=str(systemd.path)) as server:
        assert systemd.next() == {"READY": "1", "STATUS": "2 workers ready"}
        assert callees(peer) == 2
        server.process.send_signal(signal.SIGHUP)
        told = systemd.next()
        assert told["RELOADING"] == "1" and int(told["MONOTONIC_USEC"]) > 0
        assert systemd.next() == {"READY": "1", "STATUS": "2 workers restarted"}
        server.process.send_signal(signal.SIGTERM)
        assert systemd.next() == {"STOPPING": "1"}
        assert server.process.wait(20) == 0


def test_a_missing_systemd_socket_is_not_an_error(
    serve: Serve, peer: AutobahnPeer, tmp_path: Path
) -> None:
    with serve(*WORKER, NOTIFY_SOCKET=str(tmp_path / "nobody")) as server:
        wait_for_line(server, "1 worker ready\n")
        assert "cannot notify systemd (NOTIFY_SOCKET)" in server.log


def snippet(language: str, page: Path = DEPLOYING) -> str:
    """A block of a page, by default of docs/deploying.rst."""
    lines = page.read_text().split(f".. code-block:: {language}\n\n", 1)[1].splitlines()
    block = []
    for line in lines:
        if line and not line.startswith("    "):
            break
        block.append(line[4:])
    return "\n".join(block) + "\n"


@pytest.mark.parametrize(("page", "command"), [("deploying", "flask"), ("router", "gunicorn")])
def test_the_unit_is_valid(tmp_path: Path, page: str, command: str) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    installed = Path(sys.executable).with_name(command)
    text = snippet("ini", DEPLOYING.with_name(f"{page}.rst"))
    unit = tmp_path / "app.service"
    unit.write_text(
        text.replace(f"/srv/app/venv/bin/{command}", str(installed)).replace("=app\n", "=root\n")
    )
    done = subprocess.run(
        [program, "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and "app.service" not in done.stderr, done.stderr


def test_the_first_process_of_a_container_drains(
    serve: Serve, peer: AutobahnPeer, tmp_path: Path
) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid() != 0:
        pytest.skip("a process namespace needs root, and unshare")
    command = [unshare, "--pid", "--fork", "--mount-proc", sys.executable, "-m", *WORKER]
    napping = peer.subscribe("com.shop.napping")
    with serve(*command) as server:
        wait_for_line(server, "1 worker ready\n")
        outside = server.process.pid
        children = Path(f"/proc/{outside}/task/{outside}/children").read_text().split()
        first = int(children[0])
        status = Path(f"/proc/{first}/status").read_text()
        inside = next(line for line in status.splitlines() if line.startswith("NSpid"))
        assert inside.split()[-1] == "1"
        nap = peer.submit("com.shop.nap", 0.5)
        napping.next()
        os.kill(first, signal.SIGTERM)
        assert nap.wait().value == 0.5
        assert server.process.wait(20) == 0
        eventually(lambda: callees(peer) == 0)


def test_the_commands_of_the_dockerfile_exist(serve: Serve) -> None:
    commands = [
        json.loads(line.partition("CMD ")[2])
        for line in snippet("docker").splitlines()
        if "CMD " in line
    ]
    assert [command[:3] for command in commands] == [
        ["flask", "wamp", "status"],
        ["flask", "wamp", "worker"],
    ]
    for command in commands:
        with serve("flask", "--app", "shop", *command[1:], "--help") as server:
            assert server.process.wait(30) == 0, server.log
