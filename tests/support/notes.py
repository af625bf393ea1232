"""Records of handlers and hooks, in order."""

from __future__ import annotations

import queue
import typing as t

from .peers import PATIENCE

if t.TYPE_CHECKING:
    from flask_wamp import FlaskWAMP


class Notes:
    """What handlers and hooks have recorded. Tests read the notes in order, and wait for further ones."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[t.Any] = queue.SimpleQueue()

    def __call__(self, note: t.Any) -> None:
        """Add a note."""
        self._queue.put(note)

    def next(self) -> t.Any:
        """The next note."""
        try:
            return self._queue.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"nothing was noted within {PATIENCE:g} s") from None

    def until(self, last: t.Any) -> list[t.Any]:
        """All notes up to a certain one, and that one."""
        notes = [self.next()]
        while notes[-1] != last:
            notes.append(self.next())
        return notes

    def take(self, count: int) -> list[t.Any]:
        """Return this many notes."""
        return [self.next() for _ in range(count)]

    @property
    def rest(self) -> list[t.Any]:
        """Return the present notes."""
        notes = []
        while not self._queue.empty():
            notes.append(self._queue.get())
        return notes


def publish(wamp: FlaskWAMP, topic: str, *args: t.Any, **kwargs: t.Any) -> None:
    """Publish to all subscribers, the app's own included."""
    view = wamp.client.with_options(exclude_me=False, acknowledge=True)
    view.publish(topic, *args, **kwargs)
