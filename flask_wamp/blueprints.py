"""Blueprints: groups of handlers with their own prefix, hooks and error handlers."""

from __future__ import annotations

from .handlers.grants import Roles, as_roles
from .handlers.scaffold import Scaffold
from .protocol.patterns import Pattern
from .protocol.uris import check_uri


class WAMPBlueprint(Scaffold):
    """A group of handlers with its own URI prefix, hooks, middlewares and error handlers.

    ::

        users = WAMPBlueprint("users", uri_prefix=".users")

        @users.callee                      # com.example.users.get
        def get(number: int) -> dict: ...

        wamp.register_blueprint(users)

    You can register it before or after you add its handlers, in several apps, and in other blueprints.

    :param name: The name of the blueprint, for error messages.
    :param uri_prefix: ``.users`` is relative to the prefix of the app or blueprint in which it is registered.
        ``com.example.users`` is absolute. None adds no prefix.
    :param allow: The roles that may use its handlers, unless a handler has its own ``allow``.

    .. versionadded:: 0.1
    """

    def __init__(
        self, name: str, uri_prefix: str | None = None, *, allow: Roles | None = None
    ) -> None:
        super().__init__(for_all=True)
        self.allowed_roles = None if allow is None else as_roles(allow)
        if uri_prefix is not None:
            pattern = Pattern.parse(uri_prefix.removeprefix("."), None)
            check_uri(pattern.written, "URI prefix")
        self.name = name
        self.uri_prefix = uri_prefix

    def __repr__(self) -> str:
        return f"<WAMPBlueprint {self.name!r}>"
