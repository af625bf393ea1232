"""From a message to its handler and back: one :class:`Handler` object for each decorated function.

A handler returns an outcome. It does not send it.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import typing as t

from flask import Flask

from .. import signals
from .._text import get_logger
from ..concurrency import deadlines
from ..concurrency.guards import report
from ..concurrency.threads import time_limit
from ..coordination.delivery import Delivery
from ..coordination.signing import Signer
from ..exceptions import ApplicationError
from ..peer.declarations import ActiveMessage, Failure, Outcome, Registration, Subscription, Success
from ..protocol.identity import Identity
from ..protocol.patterns import Pattern
from ..protocol.payload import OwnTypes, is_plain
from ..protocol.rights import ANONYMOUS
from ..protocol.uris import own_prefix
from . import notify
from .annotations import check_annotations
from .arguments import ArgumentBinder
from .context import Event, Invocation, current_event, current_invocation
from .coroutines import make_sync
from .hooks import Chain, Hooks
from .registry import Spec, location
from .request_context import HandlerRequests, endpoint_of
from .results import Results
from .signatures import parameters_of
from .streaming import STREAMS, Streaming, as_generator, exhaust
from .validation import URIArguments
from .views import check_guards

__tracebackhide__ = True  # pytest leaves out the frames of this module

logger = get_logger("flask_wamp.dispatch")


class Dispatcher:
    """Runs the handlers of one app.

    :param prefix: ``WAMP_URI_PREFIX``.
    :param validate: ``WAMP_VALIDATE``, the default of ``validate=``.
    :param own_types: The encoders of the app's own types.
    :param trusted_links: ``WAMP_TRUSTED_LINKS``, see :func:`.disclosure.identified`.
    :param signer: Signs the messages that the processes of the app send each other.
    :param principals: The authids of the app's principals, which are not users.
    """

    def __init__(
        self,
        app: Flask,
        prefix: str | None,
        validate: bool,
        own_types: OwnTypes,
        trusted_links: t.Collection[str] = (),
        signer: Signer | None = None,
        principals: t.Container[str] = (),
    ) -> None:
        self.signer = signer or Signer()
        self._principals = principals
        self.app = app
        self.prefix = prefix
        self.validate = validate
        self.trusted_links = trusted_links
        self.results = Results(app, prefix)
        convert = functools.partial(self.results.returned, is_view=True)
        self.streaming = Streaming(app, convert, own_types)
        self.own_prefix = own_prefix(prefix, app.name)
        """The prefix of the URIs that the processes of the app use among themselves."""

    def is_user(self, sender: Identity) -> bool:
        """Return whether a sender may be a user of the app. Anonymous clients and principals are none."""
        return sender.authrole != ANONYMOUS and sender.authid not in self._principals

    def declaration(
        self, spec: Spec, prefix: str | None, scopes: t.Sequence[Hooks]
    ) -> Registration | Subscription:
        """Return the declaration for a decorated function.

        :param prefix: The prefix of a relative URI.
        :param scopes: The scopes whose hooks run around it, from the outermost to the innermost.
        """
        pattern = spec.pattern(prefix)
        uri, spec = pattern.uri, spec.placed(pattern)
        made: Registration | Subscription
        if spec.kind is Registration:
            self.streaming.add(spec.function)
            made = Registration(
                uri,
                _Callee(self, spec, scopes, pattern),
                options=_wire(spec.options, ("match", "invoke", "force_reregister")),
                concurrency=spec.options["concurrency"],
                timeout=spec.options["timeout"],
            )
        else:
            made = Subscription(
                uri,
                _Subscriber(self, spec, scopes, pattern),
                options=_wire(spec.options, ("match", "get_retained")),
                concurrency=spec.options["concurrency"],
            )
        made.name, made.function = f"{spec.name} ({location(spec.function)})", spec.function
        if isinstance(made, Subscription) and spec.options["delivery"] == "one":
            return Delivery(made, self.own_prefix, self.signer)
        return made


def _wire(options: t.Mapping[str, t.Any], names: tuple[str, ...]) -> dict[str, t.Any]:
    """Return the options that differ from the router's defaults."""
    wire = {name: options[name] for name in names if options[name]}
    if wire.get("match") == "exact":
        del wire["match"]
    return wire


def check_handlers(app: Flask, handlers: t.Iterable[object]) -> None:
    """Check, before the start, everything that would otherwise fail at the first message.

    :param handlers: Each is a :class:`Handler`, or an object with an attribute ``handlers`` that lists some.
    :raises ValueError: A handler configures a middleware that does not exist, or skips the decorators of its
        view.
    :raises NameError: An annotation has an unknown name.
    """
    checked: list[Handler] = []
    for handler in handlers:
        checked.extend(getattr(handler, "handlers", [handler]))
    check_guards(app, [handler.spec for handler in checked])
    check_annotations(
        [(each.spec, each.arguments.annotated) for each in checked if each.arguments.validated]
    )
    for handler in checked:
        handler.chain()


class Handler:
    """A decorated function with the hooks and middlewares that run around it."""

    message_class: type[Invocation] | type[Event]
    current: contextvars.ContextVar[t.Any]

    def __init__(
        self, dispatcher: Dispatcher, spec: Spec, scopes: t.Sequence[Hooks], pattern: Pattern
    ) -> None:
        validate = spec.options["validate"]
        self._app = dispatcher.app
        self._results = dispatcher.results
        self._trusted_links = dispatcher.trusted_links
        self.spec = spec
        self._options = spec.options
        self._scopes = scopes
        parts = URIArguments(pattern, spec.function) if pattern.parts else None
        self._parts = parts if parts is not None and parts.names else None
        in_request = bool(spec.options["request_context"])
        self._requests: HandlerRequests | None = None
        if in_request:
            self._requests = HandlerRequests(
                self._app, spec.function, self._parts, dispatcher.is_user
            )
        self.arguments = ArgumentBinder(
            spec,
            make_sync(dispatcher.app, spec.function),
            self._parts,
            validated=dispatcher.validate if validate is None else validate,
            in_request=in_request,
            extra=self._extra(),
        )
        self._chain: Chain | None = None

    def __call__(self, work: ActiveMessage) -> t.Any:
        """Handle a message. Return its outcome, and never raise an exception."""
        message = self.message_class(work, self._options, self._trusted_links)
        token, previous = self.current.set(message), deadlines.active_message.set(work)
        context, chain, failed = None, None, None
        try:
            context = self._enter(message)
            chain = self.chain()
            # Checked here, to save a function call if there are no receivers.
            if signals.dispatch_started.receivers:
                notify.send(signals.dispatch_started, self._app, message=message)
            outcome, failed = self._run(chain, work, message)
        except BaseException as error:
            failed = error
            outcome = self._failed(error, work, message, context)
        # From here on, nothing may raise, because there is an outcome to send.
        if chain is not None and chain.has_teardown:
            chain.tear_down(message, failed)
        deadlines.active_message.reset(previous)
        self.current.reset(token)
        if context is not None:
            _pop(context, failed, message)
        return outcome

    def chain(self) -> Chain:
        """Return the chain that runs around the function now.

        :raises ValueError: The handler configures a middleware that does not exist.
        """
        chain = self._chain
        if chain is None or chain.generation != Hooks.generation:
            chain = self._chain = self._make_chain()
        return chain

    def _make_chain(self) -> Chain:
        middlewares = self._options["middlewares"]
        try:
            sync = functools.partial(make_sync, self._app)
            return Chain(self._scopes, self.handle, middlewares, sync)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.spec.name}: {error}") from error

    def handle(self, message: t.Any) -> t.Any:
        """Validate the payload and call the function.

        :raises InvalidArgument: The payload does not fit.
        """
        raise NotImplementedError

    def _call(self, message: t.Any) -> t.Any:
        received = message.received  # its payload is decoded before the handler runs
        uri = "" if self._parts is None else message.uri  # only its parts are needed
        return self.arguments.call_handler(uri, received.raw_args, received.raw_kwargs)

    def _extra(self) -> frozenset[str]:
        """Return the parameters that get a keyword argument, but not from the payload."""
        return frozenset()

    def _enter(self, message: t.Any) -> t.Any:
        """Push the handler's context."""
        if self._requests is not None:
            return self._requests.push(message)
        context = self._app.app_context()
        context.push()
        return context

    def _run(
        self, chain: Chain, work: ActiveMessage, message: t.Any
    ) -> tuple[t.Any, BaseException | None]:
        """Return the outcome, and the error if it is one."""
        interruptible = work.interruptible()
        if work.deadline is None and interruptible is None and self._requests is None:
            value = chain.run(message)
            outcome = self._returned(value, work)
        else:  # not around the signals and the teardown, which always run to their end
            with time_limit(work.deadline), interruptible or contextlib.nullcontext():
                value, outcome = self._outcome(chain, work, message)
        if isinstance(outcome, Failure):
            error = ApplicationError(outcome.uri, *outcome.args, **outcome.kwargs)
            notify.send(signals.dispatch_failed, self._app, message=message, error=error)
            return outcome, error
        if signals.dispatch_finished.receivers:
            notify.send(signals.dispatch_finished, self._app, message=message, result=value)
        return outcome, None

    def _outcome(self, chain: Chain, work: ActiveMessage, message: t.Any) -> tuple[t.Any, t.Any]:
        requests = self._requests
        value = chain.run(message) if requests is None else requests.run(chain.run, message)
        return value, self._returned(value, work)

    def _returned(self, value: t.Any, work: ActiveMessage) -> t.Any:
        raise NotImplementedError

    def _failed(
        self, error: BaseException, work: ActiveMessage, message: t.Any, context: object
    ) -> t.Any:
        """Convert an exception to an outcome.

        :param context: None if the handler's context could not be pushed.
        """
        with self._app.app_context() if context is None else contextlib.nullcontext():
            outcome = self._results.raised(error, work.plain, message)
            notify.send(signals.dispatch_failed, self._app, message=message, error=error)
        return outcome


class _Callee(Handler):
    """Handles invocations of one procedure."""

    message_class = Invocation
    current = current_invocation
    _is_view: bool | None = None

    def handle(self, message: t.Any) -> t.Any:
        """Call the function. A generator is run here too, inside of the hooks and middlewares."""
        value = self._call(message)
        generator = as_generator(value) if isinstance(value, STREAMS) else None
        if generator is None:
            return value
        work: t.Any = deadlines.active_message.get()
        convert = functools.partial(self._returned, work=work)
        return exhaust(message, generator, convert, work.max_message_size)

    def _returned(self, value: t.Any, work: ActiveMessage) -> Outcome:
        if is_plain(value):
            return Success([value])
        if self._is_view is None:
            self._is_view = endpoint_of(self._app, self.spec.function) is not None
        return self._results.returned(value, work.plain, is_view=self._is_view)


class _Subscriber(Handler):
    """Handles events of one topic."""

    message_class = Event
    current = current_event
    _takes_meta: bool

    def _extra(self) -> frozenset[str]:
        """Return ``meta`` for functions that were written for wampy. Other functions get it as payload."""
        names = parameters_of(self.spec.function) or ()
        is_part = self._parts is not None and "meta" in self._parts.names
        self._takes_meta = bool(self._options.get("meta")) and "meta" in names and not is_part
        return frozenset({"meta"} if self._takes_meta else ())

    def _returned(self, value: t.Any, work: ActiveMessage) -> bool:
        return True

    def _failed(
        self, error: BaseException, work: ActiveMessage, message: t.Any, context: object
    ) -> bool:
        super()._failed(error, work, message, context)
        return False

    def handle(self, message: t.Any) -> t.Any:
        """Validate the payload and call the function, with ``meta`` if it takes that."""
        if not self._takes_meta:
            return self._call(message)
        # If the publisher has sent a keyword named meta, it is ignored, because it could name another topic.
        meta = {"topic": message.topic, "subscription_id": message.subscription_id}
        return self.arguments.call_handler(
            message.uri, message.args, {**message.kwargs, "meta": meta}
        )


def _pop(context: t.Any, failed: BaseException | None, message: t.Any) -> None:
    """Pop the context. If a teardown function raises, the answer is still sent."""
    try:
        context.pop(failed)
    except BaseException:
        report(logger.exception, "a teardown function failed after %r", message)
