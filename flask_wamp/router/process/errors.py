"""The errors of the router's process."""

from __future__ import annotations


class ListenError(RuntimeError):
    """The router cannot listen at an address."""
