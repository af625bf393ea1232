"""Signatures of the messages between the processes of an app, so that other sessions cannot forge them.

The processes of an app coordinate through procedures and topics below ``<prefix>.flask_wamp.``. Other
sessions may have the right to call and publish there too. So each message carries an HMAC of its content and
its purpose.

The key is derived from ``SECRET_KEY``. While a key is being replaced, ``SECRET_KEY_FALLBACKS`` are accepted
too. An app without ``SECRET_KEY`` signs with its WAMP secret, ticket or private key. An app without any of
these does not sign its messages. It joins anonymously, so other sessions have the same rights anyway.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import time
import typing as t

import msgspec

from ..exceptions import InvalidPayload, SerializationError

Keys = t.Callable[[], t.Sequence[bytes]]
"""Returns the keys. The first one signs. Without keys, messages are not signed."""

MAX_AGE = 60.0
"""Seconds after which a message with a timestamp is refused. The clocks of two processes may differ by as
much."""


class Signer:
    """Signs values and reads signed ones.

    :param keys: Called for every message, because an app may set ``SECRET_KEY`` late.
    """

    def __init__(self, keys: Keys = lambda: ()) -> None:
        self._keys = keys

    def sign(self, purpose: str, value: object) -> list[bytes]:
        """Return a payload that carries a value.

        :param purpose: The purpose of the message. :meth:`read` refuses it for any other purpose.
        :raises SerializationError: The value cannot be encoded.
        """
        data = _encode(value)
        keys = self._keys()
        return [data, _digest(keys[0], purpose, data) if keys else b""]

    def read(self, purpose: str, payload: t.Sequence[object]) -> object:
        """Return the value that a payload carries.

        :raises InvalidPayload: It was not signed by a process of this app for this purpose.
        """
        if len(payload) != 2:
            raise InvalidPayload("not a signed message")
        data, digest = payload
        if not (isinstance(data, bytes) and isinstance(digest, bytes)):
            raise InvalidPayload("not a signed message")
        keys = self._keys()
        valid = [hmac.compare_digest(digest, _digest(key, purpose, data)) for key in keys]
        if not (any(valid) if keys else digest == b""):
            raise InvalidPayload("not signed by a process of this app (SECRET_KEY)")
        return _decode(data)

    def sign_now(self, purpose: str, value: object) -> list[bytes]:
        """Sign a value like :meth:`sign`, with a timestamp, so that the message cannot be replayed later."""
        return self.sign(purpose, [time.time(), value])

    def read_recent(self, purpose: str, payload: t.Sequence[object]) -> object:
        """Return the value that a payload of :meth:`sign_now` carries.

        :raises InvalidPayload: It was not signed by a process of this app, or it is too old.
        """
        stamped = self.read(purpose, payload)
        if not (isinstance(stamped, list) and len(stamped) == 2):
            raise InvalidPayload("not a signed message with a timestamp")
        sent_at, value = stamped
        if not is_finite(sent_at) or abs(time.time() - sent_at) > MAX_AGE:
            raise InvalidPayload(
                f"the message was signed more than {MAX_AGE:g} s ago, or the clocks differ"
            )
        return value


def is_finite(value: object) -> t.TypeGuard[int | float]:
    """Return whether a value from another process is a finite number."""
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _digest(key: bytes, purpose: str, data: bytes) -> bytes:
    own_key = hashlib.sha256(b"flask_wamp.coordination\0" + key).digest()
    return hmac.digest(own_key, purpose.encode() + b"\0" + data, "sha256")


def _encode(value: object) -> bytes:
    try:
        return msgspec.msgpack.encode(value)
    except (OverflowError, UnicodeError):
        # MessagePack cannot encode integers over 64 bits and lone surrogates. JSON can.
        pass
    except (TypeError, ValueError, RecursionError) as error:
        raise SerializationError(str(error)) from None
    try:
        return json.dumps(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise SerializationError(str(error)) from None


def _decode(data: bytes) -> object:
    try:
        return msgspec.msgpack.decode(data) if data[:1] >= b"\x80" else json.loads(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidPayload(f"cannot be decoded: {str(error)[:200]}") from None
