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


#: Stands for a function that was not given.
_MISSING: t.Final[t.Any] = object()


class AuthorizerDecorator(t.Protocol):
    """A decorator of authorizers that returns the function it was given."""

    def __call__(self, f: AuthorizerF, /) -> AuthorizerF:
        """Decorate a function."""


class Guarding:
    """What the extension and blueprints have to say who may do what."""

    _items: Items

    def allow(
        self,
        roles: Roles,
        *,
        call: str | t.Sequence[str] | None = None,
        publish: str | t.Sequence[str] | None = None,
        subscribe: str | t.Sequence[str] | None = None,
        register: str | t.Sequence[str] | None = None,
    ) -> None:
        """Allow others to do something. What is not allowed is refused.

        ::

            wamp.allow("member", subscribe=[".news", ".user.{authid}.inbox"], call="com.other.")

        :param roles: ``"member"``, a list of roles, ``"anonymous"`` for everybody, or ``"*"`` for everybody
            who is known.
        :param call: URIs, each absolute or relative to the prefix (``.news``). A last dot makes a prefix:
            it allows all that begins so. ``{authid}`` and ``{role}`` stand for who asks, ``<name>`` and
            an empty part for any part. The other three take the same.
        :raises ValueError: A role or a URI is not allowed.

        The app's own processes may do everything. Subscribing to a prefix or wildcard needs a right for
        all that it matches.

        Source: WAMP Advanced Profile, "Authorization".

        .. versionadded:: 0.1
        """
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
        """Decide what others than the app's own processes may do: ``f(identity, action, uri, options)``.

        ::

            @wamp.authorizer
            def may(identity, action, uri, options):
                if uri.startswith("com.shop.order."):
                    return owns(identity.authid, uri)
                return None  # as allow says

        ``action`` is ``call``, ``register``, ``publish`` or ``subscribe``; ``options`` are those of the
        request, as the client sent them: ``options.get("match")`` says how far a pattern reaches. True
        allows, False refuses, and None leaves it to ``allow``. Several are asked in order, until one does
        not return None. What one of them raises refuses. True does not open the router's own procedures
        and topics (``wamp.``): allow them by name.

        The authorizer of a blueprint is asked before that of the extension, about all that reaches below
        the blueprint's prefix. Its True does not allow patterns that reach further.

        It runs in an app context of one of the app's processes, for every request: it costs a call.

        :param cache: The answer stays the same as long as the session lives: it depends on the identity,
            the action, the URI and ``options["match"]`` only. The embedded router asks once, and again
            after a process of the app has joined.

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
