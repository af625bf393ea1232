"""A tea shop with hooks, middlewares, an error handler and a signal around its handlers."""

import logging
import time
from threading import Lock

from flask import Flask, abort, g

from flask_wamp import ApplicationError, FlaskWAMP, WAMPBlueprint, invocation
from flask_wamp.middlewares import AccessLog, RateLimit, Timeout
from flask_wamp.signals import session_joined

logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")

app = Flask(__name__)
app.config["WAMP_URI_PREFIX"] = "com.example.shop"
app.config["ADMIN_ROLES"] = ["admin"]
app.config.from_prefixed_env()  # FLASK_WAMP_ROUTER_URL=..., FLASK_ADMIN_ROLES='["anonymous"]'
wamp = FlaskWAMP(app)
admin = WAMPBlueprint("admin", uri_prefix=".admin")
wamp.register_blueprint(admin)

stock = {"green": 2, "black": 5}
lock = Lock()


class SoldOut(Exception):
    """An exception of the shop. It has nothing to do with WAMP."""


# Middlewares wrap handlers. The first one is the outermost.

wamp.middleware(AccessLog())
wamp.middleware(Timeout(5))
wamp.middleware(RateLimit(100, per="caller"))


@wamp.middleware
def one_at_a_time(next_, message):
    with lock:
        return next_(message)


# Hooks run before and after a handler. A before hook that returns or raises something answers instead.


@wamp.before_dispatch
def start_clock(message):
    g.started = time.perf_counter()


@wamp.after_dispatch
def add_time(message, result):
    return {**result, "ms": round((time.perf_counter() - g.started) * 1000, 3)}


@wamp.teardown_dispatch
def report(message, error):
    if error is not None:
        app.logger.info("%s failed: %r", message.uri, error)


@admin.before_dispatch
def only_for_admins(message):
    if message.caller_authrole not in app.config["ADMIN_ROLES"]:
        abort(403, f"{message.caller_authrole} may not do that.")


# An error handler turns an exception into an answer.


@wamp.errorhandler(SoldOut)
def sold_out(error):
    return ApplicationError("com.example.shop.error.sold_out", *error.args)


# This signal is sent when the session has joined and everything is registered.


@session_joined.connect_via(app)
def open_shop(sender, **extra):
    g.wampy.publish("com.example.shop.opened", list(stock))


# The handlers do not depend on any of this.


@app.post("/buy/<tea>")
def buy_over_http(tea: str):
    return g.wampy.call("com.example.shop.buy", tea)


@wamp.callee(middlewares={"timeout": {"duration": 1}})
def buy(tea: str) -> dict:
    if not stock.get(tea):
        raise SoldOut(tea)
    stock[tea] -= 1
    return {"tea": tea, "left": stock[tea]}


@admin.callee
def refill(tea: str, cups: int) -> dict:
    stock[tea] = stock.get(tea, 0) + cups
    return {"tea": tea, "left": stock[tea], "by": invocation.caller}
