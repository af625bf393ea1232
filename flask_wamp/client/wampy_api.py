"""What wampy's users look at on a client, beside what it is there for.

Where wampy is installed, this is a ``wampy.peers.clients.Client``.
"""

from __future__ import annotations

import typing as t

from .._wampy import bases
from ..peer.declarations import Declaration, Registration, Subscription
from ..peer.settings import Settings
from ..protocol import messages as m
from ..protocol.options import check_options
from ..protocol.uris import check_uri

if t.TYPE_CHECKING:
    _WampyClient = object
else:
    _WampyClient = bases.client


class WampyAPI(_WampyClient):
    """The names of wampy's ``Client``, on a client of ours."""

    @property
    def settings(self) -> Settings:
        """What it was configured with."""
        raise NotImplementedError

    @property
    def declarations(self) -> list[Declaration]:
        """What it serves, or tries to."""
        raise NotImplementedError

    @property
    def session_id(self) -> int | None:
        """The id of the session; None while there is none."""
        raise NotImplementedError

    def start(self) -> t.Any:
        """Begin to connect."""
        raise NotImplementedError

    def stop(self) -> None:
        """Leave the realm."""
        raise NotImplementedError

    def wait_until_joined(self, timeout: float | None = None) -> None:
        """Wait until there is a session."""
        raise NotImplementedError

    def __enter__(self) -> t.Any:
        self.start()
        self.wait_until_joined()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def realm(self) -> str:
        """The realm, ``WAMP_REALM``."""
        return self.settings.realm

    @property
    def url(self) -> str:
        """The router's URL, ``WAMP_ROUTER_URL``."""
        return self.settings.router_url.url

    @property
    def call_timeout(self) -> float:
        """Seconds, ``WAMP_CALL_TIMEOUT``."""
        return self.settings.call_timeout

    @property
    def session(self) -> SessionView | None:
        """The session, with its ``id``; None while there is none."""
        return SessionView(self) if self.session_id is not None else None

    @property
    def _session(self) -> SessionView:
        return SessionView(self)

    @property
    def registration_map(self) -> dict[str, int]:
        """Registration ids by procedure."""
        return self._ids(Registration)

    @property
    def subscription_map(self) -> dict[str, int]:
        """Subscription ids by topic."""
        return self._ids(Subscription)

    @property
    def request_ids(self) -> dict[int, t.Any]:
        """wampy keeps registrations by request id here; we have none to show."""
        return {}

    def _ids(self, kind: type) -> dict[str, int]:
        return {d.uri: d.id for d in self.declarations if type(d) is kind and d.id is not None}


class SessionView:
    """What wampy's users look at on a session."""

    def __init__(self, client: WampyAPI) -> None:
        self._client = client

    @property
    def id(self) -> int | None:
        """The session id."""
        return self._client.session_id

    session_id = id

    @property
    def registration_map(self) -> dict[str, int]:
        """Registration ids by procedure."""
        return self._client.registration_map

    @property
    def subscription_map(self) -> dict[str, int]:
        """Subscription ids by topic."""
        return self._client.subscription_map


def sendable(message: t.Any) -> t.Any:
    """One of wampy's message objects as ours, checked: for some of them the router ends the session.

    :raises TypeError: It is neither a call nor a publication, or it has a wrong option.
    :raises InvalidURI: So it is.
    """
    typed = m.from_elements(list(message.message))
    if not isinstance(typed, m.Call | m.Publish):
        kind = type(typed).__name__
        raise TypeError(f"{kind} is not sent; use register(), subscribe() and the other methods")
    check_options(typed.options)
    if isinstance(typed, m.Call):
        check_uri(typed.procedure, "procedure")
    else:
        check_uri(typed.topic, "topic")
    return typed
