"""The options of ``callee`` and ``subscriber``, for type checkers: their names, types and values."""

from __future__ import annotations

import collections.abc as c
import typing as t

Match = t.Literal["exact", "prefix", "wildcard"]
Invoke = t.Literal["single", "roundrobin", "random", "first", "last"]
Delivery = t.Literal["every", "one"]

Middlewares = c.Sequence[object] | c.Mapping[str, object]
"""A list of middlewares for one handler, or a dictionary that configures those of its scopes by name."""


class HandlerOptions(t.TypedDict, total=False):
    """The options that callees and subscribers share. ``FlaskWAMP.callee`` documents them."""

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
