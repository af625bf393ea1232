"""The part of the extension for logins: authenticators, principals and logouts."""

from __future__ import annotations

import typing as t

from flask import Request

from .app_state import AppState
from .endpoint.logouts import Store
from .handlers.groups import Group, Item
from .handlers.registry import full_name
from .handlers.scaffold import Scaffold
from .protocol.identity import Identity
from .protocol.principals import make_principal

AuthenticatorF = t.TypeVar(
    "AuthenticatorF",
    bound=t.Callable[[Request], Identity | None]
    | t.Callable[[Request], t.Awaitable[Identity | None]],
)


class AuthenticatorDecorator(t.Protocol):
    """A decorator for authenticators. It returns the function unchanged."""

    def __call__(self, f: AuthenticatorF, /) -> AuthenticatorF:
        """Decorate a function."""


class Logins(Scaffold):
    """The methods of :class:`.FlaskWAMP` for logins."""

    def __init__(self) -> None:
        super().__init__(for_all=False)

    def _state(self) -> AppState:
        """Return the state of the current app."""
        raise NotImplementedError

    @t.overload
    def authenticator(self, realm: AuthenticatorF, /) -> AuthenticatorF: ...
    @t.overload
    def authenticator(self, realm: str | None = None) -> AuthenticatorDecorator: ...
    def authenticator(
        self, realm: AuthenticatorF | str | None = None
    ) -> AuthenticatorF | AuthenticatorDecorator:
        """Identify the browsers that join: ``f(request)`` returns an :class:`.Identity` or None.

        ::

            @wamp.authenticator
            def who(request):
                user = find_user(request.headers.get("X-Api-Key"))
                return Identity(authid=str(user.id), authrole="member") if user else None

        The function is called in the HTTP request with which the browser asks to join, so the session,
        ``current_user`` and decorators such as ``login_required`` work. If it returns None, the browser joins
        with the role ``anonymous``. With ``abort(401)``, it cannot join. Without an authenticator,
        Flask-Login's ``current_user`` joins with the role ``user``.

        :param realm: The realm that the function is for. By default, it is for all realms.
        :raises ValueError: The app already has an authenticator for the realm.

        .. versionadded:: 0.1
        """
        if callable(realm):
            return self._add_authenticator(realm, None)
        if realm is not None and not (isinstance(realm, str) and realm):
            raise TypeError(f"authenticator() takes the name of a realm, not {realm!r}")
        return lambda f: self._add_authenticator(f, realm)

    def _add_authenticator(self, f: AuthenticatorF, realm: str | None) -> AuthenticatorF:
        if not callable(f):
            raise TypeError(f"an authenticator must be a function, not {f!r}")

        def apply(group: Group) -> None:
            present = group.authenticators.setdefault(realm, f)
            if present is not f:
                whose = "any realm" if realm is None else f"the realm {realm!r}"
                raise ValueError(
                    f"the app has two authenticators for {whose}: {full_name(present)} and "
                    f"{full_name(f)}"
                )

        self._items.add(Item.of(f"authenticator {full_name(f)}", f, apply))
        return f

    def principal(
        self,
        authid: str,
        *,
        role: str,
        secret: str | None = None,
        public_key: str | t.Sequence[str] | None = None,
    ) -> None:
        """Let a client with its own credentials join, such as a device.

        ::

            wamp.principal("printer", secret=os.environ["PRINTER_SECRET"], role="device")
            wamp.principal("door", public_key="f1a9...", role="device")

        It joins at the endpoint or at a port of the router. You can also configure principals with
        ``WAMP_PRINCIPALS``.

        :param role: The authrole. ``allow`` and authorizers decide what it may do, as for browsers.
        :param secret: The secret for authentication with WAMP-CRA.
        :param public_key: The public key for authentication with cryptosign. It consists of 64 hex digits.
            You may also give a list of such keys.
        :raises ValueError: A value is not allowed, or another principal has the same authid or key.

        Source: WAMP Advanced Profile, "Challenge Response Authentication" and "Cryptosign-based
        Authentication".

        .. versionadded:: 0.1
        """
        made = make_principal(authid, role, secret, public_key)
        what = f"the principal {authid!r}"
        self._items.add(Item.of(what, made, lambda group: group.principals.add(made)))

    def remember_logouts(self, store: Store) -> None:
        """Remember ended logins in a store, so that all hosts know them, also after a restart.

        ::

            cache = Cache(app)             # of Flask-Caching, with Redis or Memcached
            wamp.remember_logouts(cache)

        Without a store, they are remembered in memory. After a restart, browsers with copies of old cookies
        may then join again.

        :param store: An object with ``get(key)``, which returns None for an unknown key, and
            ``set(key, value)``. Keys are text, and values are numbers. Both are called in an app context. If
            they raise an exception, browsers cannot join.
        :raises TypeError: The object does not have these methods.

        .. versionadded:: 0.1
        """
        if not (callable(getattr(store, "get", None)) and callable(getattr(store, "set", None))):
            raise TypeError(
                f"remember_logouts() requires an object with get(key) and set(key, value), not {store!r:.100}"
            )

        def apply(group: Group) -> None:
            group.logouts = store

        self._items.add(Item.of("the store of logouts", store, apply))

    def sign_out(self, authid: str) -> int:
        """End all WAMP sessions of a user. Return how many there were.

        The user's browsers cannot join again before the user has logged in again, and unused tickets become
        invalid. This works in every process of the app. If the router is not the embedded one, it must allow
        the app to call ``wamp.session.kill_by_authid``.

        :param authid: The ``authid`` of the user's :class:`.Identity`.
        :raises WAMPError: The router cannot be reached, or refuses the call.

        .. versionadded:: 0.1
        """
        if not isinstance(authid, str) or not authid:
            raise TypeError(
                f"sign_out() takes an authid, which is a non-empty text, not {authid!r}"
            )
        state = self._state()
        if state.own_router is not None:
            return state.own_router.sign_out(state.client, authid)
        assert state.other_router is not None
        return state.other_router.sign_out(authid)
