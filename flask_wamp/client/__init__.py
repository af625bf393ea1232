"""``g.wampy``: calls, publications, streams, the meta API."""

from __future__ import annotations

from .client import Client

__all__ = ["Client"]
