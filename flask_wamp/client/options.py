"""The types of the keywords of :meth:`.Client.with_options`, for type checkers."""

from __future__ import annotations

import collections.abc as c
import typing as t


class Options(t.TypedDict, total=False):
    """Options of calls, publications and testaments. :mod:`.protocol.options` checks the values."""

    timeout: float
    cancel_mode: t.Literal["kill", "killnowait"]
    disclose_me: bool
    acknowledge: bool
    best_effort: bool
    exclude_me: bool
    retain: bool
    exclude: c.Sequence[int]
    exclude_authid: c.Sequence[str]
    exclude_authrole: c.Sequence[str]
    eligible: c.Sequence[int]
    eligible_authid: c.Sequence[str]
    eligible_authrole: c.Sequence[str]
    scope: t.Literal["destroyed", "detached"]
    unless_stopped: bool
