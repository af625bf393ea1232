"""The tables. ``to_dict`` returns what pages get to see."""

from __future__ import annotations

import sqlite3
import time
import typing as t

from flask_login import UserMixin
from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, event, func
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column, relationship
from werkzeug.security import check_password_hash, generate_password_hash

from .extensions import db, login_manager

PUBLIC, PRIVATE, DIRECT = "public", "private", "direct"
FIRST_ROOM = "general"


class User(UserMixin, db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(30))
    password_hash: Mapped[str] = mapped_column(String(200))

    __table_args__ = (Index("one_user_of_a_name", func.lower(name), unique=True),)

    @classmethod
    def find(cls, name: str) -> User | None:
        return db.session.scalar(db.select(cls).where(func.lower(cls.name) == name.lower()))

    def set_password(self, password: str) -> None:
        self.password_hash = generate_password_hash(password)

    def has_password(self, password: str) -> bool:
        return check_password_hash(self.password_hash, password)

    def to_dict(self) -> dict[str, t.Any]:
        return {"id": self.id, "name": self.name}


@login_manager.user_loader
def load_user(user_id: str) -> User | None:
    return db.session.get(User, int(user_id)) if user_id.isdecimal() else None


class Room(db.Model):
    """A public room, which everybody may enter; a private one, by invitation; or two people in private."""

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    name: Mapped[str] = mapped_column(String(40), default="")
    #: What there may be only once: a public room of a name, a conversation of two people.
    key: Mapped[str | None] = mapped_column(String(60), unique=True)
    members: Mapped[list[Member]] = relationship(
        back_populates="room",
        order_by="Member.user_id",
        cascade="all, delete-orphan",
        lazy="selectin",
    )

    @property
    def member_ids(self) -> list[int]:
        return [member.user_id for member in self.members]

    def to_dict(self) -> dict[str, t.Any]:
        return {"id": self.id, "kind": self.kind, "name": self.name, "members": self.member_ids}

    @classmethod
    def public(cls, name: str) -> Room:
        """Return the public room of this name. Create it if there is none."""
        return cls._only_one(f"public:{name.lower()}", kind=PUBLIC, name=name)

    @classmethod
    def direct(cls, *user_ids: int) -> Room:
        """Return the conversation of two people. Create it if there is none."""
        first, second = sorted(user_ids)
        members = [Member(user_id=first), Member(user_id=second)]
        return cls._only_one(f"direct:{first}-{second}", kind=DIRECT, members=members)

    @classmethod
    def _only_one(cls, key: str, **values: t.Any) -> Room:
        query = db.select(cls).filter_by(key=key)
        if room := db.session.scalar(query):
            return room
        try:
            room = cls(key=key, **values)
            db.session.add(room)
            db.session.commit()
        except IntegrityError:  # somebody else was faster
            db.session.rollback()
            return db.session.scalars(query).one()
        return room

    def add(self, user_id: int) -> None:
        if user_id not in self.member_ids:
            self.members.append(Member(user_id=user_id))

    def remove(self, user_id: int) -> None:
        self.members = [member for member in self.members if member.user_id != user_id]


class Member(db.Model):
    room_id: Mapped[int] = mapped_column(ForeignKey(Room.id), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), primary_key=True, index=True)
    #: The last message that this user has seen.
    read_up_to: Mapped[int] = mapped_column(default=0)
    room: Mapped[Room] = relationship(back_populates="members")


class Message(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    room_id: Mapped[int] = mapped_column(ForeignKey(Room.id), index=True)
    author_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    text: Mapped[str]
    #: Seconds since 1970.
    sent_at: Mapped[float] = mapped_column(default=time.time)
    #: Made up by the page, so that a message that is sent twice is stored once.
    token: Mapped[str] = mapped_column(String(64))
    room: Mapped[Room] = relationship()

    __table_args__ = (UniqueConstraint(author_id, token),)

    def to_dict(self) -> dict[str, t.Any]:
        return {
            "id": self.id,
            "room": self.room_id,
            "author": self.author_id,
            "text": self.text,
            "sent_at": self.sent_at,
            "token": self.token,
        }


class Logout(db.Model):
    """A login that has ended."""

    key: Mapped[str] = mapped_column(String(80), primary_key=True)
    ended: Mapped[float]


class Logouts:
    """Where Flask-WAMP remembers which logins have ended: a copy of an old cookie does not join again.

    Has connections of its own, so that it neither commits nor rolls back what a view does.
    """

    def get(self, key: str) -> float | None:
        with db.engine.connect() as connection:
            return connection.scalar(db.select(Logout.ended).where(Logout.key == key))

    def set(self, key: str, value: float) -> None:
        with db.engine.begin() as connection:
            connection.execute(db.delete(Logout).where(Logout.key == key))
            connection.execute(db.insert(Logout).values(key=key, ended=value))


@event.listens_for(Engine, "connect")
def configure_sqlite(connection: t.Any, record: object) -> None:
    """Let readers and a writer work at the same time, and check foreign keys."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
