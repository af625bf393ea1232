"""Call and publish through Crossbar.io's HTTP bridge.

Use it in processes that are too short-lived to keep a session, such as a cron job, a command or a serverless
function. They can call or publish with a single HTTP request, without a session and without an app.

Source: Crossbar.io, "HTTP Bridge". The signature was checked against Crossbar 26.10.
"""

from __future__ import annotations

import base64
import copy
import datetime as dt
import hashlib
import hmac
import re
import secrets
import typing as t
from urllib.parse import SplitResult, urlencode, urlsplit

import msgspec

from ..exceptions import (
    ApplicationError,
    AuthenticationError,
    InvalidURI,
    PayloadTooLarge,
    ProtocolError,
    SerializationError,
    SessionLost,
    TransportError,
)
from ..protocol import messages as m
from ..protocol.call_result import outcome
from ..protocol.checks import is_seconds
from ..protocol.options import RECEIVERS, check_options
from ..protocol.payload import Default, plain
from ..protocol.uris import check_uri
from .http import HTTPAnswer, Trust, post


class BridgeClient:
    """Call and publish through the HTTP bridge of a router, with one request each.

    ::

        bridge = BridgeClient("https://router.example.com/call", key="cron", secret="...")
        bridge.call("com.example.add", 1, 2)

    It keeps no connection open, so threads, greenlets and forked processes may share it.

    :param call_url: The ``http://`` or ``https://`` URL of a service of type ``caller``.
    :param publish_url: The URL of a service of type ``publisher``.
    :param key: The key of both services, if they require signed requests.
    :param secret: The secret for the key. It signs requests, and is never sent.
    :param timeout: Seconds for a request and its answer.
    :param ca: The path of a PEM file with certificate authorities, instead of those of the system.
    :param default: Converts types of your own, as ``app.json.default`` does.
    :raises ValueError: A URL or the timeout is not valid, or only one of ``key`` and ``secret`` is given.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        call_url: str | None = None,
        publish_url: str | None = None,
        *,
        key: str | None = None,
        secret: str | None = None,
        timeout: float = 10.0,
        ca: str | None = None,
        default: Default | None = None,
    ) -> None:
        if (key is None) != (secret is None):
            raise ValueError("signed requests need both key= and secret=")
        if not is_seconds(timeout):
            raise ValueError(f"timeout={timeout!r} is not a number of seconds above 0")
        self._call_url = _bridge_url("call_url", call_url)
        self._publish_url = _bridge_url("publish_url", publish_url)
        self._key = key
        self._secret = secret
        self._timeout = timeout
        self._trust = Trust(ca)
        self._default = default
        self._options: dict[str, t.Any] = {}

    def __repr__(self) -> str:
        urls = (shown(url) for url in (self._call_url, self._publish_url) if url)
        return f"<{' '.join([type(self).__name__, *urls])}>"

    def with_options(self, **options: t.Any) -> BridgeClient:
        """Return a view of this client whose requests have these options.

        :param timeout: Seconds for a request and its answer.
        :param retain: For publications, as in ``g.wampy.with_options``. So are ``exclude``,
            ``exclude_authid``, ``exclude_authrole``, ``eligible``, ``eligible_authid`` and
            ``eligible_authrole``.
        :raises TypeError: The bridge does not support an option, or its value is not allowed.

        .. versionadded:: 0.1
        """
        for name in options.keys() - {"timeout", *_CARRIED}:
            raise TypeError(f"the HTTP bridge has no option {name!r}; it has {_NAMES}")
        check_options(options)
        view = copy.copy(self)
        view._timeout = options.pop("timeout", self._timeout)
        view._options = {**self._options, **options}
        return view

    def call(self, procedure: str, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
        """Call a remote procedure and wait for its result.

        :param procedure: Full procedure URI, ``com.example.add``.
        :returns: The same as ``g.wampy.call``: the single positional result, None, or a
            :class:`CallResult`.
        :raises ApplicationError: The callee or router answered ERROR.
        :raises CallTimeout: There was no answer in time. The call may have run or still be running, because
            the bridge cannot cancel it.
        :raises TransportError: The bridge cannot be reached, or it refused the request. Nothing was called.
        :raises AuthenticationError: The key or the secret is missing or wrong.
        :raises SessionLost: The connection or the bridge broke while waiting. The call may have run.
        :raises SerializationError: The arguments cannot be sent. This includes bytes. If a *result* contains
            bytes, Crossbar.io 26.10 never answers, which causes a :exc:`CallTimeout`.

        .. versionadded:: 0.1
        """
        check_uri(procedure, "procedure")
        body = self._body("procedure", procedure, args, kwargs)
        answer = self._ask(self._call_url, "call_url", procedure, body)
        return outcome(m.Result(0, {}, answer.args, answer.kwargs))

    def publish(self, topic: str, /, *args: t.Any, **kwargs: t.Any) -> int | None:
        """Publish an event, and wait until the router has accepted it.

        :param topic: Full topic URI, ``com.example.hello``.
        :returns: The publication id.
        :raises ApplicationError: The router refused it.

        It also raises the errors of :meth:`call`.

        .. versionadded:: 0.1
        """
        check_uri(topic, "topic")
        body = self._body("topic", topic, args, kwargs, self._options)
        return self._ask(self._publish_url, "publish_url", topic, body).id

    # One request.

    def _body(
        self,
        what: str,
        uri: str,
        args: t.Sequence[t.Any],
        kwargs: dict[str, t.Any],
        options: dict[str, t.Any] | None = None,
    ) -> bytes:
        for name in _NOT_CARRIED & kwargs.keys():
            raise SerializationError(f"the HTTP bridge uses {name!r} itself; use another keyword")
        more = {"options": options} if options else {}
        payload = plain({"args": args, "kwargs": kwargs}, self._default, binary=False)
        try:
            body = msgspec.json.encode({what: uri, **payload, **more})
        except (ValueError, RecursionError) as error:  # a lone surrogate
            raise SerializationError(f"not sent, because JSON cannot carry it: {error}") from error
        if _BINARY.search(body):
            raise SerializationError("the HTTP bridge cannot carry bytes; send Base64 text")
        return body

    def _ask(self, url: SplitResult | None, name: str, uri: str, body: bytes) -> _Reply:
        if url is None:
            raise RuntimeError(
                f"this BridgeClient has no {name}. Set it with BridgeClient({name}=...)"
            )
        answer = post(
            url._replace(query="&".join(filter(None, (url.query, self._signature(body))))),
            body,
            uri=uri,
            timeout=self._timeout,
            trust=self._trust,
        )
        reply = _reply(answer)
        if answer.status != 200:
            raise self._refusal(answer.status, reply, shown(url), len(body))
        if reply is None:
            raise ProtocolError(f"the answer of {shown(url)} is not that of an HTTP bridge")
        if reply.error is not None:
            outcome(m.Error(m.code(m.Call), 0, {}, reply.error, reply.args, reply.kwargs))
        return reply

    def _signature(self, body: bytes) -> str:
        """Return the query of a signed request. It is empty without a key.

        Crossbar 26.10 requires ``seq`` and ``nonce`` to be numbers, and does not check them further. Anyone
        who can read a request can send it again while its timestamp is recent. So use TLS.
        """
        if self._key is None or self._secret is None:
            return ""
        fields = {
            "timestamp": dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "seq": "1",
            "nonce": str(secrets.randbelow(2**53)),
        }
        signed = "".join((self._key, *fields.values())).encode() + body
        digest = hmac.digest(self._secret.encode(), signed, hashlib.sha256)
        signature = base64.urlsafe_b64encode(digest).decode()
        return urlencode({"key": self._key, **fields, "signature": signature})

    def _refusal(self, status: int, reply: _Reply | None, url: str, size: int) -> Exception:
        """Return the error for an HTTP status that is not 200. Crossbar answers WAMP errors with 200."""
        said = f"{url} answered HTTP {status}"
        if status == 401 or (status == 400 and reply and "signature" in (reply.error or "")):
            mine = "is unknown, or the secret is wrong" if self._key else "is missing"
            return AuthenticationError(f"{said}: the key of a signed request {mine}")
        if status == 413:
            return PayloadTooLarge(f"{said}: a request of {size} bytes is over its limit")
        if status >= 500:
            return _defect(said, reply)
        if 300 <= status < 400:
            return TransportError(f"{said}, a redirect, which is not followed: use the final URL")
        why = _WHY.get(status, "")
        if status == 400 and reply and reply.error:
            why = f": {reply.error}"
        return TransportError(f"{said}{why}")


#: Matches bytes, and text that begins with NUL, which is read as bytes. Crossbar 26.10 passes both on as
#: text to callees that use MsgPack or CBOR, and as bytes to those that use JSON.
_BINARY = re.compile(rb'(?<!\\)"\\u0000')

#: Keywords that Crossbar's bridge confuses with its own. It drops them, or fails.
_NOT_CARRIED = frozenset({"options", "self", "procedure", "topic", "f"})

#: The options that its publisher passes on.
_CARRIED = ("retain", *RECEIVERS)
_NAMES = ", ".join(("timeout", *_CARRIED))

_WHY = {
    403: ": access is forbidden",
    404: ": there is no HTTP bridge at this path",
    405: ": this path does not accept POST, so it is not an HTTP bridge",
}


class _Reply(msgspec.Struct):
    """The answer of a bridge: a result, ERROR, or the id of a publication."""

    args: list[t.Any] = []
    kwargs: dict[str, t.Any] = {}
    error: str | None = None
    id: int | None = None


_decode = msgspec.json.Decoder(_Reply).decode


def _reply(answer: HTTPAnswer) -> _Reply | None:
    try:
        return _decode(answer.body)
    except (ValueError, RecursionError):
        return None


def _defect(said: str, reply: _Reply | None) -> Exception:
    """Return the error for a failure of the bridge, which may have happened after the call was made."""
    if reply is not None and reply.error:
        try:
            uri = check_uri(reply.error, "error URI")
        except InvalidURI:
            return SessionLost(f"{said}: {reply.error}")
        error = ApplicationError(uri, *reply.args, **reply.kwargs)
        error.exposed = False  # another callee raised it, so handlers must not pass its details on
        return error
    return SessionLost(f"{said}; the request may have been carried out")


def _bridge_url(name: str, url: str | None) -> SplitResult | None:
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:  # the URL is not shown, because it may contain a password
        raise ValueError(f"{name} must be a URL such as 'https://router.example.com/call'")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{name} must not contain a user and password. Use key= and secret=")
    return parts._replace(fragment="")


def shown(url: SplitResult) -> str:
    """Return a URL for error texts, without its query, which signs the request."""
    return url._replace(query="").geturl()
