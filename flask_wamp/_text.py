"""Make text from other peers safe for logs and errors.

Every client of the router can choose URIs, error texts and identities. If they are written to a terminal or a
log file unchanged, they can move the cursor, forge a line, change the text direction, or fill the disk.
"""

from __future__ import annotations

import contextlib
import logging
import re
import typing as t

MAX_TEXT = 500
"""The number of characters of a text that are shown."""

#: Control characters, including line breaks and ESC, characters that set the text direction, line separators,
#: invisible characters, and lone surrogates, which a log file cannot encode.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def safe_text(value: object, limit: int = MAX_TEXT) -> str:
    """Return a text that is safe to show: one line of printable characters, with a limited length.

    :param value: The text, or any other object, which is converted with ``str()``.
    :param limit: The maximum number of characters. The text says how many were cut off.
    """
    text = value if type(value) is str else str(value)
    rest = len(text) - limit
    if rest > 0:
        text = text[:limit]
    text = _UNSAFE.sub(_escape, text)
    return f"{text}... ({rest} more characters)" if rest > 0 else text


def safe_repr(value: object, limit: int = MAX_TEXT) -> str:
    """Return ``repr(value)`` with a limited length. A long text is cut before it is quoted."""
    if isinstance(value, str | bytes) and len(value) > limit:
        return f"{value[:limit]!r}... ({len(value) - limit} more)"
    return safe_text(repr(value), limit)


def get_logger(name: str) -> SafeLogger:
    """Return a logger that makes the arguments of its records safe with :func:`safe_text`.

    All modules of this library get their loggers here. The format and the number of arguments of a record
    are not changed, because some tools group records by them.
    """
    logger = logging.getLogger(name)
    if _make_safe not in logger.filters:
        logger.addFilter(_make_safe)
    return SafeLogger(logger)


class SafeLogger:
    """A logger whose methods never raise an ``Exception``.

    Log handlers and filters belong to the app and may raise any exception. A closed ``sys.stderr`` raises
    too. That must not end the thread that reads from the router, or interrupt a step halfway.
    """

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    @property
    def disabled(self) -> bool:
        """Whether the logger is disabled. You may change this."""
        return self._logger.disabled

    @disabled.setter
    def disabled(self, disabled: bool) -> None:
        self._logger.disabled = disabled

    def isEnabledFor(self, level: int) -> bool:
        """Return whether records of this level are logged."""
        return self._logger.isEnabledFor(level)

    def debug(self, message: str, *args: object, exc_info: t.Any = None) -> None:
        """Log at level DEBUG."""
        self._log(logging.DEBUG, message, args, exc_info)

    def info(self, message: str, *args: object, exc_info: t.Any = None) -> None:
        """Log at level INFO."""
        self._log(logging.INFO, message, args, exc_info)

    def warning(self, message: str, *args: object, exc_info: t.Any = None) -> None:
        """Log at level WARNING."""
        self._log(logging.WARNING, message, args, exc_info)

    def error(self, message: str, *args: object, exc_info: t.Any = None) -> None:
        """Log at level ERROR."""
        self._log(logging.ERROR, message, args, exc_info)

    def exception(self, message: str, *args: object, exc_info: t.Any = True) -> None:
        """Log at level ERROR, with the traceback of the exception that is being handled."""
        self._log(logging.ERROR, message, args, exc_info)

    def critical(self, message: str, *args: object, exc_info: t.Any = None) -> None:
        """Log at level CRITICAL."""
        self._log(logging.CRITICAL, message, args, exc_info)

    def log(self, level: int, message: str, *args: object, exc_info: t.Any = None) -> None:
        """Log at any level."""
        self._log(level, message, args, exc_info)

    def _log(
        self, level: int, message: str, args: tuple[object, ...], exc_info: t.Any = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            with contextlib.suppress(Exception):  # an error of the log itself cannot be logged
                # The caller of the public method is three frames up.
                self._logger.log(level, message, *args, exc_info=exc_info, stacklevel=3)


def _make_safe(record: logging.LogRecord) -> bool:
    if type(record.args) is tuple:
        with_repr = "%r" in str(record.msg)
        record.args = tuple(_shown(value, with_repr) for value in record.args)
    return True


_NUMBERS = frozenset({int, float, bool, type(None)})


def _shown(value: object, with_repr: bool) -> object:
    """Return a safe text for an argument of a record.

    An object is replaced by its text, so that a stored record does not keep a payload in memory.
    """
    kind = type(value)
    if kind in _NUMBERS:
        return value
    try:
        if kind is str:
            text = safe_text(value)
            return _Shown(text, repr(text)) if with_repr else text
        return _Shown(safe_text(value), safe_repr(value) if with_repr else "")
    except Exception as error:  # a method of the value has raised it
        text = f"<{kind.__name__} that cannot be shown: {type(error).__name__}>"
        return _Shown(text, text)


class _Shown:
    """The texts of an argument of a log record."""

    __slots__ = ("_repr", "_text")

    def __init__(self, text: str, as_repr: str) -> None:
        self._text = text
        self._repr = as_repr

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return self._repr or self._text


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which gets an ``s`` in the plural."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
