"""Optional hooks for a ``gunicorn.conf.py``. The extension also works without them.

::

    from flask_wamp.gunicorn import post_worker_init, worker_exit
"""

from __future__ import annotations

import typing as t

from .servers import lifecycle


def post_worker_init(worker: t.Any) -> None:
    """Connect in a worker process that has loaded the application."""
    lifecycle.start_all(grace=worker.cfg.graceful_timeout)


def worker_exit(server: t.Any, worker: t.Any) -> None:
    """Finish running handlers, and leave the realm."""
    lifecycle.stop_all()
