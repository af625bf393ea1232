"""The end of a process: the client drains at ``atexit``, although no thread can be started any more.

Python 3.12 and later start no thread after the interpreter has begun to exit.
"""

from __future__ import annotations

import subprocess
import sys
import time
import typing as t

import pytest

from flask_wamp.protocol import messages as m
from tests.app.test_delivery import HANDOVER, TOPIC
from tests.conftest import eventually
from tests.support.memory import TIMEOUT
from tests.support.scripts import ROOT, environment
from tests.support.socket_router import SocketRouter

MEMBER = """
import sys
if "gevent" in sys.argv:
    from gevent import monkey
    monkey.patch_all()
import select, threading
from flask import Flask, g
from flask_wamp import FlaskWAMP, background_tasks

app = Flask("member")
app.config.update(WAMP_ROUTER_URL=sys.argv[1], WAMP_URI_PREFIX="com.example", WAMP_CALL_TIMEOUT=3)
wamp = FlaskWAMP(app)
entered = threading.Event()

@wamp.callee
def nap() -> str:
    entered.set()
    threading.Event().wait(0.5)
    background_tasks.add(print, "task", flush=True)
    return "rested"

@wamp.subscriber(".a", delivery="one")
def a(number: int) -> None:
    pass

@wamp.subscriber(".b", delivery="one")
def b(number: int) -> None:
    pass

wamp.schedule.every(1000).seconds.do(print, "job")
wamp.start()
wamp.client.wait_until_joined(10)
with app.app_context():
    g.wampy.with_options(unless_stopped=True).testament("com.example.gone")

other = Flask("other")
other.config.update(WAMP_ROUTER_URL=sys.argv[1], WAMP_URI_PREFIX="com.other")
second = FlaskWAMP(other)
second.start()
second.client.wait_until_joined(10)
print("ready", flush=True)
if "call" in sys.argv:
    entered.wait(30)
else:
    select.select([sys.stdin], [], [])  # where greenlets run on
"""


def start(router: SocketRouter, world: str, *options: str) -> subprocess.Popen[str]:
    if world == "gevent":
        pytest.importorskip("gevent")
    process = subprocess.Popen(
        [sys.executable, "-c", MEMBER, router.url, world, *options],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    eventually(lambda: {TOPIC, "com.example.b"} <= router.topics)
    return process


@pytest.fixture
def router() -> t.Iterator[SocketRouter]:
    with SocketRouter() as router:
        router.register("wamp.session.add_testament", lambda *args, **kwargs: None)
        router.register("wamp.session.flush_testaments", lambda *args, **kwargs: 1)
        yield router


WORLDS = ["threads", "gevent"]


@pytest.mark.parametrize("world", WORLDS)
def test_a_process_that_exits_sends_goodbye(router: SocketRouter, world: str) -> None:
    router.register("wamp.registration.count_callees", lambda number: 1)
    process = start(router, world, "call")
    answer = router.invoke("com.example.nap")
    at = time.monotonic()
    output, errors = process.communicate(timeout=30)
    assert answer.result(TIMEOUT).args == ["rested"]
    assert "task" in output
    assert errors == ""
    assert process.returncode == 0
    assert len(router.sent(m.Goodbye)) == 2  # of both apps
    assert "wamp.session.flush_testaments" in [c.procedure for c in router.sent(m.Call)]
    assert router.procedures == set()
    assert time.monotonic() - at < 9  # not at the end of WAMP_DRAIN_TIMEOUT


@pytest.mark.parametrize("world", WORLDS)
def test_a_process_that_exits_hands_over_its_lease(router: SocketRouter, world: str) -> None:
    callees = [2]
    router.register("wamp.registration.count_callees", lambda number: callees[0])
    first = start(router, world)
    second = start(router, world)
    output, errors = first.communicate("", timeout=30)
    assert errors == ""
    assert HANDOVER in [call.procedure for call in router.sent(m.Call)]
    eventually(lambda: {TOPIC, "com.example.b"} <= router.topics)
    callees[0] = 1
    output, errors = second.communicate("", timeout=30)
    assert errors == ""
    assert len(router.sent(m.Goodbye)) == 4
