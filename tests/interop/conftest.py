"""The peers, and the outcomes of their cells."""

from __future__ import annotations

import contextlib
import os
import typing as t

import pytest

from flask_wamp.testing import MakeRouter

from . import install, table
from .matrix import Results, cells
from .routers import Routers
from .sides import Stage


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-interop", action="store_true", help="write docs/interop.rst of what is found"
    )


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Let the apps continue from one test to the next. ``stage`` stops them."""


@pytest.fixture(scope="session")
def others() -> None:
    """Skip if the other clients are not installed, or fail if they are required."""
    try:
        install.node()
        install.xconn()
    except install.Absent as absent:
        if os.environ.get("FLASK_WAMP_REQUIRE_NODE") == "1":
            pytest.fail(f"{absent}, and FLASK_WAMP_REQUIRE_NODE=1 asks for it", pytrace=False)
        pytest.skip(str(absent))


@pytest.fixture(scope="package")
def stage(
    request: pytest.FixtureRequest,
    others: None,
    make_wamp_router: MakeRouter,
    tmp_path_factory: pytest.TempPathFactory,
) -> t.Iterator[Stage]:
    """Routers, apps and peers. The apps are started here, so that they outlive single tests."""
    routers = Routers(make_wamp_router, tmp_path_factory.mktemp("router"))
    with contextlib.closing(routers), contextlib.closing(Stage(routers)) as stage:
        for item in request.session.items:
            if callspec := getattr(item, "callspec", None):
                cell = callspec.params.get("cell")
                if cell is not None:
                    stage.ours(cell.router, cell.transport)
        yield stage


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest) -> t.Iterator[Results]:
    """The outcomes of the cells so far. They are written at the end on request."""
    results: Results = {}
    yield results
    if request.config.getoption("--write-interop", default=False):
        missing = set(cells()) - set(results)
        assert not missing, f"nothing is written: {len(missing)} cells are missing"
        table.PAGE.write_text(table.render(results, install.versions()))
