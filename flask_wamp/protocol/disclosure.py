"""Who sent a message: the peer in the details of INVOCATION, EVENT and RESULT, which nobody can forge.

A router-to-router link sends on behalf of others, and says for whom in ``forward_for``. Crossbar.io 26.10
takes that option from every session: it reports the first entry as the caller, publisher or callee, and
appends the session that it received the message from. So the last entry is the only one the router itself
vouches for; an earlier one is as good as the sessions that passed it on.
"""

from __future__ import annotations

import typing as t

from .messages import Details

Role = t.Literal["caller", "publisher", "callee"]


def identified(details: Details, role: Role, trusted_links: t.Collection[str] = ()) -> Details:
    """Return details whose caller, publisher or callee is the peer that really sent the message.

    That is the last entry of ``forward_for``; an earlier entry only where each later one has a role in
    ``trusted_links``. Where the router discloses no peer, there is none in what is returned either.

    :param details: Left unchanged; returned as they are where nothing was forwarded.
    :param trusted_links: The roles of router-to-router links (``WAMP_TRUSTED_LINKS``).

    Source: Crossbar.io, "Router-to-router links"; the specification does not define ``forward_for``.
    """
    if "forward_for" not in details:
        return details
    keys = {role: "session", f"{role}_authid": "authid", f"{role}_authrole": "authrole"}
    origin = _origin(details["forward_for"], trusted_links)
    # Keys that the router did not send stay away: it does not disclose them.
    return {key: origin.get(keys[key]) if key in keys else value for key, value in details.items()}


def _origin(forward_for: object, trusted_links: t.Collection[str]) -> Details:
    """Return the earliest entry that can be trusted; an empty one if the last one is not valid."""
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
