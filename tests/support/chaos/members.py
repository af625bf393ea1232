"""A member: an app with its own session, its handlers, and its reports to the ledger."""

from __future__ import annotations

import threading
import time
import typing as t

from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP, event, signals
from flask_wamp.exceptions import WAMPError

from .ledger import Ledger, Receipt

HEARTBEAT, DRAIN = 1.0, 3.0

PLANNED, INNER = "com.chaos.error.planned", "com.chaos.error.inner"


class Planned(Exception):
    """Raised by a handler on purpose."""


Call = t.Callable[["Member", int], t.Any]
"""Makes a nested call of this many levels."""


class Member:
    """One app.

    :param url: The URL that it joins: of a proxy, or of the router itself.
    :param nested: Makes the calls of handlers that call.
    """

    def __init__(self, name: str, url: str, ledger: Ledger, nested: Call, **config: t.Any) -> None:
        self.name = name
        self.ledger = ledger
        self._nested = nested
        self.app = Flask(f"chaos-{name}")
        self.app.config.update(
            WAMP_ROUTER_URL=url,
            WAMP_URI_PREFIX="com.chaos",
            WAMP_HEARTBEAT=HEARTBEAT,
            WAMP_CONNECT_TIMEOUT=2.0,
            WAMP_CALL_TIMEOUT=5.0,
            WAMP_DRAIN_TIMEOUT=DRAIN,
            WAMP_RECONNECT_MAX=0.5,
            **config,
        )
        self.wamp = FlaskWAMP(self.app)
        self.client = self.wamp.client
        self.last_loss = ""
        """Why the last session was lost."""
        self._serve()
        for signal in (signals.session_joined, signals.session_lost, signals.event_dropped):
            signal.connect(getattr(self, f"_{signal.name.replace('-', '_')}"), self.app)

    def start(self) -> None:
        self.wamp.start()

    def stop(self) -> None:
        self.wamp.stop()

    # Its procedures and subscriptions.

    def _serve(self) -> None:
        for f, options in (
            (self._echo, {}),
            (self._slow, {}),
            (self._fail, {}),
            (self._crash, {}),
            (self._nest, {}),
            (self._large, {}),
            (self._limited, {"concurrency": 2, "timeout": 0.4}),
        ):
            self.wamp.callee(f".{f.__name__.strip('_')}", validate=False, **options)(f)
        self.wamp.callee(f".who.{self.name}", invoke="single")(lambda: self.name)
        self.wamp.subscriber(".news", validate=False)(self._news)
        self.wamp.subscriber(".odd", validate=False)(lambda *args, **kwargs: None)
        self.wamp.subscriber(".jobs", validate=False, delivery="one")(self._job)

    def _echo(self, token: int, payload: t.Any = None) -> t.Any:
        self.ledger.ran(token, self.name)
        return {"token": token, "payload": payload}

    def _slow(self, token: int, seconds: float) -> t.Any:
        self.ledger.ran(token, self.name)
        time.sleep(seconds)
        return {"token": token, "payload": seconds}

    def _limited(self, token: int, seconds: float) -> t.Any:
        return self._slow(token, seconds)

    def _fail(self, token: int) -> t.NoReturn:
        self.ledger.ran(token, self.name)
        raise ApplicationError(PLANNED, token)

    def _crash(self, token: int) -> t.NoReturn:
        self.ledger.ran(token, self.name)
        raise Planned(token)

    def _large(self, token: int, size: int) -> str:
        self.ledger.ran(token, self.name)
        return "x" * size

    def _nest(self, token: int, depth: int) -> t.Any:
        self.ledger.ran(token, self.name)
        if depth:
            try:
                self._nested(self, depth - 1)
            except WAMPError as error:
                raise ApplicationError(INNER, token, type(error).__name__) from error
        return {"token": token, "payload": depth}

    def _news(self, publisher: str, number: int, payload: t.Any = None) -> None:
        session = event._work.connection.session  # type: ignore[attr-defined]
        receipt = Receipt((publisher, number), session.session_id, event.publisher or 0)
        self.ledger.received(self.name, receipt)

    def _job(self, number: int) -> None:
        self.ledger.did(number, self.name)

    # Its signals.

    def _session_joined(self, sender: Flask, *, session_id: int, **rest: t.Any) -> None:
        self.ledger.joined[session_id] = time.monotonic()
        self.ledger.note(f"{self.name} joined as {session_id}")

    def _session_lost(
        self, sender: Flask, *, session_id: int, reason: t.Any, **rest: t.Any
    ) -> None:
        self.ledger.note(f"{self.name} lost {session_id}: {reason}")
        self.last_loss = str(reason)

    def _event_dropped(self, sender: Flask, **facts: t.Any) -> None:
        self.ledger.violation(f"{self.name} dropped events: {facts}")

    # Its state.

    def trouble(self) -> str:
        """Return the remaining work or a problem while there is no load. Empty when the member is idle."""
        health = self.wamp.health()
        peer = self.client.peer
        connection = peer.connection if peer is not None else None
        if connection is None or not health["joined"]:
            return f"not joined: {health['failure']}"
        if health["procedures"]["refused"] or health["topics"]["refused"]:
            return f"refused: {health['procedures']} {health['topics']}"
        temporary = [d.uri for d in self.client.declarations if ".temporary." in d.uri]
        if temporary:
            return f"declared at run time and not forgotten: {temporary}"
        missing = [d.uri for d in self.client.declarations if d.id is None]
        if missing:
            return f"not served: {missing}"
        if health["in_hand"] != {"running": 0, "waiting": 0}:
            return f"unfinished: {health['in_hand']}"
        session = connection.session
        waiting = [p for p in session._pending.values() if p.ticket is not None]
        lanes = [
            d.uri for d in self.client.declarations if d.queue and d.queue._free != d.concurrency
        ]
        left = {
            "works": connection.invocations,
            "in_hand": session.unanswered,
            "pending": waiting,
            "lanes": lanes,
        }
        return f"left over: {left}" if any(left.values()) else ""


def wait_until_idle(members: t.Iterable[Member], limit: float) -> list[str]:
    """Wait until all members are idle. Return those that are not."""
    deadline = time.monotonic() + limit
    pause = threading.Event()
    while True:
        troubles = [f"{m.name}: {trouble}" for m in members if (trouble := m.trouble())]
        if not troubles or time.monotonic() > deadline:
            return troubles
        pause.wait(0.1)
