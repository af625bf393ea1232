"""The state that the extension keeps for each app: its configuration, client and handlers."""

from __future__ import annotations

import dataclasses
import functools
import typing as t
import weakref

from blinker import NamedSignal
from flask import Flask

from . import signals
from ._text import get_logger
from ._version import __version__
from .client.client import Client
from .config import Config, check_unchanged, snapshot
from .coordination.leases import Leases
from .coordination.signing import Signer
from .endpoint.browser_sessions import has_login_manager
from .endpoint.logouts import Logouts
from .endpoint.setup import other_router, own_router
from .handlers import notify
from .handlers.authorizers import Guard, Verdict, ask_guards
from .handlers.context import Event
from .handlers.dates import use_format
from .handlers.dispatch import Dispatcher, check_handlers
from .handlers.grants import as_roles
from .handlers.groups import Group, Items
from .handlers.hooks import Hooks
from .handlers.marks import marked_views, served, take_unserved
from .handlers.meta_events import SessionEvents
from .handlers.registry import Spec, callee_spec, location, subscriber_spec
from .handlers.signatures import underlying
from .peer.declarations import Declaration, Registration
from .protocol.payload import OwnTypes
from .protocol.rights import Policy, Right
from .protocol.uris import resolve
from .servers import lifecycle

if t.TYPE_CHECKING:
    from .endpoint.other_router import OtherRouter
    from .endpoint.own_router import OwnRouter
    from .peer.listeners import PeerInterface
    from .peer.settings import PeerSettings
    from .scheduling.scheduler import Scheduler

logger = get_logger("flask_wamp")


class AppState:
    """The state of one app: its configuration, client and handlers."""

    def __init__(self, app: Flask, config: Config, items: Items) -> None:
        self.app = app
        self._items = items
        self.config = config
        self.group = Group(self._serve)
        for principal in config["WAMP_PRINCIPALS"]:
            self.group.principals.add(principal)
        self.prefix: str | None = config["WAMP_URI_PREFIX"]
        trusted_links = frozenset(config["WAMP_TRUSTED_LINKS"] or ())
        signer = Signer(functools.partial(_keys, app, config))
        own_types = OwnTypes(self.group.encoders, self._default)
        use_format(app, config["WAMP_DATES"], self.group.encoders, self._default)
        self.dispatcher = Dispatcher(
            app,
            self.prefix,
            config["WAMP_VALIDATE"],
            own_types,
            trusted_links,
            signer,
            self.group.principals,
        )
        settings = config.settings(f"flask-wamp/{__version__}", own_types, self._call_in_context)
        if not settings.router_url.memory:
            meets_others = _meets_others(config, settings)
            settings = dataclasses.replace(settings, app=app.name, meets_others=meets_others)
        self.logouts = Logouts(app.name, lambda: self.group.logouts)
        self.own_router = self._own_router(settings)
        self.client = Client(
            settings if self.own_router is None else self.own_router.settings(settings),
            callee=self._maker(callee_spec),
            subscriber=self._maker(subscriber_spec),
            prepare_signal=self._prepare_signal,
            event=functools.partial(Event, options={}, trusted_links=trusted_links),
            name=app.name,
        )
        self.client.start_policy.before_serving = self._before_serving
        self.config_read = snapshot(app.config)
        self.other_router = None if self.own_router is not None else self._other_router(signer)
        if self.own_router is not None:
            self.client.add_listener(self.own_router.listener)
        self._session_events = SessionEvents()
        self._handler_rights: list[Right] = []
        self._policy: tuple[int, Policy] | None = None
        self._asked: set[str] = set()
        self._served: set[tuple[object, ...]] = set()

    def _own_router(self, settings: PeerSettings) -> OwnRouter | None:
        return own_router(
            self.app,
            self.config,
            settings,
            self.dispatcher.own_prefix,
            self.rights,
            self._authorizer,
            self.logouts,
            self.group.principals,
        )

    def _other_router(self, signer: Signer) -> OtherRouter:
        return other_router(
            self.app,
            self.config,
            self.client,
            self.dispatcher.own_prefix,
            signer,
            self.rights,
            self._ask,
            self.logouts,
            self.group.principals,
        )

    @property
    def router(self) -> OwnRouter | OtherRouter:
        """The app's own router, or the other one that it joins."""
        router = self.own_router or self.other_router
        assert router is not None
        return router

    @property
    def in_memory(self) -> bool:
        """Whether clients that join now use the router in this process, as in tests."""
        return self.own_router is not None and self.own_router.in_memory

    def rights(self) -> Policy:
        """Return the rights of all clients other than the app's own processes."""
        grants = list(self.group.walk())
        count = len(self._handler_rights) + len(grants)  # rights are never removed
        if self._policy is None or self._policy[0] != count:
            granted = [grant.right(self._prefix(prefixes)) for grant, prefixes in grants]
            reserved = ("wamp.", f"{self.dispatcher.own_prefix}.")
            self._policy = count, Policy([*self._handler_rights, *granted], reserved)
        return self._policy[1]

    def guards(self) -> list[Guard]:
        """Return the app's authorizers and those of its blueprints, in the order of their calls."""
        return [
            Guard(authorizer, self._prefix(prefixes) if prefixes else None)
            for authorizer, prefixes in self.group.walk_authorizers()
        ]

    def _ask(self, about: list[t.Any], action: str, uri: str, options: dict[str, t.Any]) -> Verdict:
        return ask_guards(self.app, self.guards(), about, action, uri, options)

    def _ask_for_router(self, *request: t.Any) -> object:
        return self._ask(*request).for_router()

    def _authorizer(self) -> str:
        """Return the URI of the procedure that calls the app's authorizers, or ``""`` if there are none."""
        return f"{self.dispatcher.own_prefix}.authorize" if self.guards() else ""

    def _serve_asked(self, *, uses_logins: bool) -> None:
        """Serve the procedures that the router calls.

        :param uses_logins: Whether the app decides who may join or what clients may do.
        """
        procedures: t.Mapping[str, t.Callable[..., object]] = {}
        if self.other_router is not None:
            if uses_logins:
                self.other_router.follow_sessions()
                procedures = self.other_router.procedures()
        elif self._authorizer():
            procedures = {self._authorizer(): self._ask_for_router}
        for uri, function in procedures.items():
            if uri not in self._asked:
                spec = callee_spec(function, uri, validate=False)
                self.client.declare(self._declaration(spec, None, ()))
                self._asked.add(uri)

    def _prefix(self, prefixes: t.Sequence[str]) -> str | None:
        prefix = self.prefix
        for part in prefixes:
            prefix = resolve(part, prefix)
        return prefix

    def _serve(self, spec: Spec, prefixes: t.Sequence[str], scopes: t.Sequence[Hooks]) -> None:
        """Serve a decorated function. With a joined session, register or subscribe it at once."""
        made = self._declaration(spec, self._prefix(prefixes), scopes)
        subject = made.subject
        action = "call" if spec.kind is Registration else "publish"
        for role in as_roles(spec.options.get("allow") or ()):
            source = f"{spec.name}, {location(spec.function)}"
            self._handler_rights.append(Right(role, action, subject.uri, subject.match, source))
        for declaration in self._session_events.declarations(spec.kind, made):
            self.client.declare(declaration)
        self._served.add(_key(spec))
        served(spec.function)

    def _declaration(
        self, spec: Spec, prefix: str | None, scopes: t.Sequence[Hooks]
    ) -> Declaration:
        declaration = self.dispatcher.declaration(spec, prefix, scopes)
        if self.client.joined:  # otherwise at the start, when the app has added all its middlewares
            check_handlers(self.app, [declaration.subject.handler])
        return declaration

    def manage(self) -> None:
        """Start and stop the client with the process."""
        policy = self.client.start_policy
        lifecycle.manage(
            self.client, self.app, self.config["WAMP_AUTOSTART"], self.config["WAMP_LINGER"]
        )
        before_connecting = policy.on_start

        def on_start() -> None:
            check_unchanged(self.config_read, self.app.config)
            before_connecting()

        policy.on_start = on_start

    def _before_serving(self) -> None:
        """Serve the views that ``flask_wamp.callee`` or ``subscriber`` has marked. Check all handlers."""
        self._items.check(self.group)
        for spec in marked_views(self.app):
            if _key(spec) not in self._served:  # wamp.include() may have served it
                self.group.add(spec)
        has_manager = has_login_manager(self.app)
        self._serve_asked(
            uses_logins=has_manager or bool(self._handler_rights) or self.group.decides
        )
        if has_manager or self.group.authenticators:
            self._warn_of_logouts()
        handlers = [
            each.handler
            for declaration in self.client.declarations
            for each in getattr(declaration.subject, "members", (declaration.subject,))
        ]
        check_handlers(self.app, handlers)
        for name in take_unserved(apps):
            logger.warning(
                "%s is marked with flask_wamp.callee or flask_wamp.subscriber, but it is not served: it "
                "is not a view of an app. Call wamp.include() with its module or object",
                name,
            )

    def _warn_of_logouts(self) -> None:
        """Warn in production if logouts are forgotten at a restart."""
        if self.group.logouts is None and not (self.app.debug or self.app.testing):
            logger.warning(
                "logouts are remembered in memory only, so after a restart, browsers with copies of old "
                "cookies may join again. Call wamp.remember_logouts() with a cache or a database, see "
                "docs/logins.rst"
            )

    def run_jobs(self, schedule: Scheduler) -> None:
        """Run scheduled jobs in the processes that ``WAMP_SCHEDULE`` selects."""
        from .scheduling.runner import JobRunner

        once = self.config["WAMP_SCHEDULE"] == "once"
        uri = f"{self.dispatcher.own_prefix}.lease.schedule"

        def make(peer: PeerInterface) -> JobRunner:
            lease = (
                functools.partial(Leases.of(peer).add, uri, signer=self.dispatcher.signer)
                if once
                else None
            )
            return JobRunner(self.app, schedule, peer.pool, lease, self.group)

        if self.config["WAMP_SCHEDULE"]:
            self.client.add_listener(make)

    def _default(self, value: t.Any) -> t.Any:
        """Convert a value with the app's JSON provider. The app may replace its provider at any time."""
        default = getattr(self.app.json, "default", None)
        if default is None:
            raise TypeError(f"an object of type {type(value).__qualname__} cannot be sent")
        return default(value)

    def _maker(self, make: t.Callable[..., Spec]) -> t.Callable[..., Declaration]:
        def declaration(f: t.Callable[..., t.Any], uri: str, **options: t.Any) -> Declaration:
            return self._declaration(make(f, uri, **options), self.prefix, (self.group.hooks,))

        return declaration

    def _call_in_context(self, function: t.Callable[[], object]) -> object:
        """Call a function from the configuration in an app context. The thread that joins calls this."""
        with self.app.app_context():
            return function()

    def _prepare_signal(self, name: str, **payload: t.Any) -> t.Callable[[], None] | None:
        """Return the function that sends a signal of the client. None if the signal has no receivers."""
        signal = getattr(signals, name)
        if not signal.has_receivers_for(self.app):
            return None
        return functools.partial(self._send_signal, signal, payload)

    def _send_signal(self, signal: NamedSignal, payload: dict[str, t.Any]) -> None:
        with self.app.app_context():
            notify.send(signal, self.app, realm=self.client.realm, **payload)


def _meets_others(config: Config, settings: PeerSettings) -> bool:
    """Return whether other applications can join the router."""
    url = settings.router_url
    return not url.embedded or bool(url.path or config["WAMP_ROUTER_LISTEN"])


def _keys(app: Flask, config: Config) -> list[bytes]:
    """Return the keys with which the processes of an app sign the messages to each other."""
    secrets = [app.secret_key, *(app.config.get("SECRET_KEY_FALLBACKS") or ())]
    if not app.secret_key:
        names = ("WAMP_SECRET", "WAMP_PRIVATE_KEY", "WAMP_TICKET")
        secrets = [config[name] for name in names if isinstance(config[name], str)][:1]
    return [s if isinstance(s, bytes) else s.encode() for s in secrets if s]


def _key(spec: Spec) -> tuple[object, ...]:
    """Return a key that is the same for a marked function and for the view that wraps it."""
    return spec.kind, underlying(spec.function), spec.uri


#: All apps of this process, to find marked functions that none of them serves.
apps: weakref.WeakSet[Flask] = weakref.WeakSet()

#: The key of the state in ``app.extensions``. The app holds its state, so both are freed together.
STATE = "wamp_state"


def state_of(app: Flask) -> AppState:
    """Return the state of an app that has the extension."""
    return t.cast(AppState, app.extensions[STATE])
