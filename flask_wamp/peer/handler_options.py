"""The options of ``callee`` and ``subscriber``, for type checkers: their names, types and values."""

from __future__ import annotations

import collections.abc as c
import typing as t

Match = t.Literal["exact", "prefix", "wildcard"]
Invoke = t.Literal["single", "roundrobin", "random", "first", "last"]
Delivery = t.Literal["every", "one"]

Middlewares = c.Sequence[object] | c.Mapping[str, object]
"""A list of middlewares of the handler's own, or a dictionary that configures those around it by name."""


class HandlerOptions(t.TypedDict, total=False):
    """What callees and subscribers have in common; ``FlaskWAMP.callee`` documents each."""

    match: Match | None
    allow: str | c.Sequence[str] | None
    validate: bool | None
    request_context: bool
    bypass: bool
    filled: c.Sequence[str]
    middlewares: Middlewares | None


class CalleeOptions(HandlerOptions, total=False):
    """The options of ``callee``."""

    invoke: Invoke
    concurrency: int | None
    timeout: float | None
    force_reregister: bool


class SubscriberOptions(HandlerOptions, total=False):
    """The options of ``subscriber``."""

    concurrency: int
    delivery: Delivery
    get_retained: bool
