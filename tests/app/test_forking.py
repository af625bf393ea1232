"""After a fork the child closes its copy of the parent's socket, and the parent's session continues."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import typing as t

import pytest

from flask_wamp.protocol import messages as m
from tests.conftest import eventually
from tests.support.memory import TIMEOUT
from tests.support.scripts import ROOT, environment
from tests.support.socket_router import SocketRouter

PARENT = """
import sys
if "gevent" in sys.argv:
    from gevent import monkey
    monkey.patch_all()
import json, os, select, socket, time, traceback
from flask import Flask, g
from flask_wamp import FlaskWAMP

app = Flask("parent")
app.config.update(
    WAMP_ROUTER_URL=sys.argv[1], WAMP_URI_PREFIX="com.example", WAMP_AUTOSTART="lazy"
)
wamp = FlaskWAMP(app)

@wamp.callee
def pid() -> int:
    return os.getpid()

def connections() -> int:  # sockets of this process that are connected to the router
    port, found = int(sys.argv[1].rpartition(":")[2]), 0
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            with socket.socket(fileno=os.dup(fd)) as sock:
                found += sock.getpeername()[1] == port
        except (OSError, IndexError, TypeError):
            pass  # no socket, or not connected, or to nothing with a port
    return found

def disconnected() -> bool:  # gevent closes when the loop runs next
    deadline = time.monotonic() + 5
    while connections() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not connections()

wamp.start()
wamp.client.wait_until_joined(10)
assert connections() == 1
child = os.fork()
if child == 0:
    status = 1
    try:
        report = {"joined": wamp.client.joined, "disconnected": disconnected()}
CHILD
        print(json.dumps(report), flush=True)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        LEAVE
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps({"pid": os.getpid(), "child": status}), flush=True)
select.select([sys.stdin], [], [])  # where greenlets run on
wamp.stop()
"""

LOOK = "report['registered'] = len(wamp.client.registration_map)"

START = """
wamp.start()
wamp.client.wait_until_joined(10)
report["pid"] = wamp.client.call("com.example.pid")
wamp.stop()
"""

USE = """
with app.app_context():
    report["pid"] = g.wampy.rpc.com.example.pid()
wamp.stop()
"""

WORLDS = ["threads", "gevent"]


def parent(router: SocketRouter, world: str, child: str, leave: str) -> subprocess.Popen[str]:
    if world == "gevent":
        pytest.importorskip("gevent")
    code = PARENT.replace("CHILD", textwrap.indent(textwrap.dedent(child), " " * 8))
    # Python 3.12 warns about every fork with threads.
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code.replace("LEAVE", leave), router.url, world],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def reports(process: subprocess.Popen[str]) -> list[dict[str, t.Any]]:
    assert process.stdout is not None
    return [json.loads(process.stdout.readline()) for _ in range(2)]


def end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(TIMEOUT) == 0
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.parametrize("leave", ["os._exit(status)", "sys.exit(status)"])
@pytest.mark.parametrize("world", WORLDS)
def test_an_idle_child_does_not_affect_the_parent(world: str, leave: str) -> None:
    with SocketRouter() as router:
        process = parent(router, world, LOOK, leave)
        child, own = reports(process)
        assert child == {"joined": False, "disconnected": True, "registered": 0}
        assert own["child"] == 0
        assert router.call("com.example.pid") == own["pid"] == process.pid
        assert router.attempts == 1
        assert router.sent(m.Goodbye) == []
        end(process)
        assert len(router.sent(m.Goodbye)) == 1


@pytest.mark.parametrize("child", [START, USE], ids=["start", "use"])
@pytest.mark.parametrize("world", WORLDS)
def test_child_that_uses_its_client_has_a_session_of_its_own(world: str, child: str) -> None:
    with SocketRouter() as router:
        process = parent(router, world, child, "os._exit(status)")
        forked, own = reports(process)
        assert own["child"] == 0
        assert forked["joined"] is False
        assert isinstance(forked["pid"], int)  # parent and child share the procedure
        assert router.attempts == 2
        eventually(lambda: len(router.transports) == 1)
        assert router.call("com.example.pid") == process.pid
        end(process)
