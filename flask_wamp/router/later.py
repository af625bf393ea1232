"""An answer that comes later."""

from __future__ import annotations

import typing as t

T = t.TypeVar("T")


class Later(t.Generic[T]):
    """What an authenticator or authorizer returns when it cannot answer at once.

    The router goes on with other sessions and continues with this one as soon as :meth:`resolve` is
    called, which must happen in the router's thread. A session that ends in the meantime is not disturbed
    by a late answer.
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
        """Have the answer handed over, at once if it is there already. The router calls this."""
        self._callback = callback
        if self._answers:
            callback(self._answers[0])
