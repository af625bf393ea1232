"""Blueprints: groups of handlers with a prefix, hooks and error handlers of their own."""

from __future__ import annotations

import weakref

from .handlers.hooks import Hooks
from .handlers.registry import Spec
from .handlers.scaffold import Scaffold
from .protocol.patterns import Pattern
from .protocol.uris import check_uri


class WAMPBlueprint(Scaffold):
    """A group of handlers.

    ::

        users = WAMPBlueprint("users", uri_prefix=".users")

        @users.callee                      # com.example.users.get
        def get(number: int) -> dict: ...

        wamp.register_blueprint(users)

    May be registered before or after its handlers are added, in several apps, and in other blueprints.

    :param name: For messages.
    :param uri_prefix: ``.users`` is below the prefix of what it is registered in, ``com.example.users`` is
        absolute; None adds nothing.

    .. versionadded:: 0.1
    """

    def __init__(self, name: str, uri_prefix: str | None = None) -> None:
        super().__init__()
        if uri_prefix is not None:
            pattern = Pattern.parse(uri_prefix.removeprefix("."), None)
            check_uri(pattern.written, "URI prefix")
        self.name = name
        self.uri_prefix = uri_prefix
        # Weak: a blueprint lives as long as its module, apps and extensions in tests do not.
        self.parents: weakref.WeakSet[Scaffold] = weakref.WeakSet()

    def _offer(self, spec: Spec, prefixes: tuple[str, ...], scopes: tuple[Hooks, ...]) -> None:
        for parent in list(self.parents):
            parent._offer(spec, (*self._prefixes(), *prefixes), (self.hooks, *scopes))

    def _prefixes(self) -> tuple[str, ...]:
        return (self.uri_prefix,) if self.uri_prefix is not None else ()

    def __repr__(self) -> str:
        return f"<WAMPBlueprint {self.name!r}>"
