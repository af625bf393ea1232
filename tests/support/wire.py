"""The router's end of a session without a connection: the decoded messages of the session."""

from __future__ import annotations

import typing as t

from flask_wamp.protocol.auth import Authentication, Credentials
from flask_wamp.protocol.messages import AnyMessage, Message, Welcome
from flask_wamp.protocol.serializers import (
    CBORSerializer,
    JSONSerializer,
    MsgPackSerializer,
    Serializer,
    get_serializer,
)
from flask_wamp.protocol.session import Session
from flask_wamp.router.features import ROLES

SERIALIZERS = ("json", "msgpack", "cbor")

SESSION_ID = 9129137332


def router_serializer(name: str) -> Serializer:
    """A serializer that also decodes messages of clients."""
    classes: dict[str, t.Any] = {
        "json": JSONSerializer,
        "msgpack": MsgPackSerializer,
        "cbor": CBORSerializer,
    }
    return t.cast(Serializer, classes[name](AnyMessage))


def new_session(
    *,
    serializer: str = "msgpack",
    credentials: Credentials | None = None,
    max_message_size: int = 2**24,
) -> Session:
    """A session that has sent nothing yet."""
    return Session(
        get_serializer(serializer),
        "realm1",
        Authentication(credentials or Credentials()),
        agent="tests",
        max_message_size=max_message_size,
    )


def joined_session(*, roles: t.Any = None, **options: t.Any) -> Session:
    """A session that has been welcomed by a router with these roles, by default with all features."""
    session = new_session(**options)
    session.join()
    session.receive(Welcome(SESSION_ID, {"roles": ROLES if roles is None else roles}))
    session.outgoing.clear()
    return session


def said(session: Session) -> list[Message]:
    """Return the messages that the session has sent since the last call."""
    data, session.outgoing = session.outgoing, []
    decode = router_serializer(session._serializer.name).decode
    return [decode(each) for each in data]
