"""Testaments of processes that end, as autobahn gets them from a real router."""

from __future__ import annotations

import subprocess
import sys
import typing as t

import pytest
from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP
from tests.conftest import eventually
from tests.support.peers import PATIENCE, AutobahnPeer, Topic
from tests.support.scripts import ROOT, environment

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

GONE = "com.example.gone"

MORTAL = """
import os, sys
from flask import Flask
from flask_wamp import FlaskWAMP

app = Flask("mortal")
app.config["WAMP_ROUTER_URL"] = sys.argv[1]
wamp = FlaskWAMP(app)
wamp.start()
wamp.client.wait_until_joined(20)
wamp.client.testament("com.example.gone", os.getpid(), of="mortal")
wamp.client.with_options(unless_stopped=True).testament("com.example.lost", os.getpid())
wamp.client.testament("com.example.withdrawn").remove()
print("ready", flush=True)
if sys.stdin.readline() == "fork\\n" and os.fork() == 0:
    wamp.start()
    wamp.client.wait_until_joined(20)
    wamp.client.with_options(acknowledge=True).publish("com.example.forked", os.getpid())
    wamp.stop()
    os._exit(0)
sys.stdin.read()
wamp.stop()
"""

Mortal = t.Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def mortal(wamp_router: DevRouter) -> t.Iterator[Mortal]:
    """Start a process that has made its testament."""
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", MORTAL, wamp_router.rawsocket_url],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def topics(peer: AutobahnPeer) -> dict[str, Topic]:
    """The events that autobahn gets."""
    return {name: peer.subscribe(f"com.example.{name}") for name in ("gone", "lost", "withdrawn")}


def test_a_process_is_killed(mortal: Mortal, topics: dict[str, Topic]) -> None:
    process = mortal()
    assert topics["gone"].is_quiet()
    process.kill()
    event = topics["gone"].next()
    assert (event.args, event.kwargs) == ([process.pid], {"of": "mortal"})
    assert topics["lost"].next().args == [process.pid]
    assert topics["withdrawn"].is_quiet()


def test_a_process_leaves_in_order(
    mortal: Mortal, topics: dict[str, Topic], peer: AutobahnPeer
) -> None:
    process = mortal()
    assert process.stdin is not None
    process.stdin.close()
    event = topics["gone"].next()
    assert (event.args, event.kwargs) == ([process.pid], {"of": "mortal"})
    assert process.wait(PATIENCE) == 0
    peer.call("wamp.session.count")  # all other events have arrived by then
    assert topics["gone"].is_quiet(), "it was given twice"
    assert topics["lost"].is_quiet()
    process.stdin = None


def test_a_forked_process_has_testaments_of_its_own(
    mortal: Mortal, topics: dict[str, Topic], peer: AutobahnPeer
) -> None:
    forked, left = peer.subscribe("com.example.forked"), peer.subscribe("wamp.session.on_leave")
    process = mortal()
    assert process.stdin is not None
    process.stdin.write(b"fork\n")
    process.stdin.flush()
    child = forked.next()
    assert child.args != [process.pid]
    while left.next().args[:1] != [child.details["publisher"]]:
        pass
    process.kill()
    assert topics["gone"].next().args == [process.pid]
    assert topics["lost"].next().args == [process.pid]
    assert topics["gone"].is_quiet(), "the child has left its parent's testament"


def test_each_session_of_a_process_has_a_testament(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    gone = peer.subscribe(GONE)
    wamp.client.testament(GONE, 1)
    for _ in range(2):
        session_id = wamp.client.session_id
        peer.call("wamp.session.kill", session_id)
        assert gone.next().args == [1]
        eventually(lambda old=session_id: wamp.client.session_id not in (None, old), PATIENCE)
        wamp.client.wait_until_joined(PATIENCE)
        wamp.client.testament(GONE, 1)  # the router has it by now
    assert wamp.client.flush_testaments() == 1
    wamp.stop()
    assert peer.call("wamp.session.count").value >= 1
    assert gone.is_quiet()


def test_options_of_testaments_and_testaments_of_autobahn(
    wamp: FlaskWAMP, peer: AutobahnPeer, wamp_router: DevRouter
) -> None:
    gone = peer.subscribe(GONE)
    seen: list[t.Any] = []
    wamp.client.subscribe(lambda *args: seen.append(args), GONE)
    with AutobahnPeer(wamp_router.rawsocket_url) as other:
        other.call("wamp.session.add_testament", GONE, ["autobahn's"], {})
    assert gone.next().args == ["autobahn's"]
    eventually(lambda: seen == [("autobahn's",)])
    wamp.client.with_options(exclude=[peer.session_id]).testament(GONE, "not for autobahn")
    wamp.client.with_options(retain=True).testament(GONE, "ours")
    wamp.stop()
    assert gone.next().args == ["ours"]
    late = peer.subscribe(GONE, get_retained=True)
    assert late.next().args == ["ours"]


def test_without_permission(
    join: t.Callable[..., tuple[Flask, FlaskWAMP]], historian: DevRouter
) -> None:
    _, wamp = join(historian.rawsocket_url, WAMP_REALM="strict")
    with pytest.raises(ApplicationError, match="wamp.session.add_testament") as raised:
        wamp.client.testament(GONE)
    assert raised.value.uri == "wamp.error.not_authorized"
