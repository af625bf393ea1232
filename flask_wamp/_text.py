"""Text of other peers, made safe for logs and errors.

URIs, error texts and identities come from whoever can reach the router. Written to a terminal or a log file
as they are, they can move the cursor, forge a line, turn the reading direction, or fill the disk.
"""

from __future__ import annotations

import logging
import re
import typing as t

MAX_TEXT = 500
"""Characters of one text that are shown."""

#: Control characters (line ends and ESC among them), marks and overrides of the reading direction,
#: separators of lines, invisible characters, and lone surrogates, which no log file can encode.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def safe_text(value: object, limit: int = MAX_TEXT) -> str:
    """Return text to show to people: one line of printable characters, cut.

    :param value: The text; of anything else, what ``str()`` says.
    :param limit: Characters; what is cut off is counted.
    """
    text = value if type(value) is str else str(value)
    rest = len(text) - limit
    if rest > 0:
        text = text[:limit]
    text = _UNSAFE.sub(_escape, text)
    return f"{text}... ({rest} more characters)" if rest > 0 else text


def safe_repr(value: object, limit: int = MAX_TEXT) -> str:
    """Return ``repr(value)``, cut. A long text is cut before it is quoted."""
    if isinstance(value, str | bytes) and len(value) > limit:
        return f"{value[:limit]!r}... ({len(value) - limit} more)"
    return safe_text(repr(value), limit)


def get_logger(name: str) -> logging.Logger:
    """Return a logger whose records show the text of other peers with :func:`safe_text`.

    All modules of this library get their loggers here. The format and the number of arguments of a record
    stay as they are, for tools that group records by them.
    """
    logger = logging.getLogger(name)
    if _make_safe not in logger.filters:
        logger.addFilter(_make_safe)
    return logger


def _make_safe(record: logging.LogRecord) -> bool:
    if type(record.args) is tuple:
        record.args = tuple(map(_shown, record.args))
    return True


def _shown(value: object) -> object:
    kind = type(value)
    if kind is str:
        return safe_text(value)
    return value if kind in _NUMBERS else _Shown(value)


_NUMBERS = frozenset({int, float, bool, type(None)})


class _Shown:
    """An argument of a log record that is formatted safely, when it is formatted."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __str__(self) -> str:
        return safe_text(self.value)

    def __repr__(self) -> str:
        return safe_repr(self.value)

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self.value, name)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
