"""uWSGI. The client starts in its workers.

Python does not notice uWSGI's forks, so state is kept by process id. Mules and spoolers are forked like
workers, but serve no requests.
"""

from __future__ import annotations

import functools
import os
import typing as t

from ..concurrency.threads import is_monkey_patched
from .loading import in_greenlet, in_thread, is_loaded
from .server import Server, Start, at_exit

_UWSGI_MASTER = (
    "this is uWSGI's master: the threads of a session would break the workers it forks. Use g.wampy in the "
    "workers, or give uWSGI --lazy-apps or --py-call-uwsgi-fork-hooks"
)
_UWSGI_UNPATCHED = (
    "uWSGI patches with gevent after it has loaded the app: the threads of a session would freeze then. "
    "Use g.wampy after that, in requests"
)


def recognize() -> Server | None:
    """Return uWSGI as a server if this process belongs to it."""
    try:
        import uwsgi
    except ImportError:  # the module exists only inside uWSGI
        return None
    grace = float(uwsgi.opt.get("worker-reload-mercy", 60) or 60)
    preforks = uwsgi.worker_id() == 0 and uwsgi.masterpid() == os.getpid()

    def arrange(start: Start) -> None:
        def begin() -> None:
            # Mules and spoolers have no worker id. They serve no requests.
            if uwsgi.worker_id() > 0:
                start(grace=grace, unattended=True)

        # In every process of uWSGI, because those that only call have to say GOODBYE too. If uWSGI ends a
        # worker in the middle of an HTTP request, it skips this hook and Python's ``atexit``, and the worker
        # cannot drain. docs/deploying.rst says how to avoid that.
        _chain(uwsgi, "atexit", lambda: at_exit.stop())
        has_greenlets = "gevent" in uwsgi.opt
        wait = in_greenlet if has_greenlets else in_thread
        begin_when_loaded = functools.partial(wait, is_loaded(), begin)
        if preforks:  # the hook runs before the first request
            _chain(uwsgi, "post_fork_hook", begin_when_loaded if has_greenlets else begin)
        else:
            begin_when_loaded()

    def forbids() -> str | None:
        if "gevent-monkey-patch" in uwsgi.opt and not is_monkey_patched():
            return _UWSGI_UNPATCHED
        is_master = preforks and uwsgi.masterpid() == os.getpid()
        return _UWSGI_MASTER if is_master and "py-call-uwsgi-fork-hooks" not in uwsgi.opt else None

    return Server(
        arrange,
        restarts_workers=True,
        is_loaded=None if preforks else is_loaded(),
        forbids=forbids,
    )


def _chain(module: t.Any, name: str, then: t.Callable[[], object]) -> None:
    previous = getattr(module, name, None)

    def both() -> None:
        if previous is not None:
            previous()
        then()

    setattr(module, name, both)
