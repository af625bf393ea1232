"""Notify systemd about the state of a service with ``Type=notify``. Without systemd, this does nothing.

Source: sd_notify(3), "Description" and "Well-known assignments".
"""

from __future__ import annotations

import os
import socket
import time

from .._text import get_logger

logger = get_logger("flask_wamp.worker")


def ready(status: str) -> None:
    """Notify systemd that the service is ready or has reloaded."""
    _notify("READY=1", f"STATUS={status}")


def reloading() -> None:
    """Notify systemd that the service restarts its workers. Call :func:`ready` afterwards."""
    _notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    """Notify systemd that the service is stopping."""
    _notify("STOPPING=1")


def _notify(*assignments: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    if path.startswith("@"):  # Linux's abstract namespace
        path = "\0" + path[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto("\n".join(assignments).encode(), path)
    except OSError as error:
        logger.warning("cannot notify systemd (NOTIFY_SOCKET): %s", error)
