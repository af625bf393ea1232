"""The configuration: ``WAMP_*`` keys of ``app.config``, read once in ``init_app``."""

from __future__ import annotations

from .config import Config
from .keys import KEYS, Key
from .loading import check_unchanged, load_config, snapshot

__all__ = ["KEYS", "Config", "Key", "check_unchanged", "load_config", "snapshot"]
