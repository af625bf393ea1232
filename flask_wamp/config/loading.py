"""Reads and checks ``app.config``."""

from __future__ import annotations

import copy
import os
import sys
import types
import typing as t
import warnings

from .._text import get_logger
from ..protocol.similar import did_you_mean
from .config import Config
from .keys import BY_NAME, KEYS, Key, hide
from .values import Explained

logger = get_logger("flask_wamp")

#: Keys of flask-wamp 0.1.0, and the keys that replace them.
_FALLBACKS = {"CROSSBAR_URL": "WAMP_ROUTER_URL", "REALM": "WAMP_REALM"}

#: Prefixes of keys that are not configuration. They are environment variables of this library's commands and
#: tests, which ``app.config.from_prefixed_env()`` also reads.
_NOT_OURS = ("WAMP_CROSSBAR", "WAMP_BUILD_CROSSBAR", "WAMP_REQUIRE_", "WAMP_TESTING_")


def load_config(config: t.Mapping[str, t.Any]) -> Config:
    """Read and check ``app.config``.

    :raises ValueError: A ``WAMP_*`` key is unknown, or a value is not allowed. The text names the key and the
        allowed values. It shows the value only if the key is known and does not hold a secret.
    """
    config = _with_environment(config)
    _check_known(config)
    values = {}
    for key in KEYS:
        values[key.name] = _read(key, config)
    least, most = values["WAMP_RECONNECT_MIN"], values["WAMP_RECONNECT_MAX"]
    if t.cast(float, least) > t.cast(float, most):
        raise ValueError(
            f"WAMP_RECONNECT_MIN={least!r} must not be more than WAMP_RECONNECT_MAX={most!r}"
        )
    return Config(values, {key.name for key in KEYS if _is_given(key.name, config)})


def _is_given(name: str, config: t.Mapping[str, object]) -> bool:
    names = [name, *(old for old, new in _FALLBACKS.items() if new == name)]
    return any(config.get(each) is not None for each in names)


def snapshot(config: t.Mapping[str, object]) -> dict[str, object]:
    """Return a copy of the configuration of this library, for :func:`check_unchanged`."""
    ours = {name: value for name, value in config.items() if name.startswith("WAMP_")}
    ours.update({name: config[name] for name in ("CROSSBAR_URL", "REALM") if name in config})
    return {name: copy.copy(value) for name, value in ours.items()}


def check_unchanged(before: t.Mapping[str, object], config: t.Mapping[str, object]) -> None:
    """Check that a configuration was not changed after it was read.

    :param before: The copy that :func:`snapshot` has returned.
    :raises RuntimeError: It was changed, and the change has no effect.
    """
    now = snapshot(config)
    changed = sorted(
        name for name in {*before, *now} if before.get(name, config) != now.get(name, config)
    )
    if changed:
        raise RuntimeError(
            f"{', '.join(changed)} in app.config was changed after FlaskWAMP had read it, which has no "
            "effect. Change it before FlaskWAMP(app) or wamp.init_app(app)"
        )


def _read(key: Key, config: t.Mapping[str, object]) -> t.Any:
    value = config.get(key.name)
    if value is None:
        if key.none_is_a_value and key.name in config:
            return None
        value = _fallback(config, key.name)
    if value is None:
        return key.default
    try:
        return key.read(value)
    except Explained as error:
        shown, hint = _shown(key, value), f". {error}"
    except ValueError:  # not chained, because its text may contain the secret
        shown = _shown(key, value)
        is_quoted = key.allowed.startswith("text") and isinstance(value, bool | float)
        hint = _QUOTE if is_quoted else ""
    raise ValueError(f"{key.name}={shown} is not allowed; it takes {key.allowed}{hint}")


_QUOTE = """ (in an environment variable put it in double quotes: '"1e5"')"""


def _shown(key: Key, value: object) -> str:
    """Format a value for an error message, without anything that may be a secret."""
    if isinstance(value, list | tuple) and key.show is not hide:
        shown = ", ".join(_shown(key, item) for item in value)
        return f"[{shown}]" if isinstance(value, list) else f"({shown})"
    return key.show(value)


def _check_known(config: t.Mapping[str, object]) -> None:
    for name in config:
        if name.startswith("WAMP_") and name not in BY_NAME and not name.startswith(_NOT_OURS):
            hint = did_you_mean(name, BY_NAME, least=0.8, most=1)
            keys = f"{hint} The keys are" if hint else "; the keys are"
            # The value is not shown. It is a secret if the name is a misspelt WAMP_SECRET.
            raise ValueError(f"unknown configuration key {name}{keys} {', '.join(BY_NAME)}")


def _stacklevel() -> int:
    """Return the ``stacklevel`` of a warning about the code that called this package."""
    package, level = os.path.dirname(os.path.dirname(__file__)), 1
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1
    return level


def _fallback(config: t.Mapping[str, t.Any], name: str) -> t.Any:
    for old, new in _FALLBACKS.items():
        if new == name and config.get(old) is not None:
            warnings.warn(f"{old} is now called {new}", DeprecationWarning, _stacklevel())
            return config[old]
    return None


def _with_environment(config: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    """Let environment variables override keys.

    ``FLASK_WAMP_AUTOSTART`` is for commands and tests that must not connect. ``FLASK_WAMP_TESTING_URL`` and
    ``FLASK_WAMP_TESTING_REALM`` are for ``pytest --wamp=...``. They apply to apps that do not set a router.
    """
    url = os.environ.get("FLASK_WAMP_TESTING_URL")
    if url and not _is_given("WAMP_ROUTER_URL", config):
        config = {**config, "WAMP_ROUTER_URL": url}
        realm = os.environ.get("FLASK_WAMP_TESTING_REALM")
        if realm and not _is_given("WAMP_REALM", config):
            config = {**config, "WAMP_REALM": realm}
    override = os.environ.get("FLASK_WAMP_AUTOSTART", "").lower()
    if not override:
        return config
    value = False if override in ("false", "0", "off") else override
    return {**config, "WAMP_AUTOSTART": value}
