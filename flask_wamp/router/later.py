"""Answers that are given later."""

from __future__ import annotations

import typing as t

T = t.TypeVar("T")


class Later(t.Generic[T]):
    """The return value of an authenticator or authorizer that cannot answer at once.

    Meanwhile, the router continues with other sessions. It continues with this one when :meth:`resolve` is
    called, in the router's thread. If the session has ended by then, the answer is ignored.
    """

    def __init__(self) -> None:
        self._callback: t.Callable[[T], object] | None = None
        self._answers: list[T] = []

    def resolve(self, answer: T) -> None:
        """Give the answer. Only the first call counts."""
        if self._answers:
            return
        self._answers.append(answer)
        if self._callback is not None:
            self._callback(answer)

    def then(self, callback: t.Callable[[T], object]) -> None:
        """Call a function with the answer, at once if there is one already. The router calls this."""
        self._callback = callback
        if self._answers:
            callback(self._answers[0])
