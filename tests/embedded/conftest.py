"""A router with a clock that the test moves."""

from __future__ import annotations

import typing as t

import pytest

from tests.embedded.pair import TestRouter


@pytest.fixture
def router() -> TestRouter:
    """A router that every client may join."""
    return TestRouter()


@pytest.fixture
def make_router() -> t.Callable[..., TestRouter]:
    """Create routers with settings, an authenticator and an authorizer."""
    return TestRouter
