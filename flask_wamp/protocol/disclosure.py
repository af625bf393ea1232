"""The sender of a message in the details of INVOCATION, EVENT and RESULT, in a way that cannot be forged.

A router-to-router link sends messages on behalf of other sessions, which it names in ``forward_for``.
Crossbar.io 26.10 accepts this option from every session. It reports the first entry as the caller, publisher
or callee, and appends the session from which it has received the message. So only the last entry is verified
by the router. An earlier entry is only as trustworthy as the sessions that have forwarded it.
"""

from __future__ import annotations

import typing as t

from .messages import Details

Role = t.Literal["caller", "publisher", "callee"]


def identified(details: Details, role: Role, trusted_links: t.Collection[str] = ()) -> Details:
    """Return details whose caller, publisher or callee is the peer that has really sent the message.

    This is the last entry of ``forward_for``. It is an earlier entry if all later ones have a role in
    ``trusted_links``. If the router does not disclose the peer, the returned details do not either.

    :param details: The details of the message. They are not changed.
    :param trusted_links: The roles of router-to-router links (``WAMP_TRUSTED_LINKS``).
    :returns: The given details if nothing was forwarded, otherwise a copy.

    Source: Crossbar.io, "Router-to-router links". The specification does not define ``forward_for``.
    """
    if "forward_for" not in details:
        return details
    keys = {role: "session", f"{role}_authid": "authid", f"{role}_authrole": "authrole"}
    origin = _origin(details["forward_for"], trusted_links)
    # Keys that the router has not sent are not added, because it does not disclose them.
    return {key: origin.get(keys[key]) if key in keys else value for key, value in details.items()}


def _origin(forward_for: object, trusted_links: t.Collection[str]) -> Details:
    """Return the earliest entry that can be trusted. It is empty if the last entry is not valid."""
    entries = forward_for if isinstance(forward_for, list) else []
    origin: Details = {}
    for entry in reversed(entries):
        if not isinstance(entry, dict):
            break
        origin = entry
        role = entry.get("authrole")
        if not isinstance(role, str) or role not in trusted_links:
            break
    return origin
