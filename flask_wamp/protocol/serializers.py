"""Serializers: a message to bytes and back. Each has its WebSocket subprotocol and RawSocket number.

``decode`` checks the envelope of a message and leaves its payload undecoded. ``encode`` takes payloads that
are to be sent and payloads that were received, whatever serializer they came in; see :mod:`.messages` for
both.

A client uses :func:`get_serializer`, a router :func:`get_router_serializer`.

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

#: How deep CBOR may be nested that a router passes on. This library sends nothing that is deeper than 100.
MAX_DEPTH_PASSED_ON = 200

_SERIALIZERS: dict[str, type[Serializer]] = {
    cls.name: cls for cls in (MsgPackSerializer, JSONSerializer, CBORSerializer)
}

NAMES = tuple(_SERIALIZERS)
"""The names ``WAMP_SERIALIZERS`` takes."""


def available(names: t.Iterable[str]) -> list[str]:
    """Leave out what is not installed."""
    return [name for name in names if name != "cbor" or _has_cbor2()]


@functools.cache  # looking takes a third of a millisecond, for each app of a test
def _has_cbor2() -> bool:
    return importlib.util.find_spec("cbor2") is not None


@functools.cache
def get_serializer(name: str) -> Serializer:
    """Return the serializer of that name, for what a router sends. It has no state, so one serves all."""
    return _SERIALIZERS[name]()


@functools.cache
def get_router_serializer(name: str) -> Serializer:
    """Return the serializer of that name, for what clients send. It has no state, so one serves all.

    Unlike the other it refuses what would harm the receiver when it is passed on: text that is not UTF-8 in a
    JSON payload has it close its WebSocket, and ``cbor2`` reads nothing that is nested more than 400 deep.
    """
    if name == JSONSerializer.name:
        return JSONSerializer(FromClient, strict=True)
    if name == CBORSerializer.name:
        return CBORSerializer(FromClient, max_depth=MAX_DEPTH_PASSED_ON)
    return MsgPackSerializer(FromClient)
