"""One POST over HTTP or HTTPS, with a deadline for all of it.

``urllib.request`` follows redirects, takes a proxy from the environment, distinguishes an unreachable server
from a broken connection only by text, and waits without a limit for a server that sends a byte at a time.
``http.client``, on which it is built, does none of that.
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
"""Bytes of the largest answer that is read: the router's own limit for messages."""


class HTTPAnswer(t.NamedTuple):
    """An HTTP response."""

    status: int
    body: bytes


class Trust:
    """Whose certificates are taken.

    :param ca: Path of a PEM file with the authorities; None: the system's.
    """

    def __init__(self, ca: str | None) -> None:
        self._ca = ca
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Return the TLS context. It is made when it is first needed, because gevent may patch before that.

        :raises ValueError: The file cannot be read.
        """
        if self._context is None:
            try:
                self._context = TLSSettings(ca=self._ca).context()
            except ValueError as error:
                raise ValueError(f"ca={self._ca!r}: {error.__cause__}") from error.__cause__
        return self._context


def post(url: SplitResult, body: bytes, *, uri: str, timeout: float, trust: Trust) -> HTTPAnswer:
    """Send JSON, and return the answer, whatever its status. The URL's query is in no error.

    :param uri: What is called, for :exc:`CallTimeout`.
    :raises TransportError: It cannot be reached, or its certificate was refused; nothing was sent.
    :raises SessionLost: The connection broke after that.
    :raises CallTimeout: Not everything was there in time.
    :raises ProtocolError: What answers does not speak HTTP.
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


#: What to do about certificates, by OpenSSL's ``X509_V_ERR_*``.
_HINTS = {
    9: "it will be valid later: check the clocks",
    10: "the bridge needs a new one",
    62: "the URL must have the name it is for",
    64: "the URL must have the address it is for",
}


def _why(error: ssl.SSLCertVerificationError) -> str:
    otherwise = "give ca= the PEM file of the authority that signed it"
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
        raise ProtocolError(f"{where} answers with more than {MAX_ANSWER} bytes")
    if response.length:  # read(amount) does not complain by itself
        raise SessionLost(f"the connection to {where} broke before the end of the answer")
    return HTTPAnswer(response.status, body)


class _TimedSocket:
    """A connected socket whose every wait ends at one deadline; its owner closes it."""

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
        """Keep the response open: the client closes the connection, and the answer is read after that."""


class _Reader(io.RawIOBase):
    def __init__(self, wait: t.Callable[[], socket.socket]) -> None:
        super().__init__()
        self._wait = wait

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        return self._wait().recv_into(buffer)
