"""What the extension and blueprints have in common: decorators for handlers and hooks."""

from __future__ import annotations

import typing as t

from .hooks import After, Before, ErrorHandler, Hooks, Teardown
from .meta_events import join_spec, leave_spec
from .registry import Spec, callee_spec, decorator, marked_members, subscriber_spec

F = t.TypeVar("F", bound=t.Callable[..., t.Any])
M = t.TypeVar("M")


class Scaffold:
    """A place where handlers and hooks are added: the extension, or a blueprint."""

    def __init__(self) -> None:
        self.hooks = Hooks()
        self._specs: list[Spec] = []
        self._blueprints: list[t.Any] = []

    # Handlers.

    def callee(self, uri: t.Any = None, **options: t.Any) -> t.Any:
        """Register a function as a procedure. Works with and without parentheses.

        :param uri: ``com.example.add``, or ``.add`` relative to the prefix; by default the function's
            name below the prefix. In ``.users.<int:user_id>.get`` a part is an argument; then it is a
            wildcard. See ``docs/patterns.rst``.
        :param match: ``exact``, ``prefix`` or ``wildcard``; by default what the URI says.
        :param invoke: How the router shares calls among all who register it: ``roundrobin`` (so that N
            workers of an app share the work), ``single``, ``random``, ``first`` or ``last``.
        :param concurrency: How many calls run at once in this process.
        :param validate: Whether pydantic checks the arguments; by default ``WAMP_VALIDATE``.
        :param timeout: Seconds after which the caller is told ``wamp.error.timeout``.
        :param request_context: Push a request context too, whose ``request.get_json()`` is the payload,
            and run the app's before and after request functions.
        :param force_reregister: Take the procedure away from a callee that does not share it in the same way.
        :param middlewares: A list of middlewares for this handler, or ``{"timeout": {"duration": 1}}`` to
            configure one of the app's, ``{"timeout": False}`` to leave it out.
        :returns: The function, unchanged: as an HTTP view it goes on working.
        :raises ValueError: A URI or option that is not allowed, or the URI is taken in this app.

        Source: WAMP Basic Profile, "Registering a Procedure".

        .. versionadded:: 0.1
        """
        return decorator(callee_spec, uri, options, self._add)

    def subscriber(self, topic: t.Any = None, **options: t.Any) -> t.Any:
        """Subscribe a function to a topic. Works with and without parentheses.

        :param topic: As ``uri`` of :meth:`callee`.
        :param match: As for :meth:`callee`.
        :param validate: Whether pydantic checks the arguments; by default ``WAMP_VALIDATE``.
        :param concurrency: How many events are handled at once; more than 1 gives up their order.
        :param delivery: ``every`` process of the app gets each event, or ``one`` of them.
        :param get_retained: Also get the event the router has kept; it keeps none for patterns.
        :param request_context: As for :meth:`callee`.
        :param middlewares: As for :meth:`callee`.
        :returns: The function, unchanged.
        :raises ValueError: A topic or option that is not allowed, or the topic is taken in this app.

        Source: WAMP Basic Profile, "Subscribing and Unsubscribing".

        .. versionadded:: 0.1
        """
        return decorator(subscriber_spec, topic, options, self._add)

    def consume(self, topic: t.Any = None, **options: t.Any) -> t.Any:
        """The name of :meth:`subscriber` in flask-wamp 0.1.0."""
        return self.subscriber(topic, **options)

    def on_session_join(self, f: t.Any = None, **options: t.Any) -> t.Any:
        """Call ``f(session)`` with a :class:`.SessionInfo` when a session joins the realm.

        Runs as a subscriber does, in every process that serves, not for the process's own session. All such
        handlers run one after another, in the order of what happened. What happens while this process has
        no session nobody tells it: ask ``g.wampy.meta.sessions`` at :data:`.session_joined`.

        :param middlewares: As for :meth:`callee`.
        :returns: The function, unchanged.

        Source: WAMP Advanced Profile, "Session Meta API".

        .. versionadded:: 0.1
        """
        return decorator(join_spec, f, options, self._add)

    def on_session_leave(self, f: t.Any = None, **options: t.Any) -> t.Any:
        """Call ``f(session)`` with a :class:`.SessionInfo` when a session has left the realm.

        As :meth:`on_session_join`. Of a session that had joined before this process, ``session.id`` is all
        that is known.

        .. versionadded:: 0.1
        """
        return decorator(leave_spec, f, options, self._add)

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

    # Hooks. ``message`` is the Invocation or Event.

    def before_dispatch(self, f: F) -> F:
        """Call ``f(message)`` before the handler; a value it returns is answered in its place."""
        self._hook(self.hooks.before, t.cast(Before, f))
        return f

    def after_dispatch(self, f: F) -> F:
        """Call ``f(message, result)`` after the handler; what it returns is the result to send.

        Runs for results of handlers, before hooks and error handlers; not when an error is sent.
        """
        self._hook(self.hooks.after, t.cast(After, f))
        return f

    def teardown_dispatch(self, f: F) -> F:
        """Call ``f(message, exception_or_None)`` at the end, in any case; last added runs first.

        The exception is what is answered as an error. What a teardown hook raises is logged.
        """
        self._hook(self.hooks.teardown, t.cast(Teardown, f))
        return f

    def middleware(self, f: M) -> M:
        """Wrap handlers: ``f(next_, message)`` with ``return next_(message)`` somewhere in it.

        First added is outermost. An object may have ``before_dispatch``, ``after_dispatch`` and
        ``teardown_dispatch`` as methods, instead of or beside being called.
        """
        self.hooks.add_middleware(f)
        return f

    def errorhandler(self, kind: type[Exception]) -> t.Callable[[F], F]:
        """Call ``f(error)`` for exceptions of a class that a handler raises.

        What it returns is answered as a result; an :class:`ApplicationError` it returns or raises as an
        error. Looked up along the MRO, the innermost blueprint first. Flask's own error handlers are not
        asked.
        """
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(f"errorhandler needs a class of exceptions, not {kind!r}")

        def decorate(f: F) -> F:
            self.hooks.error_handlers[kind] = t.cast(ErrorHandler, f)
            self.hooks.changed()
            return f

        return decorate

    # Blueprints.

    def register_blueprint(self, blueprint: t.Any) -> None:
        """Serve a :class:`WAMPBlueprint`: its handlers of now and those that are added later.

        :raises ValueError: It is registered here already, or would be in itself.
        """
        if not hasattr(blueprint, "uri_prefix") or not isinstance(blueprint, Scaffold):
            raise TypeError(f"register_blueprint takes a WAMPBlueprint, not {blueprint!r}")
        if blueprint in self._blueprints:
            raise ValueError(f"{blueprint!r} is registered here already")
        if blueprint.contains(self):
            raise ValueError(f"{blueprint!r} cannot be registered in itself")
        self._blueprints.append(blueprint)
        blueprint.parents.add(self)  # type: ignore[attr-defined]
        for spec, prefixes, scopes in blueprint.walk():
            self._offer(spec, prefixes, scopes)

    def contains(self, other: Scaffold) -> bool:
        """Whether the other is this one, or a blueprint somewhere in it."""
        return other is self or any(blueprint.contains(other) for blueprint in self._blueprints)

    def walk(self) -> t.Iterator[tuple[Spec, tuple[str, ...], tuple[Hooks, ...]]]:
        """All handlers here and in blueprints, each with the prefixes and scopes it is in."""
        for spec in list(self._specs):
            yield spec, self._prefixes(), (self.hooks,)
        for blueprint in list(self._blueprints):
            for spec, prefixes, scopes in blueprint.walk():
                yield spec, (*self._prefixes(), *prefixes), (self.hooks, *scopes)

    def _add(self, spec: Spec) -> None:
        self._offer(spec, (), ())
        self._specs.append(spec)

    def _offer(self, spec: Spec, prefixes: tuple[str, ...], scopes: tuple[Hooks, ...]) -> None:
        """A new handler, here or in a blueprint registered here: pass it on to where it is served."""
        raise NotImplementedError

    def _prefixes(self) -> tuple[str, ...]:
        return ()

    def _hook(self, hooks: list[t.Any], f: t.Any) -> None:
        if not callable(f):
            raise TypeError(f"a hook must be a function, not {f!r}")
        hooks.append(f)
        self.hooks.changed()
