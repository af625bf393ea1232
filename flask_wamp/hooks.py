"""What runs around a handler: hooks, middlewares and error handlers of one scope, and their chain.

A scope is the extension or a blueprint. The chain of a handler is put together once, from the outermost
scope to the innermost, in Flask's order.
"""

from __future__ import annotations

import logging
import typing as t

from .context import Event, Invocation
from .exceptions import ApplicationError
from .uris import snake_case

logger = logging.getLogger("flask_wamp.dispatch")

Message = Invocation | Event
Before = t.Callable[[t.Any], t.Any]
After = t.Callable[[t.Any, t.Any], t.Any]
Teardown = t.Callable[[t.Any, "BaseException | None"], t.Any]
Handle = t.Callable[[t.Any], t.Any]
Middleware = t.Callable[[Handle, t.Any], t.Any]
ErrorHandler = t.Callable[[t.Any], t.Any]


class Hooks:
    """The hooks of one scope, in the order in which they were added."""

    #: Goes up with every hook added anywhere: a chain that was put together before is made anew.
    generation = 0

    def __init__(self) -> None:
        self.before: list[Before] = []
        self.after: list[After] = []
        self.teardown: list[Teardown] = []
        self.middlewares: list[Middleware] = []
        self.error_handlers: dict[type[Exception], ErrorHandler] = {}

    def add_middleware(self, middleware: t.Any) -> None:
        """Add a middleware: ``f(next_, message)``, an object with hooks as methods, or both."""
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
                f"{middleware!r} is no middleware: give a function f(next_, message), or an object "
                "with before_dispatch, after_dispatch or teardown_dispatch"
            )
        self.changed()

    @staticmethod
    def changed() -> None:
        """Have all chains made anew."""
        Hooks.generation += 1


def middleware_name(middleware: t.Any) -> str:
    """The name by which a handler's ``middlewares={...}`` means it: ``Timeout`` is ``timeout``."""
    name = getattr(middleware, "name", None) or getattr(middleware, "__name__", None)
    return snake_case(name or type(middleware).__name__)


class Chain:
    """All that runs around one handler.

    :param scopes: From the outermost to the innermost.
    :param handler: Calls the handler with a message.
    :param middlewares: The handler's own: a list of middlewares, innermost; or a dictionary that
        configures or disables those of its scopes by name.
    :raises ValueError: It configures a middleware that is not there.
    """

    def __init__(self, scopes: t.Sequence[Hooks], handler: Handle, middlewares: t.Any) -> None:
        inward, outward = list(scopes), list(reversed(scopes))
        self.generation = Hooks.generation
        self._before = [hook for scope in inward for hook in scope.before]
        self._after = [hook for scope in outward for hook in reversed(scope.after)]
        self._teardown = [hook for scope in outward for hook in reversed(scope.teardown)]
        self._error_handlers = [scope.error_handlers for scope in outward if scope.error_handlers]
        wrapping = [middleware for scope in inward for middleware in scope.middlewares]
        self._handle = handler
        for middleware in reversed(_configured(wrapping, middlewares)):
            self._handle = _wrapped(middleware, self._handle)

    def run(self, message: Message) -> t.Any:
        """Preprocess, dispatch, handle an error, finalize; return what is to be answered."""
        try:
            value = self._dispatch(message)
        except Exception as error:
            handler = self._error_handler(type(error)) if self._error_handlers else None
            if handler is None:
                raise
            value = _answered(handler, error)
        for hook in self._after:
            value = hook(message, value)
        return value

    def tear_down(self, message: Message, error: BaseException | None) -> None:
        """Run all teardown hooks, even when one raises."""
        for hook in self._teardown:
            try:
                hook(message, error)
            except Exception:
                logger.exception("a teardown hook failed after %r", message)

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


def _wrapped(middleware: Middleware, next_: Handle) -> Handle:
    return lambda message: middleware(next_, message)


def _configured(scopes: list[Middleware], own: t.Any) -> list[Middleware]:
    """The middlewares of one handler, outermost first."""
    if not own:
        return scopes
    if not isinstance(own, dict):
        return [*scopes, *own]
    names = {middleware_name(middleware) for middleware in scopes}
    for name in own:
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            raise ValueError(
                f"middlewares={{{name!r}: ...}}: there is no such middleware, but {known}"
            )
    return [changed for middleware in scopes if (changed := _changed(middleware, own)) is not None]


def _changed(middleware: t.Any, own: dict[str, t.Any]) -> Middleware | None:
    name = middleware_name(middleware)
    if name not in own:
        return t.cast(Middleware, middleware)
    options = own[name]
    if options is None or options is False:
        return None
    if not hasattr(middleware, "configured"):
        raise ValueError(f"the middleware {name} takes no options; give False to leave it out")
    return t.cast(Middleware, middleware.configured(**options))
