"""The embedded router: a WAMP router without I/O, threads or a clock of its own.

A driver uses it like this::

    router = Router(RouterSettings(realms=("realm1",)), clock=time.monotonic, wall_clock=time.time_ns)

    # a connection is open
    session = router.open(TransportFacts(serializer="json"), send=send, close=close)
    session.receive(data)           # one complete message, as bytes that never change
    session.report_unsent(size)     # the socket did not accept everything: this many bytes wait
    session.lost()                  # the connection is lost

    router.tick()                   # at router.next_deadline, which each of these calls may change

``receive`` calls ``send`` and ``close`` of this and of other sessions. ``send(data)`` gets the bytes of one
message and puts them into a buffer. It must not block, raise, or call the router. ``close(at_once)`` closes
the transport. ``close(False)`` closes it when everything has been sent, within a time that the driver sets.
These methods raise no error because of what a client sends. At worst, the session of that client ends.

The router is not thread-safe. A driver runs it on one loop, or holds a lock for every call.

**Who may join** is decided by an :class:`~.authentication.Authenticator`, **who may do what** by an
:class:`~.authorization.Authorizer`. Both are functions, and both may answer later (:class:`~.later.Later`).

=================== ==========================================================================
``router``          :class:`Router`: realms, opening sessions, timers
``session``         one client's session: what is legal when
``realm``           the sessions of a realm, and who handles what they send
``dealer``          registrations
``calls``           pending calls: invocations, answers, cancellation, timeouts
``broker``          subscriptions and publications
``meta``            the meta API
``codec``           serializers; payloads pass undecoded
``authentication``  who may join
``authorization``   who may do what
``settings``        limits and policies
=================== ==========================================================================
"""

from __future__ import annotations

from ..protocol.identity import Identity
from .authentication import Authenticator, Challenge, JoinRequest, Refusal
from .authorization import Authorizer, Decision, Permission, Permissions
from .facts import TransportFacts
from .later import Later
from .router import Router
from .session import RouterSession, RouterSessionState
from .settings import KeptEvents, RouterSettings

__all__ = [
    "Authenticator",
    "Authorizer",
    "Challenge",
    "Decision",
    "Identity",
    "JoinRequest",
    "KeptEvents",
    "Later",
    "Permission",
    "Permissions",
    "Refusal",
    "Router",
    "RouterSession",
    "RouterSessionState",
    "RouterSettings",
    "TransportFacts",
]
