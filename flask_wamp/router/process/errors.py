"""What the router's process fails with."""

from __future__ import annotations


class ListenError(RuntimeError):
    """The router cannot listen where it should; says why."""
