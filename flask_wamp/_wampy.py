"""The one import of wampy, where it is installed.

A plain ``import wampy`` monkey-patches the process with gevent, configures the root logger, logs at
``INFO`` and warns about eventlet (wampy 1.1.0, ``wampy/__init__.py``). We need its base classes and
nothing of that, so the functions it would call are replaced while it is being imported.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import sys
import typing as t
import warnings

# Before wampy: the finder of its six (1.13.0) warns about what is looked up later and not found.
import flask  # noqa: F401


class WampyBases(t.NamedTuple):
    """The classes of wampy that ours derive from; plain stand-ins where it is absent."""

    client: type
    error: type[Exception]
    timeout_error: type[Exception]


class _NoBase(Exception):
    """What our exceptions derive from, in place of wampy's, where wampy is not installed."""


class _NoTimeoutBase(Exception):
    """The same for the timeout."""


NO_WAMPY = WampyBases(client=object, error=_NoBase, timeout_error=_NoTimeoutBase)


def _nothing(*args: t.Any, **kwargs: t.Any) -> None:
    """Stand in for what wampy would do to the process."""


@contextlib.contextmanager
def _without_side_effects() -> t.Iterator[None]:
    """Let wampy be imported: no patching, no logging set up, no record logged."""
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
    """All but eventlet's hooks, which warn at every fork of whoever imports it (eventlet 0.40)."""

    def registered(**hooks: t.Any) -> None:
        if not sys._getframe(1).f_globals.get("__name__", "").startswith("eventlet"):
            register(**hooks)

    return registered


def load_wampy() -> WampyBases:
    """Import wampy's base classes without letting it change the process.

    Where the user imported wampy already, whatever that did is theirs and stays.
    """
    try:
        if "wampy" in sys.modules:
            with _without_warnings():
                return _import()
        if importlib.util.find_spec("wampy") is None:  # gevent is not imported for nothing
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
