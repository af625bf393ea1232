"""The base class of the extension and blueprints, with decorators for handlers and hooks."""

from __future__ import annotations

import typing as t
import weakref

from ..peer.handler_options import CalleeOptions, Middlewares, SubscriberOptions
from ..protocol.meta_types import SessionInfo
from .context import Event, Invocation
from .groups import Group, Item, Items
from .guarding import Guarding
from .hooks import HandleMessage, Hooks
from .marks import marked_members
from .meta_events import join_spec, leave_spec
from .registry import (
    Decorator,
    F,
    Function,
    Spec,
    callee_spec,
    consume_spec,
    decorator,
    full_name,
    subscriber_spec,
)

if t.TYPE_CHECKING:
    from typing_extensions import Unpack

T = t.TypeVar("T")

# The types of functions that can be decorated. A hook may be written for invocations, for events, or for
# both.
BeforeF = t.TypeVar("BeforeF", bound=t.Callable[[Invocation], object] | t.Callable[[Event], object])
AfterF = t.TypeVar(
    "AfterF", bound=t.Callable[[Invocation, t.Any], object] | t.Callable[[Event, t.Any], object]
)
TeardownF = t.TypeVar(
    "TeardownF",
    bound=t.Callable[[Invocation, BaseException | None], object]
    | t.Callable[[Event, BaseException | None], object],
)
SessionF = t.TypeVar("SessionF", bound=t.Callable[[SessionInfo], object])
OneArgumentF = t.TypeVar("OneArgumentF", bound=t.Callable[[t.Any], object])


class HasBefore(t.Protocol):
    """A middleware with a hook that runs before the handler."""

    def before_dispatch(self, message: t.Any, /) -> object:
        """Run before the handler, see ``wamp.before_dispatch``."""


class HasAfter(t.Protocol):
    """A middleware with a hook that runs after the handler."""

    def after_dispatch(self, message: t.Any, result: t.Any, /) -> object:
        """Run after the handler, see ``wamp.after_dispatch``."""


class HasTeardown(t.Protocol):
    """A middleware with a hook that runs at the end."""

    def teardown_dispatch(self, message: t.Any, error: BaseException | None, /) -> object:
        """Run at the end, see ``wamp.teardown_dispatch``."""


MiddlewareT = t.TypeVar(
    "MiddlewareT",
    bound=t.Callable[[HandleMessage, Invocation], object]
    | t.Callable[[HandleMessage, Event], object]
    | HasBefore
    | HasAfter
    | HasTeardown,
)


class ArgumentDecorator(t.Protocol):
    """A decorator for functions with one argument. It returns the function unchanged."""

    def __call__(self, f: OneArgumentF, /) -> OneArgumentF:
        """Decorate a function."""


class SessionDecorator(t.Protocol):
    """A decorator for functions that take a :class:`.SessionInfo`. It returns the function unchanged."""

    def __call__(self, f: SessionF, /) -> SessionF:
        """Decorate a function."""


class Scaffold(Guarding):
    """The extension or a blueprint, to which you add handlers and hooks."""

    def __init__(self, *, for_all: bool) -> None:
        self._items = Items(for_all=for_all)
        # A weak set, because an app factory creates new blueprints for each app.
        self._blueprints: weakref.WeakSet[Scaffold] = weakref.WeakSet()

    # Handlers.

    @t.overload
    def callee(self, uri: F, /) -> F: ...
    @t.overload
    def callee(self, uri: str | None = None, **options: Unpack[CalleeOptions]) -> Decorator: ...
    def callee(self, uri: F | str | None = None, **options: Unpack[CalleeOptions]) -> F | Decorator:
        """Register a function as a procedure. Works with and without parentheses.

        :param uri: ``com.example.add``, or ``.add`` relative to the prefix. The default is the name of the
            function, below the prefix. In ``.users.<int:user_id>.get``, a part is an argument, and the URI is
            a wildcard. See ``docs/patterns.rst``.
        :param match: ``exact``, ``prefix`` or ``wildcard``. By default, it depends on the URI.
        :param allow: The role, or list of roles, that may call the procedure from outside of the app:
            ``"member"``, ``"anonymous"`` for all clients, ``"*"`` for all authenticated clients. By
            default, only the app's own processes may call it.
        :param invoke: How the router distributes calls among the sessions that register the procedure:
            ``roundrobin`` (the default), with which the workers of an app share the work, ``single``,
            ``random``, ``first`` or ``last``.
        :param concurrency: How many calls of this procedure run at once in this process. By default, as many
            as there are workers.
        :param validate: Whether pydantic checks the arguments. The default is ``WAMP_VALIDATE``.
        :param timeout: Seconds after which the caller gets ``wamp.error.timeout``.
        :param request_context: Whether to push a request context too, in which ``request.get_json()`` is the
            payload, and to run the app's before and after request functions.
        :param force_reregister: Whether to take the procedure away from a callee that does not share it in
            the same way.
        :param bypass: Whether a view's decorators, which do not run for WAMP, may wrap the function. Without
            this, it is an error at the start, because one of the decorators may be a guard.
        :param filled: The names of parameters that decorators below this one fill. Callers cannot set them.
        :param middlewares: A list of middlewares for this handler, or a dictionary.
            ``{"timeout": {"duration": 1}}`` configures a middleware of the app, and ``{"timeout": False}``
            disables it.
        :returns: The unchanged function, so it still works as an HTTP view.
        :raises ValueError: The URI or an option is not allowed, or the app has declared the URI already.
        :raises TypeError: The name of an option is unknown, or this decorates a method in the body of a
            class.

        Source: WAMP Basic Profile, "Registering a Procedure".

        .. versionadded:: 0.1
        """
        return t.cast("F | Decorator", decorator(callee_spec, uri, options, self._add_spec))

    @t.overload
    def subscriber(self, topic: F, /) -> F: ...
    @t.overload
    def subscriber(
        self, topic: str | None = None, **options: Unpack[SubscriberOptions]
    ) -> Decorator: ...
    def subscriber(
        self, topic: F | str | None = None, **options: Unpack[SubscriberOptions]
    ) -> F | Decorator:
        """Subscribe a function to a topic. Works with and without parentheses.

        :param topic: The topic, in the form of ``uri`` of :meth:`callee`.
        :param match: See :meth:`callee`.
        :param allow: The roles that may publish to the topic from outside of the app, see :meth:`callee`.
        :param validate: Whether pydantic checks the arguments. The default is ``WAMP_VALIDATE``.
        :param concurrency: How many events are handled at once, 1 by default. With more, they lose their
            order.
        :param delivery: ``every`` (the default) if each process of the app handles an event, ``one`` if only
            one of them does.
        :param get_retained: Whether to receive the event that the router retains. This does not work with
            patterns.
        :param request_context: See :meth:`callee`.
        :param bypass: See :meth:`callee`.
        :param filled: See :meth:`callee`.
        :param middlewares: See :meth:`callee`.
        :returns: The unchanged function.
        :raises ValueError: The topic or an option is not allowed.
        :raises TypeError: The name of an option is unknown, or this decorates a method in the body of a
            class.

        Source: WAMP Basic Profile, "Subscribing and Unsubscribing".

        .. versionadded:: 0.1
        """
        return t.cast("F | Decorator", decorator(subscriber_spec, topic, options, self._add_spec))

    @t.overload
    def consume(self, topic: F, /) -> F: ...
    @t.overload
    def consume(self, topic: str | None = None, **options: t.Any) -> Decorator: ...
    def consume(self, topic: F | str | None = None, **options: t.Any) -> F | Decorator:
        """Subscribe a function to a topic. This is the name of :meth:`subscriber` in flask-wamp 0.1.0.

        The arguments are those of :meth:`subscriber`. Other options are ignored, as in flask-wamp. A
        parameter ``meta`` gets a dictionary with ``topic`` and ``subscription_id``, as in wampy.
        """
        return t.cast("F | Decorator", decorator(consume_spec, topic, options, self._add_spec))

    @t.overload
    def on_session_join(self, f: SessionF, /) -> SessionF: ...
    @t.overload
    def on_session_join(self, *, middlewares: Middlewares | None = None) -> SessionDecorator: ...
    def on_session_join(
        self, f: SessionF | None = None, **options: t.Any
    ) -> SessionF | SessionDecorator:
        """Call ``f(session)`` with a :class:`.SessionInfo` when a session joins the realm.

        It runs like a subscriber, in every process that serves, but not for the process's own session. These
        handlers run one after another, in the order in which sessions join and leave. A process does not
        notice sessions that join or leave while it has no session itself. To learn about them, use
        ``g.wampy.meta.sessions`` when the signal :data:`.session_joined` is sent.

        :param middlewares: See :meth:`callee`.
        :returns: The unchanged function.

        Source: WAMP Advanced Profile, "Session Meta API".

        .. versionadded:: 0.1
        """
        made = decorator(join_spec, f, options, self._add_spec)
        return t.cast("SessionF | SessionDecorator", made)

    @t.overload
    def on_session_leave(self, f: SessionF, /) -> SessionF: ...
    @t.overload
    def on_session_leave(self, *, middlewares: Middlewares | None = None) -> SessionDecorator: ...
    def on_session_leave(
        self, f: SessionF | None = None, **options: t.Any
    ) -> SessionF | SessionDecorator:
        """Call ``f(session)`` with a :class:`.SessionInfo` when a session has left the realm.

        See :meth:`on_session_join`. If the session has joined before this process, only ``session.id`` is
        known. The built-in router also provides ``authid`` and ``authrole``.

        .. versionadded:: 0.1
        """
        made = decorator(leave_spec, f, options, self._add_spec)
        return t.cast("SessionF | SessionDecorator", made)

    def include(self, thing: T) -> T:
        """Serve functions that are marked with ``flask_wamp.callee`` or ``flask_wamp.subscriber``.

        :param thing: A module, an object with marked methods, or a marked function or method.
            Other decorators of a marked function run, unless it is marked with ``bypass=True``.
        :returns: The given module, object or function.
        :raises ValueError: It has no marked functions.
        :raises TypeError: It is a class. Pass an object instead.
        """
        specs = marked_members(thing)
        if not specs:
            raise ValueError(
                f"nothing in {thing!r} is marked. Decorate its functions with flask_wamp.callee or "
                "flask_wamp.subscriber"
            )
        for spec in specs:
            self._add_spec(spec)
        return thing

    # Hooks. ``message`` is the Invocation or Event.

    def before_dispatch(self, f: BeforeF) -> BeforeF:
        """Call ``f(message)`` before the handler. If it returns a value, the handler does not run.

        The value is then the answer.
        """
        self._add_hook("before_dispatch", f, lambda hooks: hooks.before.append(f))
        return f

    def after_dispatch(self, f: AfterF) -> AfterF:
        """Call ``f(message, result)`` after the handler. It returns the result to send.

        It is also called for results of error handlers and of hooks that run before the handler. It is not
        called if an error is sent.
        """
        self._add_hook("after_dispatch", f, lambda hooks: hooks.after.append(f))
        return f

    def teardown_dispatch(self, f: TeardownF) -> TeardownF:
        """Call ``f(message, exception_or_None)`` at the end, after a success and after an error.

        The hook that was added last runs first. The exception is the one that is sent as an error. If a
        teardown hook raises an exception, it is logged.
        """
        self._add_hook("teardown_dispatch", f, lambda hooks: hooks.teardown.append(f))
        return f

    def middleware(self, f: MiddlewareT) -> MiddlewareT:
        """Wrap handlers: ``f(next_, message)`` calls ``next_(message)`` and returns its result.

        The middleware that was added first is outermost. An object may be callable, or have the methods
        ``before_dispatch``, ``after_dispatch`` and ``teardown_dispatch``, or both.
        """
        Hooks().add_middleware(f)  # checks it, even if there is no app yet
        self._items.add(Item.of("middleware", f, lambda group: group.hooks.add_middleware(f)))
        return f

    def errorhandler(self, kind: type[Exception]) -> ArgumentDecorator:
        """Call ``f(error)`` for exceptions of a class that a handler raises.

        The return value is the result. If it returns or raises an :class:`ApplicationError`, this is the
        error. The function is looked up along the MRO, first in the innermost blueprint. Flask's own error
        handlers are not called.
        """
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(f"errorhandler() requires a class of exceptions, not {kind!r}")

        def decorate(f: OneArgumentF) -> OneArgumentF:
            self._add_hook(
                "errorhandler", f, lambda hooks: hooks.error_handlers.__setitem__(kind, f)
            )
            return f

        return decorate

    # Blueprints.

    def register_blueprint(self, blueprint: Scaffold) -> None:
        """Serve the handlers of a :class:`WAMPBlueprint`, including those that are added later.

        :raises ValueError: It is registered here already, or it would contain itself.
        """
        if not isinstance(blueprint, Scaffold) or not hasattr(blueprint, "uri_prefix"):
            raise TypeError(f"register_blueprint() takes a WAMPBlueprint, not {blueprint!r}")
        prefix: str | None = blueprint.uri_prefix
        allow: tuple[str, ...] | None = getattr(blueprint, "allowed_roles", None)
        if blueprint._contains(self):
            raise ValueError(f"{blueprint!r} cannot be registered in itself")

        def register(parent: Group) -> None:
            if blueprint in parent.groups:
                raise ValueError(f"{blueprint!r} is registered here already")
            blueprint._items.made(parent.include(blueprint, prefix, allow))

        site = ("blueprint", repr(blueprint), prefix)
        self._items.add(Item.of(repr(blueprint), blueprint, register, site))
        self._blueprints.add(blueprint)

    def _contains(self, other: Scaffold) -> bool:
        """Return whether the other is this object, or a blueprint at any depth in it."""
        return other is self or any(each._contains(other) for each in list(self._blueprints))

    # Helpers.

    def _add_spec(self, spec: Spec) -> None:
        item = Item.of(spec.name, spec.function, lambda group: group.add(spec), spec.site)
        self._items.add(item)

    def _add_hook(self, what: str, f: Function, add: t.Callable[[Hooks], object]) -> None:
        if not callable(f):
            raise TypeError(f"a hook must be a function, not {f!r}")

        def apply(group: Group) -> None:
            add(group.hooks)
            group.hooks.changed()

        self._items.add(Item.of(f"{what} of {full_name(f)}", f, apply))
