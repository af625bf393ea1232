"""Rooms and messages: the procedures and topics for pages.

============================= ==========================================================================
topic                         who may subscribe
============================= ==========================================================================
``.everyone``                 every user
``.user.{authid}.inbox``      this user, for private messages and more
``.room.<id>``                the members of the room
============================= ==========================================================================

An event has a name as its argument, and keyword arguments. Only the application may publish.
"""

from __future__ import annotations

import re
import typing as t

from flask import abort, current_app, g
from pydantic import Field, StringConstraints
from sqlalchemy import func
from sqlalchemy.exc import IntegrityError

from flask_wamp import Event, Identity, Invocation, NotJoined, WAMPBlueprint
from flask_wamp.middlewares import RateLimit

from . import presence
from .extensions import db, wamp
from .models import DIRECT, PRIVATE, PUBLIC, Member, Message, Room, User, load_user

PREFIX = "com.example.chat"
PAGE = 50  # messages that are fetched at once
ROOM_TOPIC = re.compile(re.escape(PREFIX) + r"\.room\.([0-9]{1,9})")

# Limits of messages from pages. Line breaks and tabs are the only control characters in a text.
Id = t.Annotated[int, Field(ge=1, lt=2**31)]
Text = t.Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=2000,
        pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$",
    ),
]
RoomName = t.Annotated[  # with at least one visible character
    str,
    StringConstraints(
        strip_whitespace=True, max_length=40, pattern=r"^\P{Cc}*[^\p{C}\p{Z}]\P{Cc}*$"
    ),
]
Token = t.Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{8,64}$")]

Reply = dict[str, t.Any]

# Rights.

chat = WAMPBlueprint("chat", allow="user")  # logged-in users may call the procedures below
chat.middleware(RateLimit(40, 10))
wamp.register_blueprint(chat)
wamp.allow("user", subscribe=[".everyone", ".user.{authid}.inbox"])


@wamp.authorizer
def may(identity: Identity, action: str, uri: str, options: dict[str, t.Any]) -> bool | None:
    """Let members subscribe to their rooms. A table of rights cannot express membership."""
    topic = ROOM_TOPIC.fullmatch(uri)
    if topic is None or action != "subscribe":
        return None
    if identity.authrole != "user" or options.get("match", "exact") != "exact":
        return False
    return db.session.get(Member, (int(topic[1]), int(identity.authid))) is not None


@chat.before_dispatch
def find_user(message: Invocation | Event) -> None:
    """Find the user who calls. The identity comes from the router, not from the page."""
    user = load_user(message.identity.authid) if message.identity else None
    g.user = user or abort(401, "You are not logged in.")


def my_room(room_id: int) -> Room:
    """Return a room of the caller. Other rooms look as if they did not exist."""
    room = db.session.get(Room, room_id)
    if room is None or g.user.id not in room.member_ids:
        abort(404, "You are in no such room.")
    return room


# Procedures for pages.


@chat.callee
def start() -> Reply:
    """Return everything that a page shows. A page calls this whenever it has joined."""
    mine = db.select(Member.room_id).filter_by(user_id=g.user.id)
    rooms = db.select(Room).where((Room.kind == PUBLIC) | Room.id.in_(mine))
    return {
        "me": g.user.id,
        "people": [user.to_dict() for user in db.session.scalars(db.select(User))],
        "online": presence.online(),
        "rooms": [room.to_dict() for room in db.session.scalars(rooms)],
        "unread": unread(),
    }


def unread() -> dict[str, int]:
    """Count the messages that the caller has not seen, for each room that has some."""
    counts = (
        db.select(Message.room_id, func.count())
        .join(Member, Member.room_id == Message.room_id)
        .where(Member.user_id == g.user.id, Message.id > Member.read_up_to)
        .where(Message.author_id != g.user.id)
        .group_by(Message.room_id)
    )
    return {str(room_id): count for room_id, count in db.session.execute(counts)}


@chat.callee
def history(room_id: Id, before: Id | None = None) -> list[Reply]:
    """Return the last messages of a room, or those before a message. Oldest first."""
    room = my_room(room_id)
    query = db.select(Message).filter_by(room_id=room.id).order_by(Message.id.desc()).limit(PAGE)
    if before is not None:
        query = query.where(Message.id < before)
    return [message.to_dict() for message in db.session.scalars(query)][::-1]


@chat.callee
def say(room_id: Id, text: Text, token: Token) -> Reply:
    """Store a message and publish it.

    A page that does not know whether its message has arrived sends it again, with the same token.
    """
    room = my_room(room_id)
    message = Message(room_id=room.id, author_id=g.user.id, text=text, token=token)
    db.session.add(message)
    try:
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        query = db.select(Message).filter_by(author_id=g.user.id, token=token)
        message = db.session.scalars(query).one()
    tell(message.room, "said", message=message.to_dict())
    return message.to_dict()


@chat.callee
def typing(room_id: Id) -> None:
    """Publish that the caller is typing. This is not stored."""
    tell(my_room(room_id), "typing", room=room_id, person=g.user.id)


@chat.callee
def read(room_id: Id, up_to: Id) -> None:
    """Store which message the caller has seen last, and notify the caller's other tabs."""
    my_room(room_id)
    member = db.session.get_one(Member, (room_id, g.user.id))
    newest = db.session.scalar(db.select(func.max(Message.id)).filter_by(room_id=room_id)) or 0
    member.read_up_to = max(member.read_up_to, min(up_to, newest))
    db.session.commit()
    tell_users([g.user.id], "read", room=room_id)


@chat.callee(".room.create")
def create_room(name: RoomName, private: bool = False) -> Reply:
    """Create a room and enter it. Enter an existing public room instead of creating it."""
    if private:
        room = Room(kind=PRIVATE, name=name, members=[])
        db.session.add(room)
    else:
        room = Room.public(name)
    return changed(room, room.add, g.user.id)


@chat.callee(".room.enter")
def enter(room_id: Id) -> Reply:
    room = db.session.get(Room, room_id)
    if room is None or room.kind != PUBLIC:
        return my_room(room_id).to_dict()
    return changed(room, room.add, g.user.id)


@chat.callee(".room.leave")
def leave(room_id: Id) -> Reply:
    room = my_room(room_id)
    if room.kind == DIRECT:
        abort(400, "You cannot leave a private conversation.")
    return changed(room, room.remove, g.user.id)


@chat.callee(".room.invite")
def invite(room_id: Id, person: Id) -> Reply:
    room = my_room(room_id)
    if room.kind == DIRECT:
        abort(400, "A private conversation is between two people.")
    if db.session.get(User, person) is None:
        abort(404, "There is no such person.")
    return changed(room, room.add, person)


@chat.callee
def direct(person: Id) -> Reply:
    """Return the caller's private conversation with another user."""
    if person == g.user.id or db.session.get(User, person) is None:
        abort(404, "There is no such person.")
    return Room.direct(g.user.id, person).to_dict()


def changed(room: Room, change: t.Callable[[int], None], user_id: int) -> Reply:
    """Add a user to a room or remove one, and notify all users concerned."""
    try:
        change(user_id)
        db.session.commit()
    except IntegrityError:  # a second click has done the same
        db.session.rollback()
    announce(room, user_id)
    return room.to_dict()


# Events for pages.


def tell(room: Room, what: str, /, **data: t.Any) -> None:
    """Publish an event to the members of a room.

    The router called ``may`` when they subscribed, and does not call it again. So the event names the
    members: users who have left since then, and are still subscribed, get nothing.
    """
    if room.kind == DIRECT:
        tell_users(room.member_ids, what, **data)
    else:
        members = [str(user_id) for user_id in room.member_ids]
        publish(f".room.{room.id}", what, data, eligible_authid=members)


def announce(room: Room, *user_ids: int) -> None:
    """Publish the state of a room: to everyone, or to the members of a private room and these users."""
    if room.kind == PUBLIC:
        tell_everyone("room", room=room.to_dict())
    else:
        tell_users({*room.member_ids, *user_ids}, "room", room=room.to_dict())


def tell_users(user_ids: t.Iterable[int], what: str, /, **data: t.Any) -> None:
    for user_id in user_ids:
        publish(f".user.{user_id}.inbox", what, data)


def tell_everyone(what: str, /, **data: t.Any) -> None:
    publish(".everyone", what, data)


def publish(topic: str, what: str, data: dict[str, t.Any], **options: t.Any) -> None:
    """Publish an event. Pages that are not joined fetch the data when they are back."""
    try:
        g.wampy.with_options(**options).publish(topic, what, **data)
    except NotJoined:
        current_app.logger.warning("not joined: the event %r of %s is not published", what, topic)
