"""``shop.py`` in servers that look like a script: ``embedded.py run_simple|pywsgi PORT``."""

from __future__ import annotations

import sys

if __name__ == "__main__" and sys.argv[1] == "pywsgi":
    from gevent import monkey

    monkey.patch_all()

import os
import time
import typing as t

from shop import app, wamp
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import run_simple


@wamp.callee
def end(signum: int, seconds: float) -> float:
    os.kill(os.getpid(), signum)
    time.sleep(seconds)
    return seconds


def well(environ: t.Any, start_response: t.Any) -> list[bytes]:
    """An app without WAMP."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"well"]


if __name__ == "__main__":
    kind, port = sys.argv[1], int(sys.argv[2])
    both = DispatcherMiddleware(app, {"/health": well})
    if kind == "run_simple":
        run_simple("127.0.0.1", port, both, threaded=True)
    else:
        from gevent.pywsgi import WSGIServer

        WSGIServer(("127.0.0.1", port), both).serve_forever()
