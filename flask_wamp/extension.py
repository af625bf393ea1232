"""The extension: ``FlaskWAMP(app)``."""

from __future__ import annotations

import typing as t
import weakref

from flask import Flask, current_app, has_app_context

from . import http, lifecycle
from .client import Client
from .config import Config, load_config
from .context import offer_client
from .dispatch import Dispatcher
from .handlers import Declaration
from .registry import Spec, callee_spec, decorator, marked, marked_members, subscriber_spec

__version__ = "0.1.0"


class _AppState:
    """What one app has of the extension: its own configuration, client and handlers."""

    def __init__(self, app: Flask, config: Config) -> None:
        self._app = app
        self.config = config
        self.dispatcher = Dispatcher(app, config["WAMP_URI_PREFIX"], config["WAMP_VALIDATE"])
        self.client = Client(
            config.settings(agent=f"flask-wamp/{__version__}"),
            callee=self._maker(callee_spec),
            subscriber=self._maker(subscriber_spec),
            name=app.name,
        )
        self.client.start_policy.before_start = self.find_marked
        self._found: set[int] = set()

    def add(self, spec: Spec) -> None:
        """Serve a decorated function; at once where a session is joined."""
        self.client.declare(self.dispatcher.declaration(spec))

    def find_marked(self) -> None:
        """Serve the app's views, and its blueprints', that the free decorators marked."""
        for view in list(self._app.view_functions.values()):
            for spec in marked(view):
                if id(spec) not in self._found:
                    self._found.add(id(spec))
                    self.add(spec)

    def _maker(self, make: t.Callable[..., Spec]) -> t.Callable[..., Declaration]:
        def declaration(f: t.Callable[..., t.Any], uri: str, **options: t.Any) -> Declaration:
            return self.dispatcher.declaration(make(f, uri, **options))

        return declaration


class FlaskWAMP:
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
        self._specs: list[Spec] = []
        self._apps: weakref.WeakSet[Flask] = weakref.WeakSet()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Serve an app: read its ``WAMP_*`` configuration, give its contexts ``g.wampy``.

        :raises ValueError: An unknown or wrong configuration key, or one URI decorated twice.
        :raises RuntimeError: The app has this extension already.
        """
        if "wamp" in app.extensions:
            raise RuntimeError(
                "this app has a FlaskWAMP already; call init_app once, and use "
                "app.extensions['wamp'] elsewhere"
            )
        state = _AppState(app, load_config(app.config))
        for spec in self._specs:
            state.add(spec)
        self._apps.add(app)
        app.extensions["wamp"] = app.extensions["flask_wamp"] = self
        app.extensions[_STATE] = state
        offer_client(app, state.client)
        http.answer_errors(app)
        lifecycle.manage(state.client, state.config["WAMP_AUTOSTART"])
        if state.client.start_policy.on_first_request:
            http.start_at_first_request(app, state.client.start)

    # Decorators.

    def callee(self, uri: t.Any = None, **options: t.Any) -> t.Any:
        """Register a function as a procedure. Works with and without parentheses.

        :param uri: ``com.example.add``, or ``.add`` relative to ``WAMP_URI_PREFIX``; by default the
            function's name below the prefix.
        :param match: ``exact``, ``prefix`` or ``wildcard``.
        :param invoke: How the router shares calls among all who register it: ``roundrobin`` (so that N
            workers of an app share the work), ``single``, ``random``, ``first`` or ``last``.
        :param concurrency: How many calls run at once in this process.
        :param validate: Whether pydantic checks the arguments; by default ``WAMP_VALIDATE``.
        :param timeout: Seconds after which the caller is told ``wamp.error.timeout``.
        :param force_reregister: Take the procedure away from who has it.
        :returns: The function, unchanged: as an HTTP view it goes on working.
        :raises ValueError: A URI or option that is not allowed, or the URI is taken in this app.

        Source: WAMP Basic Profile, "Registering a Procedure".

        .. versionadded:: 0.1
        """
        return decorator(callee_spec, uri, options, self._add)

    def subscriber(self, topic: t.Any = None, **options: t.Any) -> t.Any:
        """Subscribe a function to a topic. Works with and without parentheses.

        :param topic: As ``uri`` of :meth:`callee`.
        :param match: ``exact``, ``prefix`` or ``wildcard``.
        :param validate: Whether pydantic checks the arguments; by default ``WAMP_VALIDATE``.
        :param concurrency: How many events are handled at once; more than 1 gives up their order.
        :param get_retained: Also get the event the router has kept.
        :returns: The function, unchanged.
        :raises ValueError: A topic or option that is not allowed, or the topic is taken in this app.

        Source: WAMP Basic Profile, "Subscribing and Unsubscribing".

        .. versionadded:: 0.1
        """
        return decorator(subscriber_spec, topic, options, self._add)

    def consume(self, topic: t.Any = None, **options: t.Any) -> t.Any:
        """The name of :meth:`subscriber` in flask-wamp 0.1.0."""
        return self.subscriber(topic, **options)

    def include(self, thing: t.Any) -> t.Any:
        """Serve what the free decorators marked on a module, an object's methods, or a function.

        :returns: What was given.
        :raises ValueError: There is nothing marked on it.
        """
        specs = marked_members(thing)
        if not specs:
            raise ValueError(
                f"nothing in {thing!r} is marked; decorate its functions with flask_wamp.callee or "
                "flask_wamp.subscriber"
            )
        for spec in specs:
            self._add(spec)
        return thing

    def _add(self, spec: Spec) -> None:
        for app in list(self._apps):
            _state_of(app).add(spec)
        self._specs.append(spec)

    # The client.

    @property
    def client(self) -> Client:
        """The current app's client, the same as ``g.wampy``; outside of a context, the only app's.

        :raises RuntimeError: Which app is meant cannot be told.
        """
        return self._state().client

    def start(self) -> None:
        """Connect now, where no server is recognized; returns at once, does nothing when started."""
        self.client.start()

    def stop(self) -> None:
        """Leave the realm: finish what is in hand, within ``WAMP_DRAIN_TIMEOUT``."""
        self.client.stop()

    def _state(self) -> _AppState:
        if has_app_context() and current_app in self._apps:
            return _state_of(current_app)
        if len(self._apps) == 1:
            return _state_of(next(iter(self._apps)))
        if not self._apps:
            raise RuntimeError("no app yet: use FlaskWAMP(app), or call wamp.init_app(app) first")
        raise RuntimeError(
            "several apps have this FlaskWAMP; use it inside 'with app.app_context():'"
        )


#: Where an app keeps its state: in the app, so that it goes with it.
_STATE = "wamp_state"


def _state_of(app: Flask) -> _AppState:
    return t.cast(_AppState, app.extensions[_STATE])
