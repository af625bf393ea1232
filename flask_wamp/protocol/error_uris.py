"""The error and close URIs that WAMP predefines. Other modules use these constants.

Source: WAMP Basic Profile, "Predefined URIs"; WAMP Advanced Profile, "Advanced Profile error URIs". Some are
additions of Crossbar.io.
"""

from __future__ import annotations

import typing as t

AUTHENTICATION_DENIED: t.Final = "wamp.error.authentication_denied"
AUTHENTICATION_FAILED: t.Final = "wamp.error.authentication_failed"
AUTHORIZATION_FAILED: t.Final = "wamp.error.authorization_failed"
CANCELED: t.Final = "wamp.error.canceled"
HISTORY_UNAVAILABLE: t.Final = "wamp.error.history_unavailable"
INVALID_ARGUMENT: t.Final = "wamp.error.invalid_argument"
INVALID_URI: t.Final = "wamp.error.invalid_uri"
NO_MATCHING_AUTH_METHOD: t.Final = "wamp.error.no_matching_auth_method"
NO_SUCH_PROCEDURE: t.Final = "wamp.error.no_such_procedure"
NO_SUCH_REALM: t.Final = "wamp.error.no_such_realm"
NO_SUCH_REGISTRATION: t.Final = "wamp.error.no_such_registration"
NO_SUCH_SESSION: t.Final = "wamp.error.no_such_session"
NO_SUCH_SUBSCRIPTION: t.Final = "wamp.error.no_such_subscription"
NOT_AUTHORIZED: t.Final = "wamp.error.not_authorized"
PAYLOAD_SIZE_EXCEEDED: t.Final = "wamp.error.payload_size_exceeded"
PROCEDURE_ALREADY_EXISTS: t.Final = "wamp.error.procedure_already_exists"
PROCEDURE_EXISTS_WITH_OTHER_POLICY: t.Final = (
    "wamp.error.procedure_exists_with_different_invocation_policy"
)
PROTOCOL_VIOLATION: t.Final = "wamp.error.protocol_violation"
RUNTIME_ERROR: t.Final = "wamp.error.runtime_error"
TIMEOUT: t.Final = "wamp.error.timeout"
UNAVAILABLE: t.Final = "wamp.error.unavailable"
UNREGISTERED: t.Final = "wamp.error.unregistered"
UNSUBSCRIBED: t.Final = "wamp.error.unsubscribed"

CLOSE_NORMAL: t.Final = "wamp.close.normal"
GOODBYE_AND_OUT: t.Final = "wamp.close.goodbye_and_out"
CLOSE_LOGOUT: t.Final = "wamp.close.logout"
CLOSE_KILLED: t.Final = "wamp.close.killed"
SYSTEM_SHUTDOWN: t.Final = "wamp.close.system_shutdown"

#: The reasons of ABORT with which a router refuses the credentials.
LOGIN_REFUSED: t.Final = frozenset(
    {
        AUTHENTICATION_DENIED,
        AUTHENTICATION_FAILED,
        "wamp.error.authentication_required",
        NO_MATCHING_AUTH_METHOD,
        "wamp.error.no_such_principal",
        "wamp.error.no_such_role",
        NOT_AUTHORIZED,
    }
)
