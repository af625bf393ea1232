"""Import wampy if it is installed. No other module imports it.

``import wampy`` monkey-patches the process with gevent, configures the root logger, logs at ``INFO`` and
warns about eventlet (wampy 1.1.0, ``wampy/__init__.py``). This library only needs its base classes. So the
functions that wampy would call are replaced during the import.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import sys
import typing as t
import warnings

# Flask is imported before wampy, because the import hook of wampy's six (1.13.0) warns about later imports
# that fail.
import flask  # noqa: F401


class WampyBases(t.NamedTuple):
    """The base classes from wampy. If wampy is not installed, these are plain classes."""

    client: type
    error: type[Exception]
    timeout_error: type[Exception]


class _NoBase(Exception):
    """The base of the exceptions if wampy is not installed."""


class _NoTimeoutBase(Exception):
    """The base of the timeout exception if wampy is not installed."""


NO_WAMPY = WampyBases(client=object, error=_NoBase, timeout_error=_NoTimeoutBase)


def _nothing(*args: t.Any, **kwargs: t.Any) -> None:
    """Do nothing. This replaces the functions that wampy calls."""


@contextlib.contextmanager
def _without_side_effects() -> t.Iterator[None]:
    """Keep the import of wampy from patching the process, setting up logging and logging records."""
    import gevent.monkey

    wampy_logger = logging.getLogger("wampy")
    root_handlers = list(logging.root.handlers)
    saved = gevent.monkey.patch_all, logging.basicConfig, os.register_at_fork, wampy_logger.disabled
    gevent.monkey.patch_all = _nothing
    logging.basicConfig = _nothing
    os.register_at_fork = _register_at_fork(os.register_at_fork)
    wampy_logger.disabled = True
    try:
        yield
    finally:
        (
            gevent.monkey.patch_all,
            logging.basicConfig,
            os.register_at_fork,
            wampy_logger.disabled,
        ) = saved
        logging.root.handlers[:] = root_handlers


@contextlib.contextmanager
def _without_warnings() -> t.Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _register_at_fork(register: t.Callable[..., None]) -> t.Callable[..., None]:
    """Return ``os.register_at_fork`` without eventlet's hooks, which warn at every fork (eventlet 0.40)."""

    def registered(**hooks: t.Any) -> None:
        if not sys._getframe(1).f_globals.get("__name__", "").startswith("eventlet"):
            register(**hooks)

    return registered


def load_wampy() -> WampyBases:
    """Import wampy's base classes without changing the process.

    If the app has imported wampy before, the changes by that import stay.
    """
    try:
        if "wampy" in sys.modules:
            with _without_warnings():
                return _import()
        # Checked first, so that gevent is imported only if it is needed.
        if importlib.util.find_spec("wampy") is None:
            return NO_WAMPY
        with _without_side_effects(), _without_warnings():
            return _import()
    except ImportError:
        return NO_WAMPY


def _import() -> WampyBases:
    from wampy.errors import WampyError, WampyTimeOutError
    from wampy.peers.clients import Client

    return WampyBases(client=Client, error=WampyError, timeout_error=WampyTimeOutError)


bases = load_wampy()
