"""The start of an embedded router on demand. There is only one, even if many processes start it at once."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from ...concurrency.child_processes import python_executable
from ...concurrency.clock import monotonic
from ...exceptions import TransportError
from .locks import CHECK_INTERVAL, locked
from .place import ADVICE, Place

#: The errors of a place where this process cannot write.
_UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EEXIST)

#: The program of the new process. It detaches from its parent, and runs the router. It needs neither wampy
#: nor Flask, but the package's own ``__init__`` would import them.
_BOOTSTRAP = """
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
sys.path[:] = {path!r}
import types
package = types.ModuleType("flask_wamp")
package.__path__ = [{package!r}]
sys.modules["flask_wamp"] = package
sys.modules["wampy"] = None
from flask_wamp.router.process.embedded import main
main()
"""


def ensure_running(place: Place, setup: t.Mapping[str, t.Any], deadline: float) -> None:
    """Start the router of a place if it is not running, and return when it listens.

    This blocks the thread. Any number of threads and processes may call it at once. One of them starts the
    router, and the others wait for it.

    :param setup: The setup that :func:`.embedded.main` reads, as JSON data.
    :param deadline: The ``time.monotonic()`` until which to wait.
    :raises TransportError: The router cannot be started, or does not listen in time.
    """
    try:
        with _starting(place, deadline):
            if not listens(place):
                _forget_the_dead(place)
                _start(place, setup)
                _wait(place, deadline)
    except OSError as error:
        advice = f". {ADVICE}" if error.errno in _UNWRITABLE else ""
        raise TransportError(f"cannot start the embedded router: {error}{advice}") from error


def listens(place: Place) -> bool:
    """Return whether the router of a place listens."""
    return _is_running(place) and os.path.exists(place.info)  # the router writes it when it listens


def _is_running(place: Place) -> bool:
    """Return whether the router of a place runs. It keeps a file locked."""
    try:
        with open(place.lock) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextlib.contextmanager
def _starting(place: Place, deadline: float) -> t.Iterator[None]:
    """Let only one process at a time start the router of a place."""
    os.makedirs(os.path.dirname(place.starting) or ".", mode=0o700, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(place.starting, deadline))
        except BlockingIOError:
            raise TransportError(
                "another process is starting the embedded router and takes too long"
            ) from None
        yield


def _forget_the_dead(place: Place) -> None:
    """Remove the info file of a router that was killed.

    Otherwise the next router would seem to listen as soon as it has locked its file.
    """
    lock = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(place.info)
    except (BlockingIOError, FileNotFoundError):
        pass  # a router is starting, or there is no info file
    finally:
        os.close(lock)


def _start(place: Place, setup: t.Mapping[str, t.Any]) -> None:
    code = _BOOTSTRAP.format(
        path=[os.path.abspath(entry) for entry in sys.path if isinstance(entry, str)],
        package=str(Path(__file__).resolve().parents[2]),
    )
    log = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        # Secrets go through the pipe, because every user of the machine can see arguments.
        process = subprocess.Popen(
            [python_executable(), "-c", code],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd="/",
        )
    finally:
        os.close(log)
    process.communicate(json.dumps({"socket": place.socket, **setup}).encode(), timeout=30)


def _wait(place: Place, deadline: float) -> None:
    while not listens(place):
        log = _log(place)
        if _ERROR.search(log) and not _is_running(place):
            raise TransportError(f"the embedded router did not start{_last_line(log)}")
        if monotonic() > deadline:
            raise TransportError(f"the embedded router did not start in time{_last_line(log)}")
        time.sleep(CHECK_INTERVAL)


#: A complete traceback at the end of a log.
_ERROR = re.compile(r"^Traceback \(most recent call last\):\n(?s:.*)^[\w.]+: .*\n\Z", re.M)


def _log(place: Place) -> str:
    with contextlib.suppress(OSError), open(place.log, errors="replace") as log:
        return log.read()
    return ""


def _last_line(log: str) -> str:
    lines = log[-2000:].strip().splitlines()
    return f": {lines[-1]}" if lines else ""
