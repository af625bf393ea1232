"""The extension: ``FlaskWAMP(app)``."""

from __future__ import annotations

import typing as t
import weakref

import click
from flask import Flask, current_app, has_app_context

from ._text import get_logger
from .app_state import STATE, AppState, apps, state_of
from .client.client import Client
from .client.health import health
from .config import load_config, snapshot
from .endpoint.setup import add_endpoint
from .handlers import http
from .handlers.context import explain_missing_client, offer_client
from .handlers.groups import Group, Item
from .handlers.scaffold import ArgumentDecorator, OneArgumentF
from .logins import Logins
from .protocol.payload import JSON_TYPES
from .servers import detection as servers
from .servers import lifecycle
from .tasks.background import offer_tasks
from .tasks.runner import TaskRunner

if t.TYPE_CHECKING:
    from .scheduling.scheduler import Job, Scheduler
    from .testing.client import TestClient
    from .testing.recording import Recording

logger = get_logger("flask_wamp")


class FlaskWAMP(Logins):
    """Connects Flask apps to a WAMP router.

    ::

        wamp = FlaskWAMP(app)          # or wamp = FlaskWAMP(), and wamp.init_app(app) later

        @wamp.callee
        def add(a: int, b: int) -> int:
            return a + b

    You can decorate handlers before or after ``init_app``, and while there is a session. One object serves
    any number of apps. Each app has its own connection.
    """

    def __init__(self, app: Flask | None = None) -> None:
        super().__init__()
        self._apps: weakref.WeakSet[Flask] = weakref.WeakSet()
        self._schedule: Scheduler | None = None
        if app is None:
            explain_missing_client()  # init_app may be forgotten
        else:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the ``WAMP_*`` configuration of an app, and add ``g.wampy`` to its contexts.

        :raises ValueError: A configuration key is unknown, its value is not allowed, or a URI is declared
            twice.
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
                "%s runs as a script, and another module imports it again as %r. This creates a second app, "
                "which no server serves. Put 'wamp = FlaskWAMP()' into a separate module that both import, "
                "or start the app with 'flask --app %s run'",
                script,
                app.import_name,
                app.import_name,
            )
        state = AppState(app, load_config(app.config), self._items)
        self._items.made(state.group)
        self._apps.add(app)
        apps.add(app)
        app.extensions["wamp"] = app.extensions["flask_wamp"] = self
        app.extensions[STATE] = state
        offer_client(app, state.client)
        runner = TaskRunner(
            app,
            state.client,
            import_path=servers.app_import_path(),
            in_task_process=servers.in_task_process(),
        )
        offer_tasks(app, runner)
        http.answer_errors(app)
        add_endpoint(
            app,
            state.config,
            state.client,
            state.router,
            state.group.authenticators,
            state.logouts,
        )
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
                state_of(app).run_jobs(self._schedule)
        return self._schedule

    def _place_job(self, job: Job, f: t.Callable[..., t.Any]) -> None:
        """Assign a new job to the current app. Without one, assign it to apps like any other declaration."""
        assert self._schedule is not None
        jobs = self._schedule.jobs
        jobs[:] = [each for each in jobs if each.owners or each.owners is None or each.is_shared]
        owners: weakref.WeakSet[t.Any] = weakref.WeakSet()
        job.owners = owners
        app = current_app._get_current_object() if has_app_context() else None  # type: ignore[attr-defined]
        if app is not None and app in self._apps:
            owners.add(state_of(app).group)
        else:
            job.is_shared = self._items.add(Item.of("a job", f, owners.add))

    def encoder(self, kind: type) -> ArgumentDecorator:
        """Define how objects of a class are sent. The return value of ``f(value)`` is sent instead.

        ::

            @wamp.encoder(Money)
            def encode_money(money):
                return {"amount": str(money.amount), "currency": money.currency}

        It applies to results, errors, calls and events, and also to subclasses. It takes precedence over the
        conversions of this library and of the app's JSON provider. The return value is converted, too. You
        cannot define encoders for JSON's own types (``str``, ``int``, ``dict`` and so on). To receive such
        objects, annotate the parameter, and pydantic creates the object.

        .. versionadded:: 0.1
        """
        if not isinstance(kind, type) or kind in JSON_TYPES:
            raise TypeError(
                f"encoder() requires a class that is not one of JSON's own types, not {kind!r}"
            )

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

        Without an application context, it is the client of the only app that uses this extension object.

        :raises RuntimeError: There is no context, and none or several apps use this extension object.
        """
        return self._state().client

    def start(self) -> None:
        """Connect, and serve the app's handlers in this process.

        You need this only if the app is not served by a server that is recognized, for example in a script.
        Returns at once. Does nothing if the process already serves the app.
        """
        lifecycle.exit_at_sigterm()
        self.client.start()

    def stop(self) -> None:
        """Finish calls, events and background tasks within ``WAMP_DRAIN_TIMEOUT``, and leave the realm."""
        self.client.stop()

    def health(self) -> dict[str, t.Any]:
        """Return the state of the connection. See :func:`.health.health`."""
        return health(self.client)

    def health_view(self) -> tuple[dict[str, t.Any], int]:
        """Return :meth:`health` as JSON for load balancers. The status is 503 while the app is not joined.

        ``app.add_url_rule("/wamp/health", view_func=wamp.health_view)``
        """
        found = self.health()
        return found, 200 if found["joined"] else 503

    # Tests.

    def test_client(
        self, authid: str | None = None, authrole: str | None = None, *, inline: bool = False
    ) -> TestClient:
        """Return a peer that calls, publishes and subscribes in a test, without a router.

        ::

            with wamp.test_client() as peer:
                inbox = peer.subscribe(".votes")
                app.test_client().post("/vote/tea")
                assert inbox.get(timeout=1).args == [{"tea": 1}]

        Requires ``app.testing``. The app is served while the ``with`` block runs.

        :param authid: The authid of the peer. Without this and ``authrole``, it may do everything.
        :param authrole: The authrole of the peer, ``user`` by default.
        :param inline: Whether to run handlers and background tasks in the thread of the test.

        .. versionadded:: 0.1
        """
        from .testing.client import TestClient

        return TestClient(self._state().app, authid, authrole, inline)

    def record(self) -> t.ContextManager[Recording]:
        """Record the app's calls and publications, and the code that makes them, during the ``with`` block.

        Use ``with wamp.record() as seen: ...`` inside of ``with wamp.test_client()``.

        .. versionadded:: 0.1
        """
        from .testing.bench import Bench

        return Bench.of(self._state().app).record()

    def settle(self, timeout: float = 1.0) -> None:
        """Wait, in a test, until all handlers and background tasks have finished, and no event waits.

        :raises AssertionError: They have not finished in time. The text says what is still running.

        .. versionadded:: 0.1
        """
        from .testing.bench import Bench

        Bench.of(self._state().app).settle(timeout)

    def _state(self) -> AppState:
        if has_app_context():
            app = current_app._get_current_object()  # type: ignore[attr-defined]
            if app in self._apps:  # current_app itself cannot be in a WeakSet
                return state_of(app)
        if len(self._apps) == 1:
            return state_of(next(iter(self._apps)))
        if not self._apps:
            raise RuntimeError(
                "there is no app yet. Use FlaskWAMP(app), or call wamp.init_app(app) first"
            )
        raise RuntimeError(
            "several apps have this FlaskWAMP. Use it inside 'with app.app_context():'"
        )


class WAMP(FlaskWAMP):
    """:class:`FlaskWAMP` with its name in flask-wamp 0.1.0, for code that was written for that version.

    As in that version, it connects and serves at once, unless a server was recognized that will start it. It
    also sets the defaults of the configuration keys ``CROSSBAR_URL`` and ``REALM``.
    """

    def init_app(self, app: Flask) -> None:
        """Initialize the app like :meth:`FlaskWAMP.init_app`, and start the client."""
        # The default of flask-wamp is a Crossbar.io on this machine.
        if app.config.get("CROSSBAR_URL") is None:
            app.config.setdefault("WAMP_ROUTER_URL", "ws://127.0.0.1:8080/ws")
        super().init_app(app)
        client = state_of(app).client
        app.config.setdefault("CROSSBAR_URL", client.url)
        app.config.setdefault("REALM", client.realm)
        state_of(app).config_read = snapshot(app.config)
        in_command = click.get_current_context(silent=True) is not None
        if client.start_policy.on_first_request and not in_command:
            client.start()
