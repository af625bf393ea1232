"""The states of a client's session, and the messages that are legal in each.

Source: WAMP Basic Profile, "Session Lifetime".
"""

from __future__ import annotations

import enum

from . import messages as m


class SessionState(enum.Enum):
    """The state of a session."""

    NEW = "new"
    JOINING = "joining"
    JOINED = "joined"
    LEAVING = "leaving"
    ENDED = "ended"


_ENDING: dict[type[m.Message], str] = {m.Abort: "_on_abort", m.Goodbye: "_on_goodbye"}

#: Messages that a router may send before it has read the GOODBYE of this peer.
_CROSSING: dict[type[m.Message], str] = dict.fromkeys(
    (m.Invocation, m.Interrupt, m.Event), "_on_anything"
)

_ANSWERS: dict[type[m.Message], str] = {
    m.Result: "_on_result",
    m.Error: "_on_error",
    m.Published: "_on_published",
    m.Registered: "_on_registered",
    m.Unregistered: "_on_unregistered",
    m.Subscribed: "_on_subscribed",
    m.Unsubscribed: "_on_unsubscribed",
}

#: The messages of the router that are legal in each state, and the methods of :class:`.Session` that handle
#: them.
LEGAL: dict[SessionState, dict[type[m.Message], str]] = {
    SessionState.NEW: {},
    SessionState.JOINING: {
        m.Challenge: "_on_challenge",
        m.Welcome: "_on_welcome",
        m.Abort: "_on_abort",
    },
    SessionState.JOINED: {
        **_ANSWERS,
        **_ENDING,
        m.Invocation: "_on_invocation",
        m.Interrupt: "_on_interrupt",
        m.Event: "_on_event",
    },
    SessionState.LEAVING: {**_ANSWERS, **_CROSSING, **_ENDING},
    SessionState.ENDED: {},
}
