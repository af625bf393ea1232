"""An app for the servers of the tests: HTTP and WAMP on the same functions."""

from __future__ import annotations

import os
import sys
import threading
import time
import typing as t

from flask import Flask, g

from flask_wamp import FlaskWAMP, NotJoined, callee

wamp = FlaskWAMP()


def create_app() -> Flask:
    """The factory, which also creates ``app``."""
    app = Flask(__name__)
    app.config.update(
        WAMP_ROUTER_URL=os.environ["SHOP_ROUTER_URL"],
        WAMP_URI_PREFIX="com.shop",
        WAMP_DRAIN_TIMEOUT=2,
        WAMP_LINGER=0,
    )
    wamp.init_app(app)

    @app.get("/add/<int:a>/<int:b>")
    @wamp.callee
    def add(a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}

    @app.get("/who")
    @wamp.callee
    def who() -> dict[str, t.Any]:
        monkey = sys.modules.get("gevent.monkey")
        return {
            "pid": os.getpid(),
            "patched": monkey is not None and monkey.is_module_patched("threading"),
            # That of the process if threads are greenlets of its only thread.
            "native_thread": threading.get_native_id(),
            "session": g.wampy.session_id,
        }

    @app.get("/relay/<int:a>")
    @wamp.callee
    def relay(a: int) -> t.Any:
        return g.wampy.rpc.com.shop.add(a, 1)

    @wamp.callee
    def nap(seconds: float) -> float:
        g.wampy.publish("com.shop.napping", os.getpid())
        time.sleep(seconds)
        return seconds

    @app.get("/nap/<seconds>")
    def nap_in_a_view(seconds: str) -> dict[str, float]:
        return {"napped": nap(float(seconds))}

    @app.post("/say/<text>")
    def say(text: str) -> str:
        g.wampy.publish("com.shop.said", text)
        return "said"

    @app.cli.command("report")
    def report() -> None:
        print("price:", g.wampy.call("com.shop.price"))

    if os.environ.get("SHOP_IS_BROKEN"):  # an error that the start finds
        app.add_url_rule("/same/1", "same 1", callee("com.shop.same")(lambda: "1"))
        app.add_url_rule("/same/2", "same 2", callee("com.shop.same")(lambda: "2"))

    if os.environ.get("SHOP_USES_AT_IMPORT"):  # as some apps do, in the arbiter or master too
        try:
            with app.app_context():
                g.wampy.publish("com.shop.imported", os.getpid())
        except NotJoined as error:
            print("not joined:", error, flush=True)

    return app


app = create_app() if os.environ.get("SHOP_FACTORY") is None else None

if os.environ.get("SHOP_RAISES") and os.environ.get("WERKZEUG_RUN_MAIN"):  # only after a reload
    raise RuntimeError("half loaded")

if __name__ == "__main__":
    assert app is not None
    if len(sys.argv) > 1:  # app.run(), with a port and optionally "debug"
        app.run(port=int(sys.argv[1]), debug="debug" in sys.argv)
        sys.exit()
    wamp.start()
    wamp.client.wait_until_joined()
    sys.stdin.read()  # until the test ends the process
