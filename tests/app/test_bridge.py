"""``flask_wamp.bridge`` against servers that are not a bridge, lie, disconnect or send slowly."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import socket
import subprocess
import sys
import threading
import typing as t
from urllib.parse import parse_qs, urlsplit

import pytest

from flask_wamp import (
    ApplicationError,
    CallTimeout,
    InvalidURI,
    ProtocolError,
    SessionLost,
    TransportError,
    WAMPError,
)
from flask_wamp.bridge.client import BridgeClient
from tests.support.sockets import Impostor

SECRET = "s3cr3t-s3cr3t"


class Server:
    """Answers each request with the same bytes, and closes.

    :param trickle: Send the bytes one by one, again and again.
    """

    def __init__(self, answer: bytes, trickle: bool = False) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/call?tenant=7"
        self.requests: list[bytes] = []
        self._answer = answer
        self._trickle = trickle
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while not self._stop.is_set():
                sock = self._listener.accept()[0]
                with sock, contextlib.suppress(OSError):
                    self._talk(sock)

    def _talk(self, sock: socket.socket) -> None:
        request = b""
        while b"}}" not in request:
            data = sock.recv(65536)
            if not data:
                return
            request += data
        self.requests.append(request)
        while self._trickle and not self._stop.wait(0.02):
            sock.sendall(self._answer)
        sock.sendall(self._answer)


def http(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    """A response."""
    length = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n".encode() + body


ANSWERS: dict[str, tuple[bytes, type[WAMPError], str]] = {
    "no http": (b"\x7f\xf2\0\0 RawSocket\r\n", ProtocolError, "does not speak HTTP"),
    "nothing": (b"", SessionLost, "broke"),
    "half": (http(b'{"args"', length=100), SessionLost, "broke"),
    "html": (http(b"<html>"), ProtocolError, "is not that of an HTTP bridge"),
    "a list": (http(b"[1]"), ProtocolError, "is not that of an HTTP bridge"),
    "wrong types": (http(b'{"args": 1}'), ProtocolError, "is not that of an HTTP bridge"),
    "deep": (http(b"[" * 100000), ProtocolError, "is not that of an HTTP bridge"),
    "endless": (http(b"x", length=2**40), SessionLost, "broke"),
    "redirect": (
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        TransportError,
        "HTTP 302, a redirect",
    ),
    "gateway": (http(b"<html>", "502 Bad Gateway"), SessionLost, "HTTP 502"),
    "defect": (
        http(b'{"error": "Unhandled exception in Crossbar."}', "500 Oh"),
        SessionLost,
        "Unhandled exception",
    ),
    "runtime error": (
        http(b'{"error": "wamp.error.runtime_error", "args": ["Sorry"]}', "500 Oh"),
        ApplicationError,
        "wamp.error.runtime_error: 'Sorry'",
    ),
    "forbidden": (http(b"", "403 Forbidden"), TransportError, "403: access is forbidden"),
    "not allowed": (http(b"", "405 No"), TransportError, "does not accept POST"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_servers_that_are_not_a_bridge(name: str) -> None:
    answer, error, why = ANSWERS[name]
    with Server(answer) as server:
        bridge = BridgeClient(server.url, key="cron", secret=SECRET)
        with pytest.raises(error, match=why) as raised:
            bridge.call("com.example.x")
        assert len(server.requests) == 1
    shown = f"{raised.value} {raised.value!r} {bridge!r}"
    assert not any(word in shown for word in (SECRET, "signature", "tenant"))


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\n", http(b"", length=2**20)])
def test_a_server_that_sends_slowly_ends_with_the_timeout(part: bytes) -> None:
    with Server(part, trickle=True) as server, pytest.raises(CallTimeout):
        BridgeClient(server.url, timeout=0.3).call("com.example.x")


def test_a_silent_server_ends_with_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bridge = BridgeClient(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.2)
        with pytest.raises(CallTimeout, match="com.example.x did not answer within 0.2 s"):
            bridge.call("com.example.x")
        address = listener.getsockname()
    with pytest.raises(TransportError, match="cannot be reached"):
        BridgeClient(f"http://127.0.0.1:{address[1]}/").call("com.example.x")
    with pytest.raises(TransportError, match="cannot be reached"):
        BridgeClient(f"http://{'a' * 70}.invalid/").call("com.example.x")


def test_the_signature() -> None:
    with Server(http(b'{"args": [1]}')) as server:
        bridge = BridgeClient(server.url, key="ke y&", secret=SECRET)
        assert [bridge.call("com.example.x", "ü"), bridge.call("com.example.x")] == [1, 1]
        nonces = set()
        for request in server.requests:
            head, _, body = request.partition(b"\r\n\r\n")
            query = parse_qs(urlsplit(head.split()[1].decode()).query)
            field = {name: values[0] for name, values in query.items()}
            assert (field["tenant"], field["key"], int(field["seq"])) == ("7", "ke y&", 1)
            nonces.add(int(field["nonce"]))
            text = "".join(field[name] for name in ("key", "timestamp", "seq", "nonce"))
            expected = hmac.new(SECRET.encode(), text.encode() + body, hashlib.sha256).digest()
            assert field["signature"] == base64.urlsafe_b64encode(expected).decode()
            assert SECRET.encode() not in request
    assert len(nonces) == 2


def test_misuse() -> None:
    for url in ("ws://h/x", "h/x", "", "http://", "http://h:x/", "http://u:p4ss@h/x", "http://[/"):
        with pytest.raises(ValueError, match="call_url must") as raised:
            BridgeClient(url)
        assert "p4ss" not in str(raised.value)
    with pytest.raises(ValueError, match="both key= and secret="):
        BridgeClient("http://h/", key="cron")
    with pytest.raises(ValueError, match="timeout"):
        BridgeClient("http://h/", timeout=0)
    bridge = BridgeClient("http://h/")
    with pytest.raises(RuntimeError, match="no publish_url"):
        bridge.publish("com.example.x")
    with pytest.raises(InvalidURI):
        bridge.call("com..x")


def test_https_to_a_server_that_speaks_http() -> None:
    with Impostor(http(b"{}")) as server:
        bridge = BridgeClient(f"https://127.0.0.1:{server.port}/call")
        with pytest.raises(TransportError, match=r"no TLS with https://127.0.0.1:\d+: "):
            bridge.call("com.example.x")


def test_own_types() -> None:
    with Server(http(b'{"args": [1]}')) as server:
        BridgeClient(server.url, default=lambda value: "own").call("com.example.x", object())
        assert b'"args":["own"]' in server.requests[0]


def test_importing_the_bridge_imports_no_session_code() -> None:
    code = (
        "import sys, flask_wamp.bridge\n"
        "print(sorted({'websockets', 'cbor2', 'pydantic'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_threads_share_one_bridge_client() -> None:
    with Server(http(b'{"args": [1]}')) as server:
        bridge, results = BridgeClient(server.url), list[t.Any]()
        threads = [
            threading.Thread(target=lambda: results.append(bridge.call("com.example.x")))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert results == [1] * 8
