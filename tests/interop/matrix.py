"""The other clients, their connections, and the features that are known not to work with them.

The tests verify it: a cell in :data:`KNOWN` must fail, and in the way that is described there.
"""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from .features import FEATURES
from .names import (
    AUTOBAHN,
    AUTOBAHN_JS,
    BUILT_IN,
    CROSSBAR,
    WAMPY_JS,
    XCONN,
    XCONN_ROUTER,
)

JSON, MSGPACK, CBOR = "ws+json", "ws+msgpack", "ws+cbor"
MIXED = "ws+json/rawsocket+msgpack"
"""The transports of the peer and of the app, as with browsers and servers."""

#: The serializers of each client that the router and we support.
TRANSPORTS: dict[str, tuple[str, ...]] = {
    AUTOBAHN: (JSON, MSGPACK, CBOR, "rawsocket+msgpack"),
    AUTOBAHN_JS: (JSON, MSGPACK, CBOR, "rawsocket+json", MIXED),
    WAMPY_JS: (JSON, MSGPACK, CBOR, MIXED),
    XCONN: (JSON, MSGPACK, CBOR, "rawsocket+msgpack"),
    XCONN_ROUTER: (JSON, MSGPACK, CBOR),
}

#: The routers for each client.
ROUTERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((AUTOBAHN, AUTOBAHN_JS, WAMPY_JS, XCONN), (BUILT_IN, CROSSBAR)),
    XCONN_ROUTER: (XCONN_ROUTER,),
}

SILENCE = r"in time|still not so after|did not answer within"
"""The error of a wait that times out."""

UNANNOUNCED = r"which this router does not announce"
"""The error of our side for a feature that the router does not announce."""


class Cell(t.NamedTuple):
    """A feature, with a peer, on a router, over a transport."""

    feature: str
    peer: str
    router: str
    transport: str


@dataclasses.dataclass(frozen=True)
class Known:
    """The reason why some cells of one peer fail."""

    peer: str
    features: tuple[str, ...]
    reason: str
    """The reason, for readers of the table."""
    symptom: str
    """A regular expression for the text of the failure."""
    transports: tuple[str, ...] = ()
    """The transports, or all if empty."""
    routers: tuple[str, ...] = ()
    """The routers, or all if empty."""
    lacks: bool = True
    """Whether the feature is not supported on purpose. Otherwise it is a bug."""
    breaks: bool = False
    """Whether the peer's session cannot be used afterwards."""


#: The sources of the reasons.
SOURCES = {
    AUTOBAHN_JS: "https://github.com/crossbario/autobahn-js",
    WAMPY_JS: "https://github.com/KSDaemon/wampy.js",
    XCONN: "https://github.com/xconnio/xconn-python",
    XCONN_ROUTER: "https://github.com/xconnio/wampproto-python",
}

NO_INTEGER = r"cannot carry the payload"
"""The error of the built-in router for a number that was an integer before rounding."""

NUMBER = "JavaScript numbers are exact only up to ``2**53``."
TEXT = "It does not convert bytes in JSON. They are strings that begin with NUL."

KNOWN: tuple[Known, ...] = (
    Known(
        AUTOBAHN,
        ("calls_kill",),
        "It sends CANCEL without a mode, and routers then use ``killnowait``.",
        r"CANCEL without a mode",
    ),
    # autobahn-js
    Known(
        AUTOBAHN_JS,
        ("calls_cancel",),
        "It forgets a call when it cancels it, and closes the session when the ERROR arrives: ``CALL-ERROR "
        "received for non-pending request ID``. Cancel with ``kill`` instead.",
        r"session not open|" + SILENCE,
        lacks=False,
        breaks=True,
    ),
    Known(
        AUTOBAHN_JS,
        ("calls_large", "called_large"),
        NUMBER,
        r"BigInt|AssertionError|" + NO_INTEGER + "|" + SILENCE,
        (JSON, MSGPACK, "rawsocket+json", MIXED),
        breaks=True,
    ),
    Known(
        AUTOBAHN_JS,
        ("calls_bytes", "called_bytes", "publishes_bytes", "published_bytes"),
        TEXT,
        r"AssertionError",
        (JSON, "rawsocket+json", MIXED),
    ),
    Known(
        AUTOBAHN_JS,
        ("called_interrupt",),
        "It does not support INTERRUPT, and does not announce ``call_canceling``.",
        SILENCE,
    ),
    Known(AUTOBAHN_JS, ("joins_scram",), "It does not support SCRAM.", r"has no scram"),
    # wampy.js
    Known(
        WAMPY_JS,
        ("calls_large", "called_large"),
        NUMBER,
        r"Websocket error|AssertionError|" + NO_INTEGER + "|" + SILENCE,
        (JSON, CBOR, MIXED),
        breaks=True,
    ),
    Known(
        WAMPY_JS,
        ("calls_bytes", "called_bytes", "publishes_bytes", "published_bytes"),
        TEXT,
        r"AssertionError",
        (JSON, MIXED),
    ),
    Known(
        WAMPY_JS,
        ("called_interrupt",),
        "It does not support INTERRUPT, and does not announce ``call_canceling``.",
        SILENCE,
    ),
    Known(
        WAMPY_JS,
        ("called_unregistered", "publishes_filtered", "published_unsubscribed"),
        "It writes ids as floats in CBOR, and Crossbar then closes its session.",
        r"Websocket error",
        (CBOR,),
        (CROSSBAR,),
        lacks=False,
        breaks=True,
    ),
    Known(
        WAMPY_JS,
        ("publishes_to_itself",),
        "It sends ``exclude_me`` only if it is true, which is the default.",
        SILENCE,
        lacks=False,
    ),
    Known(WAMPY_JS, ("publishes_retained",), "It does not send ``retain``.", SILENCE, lacks=False),
    Known(
        WAMPY_JS,
        ("published_plain",),
        "It sends ``undefined`` for ``match`` and ``get_retained`` if they are not given, and Crossbar then "
        "closes its session. Give both.",
        r"Websocket error",
        (MSGPACK, CBOR),
        (CROSSBAR,),
        lacks=False,
        breaks=True,
    ),
    Known(WAMPY_JS, ("joins_scram",), "It does not support SCRAM.", r"has no scram"),
    # xconn
    Known(
        XCONN,
        ("calls_bytes", "called_bytes", "publishes_bytes", "published_bytes"),
        "It does not support bytes in JSON. If it fails to send them, it skips a request id, and the "
        "built-in router then ends its session.",
        r"not JSON serializable|AssertionError",
        (JSON,),
        breaks=True,
    ),
    Known(
        XCONN,
        ("calls_progress",),
        "It treats the first progressive result as the final one, and does not expect another.",
        SILENCE,
        breaks=True,
    ),
    Known(
        XCONN,
        ("called_progress",),
        "Its callees cannot send progressive results.",
        r"no way to send",
    ),
    Known(XCONN, ("calls_cancel", "calls_kill"), "It cannot cancel a call.", r"no way to cancel"),
    Known(
        XCONN,
        ("calls_timeout",),
        "It does not announce ``call_canceling``, and Crossbar then never answers the call.",
        SILENCE,
        routers=(CROSSBAR,),
    ),
    Known(
        XCONN,
        ("called_interrupt",),
        "It does not support INTERRUPT, and does not announce ``call_canceling``.",
        SILENCE,
    ),
    Known(
        XCONN,
        ("called_error",),
        "An ERROR that it sends has no keyword arguments.",
        r"AssertionError",
        lacks=False,
    ),
    Known(
        XCONN,
        ("publishes_acknowledged",),
        "It waits for the acknowledgement, but does not return the publication id.",
        r"AssertionError",
    ),
    Known(XCONN, ("joins_scram",), "It does not support SCRAM.", r"has no scram"),
    # xconn's router, between two sides that support everything
    Known(
        XCONN_ROUTER,
        ("calls_cancel", "calls_timeout", "called_interrupt"),
        "The router supports neither CANCEL nor timeouts.",
        SILENCE,
    ),
    Known(
        XCONN_ROUTER,
        ("calls_kill",),
        "The router does not support CANCEL, and autobahn-python has no ``kill``.",
        r"CANCEL without a mode",
    ),
    Known(
        XCONN_ROUTER,
        ("calls_disclosed", "called_disclosed", "publishes_disclosed", "published_disclosed"),
        "The router does not disclose callers and publishers.",
        r"AssertionError|KeyError",
    ),
    Known(
        XCONN_ROUTER,
        ("calls_prefix", "calls_wildcard", "called_prefix", "called_wildcard"),
        "The router supports exact registrations only, and ignores ``match``.",
        UNANNOUNCED + r"|no_such_procedure",
    ),
    Known(
        XCONN_ROUTER,
        ("publishes_prefix", "publishes_wildcard", "published_prefix", "published_wildcard"),
        "The router supports exact subscriptions only, and ignores ``match``.",
        UNANNOUNCED + "|" + SILENCE,
    ),
    Known(
        XCONN_ROUTER,
        ("called_progress",),
        "The router does not announce progressive results, so Flask-WAMP asks for the final result only.",
        r"AssertionError",
    ),
    Known(
        XCONN_ROUTER,
        ("called_shared",),
        "The router does not support shared registrations.",
        r"procedure_already_exists",
    ),
    Known(
        XCONN_ROUTER,
        ("publishes_to_itself", "publishes_filtered", "published_filtered"),
        "The router sends each event to all subscribers, including the publisher, whatever the options say.",
        UNANNOUNCED + r"|AssertionError",
    ),
    Known(
        XCONN_ROUTER,
        ("publishes_retained", "published_retained"),
        "The router does not retain events.",
        UNANNOUNCED + "|" + SILENCE,
    ),
    Known(
        XCONN_ROUTER,
        ("calls_vanish", "calls_lost", "called_vanish"),
        "The router does not notify anyone that a connection was lost.",
        SILENCE + r"|TimeoutError",
        lacks=False,
        breaks=True,
    ),
)


Results = dict[Cell, "Known | None"]
"""The outcomes of cells. None for those that work."""


def is_tried(cell: Cell) -> bool:
    """Return whether a cell is run. Features that take a second are tried over one transport only."""
    feature = FEATURES[cell.feature]
    if feature.authenticates and cell.peer == XCONN_ROUTER:
        return False
    if cell.transport == TRANSPORTS[cell.peer][0]:
        return True
    # Missing features of the router do not depend on the serializer, and take a while.
    return not feature.once and not (cell.peer == XCONN_ROUTER and known(cell))


def cells() -> list[Cell]:
    """All cells that are run, grouped by peer, so that each joins once."""
    every = (
        Cell(feature, peer, router, transport)
        for peer, transports in TRANSPORTS.items()
        for router, transport, feature in itertools.product(ROUTERS[peer], transports, FEATURES)
    )
    return [cell for cell in every if is_tried(cell)]


def known(cell: Cell) -> Known | None:
    """Return why a cell fails, or None if it works."""
    found = [
        entry
        for entry in KNOWN
        if entry.peer == cell.peer
        and cell.feature in entry.features
        and (not entry.transports or cell.transport in entry.transports)
        and (not entry.routers or cell.router in entry.routers)
    ]
    assert len(found) <= 1, f"{cell} is declared twice"
    return found[0] if found else None
