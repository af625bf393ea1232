"""Logins on the extension: who joins, and who has to leave."""

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
    """A decorator of authenticators that returns the function it was given."""

    def __call__(self, f: AuthenticatorF, /) -> AuthenticatorF:
        """Decorate a function."""


class Logins(Scaffold):
    """What :class:`.FlaskWAMP` has for logins."""

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

        It is called within the HTTP request that asks to join: the session, ``current_user`` and
        decorators such as ``login_required`` work. None is an unknown sender, who joins in the role
        ``anonymous``; ``abort(401)`` refuses to join. Without an authenticator, Flask-Login's
        ``current_user`` joins in the role ``user``.

        :param realm: The realm it is for; by default any.
        :raises ValueError: The app already has an authenticator for the realm.

        .. versionadded:: 0.1
        """
        if callable(realm):
            return self._add_authenticator(realm, None)
        if realm is not None and not (isinstance(realm, str) and realm):
            raise TypeError(f"authenticator takes the name of a realm, not {realm!r}")
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
        """Let a client join that proves who it is, such as a device.

        ::

            wamp.principal("printer", secret=os.environ["PRINTER_SECRET"], role="device")
            wamp.principal("door", public_key="f1a9...", role="device")

        It joins at the endpoint, or at a port of the router. ``WAMP_PRINCIPALS`` is the same in the
        configuration.

        :param role: What it may do is up to ``allow`` and authorizers, as for browsers.
        :param secret: It joins by WAMP-CRA.
        :param public_key: It joins by cryptosign, and this is its key: 64 hex digits, or a list of such keys.
        :raises ValueError: A value is not allowed, or another principal has the same authid or key.

        Source: WAMP Advanced Profile, "Challenge Response Authentication" and "Cryptosign-based
        Authentication".

        .. versionadded:: 0.1
        """
        made = make_principal(authid, role, secret, public_key)
        what = f"the principal {authid!r}"
        self._items.add(Item.of(what, made, lambda group: group.principals.add(made)))

    def remember_logouts(self, store: Store) -> None:
        """Remember in a store which logins have ended, beyond restarts and for all hosts.

        ::

            cache = Cache(app)             # of Flask-Caching, with Redis or Memcached
            wamp.remember_logouts(cache)

        Without it, they are remembered in memory, and copies of old cookies may join again after a restart.

        :param store: An object with ``get(key)``, which returns None for an unknown key, and
            ``set(key, value)``. Keys are text, and values are numbers. Both are called in an app context. If
            they raise an exception, nobody can join.
        :raises TypeError: The object has no such methods.

        .. versionadded:: 0.1
        """
        if not (callable(getattr(store, "get", None)) and callable(getattr(store, "set", None))):
            raise TypeError(
                f"remember_logouts needs an object with get(key) and set(key, value), not {store!r:.100}"
            )

        def apply(group: Group) -> None:
            group.logouts = store

        self._items.add(Item.of("the store of logouts", store, apply))

    def sign_out(self, authid: str) -> int:
        """End all WAMP sessions of a user, and return how many there were.

        Browsers that have logged in before cannot join again until they log in anew, and unused tickets
        are void. Works in every process of the app. With another router than the embedded one, the app must
        be allowed to call ``wamp.session.kill_by_authid``.

        :param authid: The ``authid`` of the user's :class:`.Identity`.
        :raises WAMPError: The router cannot be reached, or refuses.

        .. versionadded:: 0.1
        """
        if not isinstance(authid, str) or not authid:
            raise TypeError(
                f"sign_out takes an authid, not {authid!r}: use text, as in the Identity"
            )
        state = self._state()
        if state.own_router is not None:
            return state.own_router.sign_out(state.client, authid)
        assert state.other_router is not None
        return state.other_router.sign_out(authid)
