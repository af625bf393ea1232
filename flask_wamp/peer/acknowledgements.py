"""The answers to REGISTER and SUBSCRIBE."""

from __future__ import annotations

import threading
import typing as t

from .._text import get_logger
from ..concurrency.threads import Waiter
from ..exceptions import WAMPError
from ..protocol import messages as m
from ..protocol.call_result import remote_error
from .declarations import Declaration

logger = get_logger("flask_wamp")


class Restoring:
    """Counts the answers to the REGISTERs and SUBSCRIBEs of a new session."""

    def __init__(self, asked: t.Iterable[Declaration], done: t.Callable[[], None]) -> None:
        self._open = set(asked)
        self._done = done
        self._lock = threading.Lock()

    def answered(self, declaration: Declaration) -> None:
        """Count an answer, or one that did not come in time."""
        with self._lock:
            was_open = bool(self._open)
            self._open.discard(declaration)
            is_last = was_open and not self._open
        if is_last:
            self._done()

    @property
    def unanswered(self) -> list[Declaration]:
        """The declarations without an answer."""
        with self._lock:
            return list(self._open)


class Acknowledgement(Waiter):
    """The ticket of a REGISTER or SUBSCRIBE: stores the outcome in the declaration."""

    __slots__ = ("_refused", "_restoring", "declaration")

    def __init__(
        self,
        declaration: Declaration,
        refused: t.Callable[[Declaration, WAMPError], None],
        restoring: Restoring | None = None,
    ) -> None:
        super().__init__()
        self.declaration = declaration
        self._refused = refused
        self._restoring = restoring

    def resolve(self, value: t.Any) -> None:
        """Store the outcome; the reader calls this."""
        declaration = self.declaration
        if isinstance(value, m.Error):
            self._refused(declaration, remote_error(value))
        else:
            was_refused = declaration.refused is not None
            declaration.refused, declaration.refusals = None, 0
            declaration.id = (
                value.registration_id if isinstance(value, m.Registered) else value.subscription_id
            )
            if was_refused:
                logger.info("%s is declared now", declaration.uri)
        super().resolve(value)
        if self._restoring is not None:
            self._restoring.answered(declaration)
