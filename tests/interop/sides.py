"""The two sides of a cell: our app, and a peer in a separate process."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import threading
import typing as t

from flask import Flask, g

from flask_wamp import FlaskWAMP, event, invocation
from flask_wamp.crossbar import crossbar_python
from tests.support import peers

from . import install
from .names import AUTOBAHN, AUTOBAHN_JS, WAMPY_JS, XCONN, XCONN_ROUTER
from .routers import DRIVERS, Routers

SAFE = 2**53 - 1
"""The largest integer that a Number of JavaScript holds exactly."""


class DriverPeer(peers.AutobahnPeer):
    """A session of another client, with a driver that uses the protocol of autobahn_peer."""

    def __init__(self, command: t.Sequence[str], environ: dict[str, str] | None = None) -> None:
        self._open(command, {**os.environ, **(environ or {})})

    def command(self, do: str, kind: t.Any = peers.Reply, **arguments: t.Any) -> t.Any:
        """Send a command. Integers that JavaScript cannot represent are sent as text."""
        return super().command(do, kind, **_tagged(arguments))


def _tagged(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {key: _tagged(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tagged(item) for item in value]
    if isinstance(value, int) and abs(value) > SAFE:
        return {"__int__": str(value)}
    return value


class Ours:
    """The app's side: registers, subscribes, calls and publishes, and undoes all of it."""

    def __init__(self, url: str, realm: str, serializer: str) -> None:
        self._endpoint = (url, realm, serializer)
        self.app = Flask("interop")
        self.app.config.update(
            TESTING=True,
            WAMP_ROUTER_URL=url,
            WAMP_REALM=realm,
            WAMP_SERIALIZERS=[serializer],
            WAMP_URI_PREFIX="com.interop",
        )
        self.wamp = FlaskWAMP(self.app)
        self.app.add_url_rule("/call/<uri>", view_func=self._view)
        self._undo: list[t.Callable[[], None]] = []
        self.wamp.start()
        self.client = self.wamp.client
        self.client.wait_until_joined(peers.PATIENCE)

    def _view(self, uri: str) -> t.Any:
        return {"answer": g.wampy.call(uri, "from a view")}

    def callee(self, f: t.Callable[..., t.Any], procedure: str, **options: t.Any) -> None:
        self.client.register(f, procedure, **options)
        match = options.get("match", "exact")
        self._undo.append(lambda: self.client.unregister(procedure, match))

    def subscribe(self, topic: str, **options: t.Any) -> Events:
        events = Events()
        self.client.subscribe(events.take, topic, **options)
        match = options.get("match", "exact")
        self._undo.append(lambda: self.client.unsubscribe(topic, match))
        return events

    def hold(self, procedure: str) -> Held:
        """Register a procedure that waits until it is canceled, or until the cell is over."""
        held = Held()
        self._undo.append(held.over.set)
        self.callee(held.wait, procedure)
        return held

    @contextlib.contextmanager
    def another(self) -> t.Iterator[Ours]:
        """Another app, which may be stopped."""
        another = Ours(*self._endpoint)
        try:
            yield another
        finally:
            another.stop()

    def reset(self) -> None:
        while self._undo:
            with contextlib.suppress(Exception):  # after a lost session, it is already gone
                self._undo.pop()()

    def drop(self) -> None:
        """Lose the connection as if the cable were cut, and join again."""
        peer = self.client.peer
        assert peer is not None
        assert peer.connection is not None
        peer.connection.close()

    def stop(self) -> None:
        with self.app.app_context():
            self.wamp.stop()


class Events:
    """The events of one of our subscribers."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[tuple[peers.Received, int]] = queue.SimpleQueue()
        self.publications: list[int] = []

    def take(self, *args: t.Any, **kwargs: t.Any) -> None:
        facts = {
            "topic": event.topic,
            "publisher": event.publisher,
            "publisher_authrole": event.publisher_authrole,
            "retained": event.retained,
        }
        self._events.put((peers.Received(list(args), kwargs, facts), event.publication))

    def next(self) -> peers.Received:
        received, publication = peers.get_line(self._events)
        self.publications.append(publication)
        return t.cast(peers.Received, received)


class Held:
    """One of our invocations, which does not end before it is interrupted."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.interrupted = threading.Event()
        self.over = threading.Event()

    def wait(self) -> None:
        self.started.set()
        while not self.over.wait(0.01):
            if invocation.canceled:
                self.interrupted.set()
                return


class Stage:
    """The routers, our apps and the peers, each started when a cell needs it."""

    def __init__(self, routers: Routers) -> None:
        self._routers = routers
        self._stack = contextlib.ExitStack()
        self._ours: dict[tuple[str, str], Ours] = {}
        self._peer: tuple[tuple[str, ...], peers.AutobahnPeer] | None = None
        self._cells = itertools.count(1)

    def prefix(self) -> str:
        """Return an unused URI prefix."""
        return f"com.interop.c{next(self._cells)}"

    def ours(self, router: str, transport: str) -> Ours:
        transport = transport.split("/")[-1]
        if (router, transport) not in self._ours:
            url, serializer = self._endpoint(router, transport)
            ours = Ours(url, "realm1", serializer)
            self._stack.callback(ours.stop)
            self._ours[router, transport] = ours
        ours = self._ours[router, transport]
        ours.client.wait_until_joined(peers.PATIENCE)
        return ours

    def peer(self, name: str, router: str, transport: str) -> peers.AutobahnPeer:
        """Return the peer of the last cell if it is still running, or a new one."""
        if self._peer is not None:
            key, peer = self._peer
            if key == (name, router, transport) and peer.is_alive:
                return peer
            self.drop_peer()
        peer = self._join(name, router, transport)
        self._peer = ((name, router, transport), peer)
        return peer

    def drop_peer(self) -> None:
        if self._peer is not None:
            _, peer = self._peer
            self._peer = None
            peer.close()

    def close(self) -> None:
        self.drop_peer()
        self._stack.close()

    def _join(self, name: str, router: str, transport: str) -> peers.AutobahnPeer:
        url, serializer = self._endpoint(router, transport)
        arguments = [url, "realm1", serializer]
        if name in (AUTOBAHN, XCONN_ROUTER):
            # Crossbar's Python has everything that autobahn needs for cryptosign and SCRAM.
            return DriverPeer([str(crossbar_python()), "-I", str(peers.SCRIPT), *arguments])
        if name == XCONN:
            return DriverPeer([str(install.xconn()), str(DRIVERS / "xconn_peer.py"), *arguments])
        node, modules = install.node()
        script = {AUTOBAHN_JS: "autobahn.js", WAMPY_JS: "wampy.js"}[name]
        command = [node, "--no-deprecation", str(DRIVERS / script), *arguments]
        return DriverPeer(command, {"NODE_PATH": str(modules)})

    def _endpoint(self, router: str, transport: str) -> tuple[str, str]:
        kind, serializer = transport.split("/")[0].split("+")
        return self._routers.url(router, kind), serializer
