"""Records of what an app calls and publishes during a test, and which of its code did so."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import threading
import typing as t

from flask import has_request_context, request

from ..handlers.context import current_message
from ..peer.connection import Connection
from ..protocol.session import Session


@dataclasses.dataclass(frozen=True)
class Record:
    """A call or a publication."""

    uri: str
    """The procedure or topic."""
    args: list[t.Any]
    kwargs: dict[str, t.Any]
    asked_by: str
    """The code that was running: ``POST /vote/tea``, the URI of a handler, or the name of the thread."""
    identity: t.Any = None
    """The :class:`.Identity` of the handler's caller or publisher. None in HTTP requests and threads."""

    def __str__(self) -> str:
        values = [repr(value) for value in self.args]
        values += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"{self.uri}({', '.join(values)}) by {self.asked_by}"


class Recording:
    """The calls and publications since ``wamp.record()``, in order."""

    def __init__(self) -> None:
        self.called: list[Record] = []
        """The calls of the app."""
        self.published: list[Record] = []
        """The publications of the app."""

    def __repr__(self) -> str:
        return f"<Recording {len(self.called)} called, {len(self.published)} published>"


class Recorder:
    """Observes the calls and publications of one client.

    :param own_prefix: The prefix of URIs that the app's processes use among themselves. These URIs are not
        recorded.
    """

    def __init__(self, own_prefix: str) -> None:
        self._own = ("wamp.", f"{own_prefix}.", "flask_wamp.")
        self._recordings: tuple[Recording, ...] = ()

    @contextlib.contextmanager
    def record(self) -> t.Iterator[Recording]:
        """Record until the ``with`` block ends."""
        recording = Recording()
        self._recordings = (*self._recordings, recording)
        try:
            yield recording
        finally:
            self._recordings = tuple(r for r in self._recordings if r is not recording)

    def watch(self, connection: Connection) -> None:
        """Observe a connection from now on. A second call does nothing."""
        if "ask" in vars(connection):
            return
        for name in ("ask", "put"):
            vars(connection)[name] = self._observing(getattr(connection, name))

    def _observing(self, send: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def observed(method: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
            if self._recordings and (method is Session.call or method is Session.publish):
                self._add(method is Session.call, args)
            return send(method, *args, **kwargs)

        return observed

    def _add(self, is_call: bool, sent: tuple[t.Any, ...]) -> None:
        uri, args, kwargs = sent[:3]
        if uri.startswith(self._own):
            return
        asked_by, identity = _asking()
        # Copy, because the app may change its objects afterwards.
        args, kwargs = copy.deepcopy((list(args), dict(kwargs)))
        record = Record(uri, args, kwargs, asked_by, identity)
        for recording in self._recordings:
            (recording.called if is_call else recording.published).append(record)


def _asking() -> tuple[str, t.Any]:
    message = current_message()
    if message is not None:
        return message.uri, message.identity
    if has_request_context():
        return f"{request.method} {request.full_path.rstrip('?')}", None
    return threading.current_thread().name, None
