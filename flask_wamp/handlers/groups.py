"""The handlers and hooks of each app and its blueprints."""

from __future__ import annotations

import dataclasses
import typing as t
import weakref

from ..protocol.principals import Directory
from .grants import Grant
from .hooks import Hooks
from .registry import Spec, caller_frame, site_of

Serve = t.Callable[[Spec, t.Sequence[str], t.Sequence[Hooks]], object]


class DeclaredAuthorizer(t.NamedTuple):
    """A function of the app that decides about requests before the table of rights does."""

    function: t.Callable[..., object]
    cache: bool
    """Whether its answer may be reused if a session makes the same request again."""


class Group:
    """Handlers of one app that share a prefix, hooks and error handlers.

    An app is one group. A blueprint is one group in each app and blueprint in which it is registered.

    :param serve: Called with each handler, the prefixes and the hooks around it, from the outermost to the
        innermost.
    :param prefixes: The URI prefixes, each relative to the one before.
    :param around: The hooks of the groups around this one.
    :param allow: The roles that may use its handlers, if a handler has no ``allow=``.
    """

    def __init__(
        self,
        serve: Serve,
        prefixes: tuple[str, ...] = (),
        around: tuple[Hooks, ...] = (),
        allow: tuple[str, ...] | None = None,
    ) -> None:
        self.hooks = Hooks()
        self.encoders: dict[type, t.Callable[[t.Any], t.Any]] = {}
        """The encoders of classes. Only an app's group has them."""
        self.groups: dict[object, Group] = {}
        """The groups in this one, by the blueprint that they were created for."""
        self.grants: list[Grant] = []
        """The grants for other sessions. Their URIs are relative to the prefixes of this group."""
        self.authenticators: dict[str | None, t.Callable[..., object]] = {}
        """The authenticators of browsers, by realm. Only an app's group has them."""
        self.authorizers: list[DeclaredAuthorizer] = []
        """The functions that decide before the table of rights, below the prefixes of this group."""
        self.principals = Directory()
        """The clients with their own credentials. Only an app's group has them."""
        self.logouts: t.Any = None
        """The store that remembers logouts. Only an app's group has it."""
        self.allow = allow
        """The roles that may use handlers without ``allow=``."""
        self.sites: dict[object, int] = {}
        """How many groups there were when each item was declared, by the line of code that declared it."""
        self._serve = serve
        self._prefixes = prefixes
        self._scopes = (*around, self.hooks)

    def add(self, spec: Spec) -> None:
        """Serve a handler.

        :raises ValueError: The app has a handler for its URI already.
        """
        if spec.options.get("allow") is None and self.allow is not None:
            options = {**spec.options, "allow": self.allow}
            spec = dataclasses.replace(spec, options=options)
        self._serve(spec, self._prefixes, self._scopes)

    def include(
        self, key: object, prefix: str | None, allow: tuple[str, ...] | None = None
    ) -> Group:
        """Create a group in this one.

        :param key: The blueprint that it is created for.
        :param prefix: Its prefix, relative to that of this group. None adds no prefix.
        :param allow: Its roles. None means those of this group.
        """
        prefixes = self._prefixes if prefix is None else (*self._prefixes, prefix)
        allow = self.allow if allow is None else allow
        group = self.groups[key] = Group(self._serve, prefixes, self._scopes, allow)
        return group

    @property
    def decides(self) -> bool:
        """Whether this group or one in it decides who may join, or what clients may do.

        The ``allow=`` of its handlers does not count.
        """
        return (
            bool(self.authenticators or self.authorizers or self.grants or self.principals)
            # list() copies at once, because other threads may add groups meanwhile.
            or any(group.decides for group in list(self.groups.values()))
        )

    def walk(self) -> t.Iterator[tuple[Grant, tuple[str, ...]]]:
        """Iterate over the grants of this group and the groups in it, with their prefixes."""
        for grant in self.grants:
            yield grant, self._prefixes
        for group in list(self.groups.values()):
            yield from group.walk()

    def walk_authorizers(self) -> t.Iterator[tuple[DeclaredAuthorizer, tuple[str, ...]]]:
        """Iterate over the authorizers with their prefixes, the innermost group first."""
        for group in list(self.groups.values()):
            yield from group.walk_authorizers()
        for authorizer in self.authorizers:
            yield authorizer, self._prefixes


@dataclasses.dataclass(frozen=True)
class Item:
    """A declaration, such as a handler, a hook or a blueprint.

    :param what: A description, for errors.
    :param site: The line of code that declares it. A factory runs the same line for each app.
    :param apply: Adds it to a group.
    :param is_static: Whether it was declared while its module was imported, which happens once in a process.
    """

    what: str
    site: object
    apply: t.Callable[[t.Any], object]
    is_static: bool

    @classmethod
    def of(
        cls, what: str, thing: object, apply: t.Callable[[t.Any], object], site: object = None
    ) -> Item:
        """Create the item for a declaration by the user's code that is running.

        :param thing: The function or object that is declared.
        :param site: The default is the line that declares it.
        """
        frame = caller_frame()
        if site is None:
            site = (what, site_of(thing), frame.f_code, frame.f_lasti)
        is_static = frame.f_code.co_name == "<module>"
        # The user's code may decorate a function of a module through a helper.
        names = getattr(thing, "__globals__", None)
        if "<locals>" not in getattr(thing, "__qualname__", "<locals>") and names is not None:
            while not is_static and frame.f_back is not None:
                frame = frame.f_back
                is_static = frame.f_code.co_name == "<module>" and frame.f_globals is names
        return cls(what, site, apply, is_static)


class Items:
    """The items that were declared on an extension or blueprint, and the groups to which they belong.

    An extension has a group for each app. A blueprint has a group for each place where it is registered.

    * Items belong to all groups if they are declared before there is a group, or while a module is imported,
      or on a blueprint.
    * Other items belong to the group that was created last.
    * If a line of code runs again, as in an app factory, and the existing groups have its item already, the
      item belongs to the group that is created next.

    :param for_all: Whether everything belongs to all groups.
    """

    def __init__(self, *, for_all: bool) -> None:
        self._for_all = for_all
        self._shared: dict[object, tuple[int, list[Item]]] = {}
        self._next: dict[object, list[Item]] = {}
        self._made = 0
        self._groups: weakref.WeakSet[Group] = weakref.WeakSet()
        self._last: weakref.ref[Group] | None = None

    def add(self, item: Item) -> bool:
        """Add an item to the groups to which it belongs, now or when they are created.

        :returns: Whether it may belong to a group that is created later.
        """
        if self._made == 0 or self._for_all or item.is_static:
            self._share(item)
            return True
        last = self._last() if self._last is not None else None
        if last is None or self._has(last, item):
            self._next.setdefault(item.site, []).append(item)
            return True
        self._apply(item, last)
        return False

    def made(self, group: Group) -> None:
        """Add the items that belong to a new group."""
        items = {site: items for site, (_, items) in self._shared.items()} | self._next
        for item in [item for same in items.values() for item in same]:
            self._apply(item, group)
        self._made += 1
        self._next.clear()
        self._groups.add(group)
        self._last = weakref.ref(group)

    def check(self, group: Group) -> None:
        """Check a group whose app is about to start.

        :raises ValueError: An item was declared for it twice.
        """
        if self._next and self._last is not None and self._last() is group:
            twice = ", ".join(items[0].what for items in self._next.values())
            raise ValueError(
                f"declared twice, before and after init_app: {twice}. An app factory must call init_app for "
                "each app, before the app starts"
            )

    def _share(self, item: Item) -> None:
        for group in list(self._groups):
            if not self._has(group, item):
                self._apply(item, group)
        made, same = self._shared.get(item.site, (self._made, []))
        if made != self._made and not item.is_static:
            same = []  # the line has run again, and its first run was for groups that exist
        self._shared[item.site] = self._made, [*same, item]

    def _has(self, group: Group, item: Item) -> bool:
        """Return whether a group has what an earlier run of the same line declared."""
        return not item.is_static and group.sites.get(item.site, self._made) != self._made

    def _apply(self, item: Item, group: Group) -> None:
        item.apply(group)
        group.sites[item.site] = self._made
