"""A Flask-SocketIO app on gevent, which broadcasts the messages of clients. ``socketio_app.py PORT``."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402
import typing as t  # noqa: E402

from flask import Flask  # noqa: E402
from flask_socketio import SocketIO, emit  # noqa: E402

app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent")


@socketio.on("publish")
def publish(message: t.Any) -> None:
    """Send it to all others."""
    emit("news", message, broadcast=True, include_self=False)


if __name__ == "__main__":
    print("ready", flush=True)
    socketio.run(app, "127.0.0.1", int(sys.argv[1]))
