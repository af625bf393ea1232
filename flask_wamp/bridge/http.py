"""Sends one POST request over HTTP or HTTPS, with one deadline for the request and its answer.

This uses ``http.client``. ``urllib.request`` is not suitable. It follows redirects, uses a proxy from the
environment, and waits forever for a server that sends one byte at a time. Only the text of its errors shows
whether a server was unreachable or a connection broke.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
import typing as t
from urllib.parse import SplitResult

from ..concurrency.clock import monotonic
from ..exceptions import CallTimeout, ProtocolError, SessionLost, TransportError
from ..transports import TLSSettings

MAX_ANSWER = 16 * 1024 * 1024
"""The size, in bytes, of the largest answer that is read. It is the router's own limit for messages."""


class HTTPAnswer(t.NamedTuple):
    """An HTTP response."""

    status: int
    body: bytes


class Trust:
    """The certificate authorities to trust.

    :param ca: The path of a PEM file with the authorities. None means those of the system.
    """

    def __init__(self, ca: str | None) -> None:
        self._ca = ca
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Return the TLS context. It is created late, because gevent may patch ``ssl`` first.

        :raises ValueError: The file cannot be read.
        """
        if self._context is None:
            try:
                self._context = TLSSettings(ca=self._ca).context()
            except ValueError as error:
                raise ValueError(f"ca={self._ca!r}: {error.__cause__}") from error.__cause__
        return self._context


def post(url: SplitResult, body: bytes, *, uri: str, timeout: float, trust: Trust) -> HTTPAnswer:
    """Send JSON and return the answer, with any status. Error texts do not contain the query of the URL.

    :param uri: The procedure or topic, for :exc:`CallTimeout`.
    :raises TransportError: The server cannot be reached, or its certificate was refused. Nothing was sent.
    :raises SessionLost: The connection broke later, so the request may have been carried out.
    :raises CallTimeout: The answer was not complete in time.
    :raises ProtocolError: The server does not speak HTTP.
    """
    where = f"{url.scheme}://{url.netloc}"
    deadline = monotonic() + timeout
    client = _client(url, timeout, trust)
    try:
        client.connect()
    except TimeoutError as error:
        raise TransportError(f"{where} cannot be reached within {timeout:g} s") from error
    except ssl.SSLCertVerificationError as error:
        raise TransportError(f"the certificate of {where} was refused: {_why(error)}") from error
    except ssl.SSLError as error:
        reason = (error.reason or "").lower().replace("_", " ")
        raise TransportError(f"no TLS with {where}: {reason or error}") from error
    except (OSError, UnicodeError) as error:
        raise TransportError(f"{where} cannot be reached: {error}") from error
    with contextlib.closing(client.sock):
        client.sock = t.cast(t.Any, _TimedSocket(client.sock, deadline))
        try:
            client.request("POST", _target(url), body, {"Content-Type": "application/json"})
            return _read(client.getresponse(), where)
        except TimeoutError:
            raise CallTimeout(uri, timeout) from None
        except (OSError, http.client.IncompleteRead, http.client.RemoteDisconnected) as error:
            raise SessionLost(f"the connection to {where} broke: {error}") from error
        except http.client.HTTPException as error:
            raise ProtocolError(f"{where} does not speak HTTP: {type(error).__name__}") from error


#: Hints about refused certificates, by OpenSSL's ``X509_V_ERR_*``.
_HINTS = {
    9: "check the clocks",
    10: "the bridge needs a new one",
    62: "use a URL with a host name of the certificate",
    64: "use a URL with an address of the certificate",
}


def _why(error: ssl.SSLCertVerificationError) -> str:
    otherwise = "set ca= to a PEM file of the authority that has signed it"
    return f"{error.verify_message}; {_HINTS.get(error.verify_code, otherwise)}"


def _client(url: SplitResult, timeout: float, trust: Trust) -> http.client.HTTPConnection:
    host = url.hostname or ""
    if url.scheme == "https":
        return http.client.HTTPSConnection(host, url.port, timeout=timeout, context=trust.context())
    return http.client.HTTPConnection(host, url.port, timeout=timeout)


def _target(url: SplitResult) -> str:
    return url._replace(scheme="", netloc="").geturl() or "/"


def _read(response: http.client.HTTPResponse, where: str) -> HTTPAnswer:
    body = response.read(MAX_ANSWER + 1)
    if len(body) > MAX_ANSWER:
        raise ProtocolError(f"the answer of {where} has more than {MAX_ANSWER} bytes")
    if response.length:  # read(amount) does not raise if the answer is too short
        raise SessionLost(f"the connection to {where} broke before the end of the answer")
    return HTTPAnswer(response.status, body)


class _TimedSocket:
    """A connected socket with one deadline for all operations. Its owner closes it."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def _wait(self) -> socket.socket:
        remaining = self._deadline - monotonic()
        if remaining <= 0:
            raise TimeoutError
        self._sock.settimeout(remaining)
        return self._sock

    def sendall(self, data: bytes) -> None:
        self._wait().sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._wait))

    def close(self) -> None:
        """Do nothing. ``http.client`` calls this before the answer has been read."""


class _Reader(io.RawIOBase):
    def __init__(self, wait: t.Callable[[], socket.socket]) -> None:
        super().__init__()
        self._wait = wait

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        return self._wait().recv_into(buffer)
