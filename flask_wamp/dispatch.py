"""From a message to its handler and back: one compiled function for each handler.

Returns an outcome and sends nothing.
"""

from __future__ import annotations

import inspect
import logging
import typing as t

from flask import Flask

from .context import Event, Invocation, current_event, current_invocation
from .handlers import Outcome, Registration, Subscription, Work
from .registry import Spec
from .results import Results
from .validation import InvalidArgument, Validate, make_validator, misfit

logger = logging.getLogger("flask_wamp.dispatch")


class Dispatcher:
    """Runs the handlers of one app.

    :param prefix: ``WAMP_URI_PREFIX``.
    :param validate: ``WAMP_VALIDATE``, the default of ``validate=``.
    """

    def __init__(self, app: Flask, prefix: str | None, validate: bool) -> None:
        self._app = app
        self._prefix = prefix
        self._validate = validate
        self._results = Results(app, prefix)

    def declaration(self, spec: Spec) -> Registration | Subscription:
        """What the client has to register or subscribe for a decorated function."""
        uri = spec.full_uri(self._prefix)
        made: Registration | Subscription
        if spec.kind is Registration:
            made = Registration(
                uri,
                _Callee(self, spec),
                options=_wire(spec.options, ("match", "invoke", "force_reregister")),
                concurrency=spec.options["concurrency"],
                timeout=spec.options["timeout"],
            )
        else:
            made = Subscription(
                uri,
                _Subscriber(self, spec),
                options=_wire(spec.options, ("match", "get_retained")),
                concurrency=spec.options["concurrency"],
            )
        made.name = spec.name
        return made

    def default(self) -> t.Callable[[t.Any], t.Any] | None:
        """What the app's JSON provider makes of types of its own."""
        return getattr(self._app.json, "default", None)


def _wire(options: t.Mapping[str, t.Any], names: tuple[str, ...]) -> dict[str, t.Any]:
    """The options that differ from the router's defaults."""
    wire = {name: options[name] for name in names if options[name]}
    if wire.get("match") == "exact":
        del wire["match"]
    return wire


class _Handler:
    """A decorated function, ready to be called with a payload."""

    def __init__(self, dispatcher: Dispatcher, spec: Spec) -> None:
        validate = spec.options["validate"]
        self._app = dispatcher._app
        self._results = dispatcher._results
        self._default = dispatcher.default()
        self._spec = spec
        self._function = spec.function
        self._validated = dispatcher._validate if validate is None else validate
        self._validate: Validate | None = None
        self._call = dispatcher._app.ensure_sync(spec.function)

    def call(self, args: t.Sequence[t.Any], kwargs: dict[str, t.Any]) -> t.Any:
        """Validate the arguments and call the function.

        :raises InvalidArgument: They do not fit.
        """
        if self._validated:
            validate = self._validate or self._make_validator()
            valid_args, valid_kwargs = validate(*args, **kwargs)
            return self._call(*valid_args, **valid_kwargs)
        try:
            return self._call(*args, **kwargs)
        except TypeError as error:
            invalid = misfit(error)
            if invalid is None:
                raise
            raise invalid from None

    def _make_validator(self) -> Validate:
        # At the first call: by then every name in the annotations exists, and an app with a thousand
        # procedures starts at once.
        self._validate = make_validator(self._function, self._spec.localns)
        return self._validate


class _Callee(_Handler):
    """Handles invocations of one procedure."""

    def __init__(self, dispatcher: Dispatcher, spec: Spec) -> None:
        super().__init__(dispatcher, spec)
        self._is_view: bool | None = None

    def __call__(self, work: Work) -> Outcome:
        message = Invocation(work, self._spec.options)
        context = self._app.app_context()
        context.push()
        token = current_invocation.set(message)
        failed: BaseException | None = None
        try:
            outcome = self._succeed(work, self.call(message.args, message.kwargs))
        except BaseException as error:
            failed = error
            outcome = self._results.raised(error, work.plain, message)
        finally:
            current_invocation.reset(token)
        _pop(context, failed, message.procedure)
        return outcome

    def _succeed(self, work: Work, value: t.Any) -> Outcome:
        if inspect.isgenerator(value):
            value = _exhaust(work, value)
        if self._is_view is None:
            self._is_view = _is_view(self._app, self._function)
        plain = _with_default(work, self._default)
        return self._results.returned(value, plain, is_view=self._is_view)


class _Subscriber(_Handler):
    """Handles events of one topic."""

    def __init__(self, dispatcher: Dispatcher, spec: Spec) -> None:
        super().__init__(dispatcher, spec)
        self._takes_meta = "meta" in inspect.signature(spec.function).parameters

    def __call__(self, work: Work) -> None:
        message = Event(work, self._spec.options)
        context = self._app.app_context()
        context.push()
        token = current_event.set(message)
        failed: BaseException | None = None
        try:
            self.call(message.args, self._kwargs(work, message))
        except InvalidArgument as error:
            failed = error
            logger.error(
                "an event of %s does not fit %s: %s", message.topic, self._spec.name, error.errors
            )
        except BaseException as error:
            failed = error
            logger.error(
                "%s failed, event of %s, publication %s",
                self._spec.name,
                message.topic,
                message.publication,
                exc_info=error,
            )
        finally:
            current_event.reset(token)
        _pop(context, failed, message.topic)

    def _kwargs(self, work: Work, message: Event) -> dict[str, t.Any]:
        if not self._takes_meta or "meta" in message.kwargs:
            return message.kwargs
        # What wampy's subscribers get.
        meta = {"topic": message.topic, "subscription_id": work.message.subscription_id}
        return {**message.kwargs, "meta": meta}


def _with_default(
    work: Work, default: t.Callable[[t.Any], t.Any] | None
) -> t.Callable[[t.Any], t.Any]:
    return lambda value: work.plain(value, default)


def _exhaust(work: Work, generator: t.Generator[t.Any, t.Any, t.Any]) -> t.Any:
    """Send what a generator yields as progressive results; its return value is the result."""
    sent: list[t.Any] = []
    while True:
        try:
            item = next(generator)
        except StopIteration as end:
            return sent if end.value is None else end.value
        sent.append(item)
        work.progress([item], {})


def _is_view(app: Flask, f: t.Callable[..., t.Any]) -> bool:
    """Whether a function is also an HTTP view."""
    return any(view is f or inspect.unwrap(view) is f for view in app.view_functions.values())


def _pop(context: t.Any, failed: BaseException | None, uri: str) -> None:
    """End the app context; a teardown function that raises does not take the answer away."""
    try:
        context.pop(failed)
    except Exception:
        logger.exception("a teardown function failed after %s", uri)
