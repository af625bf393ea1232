"""The serializers, which convert messages to bytes and back.

Each has a WebSocket subprotocol and a RawSocket number. ``decode`` checks the envelope of a message, and
leaves its payload undecoded. ``encode`` accepts plain payloads, and payloads that were received with any
serializer. See :mod:`.messages`.

A client uses :func:`get_serializer`, and a router uses :func:`get_router_serializer`.

Source: WAMP Basic Profile, "Serializers".
"""

from __future__ import annotations

import functools
import importlib.util
import typing as t

from .cbor_serializer import CBORSerializer
from .json_serializer import JSONSerializer
from .messages import FromClient
from .msgpack_serializer import MsgPackSerializer
from .serializer import Buffer, Serializer

__all__ = [
    "NAMES",
    "Buffer",
    "CBORSerializer",
    "JSONSerializer",
    "MsgPackSerializer",
    "Serializer",
    "available",
    "get_router_serializer",
    "get_serializer",
]

#: How deep a CBOR payload that a router passes on may be nested. This library sends at most 100 levels.
MAX_DEPTH_PASSED_ON = 200

_SERIALIZERS: dict[str, type[Serializer]] = {
    cls.name: cls for cls in (MsgPackSerializer, JSONSerializer, CBORSerializer)
}

NAMES = tuple(_SERIALIZERS)
"""The names that are allowed in ``WAMP_SERIALIZERS``."""


def available(names: t.Iterable[str]) -> list[str]:
    """Return the names of the serializers whose libraries are installed."""
    return [name for name in names if name != "cbor" or _has_cbor2()]


@functools.cache  # because this takes a third of a millisecond, for each app of a test suite
def _has_cbor2() -> bool:
    return importlib.util.find_spec("cbor2") is not None


@functools.cache
def get_serializer(name: str) -> Serializer:
    """Return the serializer for messages of a router. It has no state, so all clients share it."""
    return _SERIALIZERS[name]()


@functools.cache
def get_router_serializer(name: str) -> Serializer:
    """Return the serializer for messages of clients. It has no state, so all routers share it.

    Unlike :func:`get_serializer`, it refuses payloads that would harm their receivers. A receiver has to
    close its WebSocket if a JSON payload is not UTF-8. By default, ``cbor2`` refuses messages that are nested
    more than 400 levels deep.
    """
    if name == JSONSerializer.name:
        return JSONSerializer(FromClient, strict=True)
    if name == CBORSerializer.name:
        return CBORSerializer(FromClient, max_depth=MAX_DEPTH_PASSED_ON)
    return MsgPackSerializer(FromClient)
