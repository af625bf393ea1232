"""The extension: ``FlaskWAMP(app)``."""

from __future__ import annotations

import dataclasses
import functools
import typing as t
import weakref

import click
from flask import Flask, current_app, has_app_context

from . import signals
from ._text import get_logger
from .client.client import Client
from .client.health import health
from .config import Config, check_unchanged, load_config, snapshot
from .coordination.lease import Leases
from .coordination.signing import Signer
from .endpoint.setup import add_endpoint, own_router
from .handlers import http, notify
from .handlers.context import Event, explain_missing_client, offer_client
from .handlers.dates import use_format
from .handlers.dispatch import Dispatcher, Handler
from .handlers.grants import as_roles
from .handlers.groups import Group, Item, Items
from .handlers.hooks import Hooks
from .handlers.marks import served, take_unserved
from .handlers.meta_events import Watch
from .handlers.registry import Spec, callee_spec, location, subscriber_spec
from .handlers.scaffold import ArgumentDecorator, OneArgumentF, Scaffold
from .handlers.signatures import underlying
from .handlers.views import marked_views, wrapped_by_views
from .peer.declarations import Declaration, Registration
from .peer.settings import Settings
from .protocol.auth import Credentials
from .protocol.payload import JSON_TYPES, OwnTypes
from .protocol.rights import Policy, Right
from .protocol.uris import resolve
from .servers import detection as servers
from .servers import lifecycle
from .tasks.background import offer_tasks
from .tasks.runner import TaskRunner

if t.TYPE_CHECKING:
    from .peer.listeners import Host
    from .router.memory import MemoryRouter
    from .scheduling.scheduler import Job, Scheduler

logger = get_logger("flask_wamp")

__version__ = "0.1.0"


class _AppState:
    """The state of one app: its configuration, client and handlers."""

    def __init__(self, app: Flask, config: Config, items: Items) -> None:
        self._app = app
        self._items = items
        self.config = config
        self.group = Group(self._serve)
        self.prefix: str | None = config["WAMP_URI_PREFIX"]
        trusted_links = frozenset(config["WAMP_TRUSTED_LINKS"] or ())
        signer = Signer(functools.partial(_keys, app, config))
        own_types = OwnTypes(self.group.encoders, self._default)
        use_format(app, config["WAMP_DATES"], self.group.encoders, self._default)
        self.dispatcher = Dispatcher(
            app, self.prefix, config["WAMP_VALIDATE"], own_types, trusted_links, signer
        )
        settings = config.settings(f"flask-wamp/{__version__}", own_types)
        self.memory_router: MemoryRouter | None = None
        if settings.router_url.memory:
            settings = self._in_memory(settings)
        self.own_router = own_router(app, config, settings, self.rights)
        if self.own_router is not None:
            settings = self.own_router.settings(settings)
        self.client = Client(
            settings,
            callee=self._maker(callee_spec),
            subscriber=self._maker(subscriber_spec),
            notify=self._notify,
            event=functools.partial(Event, options={}, trusted_links=trusted_links),
            name=app.name,
        )
        self.client.start_policy.before_serving = self._before_serving
        self._config_read = snapshot(app.config)
        if self.own_router is not None:
            self.client.add_listener(self.own_router.listener)
        self._watch = Watch()
        self._handler_rights: list[Right] = []
        self._served: set[tuple[object, ...]] = set()

    def _in_memory(self, settings: Settings) -> Settings:
        """Return the settings of a client whose router is in this process."""
        from .router.memory import (
            MemoryRouter,  # it takes long to import, and few processes need it
        )

        self.memory_router = MemoryRouter()
        # Nobody else can reach that router, so it asks for no proof of who the app is.
        return dataclasses.replace(
            settings,
            credentials=Credentials(
                authid=settings.credentials.authid, authextra=settings.credentials.authextra
            ),
            open_transport=self.memory_router.open_transport,
        )

    def rights(self) -> Policy:
        """Return what others than the app's own processes may do."""
        rights = list(self._handler_rights)
        for grant, prefixes in self.group.walk():
            rights.append(grant.right(self._prefix(prefixes)))
        return Policy(rights, ("wamp.", f"{self.dispatcher.own_prefix}."))

    def _prefix(self, prefixes: t.Sequence[str]) -> str | None:
        prefix = self.prefix
        for part in prefixes:
            prefix = resolve(part, prefix)
        return prefix

    def _serve(self, spec: Spec, prefixes: t.Sequence[str], scopes: t.Sequence[Hooks]) -> None:
        """Serve a decorated function; at once where a session is joined."""
        made = self._declaration(spec, self._prefix(prefixes), scopes)
        subject = made.subject
        action = "call" if spec.kind is Registration else "publish"
        for role in as_roles(spec.options.get("allow") or ()):
            source = f"{spec.name}, {location(spec.function)}"
            self._handler_rights.append(Right(role, action, subject.uri, subject.match, source))
        for declaration in self._watch.declarations(spec.kind, made):
            self.client.declare(declaration)
        self._served.add(_key(spec))
        served(spec.function)

    def _declaration(
        self, spec: Spec, prefix: str | None, scopes: t.Sequence[Hooks]
    ) -> Declaration:
        declaration = self.dispatcher.declaration(spec, prefix, scopes)
        if self.client.joined:  # otherwise before the start, when all middlewares are there
            t.cast(Handler, declaration.subject.handler).check(wrapped_by_views(self._app))
        return declaration

    def manage(self) -> None:
        """Have the client start and end with the process."""
        policy = self.client.start_policy
        lifecycle.manage(
            self.client, self._app, self.config["WAMP_AUTOSTART"], self.config["WAMP_LINGER"]
        )
        before_connecting = policy.on_start

        def on_start() -> None:
            check_unchanged(self._config_read, self._app.config)
            before_connecting()

        policy.on_start = on_start

    def _before_serving(self) -> None:
        """Find the views that the free decorators marked, the app's and its blueprints'; check all."""
        self._items.check(self.group)
        for spec in marked_views(self._app):
            if _key(spec) not in self._served:  # its module may have been included
                self.group.add(spec)
        wrapped = wrapped_by_views(self._app)
        for declaration in self.client.declarations:
            for each in getattr(declaration.subject, "members", (declaration.subject,)):
                t.cast(Handler, each.handler).check(wrapped)
        views = [view for app in list(_apps) for view in app.view_functions.values()]
        for name in take_unserved(views):
            logger.warning(
                "%s is marked with flask_wamp.callee or flask_wamp.subscriber, but it is not served: it "
                "is not a view of an app. Call wamp.include() with its module or object",
                name,
            )

    def run_jobs(self, schedule: Scheduler) -> None:
        """Run scheduled jobs in the processes that ``WAMP_SCHEDULE`` says."""
        from .scheduling.runner import JobRunner

        once = self.config["WAMP_SCHEDULE"] == "once"
        uri = f"{self.dispatcher.own_prefix}.lease.schedule"

        def make(peer: Host) -> JobRunner:
            lease = (
                functools.partial(Leases.of(peer).add, uri, signer=self.dispatcher.signer)
                if once
                else None
            )
            return JobRunner(self._app, schedule, peer.pool, lease, self.group)

        if self.config["WAMP_SCHEDULE"]:
            self.client.add_listener(make)

    def _default(self, value: t.Any) -> t.Any:
        """Ask the app's JSON provider, which may have been replaced since."""
        default = getattr(self._app.json, "default", None)
        if default is None:
            raise TypeError(f"an object of type {type(value).__qualname__} cannot be sent")
        return default(value)

    def _maker(self, make: t.Callable[..., Spec]) -> t.Callable[..., Declaration]:
        def declaration(f: t.Callable[..., t.Any], uri: str, **options: t.Any) -> Declaration:
            return self._declaration(make(f, uri, **options), self.prefix, (self.group.hooks,))

        return declaration

    def _notify(self, name: str, **payload: t.Any) -> None:
        """Send a signal of the client's, in an app context."""
        signal = getattr(signals, name)
        if signal.has_receivers_for(self._app):
            with self._app.app_context():
                notify.send(signal, self._app, realm=self.client.realm, **payload)


def _keys(app: Flask, config: Config) -> list[bytes]:
    """The keys with which the processes of an app sign what they tell each other."""
    secrets = [app.secret_key, *(app.config.get("SECRET_KEY_FALLBACKS") or ())]
    if not app.secret_key:
        names = ("WAMP_SECRET", "WAMP_PRIVATE_KEY", "WAMP_TICKET")
        secrets = [config[name] for name in names if isinstance(config[name], str)][:1]
    return [s if isinstance(s, bytes) else s.encode() for s in secrets if s]


class FlaskWAMP(Scaffold):
    """Connects Flask apps to a WAMP router.

    ::

        wamp = FlaskWAMP(app)          # or wamp = FlaskWAMP(), and wamp.init_app(app) later

        @wamp.callee
        def add(a: int, b: int) -> int:
            return a + b

    Handlers may be decorated before or after ``init_app``, and while a session is joined. One object
    serves any number of apps, each with a connection of its own.
    """

    def __init__(self, app: Flask | None = None) -> None:
        super().__init__(for_all=False)
        self._apps: weakref.WeakSet[Flask] = weakref.WeakSet()
        self._schedule: Scheduler | None = None
        if app is None:
            explain_missing_client()  # init_app may be forgotten
        else:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the ``WAMP_*`` configuration of an app, and add ``g.wampy`` to its contexts.

        :raises ValueError: A configuration key is unknown or wrong, or a URI is declared twice.
        :raises RuntimeError: The app already has a ``FlaskWAMP``.
        """
        if "wamp" in app.extensions:
            raise RuntimeError(
                "this app already has a FlaskWAMP. Call init_app once, and use "
                "app.extensions['wamp'] elsewhere"
            )
        script = servers.imported_twice(app)
        if script is not None:
            logger.warning(
                "%s runs as a script, and another module imports it again as %r: that makes a second app, "
                "which no server serves. Put 'wamp = FlaskWAMP()' into a module of its own that both "
                "import, or start the app with 'flask --app %s run'",
                script,
                app.import_name,
                app.import_name,
            )
        state = _AppState(app, load_config(app.config), self._items)
        self._items.made(state.group)
        self._apps.add(app)
        _apps.add(app)
        app.extensions["wamp"] = app.extensions["flask_wamp"] = self
        app.extensions[_STATE] = state
        offer_client(app, state.client)
        runner = TaskRunner(
            app,
            state.client,
            import_path=servers.app_import_path(),
            in_task_process=servers.in_task_process(),
        )
        state.client.closeables.append(runner)
        offer_tasks(app, runner)
        http.answer_errors(app)
        add_endpoint(app, state.config, state.client, state.own_router)
        if self._schedule is not None:
            state.run_jobs(self._schedule)
        state.manage()

    @property
    def schedule(self) -> Scheduler:
        """Scheduled jobs, with the API of the ``schedule`` library. See :class:`.scheduler.Scheduler`.

        ::

            wamp.schedule.every(10).seconds.do(job)
            wamp.schedule.every().day.at("10:30").do(job)
        """
        if self._schedule is None:
            from .scheduling.scheduler import Scheduler

            self._schedule = Scheduler(self._apps, place=self._place_job)
            for app in list(self._apps):
                _state_of(app).run_jobs(self._schedule)
        return self._schedule

    def _place_job(self, job: Job, f: t.Callable[..., t.Any]) -> None:
        """Give a new job to the current app, or to those it belongs to, as all that is declared."""
        assert self._schedule is not None
        jobs = self._schedule.jobs
        jobs[:] = [each for each in jobs if each.owners or each.owners is None or each.is_shared]
        owners: weakref.WeakSet[t.Any] = weakref.WeakSet()
        job.owners = owners
        app = current_app._get_current_object() if has_app_context() else None  # type: ignore[attr-defined]
        if app is not None and app in self._apps:
            owners.add(_state_of(app).group)
        else:
            job.is_shared = self._items.add(Item.of("a job", f, owners.add))

    def encoder(self, kind: type) -> ArgumentDecorator:
        """Define how objects of a class are sent: as the return value of ``f(value)``.

        ::

            @wamp.encoder(Money)
            def encode_money(money):
                return {"amount": str(money.amount), "currency": money.currency}

        It applies to results, errors, calls and events, and to subclasses. It takes precedence over the
        encoding by this library and by the app's JSON provider. The return value is encoded in turn. You
        cannot define encoders for JSON's own types (``str``, ``int``, ``dict`` and so on). To receive such
        objects, annotate the parameter, so that pydantic creates the object.

        .. versionadded:: 0.1
        """
        if not isinstance(kind, type) or kind in JSON_TYPES:
            raise TypeError(f"encoder needs a class, other than JSON's own types, and not {kind!r}")

        def decorate(f: OneArgumentF) -> OneArgumentF:
            def apply(group: Group) -> None:
                group.encoders[kind] = f

            self._items.add(Item.of(f"encoder of {kind.__name__}", f, apply))
            return f

        return decorate

    # The client.

    @property
    def client(self) -> Client:
        """The client of the current app, the same as ``g.wampy``.

        Without an application context, it is the client of the only app that has this extension.

        :raises RuntimeError: There is no context, and no app or more than one has this extension.
        """
        return self._state().client

    def start(self) -> None:
        """Connect, and serve the app's handlers in this process.

        You need it only if no server that serves the app is recognized, as in a script. Returns at once.
        Does nothing if the process already serves the app.
        """
        lifecycle.exit_at_sigterm()
        self.client.start()

    def stop(self) -> None:
        """Finish calls, events and background tasks, within ``WAMP_DRAIN_TIMEOUT``, and leave the realm."""
        self.client.stop()

    def health(self) -> dict[str, t.Any]:
        """Return the state of the connection. See :func:`.health.health`."""
        return health(self.client)

    def health_view(self) -> tuple[dict[str, t.Any], int]:
        """Answer :meth:`health` as JSON, with status 503 while the app is not joined. For load balancers.

        ``app.add_url_rule("/wamp/health", view_func=wamp.health_view)``
        """
        found = self.health()
        return found, 200 if found["joined"] else 503

    def _state(self) -> _AppState:
        if has_app_context():
            app = current_app._get_current_object()  # type: ignore[attr-defined]
            if app in self._apps:  # the proxy itself never is: it has no weak references
                return _state_of(app)
        if len(self._apps) == 1:
            return _state_of(next(iter(self._apps)))
        if not self._apps:
            raise RuntimeError("no app yet: use FlaskWAMP(app), or call wamp.init_app(app) first")
        raise RuntimeError(
            "several apps have this FlaskWAMP. Use it inside 'with app.app_context():'"
        )


def _key(spec: Spec) -> tuple[object, ...]:
    """What is the same for a function that was marked, and for the view that wraps it."""
    return spec.kind, underlying(spec.function), spec.uri


#: All apps of this process, to tell what none of them serves.
_apps: weakref.WeakSet[Flask] = weakref.WeakSet()

#: Where an app keeps its state: in the app, so that it goes with it.
_STATE = "wamp_state"


def _state_of(app: Flask) -> _AppState:
    return t.cast(_AppState, app.extensions[_STATE])


class WAMP(FlaskWAMP):
    """:class:`FlaskWAMP` under its name in flask-wamp 0.1.0, for code that was written for that.

    As there, it connects and serves at once, where no server was recognized that will start it, and sets the
    defaults of the configuration keys ``CROSSBAR_URL`` and ``REALM``.
    """

    def init_app(self, app: Flask) -> None:
        """Do as :meth:`FlaskWAMP.init_app`, and start."""
        super().init_app(app)
        client = _state_of(app).client
        app.config.setdefault("CROSSBAR_URL", client.url)
        app.config.setdefault("REALM", client.realm)
        in_command = click.get_current_context(silent=True) is not None
        if client.start_policy.on_first_request and not in_command:
            client.start()
