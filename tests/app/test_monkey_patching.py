"""gevent may patch before our import, after it, or when the app is created."""

from __future__ import annotations

import typing as t

import pytest

from tests.support.scripts import script

pytest.importorskip("gevent")

IMPORT = """
import flask_wamp, flask_wamp.transports.websocket, flask_wamp.transports.rawsocket
"""

BUILD = """
import typing as t, threading
from flask import Flask, g
from flask_wamp import FlaskWAMP, SessionLost

app = Flask("tests")
app.config.update(WAMP_URI_PREFIX="com.example", WAMP_WORKERS=4)
app.config["WAMP_ROUTER_URL"] = "ws://127.0.0.1:8080/ws"
wamp = FlaskWAMP(app)
heard = []

@wamp.callee
def deep(level: int) -> int:
    return 0 if level == 0 else 1 + g.wampy.rpc.com.example.deep(level - 1)

@wamp.callee(concurrency=2, timeout=30)
def large(size: int) -> str:
    return "x" * size

@wamp.subscriber(".topic")
def on_topic(number: int):
    heard.append(number)

@app.get("/")
def index():
    return str(g.wampy.rpc.com.example.deep(3))
"""

PATCH = """
import warnings
from gevent import monkey
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ssl was imported: Flask does that itself
    monkey.patch_all()
"""

SERVE = """
import json, os, threading, gevent
from tests.conftest import eventually
from tests.support.memory import MemoryRouter

router = MemoryRouter()
flask_wamp.peer.attempts.open_transport = router.open
wamp.start()
wamp.client.wait_until_joined(10)
sizes = {}

def caller(number):
    sizes[number] = [wamp.client.rpc.com.example.deep(9), len(wamp.client.rpc.com.example.large(10**6))]

threads = [threading.Thread(target=caller, args=[number]) for number in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(30)
for number in range(100):
    router.publish("com.example.topic", number)
eventually(lambda: heard == list(range(100)))

held = router.hold("com.example.held")
future = wamp.client.submit("com.example.held")
held.get(timeout=10)
router.drop()
try:
    future.result(10)
    lost = False
except SessionLost:
    lost = True
wamp.client.wait_until_joined(10)
page = app.test_client().get("/").text
greenlets = isinstance(threading.current_thread().ident, int) and len(os.listdir("/proc/self/task"))
wamp.stop()
left = [thread.name for thread in threading.enumerate() if thread.name.startswith("wamp-")]
print(json.dumps({
    "sizes": sorted(sizes.values()), "lost": lost, "page": page, "left": left,
    "threads": greenlets, "attempts": router.attempts,
}))
"""

ORDERS: dict[str, str] = {
    "patched first": PATCH + IMPORT + BUILD,
    "imported, then patched": IMPORT + PATCH + BUILD,
    "built, then patched": IMPORT + BUILD + PATCH,
    "never patched": "import gevent\n" + IMPORT + BUILD,
}


@pytest.mark.parametrize("order", ORDERS)
def test_order(order: str) -> None:
    seen: dict[str, t.Any] = script(
        ORDERS[order] + SERVE, silent=False
    )  # the lost session is logged
    threads = seen.pop("threads")
    assert seen == {
        "sizes": [[9, 10**6]] * 12,
        "lost": True,
        "page": "3",
        "left": [],
        "attempts": 2,
    }
    if order == "never patched":
        assert threads > 3
    else:
        assert threads <= 2  # greenlets, and what gevent itself needs


@pytest.mark.parametrize("order", ["imported, then patched", "patched first"])
def test_tls_after_patching(order: str) -> None:
    # Patching replaces SSLContext. A context of the old class then recurses forever.
    seen = script(
        ORDERS[order]
        + """
import json
from flask_wamp.transports.streams import TLSSettings
contexts = [TLSSettings().context(), TLSSettings(verify=False).context()]
print(json.dumps([context.minimum_version.name for context in contexts]))
"""
    )
    assert seen == ["TLSv1_2", "TLSv1_2"]


def test_a_signal_is_raised_once_in_the_main_greenlet() -> None:
    seen = script(
        PATCH
        + IMPORT
        + BUILD
        + """
import gevent, json, os, signal

def interrupt():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException as error:
        seen.append(f"{error!r} in another greenlet")

seen = []
gevent.spawn(interrupt)
for _ in range(2):
    try:
        gevent.sleep(0.2)
    except BaseException as error:
        seen.append(repr(error))
print(json.dumps(seen))
"""
    )
    assert seen == ["KeyboardInterrupt()"]
