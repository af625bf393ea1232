"""Calls and publications through Crossbar's HTTP bridge."""

from __future__ import annotations

from .client import BridgeClient

__all__ = ["BridgeClient"]
