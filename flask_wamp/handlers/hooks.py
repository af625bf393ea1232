"""The chain around a handler: hooks, middlewares and error handlers of its scopes.

A scope is an app or a blueprint. The chain of a handler is made once, from the outermost scope to the
innermost, in Flask's order.
"""

from __future__ import annotations

import typing as t
from inspect import iscoroutinefunction

from .._text import get_logger
from ..concurrency.guards import report
from ..exceptions import ApplicationError
from ..protocol.uris import snake_case
from .context import Message

__tracebackhide__ = True  # pytest leaves out the frames of this module

logger = get_logger("flask_wamp.dispatch")

Before = t.Callable[[t.Any], t.Any]
After = t.Callable[[t.Any, t.Any], t.Any]
Teardown = t.Callable[[t.Any, "BaseException | None"], t.Any]
HandleMessage = t.Callable[[t.Any], t.Any]
Middleware = t.Callable[[HandleMessage, t.Any], t.Any]
ErrorHandler = t.Callable[[t.Any], t.Any]
Sync = t.Callable[[t.Any], t.Any]


class Hooks:
    """The hooks of one scope, in the order in which they were added."""

    #: Incremented when a hook is added to any scope. Older chains are then created again.
    generation = 0

    def __init__(self) -> None:
        self.before: list[Before] = []
        self.after: list[After] = []
        self.teardown: list[Teardown] = []
        self.middlewares: list[Middleware] = []
        self.objects: list[t.Any] = []
        """All middlewares, including those that only have hooks."""
        self.error_handlers: dict[type[Exception], ErrorHandler] = {}

    def add_middleware(self, middleware: t.Any) -> None:
        """Add a middleware: ``f(next_, message)``, an object with hooks as methods, or both."""
        self._sort_in(middleware)
        self.changed()

    @classmethod
    def of_handler(cls, middlewares: t.Any) -> Hooks:
        """Create the innermost scope, which has a handler's own middlewares."""
        scope = cls()
        if not isinstance(middlewares, list | tuple):
            raise TypeError(
                f"middlewares={middlewares!r} must be a list, or a dictionary of options"
            )
        for middleware in middlewares:
            scope._sort_in(middleware)
        return scope

    def _sort_in(self, middleware: t.Any) -> None:
        found = False
        for name, hooks in (
            ("before_dispatch", self.before),
            ("after_dispatch", self.after),
            ("teardown_dispatch", self.teardown),
        ):
            if hasattr(middleware, name):
                hooks.append(getattr(middleware, name))
                found = True
        if callable(middleware):
            self.middlewares.append(middleware)
            found = True
        if not found or isinstance(middleware, type):
            raise TypeError(
                f"{middleware!r} is not a middleware. A middleware is a function f(next_, message), or an "
                "object with before_dispatch, after_dispatch or teardown_dispatch"
            )
        if iscoroutinefunction(middleware) or iscoroutinefunction(type(middleware).__call__):
            raise TypeError(
                f"{middleware!r} must not be async, because the next_() that a middleware calls blocks"
            )
        self.objects.append(middleware)

    @staticmethod
    def changed() -> None:
        """Discard all chains, so that they are created again."""
        Hooks.generation += 1


def middleware_name(middleware: t.Any) -> str:
    """Return the name of a middleware in a handler's ``middlewares={...}``: ``timeout`` for ``Timeout``."""
    name = getattr(middleware, "name", None) or getattr(middleware, "__name__", None)
    return snake_case(name or type(middleware).__name__)


class Chain:
    """The hooks and middlewares that run around one handler.

    :param scopes: The scopes, from the outermost to the innermost.
    :param handler: Calls the handler with a message.
    :param middlewares: A list of the handler's own middlewares, which are innermost. Or a dictionary that
        configures or disables the middlewares of its scopes by name.
    :param sync: Converts coroutine functions to plain functions.
    :raises ValueError: The handler configures a middleware that its scopes do not have.
    """

    def __init__(
        self, scopes: t.Sequence[Hooks], handler: HandleMessage, middlewares: t.Any, sync: Sync
    ) -> None:
        self.generation = Hooks.generation
        inward = list(scopes)
        options = middlewares if isinstance(middlewares, dict) else {}
        if middlewares and not options:
            inward.append(Hooks.of_handler(middlewares))
        chosen = _Choice(inward, options).of
        outward = list(reversed(inward))
        self._sync = sync
        self._before = [sync(hook) for scope in inward for hook in chosen(scope.before)]
        self._after = [sync(hook) for scope in outward for hook in chosen(scope.after)[::-1]]
        self._teardown = [sync(hook) for scope in outward for hook in chosen(scope.teardown)[::-1]]
        self.has_teardown = bool(self._teardown)
        self._error_handlers = [scope.error_handlers for scope in outward if scope.error_handlers]
        self._handle = handler
        for scope in outward:
            for middleware in chosen(scope.middlewares)[::-1]:
                self._handle = _wrapped(middleware, self._handle)

    def run(self, message: Message) -> t.Any:
        """Run the hooks before the handler, the handler, and the hooks after it. Return the result to send.

        If one of the first two raises an exception that has an error handler, this makes the result.
        """
        try:
            value = self._dispatch(message)
        except Exception as error:
            handler = self._error_handler(type(error)) if self._error_handlers else None
            if handler is None:
                raise
            value = _answered(self._sync(handler), error)
        for hook in self._after:
            value = hook(message, value)
        return value

    def tear_down(self, message: Message, error: BaseException | None) -> None:
        """Run all teardown hooks, even when one raises."""
        for hook in self._teardown:
            try:
                hook(message, error)
            except BaseException:  # the answer exists, and must be sent
                report(logger.exception, "a teardown hook failed after %r", message)

    def _dispatch(self, message: Message) -> t.Any:
        for hook in self._before:
            value = hook(message)
            if value is not None:
                return value
        return self._handle(message)

    def _error_handler(self, kind: type[Exception]) -> ErrorHandler | None:
        for handlers in self._error_handlers:  # blueprint first
            for cls in kind.__mro__:
                if cls in handlers:
                    return handlers[cls]
        return None


def _answered(handler: ErrorHandler, error: Exception) -> t.Any:
    value = handler(error)
    if isinstance(value, ApplicationError):
        raise value from error
    return value


def _wrapped(middleware: Middleware, next_: HandleMessage) -> HandleMessage:
    return lambda message: middleware(next_, message)


class _Choice:
    """The middlewares around a handler, as the handler configures them: ``{"timeout": {"duration": 1}}``."""

    def __init__(self, scopes: t.Sequence[Hooks], options: dict[str, t.Any]) -> None:
        named = [(middleware_name(each), each) for scope in scopes for each in scope.objects]
        names = {name for name, _ in named}
        for name in options:
            if name not in names:
                known = (
                    f"The names are {', '.join(sorted(names))}"
                    if names
                    else "No middleware was added to the application or to a blueprint of the handler"
                )
                raise ValueError(
                    f"middlewares={{{name!r}: ...}}: there is no middleware of this name. {known}"
                )
        self._instead = {
            id(each): _configured(each, name, options[name])
            for name, each in named
            if name in options
        }

    def of(self, hooks: t.Sequence[t.Any]) -> list[t.Any]:
        """Return the hooks or middlewares that the handler keeps, with its options."""
        return [chosen for hook in hooks if (chosen := self._chosen(hook)) is not None]

    def _chosen(self, hook: t.Any) -> t.Any:
        if id(hook) in self._instead:
            return self._instead[id(hook)]
        owner = getattr(hook, "__self__", None)  # of a method, the middleware it belongs to
        if id(owner) not in self._instead:
            return hook
        return getattr(self._instead[id(owner)], hook.__name__, None)


def _configured(middleware: t.Any, name: str, options: t.Any) -> t.Any:
    if options is None or options is False:
        return None
    if not hasattr(middleware, "configured"):
        raise ValueError(f"the middleware {name} takes no options. Use False to leave it out")
    return middleware.configured(**options)
