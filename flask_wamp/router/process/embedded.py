"""The main program of the embedded router. A process of the app starts it. It ends soon after the app."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
import typing as t

from ..._text import get_logger
from ...concurrency.clock import monotonic
from ...transports.urls import RouterURL, parse_router_url
from .. import Router, RouterSettings
from ..app_api import BACKEND, AppAPI, PortError
from . import event_loop
from .errors import ListenError
from .listeners import Listener
from .locks import locked
from .place import Place
from .server import RouterServer, allow_many_files
from .takeover import HandoverListener

logger = get_logger("flask_wamp.router")

#: Seconds from the end of the app's last process to the end of the router. A restart of the app takes less.
GRACE = 10.0

#: Seconds within which the process that started the router must join.
FIRST_GRACE = 30.0

#: Seconds for GOODBYE at the end.
STOP_TIMEOUT = 2.0

#: Seconds to wait for the lock of a router that is about to end.
LOCK_TIMEOUT = 5.0

#: Seconds to wait, at the end, for a process that looks whether the router runs.
CLEAN_UP_TIMEOUT = 1.0

#: Seconds for which calls wait for a new worker after the last one has left, for example in a deploy.
LINGER = 10.0


def main() -> None:
    """Run the router until the app has ended. Reads its setup as JSON from standard input."""
    setup: dict[str, t.Any] = json.load(sys.stdin.buffer)
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    place = Place(setup["socket"])
    with contextlib.ExitStack() as stack:
        try:
            # For a moment, a process that looks whether the router runs may hold the lock too.
            stack.enter_context(locked(place.lock, monotonic() + LOCK_TIMEOUT))
        except BlockingIOError:
            return  # another router is running
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place.info)
        allow_many_files()
        is_clean = False
        try:
            event_loop.run(_run(place, setup))
            is_clean = _remove_files(place)
        except KeyboardInterrupt:
            pass
        finally:
            if not is_clean:  # otherwise the info file may already be that of the next router
                with contextlib.suppress(OSError):
                    os.unlink(place.info)


def _remove_files(place: Place) -> bool:
    """Remove the files of the router that ends, unless a process is starting the next one.

    The log stays if there is anything in it. Return whether the info file is removed.
    """
    try:
        # No process starts a router meanwhile. Those that wait for a lock notice that its file is removed.
        with locked(place.starting, monotonic() + CLEAN_UP_TIMEOUT):
            with contextlib.suppress(OSError):
                if not os.path.getsize(place.log):
                    os.unlink(place.log)
            # The last one is the file whose lock is held: from then on, the next router may start.
            for path in (place.info, place.lock, place.starting):
                with contextlib.suppress(OSError):
                    os.unlink(path)
            return True
    except OSError:
        return False


async def _run(place: Place, setup: dict[str, t.Any]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    own_app = setup.get("own", "")
    api = AppAPI(loop.time, time.time, own_app)
    router = Router(
        RouterSettings(realms=(setup["realm"],), linger=setup.get("linger", LINGER)),
        clock=loop.time,
        wall_clock=time.time_ns,
        authenticator=api.authenticate,
        authorizer=api.authorize,
    )
    server = RouterServer(router)
    ports = Ports(server)
    api.serve(router, setup["realm"], server.defer, ports.listen)
    if "policy" in setup:
        rules = (setup["policy"], setup.get("explains", False), setup.get("authorizer"))
        api.configure(own_app, *rules, principals=setup.get("principals"))
    for url in setup.get("listen", ()):
        ports.listen(own_app, url, setup.get("origins", []))
    own = RouterURL(f"unix://{place.socket}", "unix", "localhost", 0, place.socket)
    apps = Listener(server, own, identity=BACKEND, own_user=True)
    browsers = HandoverListener(server, place.browsers)
    _say(place, setup)
    watch = asyncio.ensure_future(_watch(apps, setup.get("grace", GRACE), ended))
    await ended.wait()
    watch.cancel()
    await asyncio.wait([watch])
    for listener in (apps, browsers, ports):
        listener.close()
    await server.stop(STOP_TIMEOUT)


class Ports:
    """The router's own ports. Each is for the browsers of one app."""

    def __init__(self, server: RouterServer) -> None:
        self._server = server
        self._listeners: dict[str, tuple[str, Listener]] = {}

    def listen(self, app: str, url: str, origins: t.Sequence[str | None] | None) -> None:
        """Open a port, if it is not already open. See :class:`.Listen`."""
        if url not in self._listeners:
            try:
                listener = Listener(self._server, parse_router_url(url), origins=origins, app=app)
            except ListenError as error:
                raise PortError(str(error)) from error
            self._listeners[url] = app, listener
        elif self._listeners[url][0] != app:
            raise PortError(f"{url} is open for another application: each needs a port of its own")

    def close(self) -> None:
        """Stop listening."""
        for _, listener in self._listeners.values():
            listener.close()


def _say(place: Place, setup: t.Mapping[str, t.Any]) -> None:
    """Write the info file. Its existence shows that the router is listening."""
    info = {
        "pid": os.getpid(),
        "since": time.time(),
        "realm": setup["realm"],
        "app": setup.get("app"),
    }
    temporary = f"{place.info}.{os.getpid()}"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(info, file)
    os.replace(temporary, place.info)


async def _watch(apps: Listener, grace: float, ended: asyncio.Event) -> None:
    """Set ``ended`` when no process of the app has been connected for ``grace`` seconds."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    while True:
        await asyncio.sleep(min(1.0, grace / 4))
        if apps.connections:
            continue
        due = begun + FIRST_GRACE if apps.emptied is None else apps.emptied + grace
        if clock() > due:
            ended.set()
            return
