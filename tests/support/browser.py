"""A browser as the app sees it: a WebSocket with cookies and an origin, with WAMP in JSON."""

from __future__ import annotations

import contextlib
import json
import ssl
import typing as t

from websockets.extensions.base import ClientExtensionFactory
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

TIMEOUT = 20.0

ROLES = {role: {} for role in ("caller", "callee", "publisher", "subscriber")}


class Refused(Exception):
    """The router answered ERROR or ABORT."""

    def __init__(self, uri: str, args: list[t.Any]) -> None:
        super().__init__(f"{uri} {args}")
        self.uri = uri


class Browser:
    """One session; ``with Browser("ws://127.0.0.1:5000/wamp") as browser:``.

    :param ticket: The response of ``POST .../session``, to join with.
    :param hello: More details of HELLO.
    :param extensions: The WebSocket extensions to offer.
    """

    def __init__(
        self,
        url: str,
        *,
        origin: str | None = None,
        cookie: str | None = None,
        ticket: dict[str, t.Any] | None = None,
        realm: str = "realm1",
        tls: ssl.SSLContext | None = None,
        hello: dict[str, t.Any] | None = None,
        extensions: t.Sequence[ClientExtensionFactory] | None = None,
    ) -> None:
        headers = {"Cookie": cookie} if cookie else {}
        self.events: list[list[t.Any]] = []
        self._id = 0
        self._stack = contextlib.ExitStack()
        connecting = connect(
            url,
            subprotocols=[Subprotocol("wamp.2.json")],
            origin=t.cast(t.Any, origin),
            additional_headers=headers,
            open_timeout=TIMEOUT,
            close_timeout=2,
            ping_interval=None,
            compression=None,
            extensions=extensions,
            ssl=tls,
        )
        self.socket: ClientConnection = self._stack.enter_context(connecting)
        details: dict[str, t.Any] = {"roles": ROLES}
        if ticket is not None:
            details |= {"authmethods": ["ticket"], "authid": ticket["authid"]}
        self.send([1, realm, details | (hello or {})])
        answer = self.receive()
        if answer[0] == 4:
            assert ticket is not None
            self.send([5, ticket["ticket"], {}])
            answer = self.receive()
        if answer[0] != 2:
            self._stack.close()
            raise Refused(answer[2], [answer[1].get("message")])
        self.session_id: int = answer[1]
        self.welcome: dict[str, t.Any] = answer[2]
        self.authid: str = answer[2]["authid"]
        self.authrole: str = answer[2]["authrole"]

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def send(self, message: list[t.Any]) -> None:
        self.socket.send(json.dumps(message))

    def receive(self, timeout: float = TIMEOUT) -> list[t.Any]:
        return t.cast("list[t.Any]", json.loads(self.socket.recv(timeout=timeout)))

    def ask(self, code: int, *rest: t.Any) -> list[t.Any]:
        """Send a request and wait for its answer. Events are kept."""
        self.send([code, self.next_id(), *rest])
        while True:
            message = self.receive()
            if message[0] == 36:
                self.events.append(message)
            elif message[0] == 8 and message[2] == self._id:
                raise Refused(message[4], message[5] if len(message) > 5 else [])
            elif message[0] != 8 and message[1] == self._id:
                return message

    def next_id(self) -> int:
        """Return the id of the next request."""
        self._id += 1
        return self._id

    def call(self, procedure: str, *args: t.Any) -> t.Any:
        answer = self.ask(48, {}, procedure, list(args))
        return answer[3][0] if len(answer) > 3 and answer[3] else None

    def subscribe(self, topic: str, **options: t.Any) -> int:
        return int(self.ask(32, options, topic)[2])

    def publish(self, topic: str, *args: t.Any) -> int:
        return int(self.ask(16, {"acknowledge": True}, topic, list(args))[2])

    def register(self, procedure: str, **options: t.Any) -> int:
        return int(self.ask(64, options, procedure)[2])

    def next_event(self) -> list[t.Any]:
        """Return the arguments of the next event."""
        while not self.events:
            message = self.receive()
            assert message[0] == 36, message
            self.events.append(message)
        message = self.events.pop(0)
        return t.cast("list[t.Any]", message[4] if len(message) > 4 else [])

    def ends(self) -> str:
        """Wait for GOODBYE. Return its reason."""
        while (message := self.receive())[0] != 6:
            assert message[0] == 36, message
        return str(message[2])
