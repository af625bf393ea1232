"""The options of requests.

The functions raise :class:`InvalidOption` if an option breaks the specification. The request is then answered
with ``wamp.error.invalid_argument``. Unknown options are ignored.
"""

from __future__ import annotations

import typing as t

from ..protocol.messages import Details

MATCHES = ("exact", "prefix", "wildcard")
POLICIES = ("single", "first", "last", "roundrobin", "random")
CANCEL_MODES = ("skip", "kill", "killnowait")

#: The longest ``transaction_hash`` that is passed on.
MAX_TRANSACTION_HASH = 256


class InvalidOption(Exception):
    """An option has a wrong type or value. The text names it and says what is allowed."""


def flag(options: Details, name: str, default: bool = False) -> bool:
    """Return an option that is true or false."""
    value = options.get(name)
    if value is None:
        return default
    if type(value) is not bool:
        raise InvalidOption(f"{name} must be true or false, not {value!r:.100}")
    return value


def choice(options: Details, name: str, allowed: t.Sequence[str]) -> str:
    """Return an option that is one of these words. The first one is the default."""
    value = options.get(name)
    if value is None:
        return allowed[0]
    if value not in allowed:
        raise InvalidOption(f"{name} must be one of {', '.join(allowed)}, not {value!r:.100}")
    assert isinstance(value, str)
    return value


def whole_number(options: Details, name: str, least: int) -> int | None:
    """Return an option that is an integer of at least ``least``, or None if it is missing."""
    value = options.get(name)
    if value is None:
        return None
    if type(value) is not int or value < least:
        raise InvalidOption(f"{name} must be an integer of at least {least}, not {value!r:.100}")
    return value


def passed_on(options: Details, details: Details) -> None:
    """Copy the options that a router passes on as they are: ``transaction_hash``."""
    value = options.get("transaction_hash")
    if value is None:
        return
    if not isinstance(value, str) or len(value) > MAX_TRANSACTION_HASH:
        raise InvalidOption(
            f"transaction_hash must be text of at most {MAX_TRANSACTION_HASH} characters"
        )
    details["transaction_hash"] = value


def forwarded(options: Details, identity: Details) -> list[Details] | None:
    """Return ``forward_for`` with the session that really sent the request as its last entry.

    :param identity: The entry of that session.
    """
    links = options.get("forward_for")
    if links is None:
        return None
    if not (isinstance(links, list) and all(isinstance(link, dict) for link in links)):
        raise InvalidOption("forward_for must be a list of dictionaries")
    return [*links, identity]
