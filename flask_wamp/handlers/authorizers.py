"""``wamp.authorizer``: functions of the app that decide before the table of rights."""

from __future__ import annotations

import typing as t

from flask import Flask

from ..protocol.identity import Identity
from .groups import Group
from .registry import full_name


def ask_authorizers(
    app: Flask,
    group: Group,
    about: list[t.Any],
    action: str,
    uri: str,
    options: dict[str, t.Any],
) -> bool | None:
    """Return the first answer of an app's authorizers that is not None.

    :param about: The authid, the role and ``authextra`` of the session that asks.
    :raises TypeError: One of them answered neither a bool nor None.
    """
    for authorizer in group.authorizers:
        answer = app.ensure_sync(authorizer)(Identity(*about), action, uri, options)
        if answer is None:
            continue
        if not isinstance(answer, bool):
            raise TypeError(
                f"the authorizer {full_name(authorizer)} returned {answer!r:.100}; it has to return True, "
                "False, or None for what the table of rights decides"
            )
        return answer
    return None
