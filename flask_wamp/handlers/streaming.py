"""Generators as handlers. Each item is a progressive result, or a line of an HTTP response."""

from __future__ import annotations

import functools
import inspect
import itertools
import time
import types
import typing as t

import msgspec
from flask import Flask, request, stream_with_context
from werkzeug.wrappers import Response

from ..client.event_stream import EventStream
from ..client.result_stream import ResultStream
from ..concurrency.interruption import HandlerInterrupted
from ..concurrency.threads import is_monkey_patched
from ..exceptions import ApplicationError, NotJoined, PayloadTooLarge
from ..peer.declarations import Failure, Outcome, Success
from ..protocol.call_result import CallResult
from ..protocol.payload import OwnTypes, plain
from .context import Invocation
from .coroutines import iterate

__tracebackhide__ = True  # pytest leaves out the frames of this module

NDJSON = "application/x-ndjson"
EVENT_STREAM = "text/event-stream"

#: The number of items after which a greenlet yields to the others, such as the reader.
TURN = 16

#: The types that :func:`as_generator` looks at.
STREAMS = (types.GeneratorType, types.AsyncGeneratorType, ResultStream, Response)

Generator = t.Generator[t.Any, t.Any, t.Any]
Convert = t.Callable[[t.Any], Outcome]


def as_generator(value: t.Any) -> Generator | None:
    """Return a handler's return value as a plain generator. None if it must not be iterated.

    A generator, an asynchronous generator and the result of ``g.wampy.stream`` are iterated, also in a
    response.
    """
    if isinstance(value, Response) and type(value.response) is ResultStream:
        value = value.response
    if type(value) is ResultStream:
        return value.relay()
    if inspect.isgenerator(value):
        return value
    return t.cast(Generator, iterate(value)) if inspect.isasyncgen(value) else None


def exhaust(message: Invocation, generator: Generator, convert: Convert, max_bytes: int) -> t.Any:
    """Run a generator to its end in the context of its handler, and return the result.

    The result is the generator's return value. If it returns nothing, the result is None if the caller has
    asked for progressive results, and otherwise the list of all items.

    :param convert: Converts an item to the value that is sent.
    :param max_bytes: How many bytes of items are kept for the list.
    :raises HandlerInterrupted: The call was canceled. The generator was closed between two items.
    """
    kept = None if message.details.get("receive_progress") else _Kept(message.uri, max_bytes)
    sent, give_way = False, is_monkey_patched()
    try:
        for number in itertools.count(1):
            if give_way and number % TURN == 0:
                time.sleep(0)
            if message.canceled:
                raise HandlerInterrupted
            try:
                item = next(generator)
            except StopIteration as end:
                return _result(end.value, kept, sent)
            if kept is None:
                sent = _send(message, convert(item))
            else:
                kept.add(_payload(convert(item)))
    finally:
        generator.close()


def _result(value: t.Any, kept: _Kept | None, sent: bool) -> t.Any:
    if value is not None:
        return value
    if kept is not None:
        return kept.result()
    return None if sent else CallResult()  # a result without any value, not even None


def _send(message: Invocation, outcome: Outcome) -> bool:
    result = _checked(outcome)
    try:
        message.progress(*result.args, **result.kwargs)
    except NotJoined:
        raise HandlerInterrupted from None
    return True


def _checked(outcome: Outcome) -> Success:
    if isinstance(outcome, Failure):
        raise ApplicationError(outcome.uri, *outcome.args, **outcome.kwargs)
    return outcome


def _payload(outcome: Outcome) -> t.Any:
    """Return an item as a single value."""
    result = _checked(outcome)
    if len(result.args) == 1 and not result.kwargs:
        return result.args[0]
    return {"args": list(result.args), "kwargs": result.kwargs}


class _Kept:
    """The items for a caller that gets them all at once. Their size is limited to that of a message."""

    def __init__(self, uri: str, max_bytes: int) -> None:
        self._uri = uri
        self._room = max_bytes
        self._items: list[t.Any] = []

    def add(self, item: t.Any) -> None:
        """Keep an item. If all items are too large together, discard them.

        This is not an error yet, because the generator may return a value, which is then sent instead.
        """
        if self._room >= 0:
            self._room -= len(msgspec.msgpack.encode(item))
            self._items.append(item)
            if self._room < 0:
                self._items.clear()

    def result(self) -> list[t.Any]:
        """Return all items.

        :raises PayloadTooLarge: They have more bytes than a message may have.
        """
        if self._room < 0:
            raise PayloadTooLarge(f"the items that {self._uri} yields are too large for one result")
        return self._items


# HTTP.


class Streaming:
    """Streams the items of generators and of ``g.wampy.stream`` in the views of one app.

    :param convert: Converts an item in the same way as a handler's result.
    :param own_types: The encoders of the app's own types.
    """

    def __init__(
        self,
        app: Flask,
        convert: t.Callable[[t.Any, t.Callable[..., t.Any]], Outcome],
        own_types: OwnTypes,
    ) -> None:
        self._app = app
        self._own_types = own_types
        self._convert = convert
        self._code: set[t.Any] = {iterate.__code__}
        self._asynchronous: set[t.Callable[..., t.Any]] = set()
        self._made: set[t.Callable[..., t.Any]] = set()
        """The plain views that replace them."""
        app.after_request_funcs.setdefault(None, []).append(self._after_request)

    def add(self, f: t.Callable[..., t.Any]) -> None:
        """Stream this function's generator as NDJSON or Server-Sent Events if it is a view."""
        f = inspect.unwrap(f)
        if inspect.isgeneratorfunction(f):
            self._code.add(f.__code__)
        elif inspect.isasyncgenfunction(f):
            if not self._asynchronous:
                self._app.before_request_funcs.setdefault(None, []).insert(0, self._before_request)
            self._asynchronous.add(f)

    def _before_request(self) -> None:
        """Replace a view that is an asynchronous generator, because Flask refuses what it returns.

        This happens at the request, because the view may be registered after its WAMP decorator has run.
        """
        views, name = self._app.view_functions, request.endpoint
        view = views.get(name or "")
        if view is None or view in self._made or inspect.unwrap(view) not in self._asynchronous:
            return

        @functools.wraps(view)
        def plain_view(**values: t.Any) -> t.Any:
            value = view(**values)
            return as_generator(value) or value

        self._made.add(plain_view)
        views[t.cast(str, name)] = plain_view

    def _after_request(self, response: Response) -> Response:
        body: t.Any = response.response
        is_ours = inspect.isgenerator(body) and body.gi_code in self._code
        if not (is_ours or type(body) in (ResultStream, EventStream)):
            return response
        lines: t.Any
        if type(body) is EventStream:
            events = _as_events(response, EVENT_STREAM)
            lines = body.lines(self._json, events)
            response.call_on_close(body.close)  # because the iteration may never begin
        else:
            events = _as_events(response, NDJSON)
            # In a response of any other type, text and bytes are sent unchanged.
            raw = response.mimetype not in ("text/html", NDJSON, EVENT_STREAM)
            lines = self._lines(body, events, raw)
        response.response = stream_with_context(t.cast("t.Iterator[str]", lines))
        if response.mimetype == "text/html":
            response.mimetype = EVENT_STREAM if events else NDJSON
        if events:
            response.headers.setdefault("Cache-Control", "no-cache")
            # nginx then sends each item at once.
            response.headers.setdefault("X-Accel-Buffering", "no")
        return response

    def _lines(self, source: t.Any, events: bool, raw: bool) -> t.Iterator[str | bytes]:
        try:
            while True:
                try:
                    item = next(source)
                except StopIteration as end:
                    if end.value is not None:
                        yield self._line(end.value, events)
                    return
                is_text = raw and isinstance(item, str | bytes)
                yield item if is_text else self._line(item, events)
        finally:
            source.close()

    def _line(self, item: t.Any, events: bool) -> str:
        text = self._json(item)
        return f"data: {text}\n\n" if events else f"{text}\n"

    def _json(self, item: t.Any) -> str:
        outcome = self._convert(item, lambda value: plain(value, self._own_types, binary=False))
        return self._app.json.dumps(_payload(outcome))


def _as_events(response: Response, default: str) -> bool:
    """Return whether to send Server-Sent Events, because the view or the client asks for them."""
    if response.mimetype != "text/html":
        return response.mimetype == EVENT_STREAM
    offered = sorted([NDJSON, EVENT_STREAM], key=lambda kind: kind != default)
    return request.accept_mimetypes.best_match(offered, default) == EVENT_STREAM
