"""What the extension and blueprints have in common: decorators for handlers and hooks."""

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

# What may be decorated, for type checkers. A hook may be written for invocations, for events, or for both.
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
        """As for ``wamp.before_dispatch``."""


class HasAfter(t.Protocol):
    """A middleware with a hook that runs after the handler."""

    def after_dispatch(self, message: t.Any, result: t.Any, /) -> object:
        """As for ``wamp.after_dispatch``."""


class HasTeardown(t.Protocol):
    """A middleware with a hook that runs at the end."""

    def teardown_dispatch(self, message: t.Any, error: BaseException | None, /) -> object:
        """As for ``wamp.teardown_dispatch``."""


MiddlewareT = t.TypeVar(
    "MiddlewareT",
    bound=t.Callable[[HandleMessage, Invocation], object]
    | t.Callable[[HandleMessage, Event], object]
    | HasBefore
    | HasAfter
    | HasTeardown,
)


class ArgumentDecorator(t.Protocol):
    """A decorator of functions with one argument that returns the function it was given."""

    def __call__(self, f: OneArgumentF, /) -> OneArgumentF:
        """Decorate a function."""


class SessionDecorator(t.Protocol):
    """A decorator of functions that take a :class:`.SessionInfo`; returns what it was given."""

    def __call__(self, f: SessionF, /) -> SessionF:
        """Decorate a function."""


class Scaffold(Guarding):
    """Where handlers and hooks are added: the extension, or a blueprint."""

    def __init__(self, *, for_all: bool) -> None:
        self._items = Items(for_all=for_all)
        # Weak: a factory makes its blueprints anew for each app.
        self._blueprints: weakref.WeakSet[Scaffold] = weakref.WeakSet()

    # Handlers.

    @t.overload
    def callee(self, uri: F, /) -> F: ...
    @t.overload
    def callee(self, uri: str | None = None, **options: Unpack[CalleeOptions]) -> Decorator: ...
    def callee(self, uri: F | str | None = None, **options: Unpack[CalleeOptions]) -> F | Decorator:
        """Register a function as a procedure. Works with and without parentheses.

        :param uri: ``com.example.add``, or ``.add`` relative to the prefix; by default the function's
            name below the prefix. In ``.users.<int:user_id>.get`` a part is an argument, and the URI is a
            wildcard. See ``docs/patterns.rst``.
        :param match: ``exact``, ``prefix`` or ``wildcard``; by default what the URI says.
        :param allow: The role, or list of roles, that may call it from outside of the app: ``"member"``,
            ``"anonymous"`` for everybody, ``"*"`` for everybody who is known. By default nobody may but
            the app's own processes.
        :param invoke: How the router shares calls among all who register the procedure: ``roundrobin``
            (so that the workers of an app share the work), ``single``, ``random``, ``first`` or ``last``.
        :param concurrency: How many calls run at once in this process.
        :param validate: Whether pydantic checks the arguments; by default ``WAMP_VALIDATE``.
        :param timeout: Seconds after which the caller gets ``wamp.error.timeout``.
        :param request_context: Push a request context too, whose ``request.get_json()`` is the payload,
            and run the app's before and after request functions.
        :param force_reregister: Take the procedure away from a callee that does not share it in the same
            way.
        :param bypass: Allow the function to be wrapped by a view's decorators, which do not run for WAMP.
            Without it that is an error at the start, because one of them may be a guard.
        :param filled: Names of parameters that decorators below this one fill; callers cannot give them.
        :param middlewares: A list of middlewares for this handler, or ``{"timeout": {"duration": 1}}`` to
            configure one of the app's, ``{"timeout": False}`` to leave it out.
        :returns: The function, unchanged: as an HTTP view it goes on working.
        :raises ValueError: The URI or an option is not allowed, or the app has the URI already.
        :raises TypeError: There is no such option, or it decorates a method in the body of a class.

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

        :param topic: As ``uri`` of :meth:`callee`.
        :param match: As for :meth:`callee`.
        :param allow: Who may publish to the topic from outside of the app; as for :meth:`callee`.
        :param validate: Whether pydantic checks the arguments; by default ``WAMP_VALIDATE``.
        :param concurrency: How many events are handled at once; more than 1 gives up their order.
        :param delivery: ``every`` process of the app gets each event, or ``one`` of them.
        :param get_retained: Also get the event that the router retains; it retains none for patterns.
        :param request_context: As for :meth:`callee`.
        :param bypass: As for :meth:`callee`.
        :param filled: As for :meth:`callee`.
        :param middlewares: As for :meth:`callee`.
        :returns: The function, unchanged.
        :raises ValueError: The topic or an option is not allowed.
        :raises TypeError: There is no such option, or it decorates a method in the body of a class.

        Source: WAMP Basic Profile, "Subscribing and Unsubscribing".

        .. versionadded:: 0.1
        """
        return t.cast("F | Decorator", decorator(subscriber_spec, topic, options, self._add_spec))

    @t.overload
    def consume(self, topic: F, /) -> F: ...
    @t.overload
    def consume(self, topic: str | None = None, **options: t.Any) -> Decorator: ...
    def consume(self, topic: F | str | None = None, **options: t.Any) -> F | Decorator:
        """Subscribe a function to a topic, under the name this had in flask-wamp 0.1.0.

        Takes what :meth:`subscriber` takes, and ignores other options as flask-wamp did. A parameter
        ``meta`` gets a dictionary with ``topic`` and ``subscription_id``, as in wampy.
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

        Runs as a subscriber does, in every process that serves, but not for the process's own session. All
        such handlers run one after another, in the order in which sessions join and leave. A process that
        has no session misses what happens meanwhile: ask ``g.wampy.meta.sessions`` at
        :data:`.session_joined`.

        :param middlewares: As for :meth:`callee`.
        :returns: The function, unchanged.

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

        As :meth:`on_session_join`. If the session joined before this process did, only ``session.id`` is
        known.

        .. versionadded:: 0.1
        """
        made = decorator(leave_spec, f, options, self._add_spec)
        return t.cast("SessionF | SessionDecorator", made)

    def include(self, thing: T) -> T:
        """Serve what the free decorators marked on a module, an object's methods, or a function.

        :returns: What was given.
        :raises ValueError: There is nothing marked on it.
        :raises TypeError: It is a class; give an object.
        """
        specs = marked_members(thing)
        if not specs:
            raise ValueError(
                f"nothing in {thing!r} is marked; decorate its functions with flask_wamp.callee or "
                "flask_wamp.subscriber"
            )
        for spec in specs:
            self._add_spec(spec)
        return thing

    # Hooks. ``message`` is the Invocation or Event.

    def before_dispatch(self, f: BeforeF) -> BeforeF:
        """Call ``f(message)`` before the handler; a value it returns is the answer instead."""
        self._add_hook("before_dispatch", f, lambda hooks: hooks.before.append(f))
        return f

    def after_dispatch(self, f: AfterF) -> AfterF:
        """Call ``f(message, result)`` after the handler; what it returns is the result to send.

        Runs for results of handlers, before hooks and error handlers, but not when an error is sent.
        """
        self._add_hook("after_dispatch", f, lambda hooks: hooks.after.append(f))
        return f

    def teardown_dispatch(self, f: TeardownF) -> TeardownF:
        """Call ``f(message, exception_or_None)`` at the end, in any case; the last added runs first.

        The exception is the one that is sent as an error. What a teardown hook raises is logged.
        """
        self._add_hook("teardown_dispatch", f, lambda hooks: hooks.teardown.append(f))
        return f

    def middleware(self, f: MiddlewareT) -> MiddlewareT:
        """Wrap handlers: ``f(next_, message)`` calls ``next_(message)`` and returns what that returns.

        The first one added is outermost. An object may have ``before_dispatch``, ``after_dispatch`` and
        ``teardown_dispatch`` as methods, instead of or beside being callable.
        """
        Hooks().add_middleware(f)  # raises before there is an app
        self._items.add(Item.of("middleware", f, lambda group: group.hooks.add_middleware(f)))
        return f

    def errorhandler(self, kind: type[Exception]) -> ArgumentDecorator:
        """Call ``f(error)`` for exceptions of a class that a handler raises.

        What it returns is the result; an :class:`ApplicationError` that it returns or raises is the error.
        Looked up along the MRO, the innermost blueprint first. Flask's own error handlers are not asked.
        """
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(f"errorhandler needs a class of exceptions, not {kind!r}")

        def decorate(f: OneArgumentF) -> OneArgumentF:
            self._add_hook(
                "errorhandler", f, lambda hooks: hooks.error_handlers.__setitem__(kind, f)
            )
            return f

        return decorate

    # Blueprints.

    def register_blueprint(self, blueprint: Scaffold) -> None:
        """Serve a :class:`WAMPBlueprint`: the handlers it has, and those that are added later.

        :raises ValueError: It is registered here already, or would be in itself.
        """
        if not isinstance(blueprint, Scaffold) or not hasattr(blueprint, "uri_prefix"):
            raise TypeError(f"register_blueprint takes a WAMPBlueprint, not {blueprint!r}")
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
        """Return whether the other is this one, or a blueprint somewhere in it."""
        return other is self or any(each._contains(other) for each in list(self._blueprints))

    # Where it goes.

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
