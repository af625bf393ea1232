"""The procedures of an embedded router that the app's own processes call."""

from __future__ import annotations

import typing as t

CONFIGURE: t.Final = "wamp.embedded.configure"
ADD_TICKET: t.Final = "wamp.embedded.add_ticket"
SIGN_OUT: t.Final = "wamp.embedded.sign_out"
END_LOGIN: t.Final = "wamp.embedded.end_login"
STATUS: t.Final = "wamp.embedded.status"
