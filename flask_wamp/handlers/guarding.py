"""Rights on the extension and on blueprints: ``allow`` and ``authorizer``."""

from __future__ import annotations

import typing as t

from ..protocol.identity import Identity
from .grants import Roles, grants
from .groups import DeclaredAuthorizer, Item, Items
from .registry import full_name, location_of_call

AuthorizerF = t.TypeVar(
    "AuthorizerF",
    bound=t.Callable[[Identity, str, str, dict[str, t.Any]], bool | None]
    | t.Callable[[Identity, str, str, dict[str, t.Any]], t.Awaitable[bool | None]],
)


#: The default of a function argument that was not passed.
_MISSING: t.Final[t.Any] = object()


class AuthorizerDecorator(t.Protocol):
    """A decorator for authorizers. It returns the function unchanged."""

    def __call__(self, f: AuthorizerF, /) -> AuthorizerF:
        """Decorate a function."""


class Guarding:
    """Methods of the extension and of blueprints that define rights."""

    _items: Items

    def allow(
        self,
        roles: Roles,
        *others: t.NoReturn,
        call: str | t.Sequence[str] | None = None,
        publish: str | t.Sequence[str] | None = None,
        subscribe: str | t.Sequence[str] | None = None,
        register: str | t.Sequence[str] | None = None,
        **unknown: t.NoReturn,
    ) -> None:
        """Give rights to roles. The router refuses what no right allows.

        ::

            wamp.allow("member", subscribe=[".news", ".user.{authid}.inbox"], call="com.other.")

        :param roles: ``"member"``, a list of roles, ``"anonymous"`` for all clients, or ``"*"`` for all
            authenticated clients.
        :param call: One or more URIs, each absolute or relative to the prefix (``.news``). A URI that ends
            with a dot is a prefix, and covers all URIs that begin with it. ``{authid}`` and ``{role}`` stand
            for those of the client. ``<name>`` and an empty part stand for any part. ``publish``,
            ``subscribe`` and ``register`` take the same.
        :raises ValueError: A role or a URI is invalid, or no URI is given.
        :raises TypeError: A value is neither a URI nor a list of URIs.

        The app's own processes have all rights. Subscribing to a prefix or wildcard needs a right that
        covers all matching URIs.

        Source: WAMP Advanced Profile, "Authorization".

        .. versionadded:: 0.1
        """
        if others or unknown:
            given = [*map(repr, others), *(f"{name}=" for name in unknown)]
            raise TypeError(
                f"allow takes roles, and call=, publish=, subscribe= or register=, not {', '.join(given)}. "
                "For example: allow('anonymous', subscribe='.news')"
            )
        source = location_of_call()
        made = grants(
            roles, source, call=call, publish=publish, subscribe=subscribe, register=register
        )
        if not made:
            raise ValueError("allow needs one of call=, publish=, subscribe=, register=")
        site = ("allow", source, *made)
        self._items.add(
            Item.of(f"allow at {source}", made, lambda group: group.grants.extend(made), site)
        )

    @t.overload
    def authorizer(self, f: AuthorizerF, /) -> AuthorizerF: ...
    @t.overload
    def authorizer(self, *, cache: bool = False) -> AuthorizerDecorator: ...
    def authorizer(
        self, f: AuthorizerF = _MISSING, *, cache: bool = False
    ) -> AuthorizerF | AuthorizerDecorator:
        """Decorate a function that decides about requests: ``f(identity, action, uri, options)``.

        ::

            @wamp.authorizer
            def may(identity, action, uri, options):
                if uri.startswith("com.shop.order."):
                    return owns(identity.authid, uri)
                return None  # allow() decides

        The function decides about requests of all clients except the app's own processes, which may do
        everything. ``action`` is ``call``, ``register``, ``publish`` or ``subscribe``. ``options`` are those
        of the request, as the client sent them: ``options.get("match")`` is the match policy.

        Return True to allow the request, False to refuse it, or None to let ``allow`` decide. If there are
        several authorizers, they run in order until one does not return None. An exception refuses the
        request. True does not give access to the router's own procedures and topics (``wamp.``). Allow these
        with :meth:`allow`, by name.

        The authorizer of a blueprint runs before that of the extension, for each URI or pattern that can
        match URIs below the blueprint's prefix. Its True does not allow patterns that also match other URIs.

        Authorizers run in an app context of one of the app's processes. Each request of a client costs an
        additional call.

        :param cache: Whether the router may cache the answer while the session lives. The answer must then
            depend only on the identity, the action, the URI and ``options["match"]``. The embedded router
            asks again after a process of the app has joined.

        .. versionadded:: 0.1
        """
        if not isinstance(cache, bool):
            raise TypeError(f"authorizer takes cache=True or cache=False, not {cache!r}")
        if f is _MISSING:
            return lambda f: self._add_authorizer(f, cache)
        return self._add_authorizer(f, cache)

    def _add_authorizer(self, f: AuthorizerF, cache: bool) -> AuthorizerF:
        if not callable(f):
            raise TypeError(f"an authorizer must be a function, not {f!r}")
        added = DeclaredAuthorizer(f, cache)
        what = f"authorizer {full_name(f)}"
        self._items.add(Item.of(what, f, lambda group: group.authorizers.append(added)))
        return f
