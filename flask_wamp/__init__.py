"""WAMP for Flask apps: RPC and PubSub over one connection to a router."""

from __future__ import annotations

from ._version import __version__
from .blueprints import WAMPBlueprint
from .exceptions import (
    ApplicationError,
    AuthenticationError,
    CallCanceled,
    CallTimeout,
    InvalidPayload,
    InvalidURI,
    NotJoined,
    NotSupported,
    PayloadTooLarge,
    ProtocolError,
    SerializationError,
    SessionLost,
    TaskAborted,
    TooSlow,
    TransportError,
    WAMPError,
)
from .extension import WAMP, FlaskWAMP
from .handlers.context import Event, Invocation, event, invocation
from .handlers.marks import callee, subscriber
from .protocol.call_result import CallResult
from .protocol.identity import Identity
from .protocol.meta_types import SessionInfo
from .tasks.background import background_tasks

__all__ = [
    "WAMP",
    "ApplicationError",
    "AuthenticationError",
    "CallCanceled",
    "CallResult",
    "CallTimeout",
    "Event",
    "FlaskWAMP",
    "Identity",
    "InvalidPayload",
    "InvalidURI",
    "Invocation",
    "NotJoined",
    "NotSupported",
    "PayloadTooLarge",
    "ProtocolError",
    "SerializationError",
    "SessionInfo",
    "SessionLost",
    "TaskAborted",
    "TooSlow",
    "TransportError",
    "WAMPBlueprint",
    "WAMPError",
    "__version__",
    "background_tasks",
    "callee",
    "event",
    "invocation",
    "subscriber",
]
