"""The short form of ``python -m tests.chaos``: half a minute in threads, half a minute in greenlets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.router, pytest.mark.slow]

#: The routers of ``tests.chaos`` that ``--router`` of the tests stands for, and the seconds on each.
ROUTERS = {"crossbar": {"crossbar": 30}, "embedded": {"built-in": 20, "embedded": 20}}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = ROUTERS[metafunc.config.getoption("--router")]
    metafunc.parametrize(("router", "seconds"), chosen.items(), ids=list(chosen))


@pytest.mark.usefixtures("wamp_router")  # there is one
@pytest.mark.parametrize("model", ["threads", "gevent"])
def test_the_guarantees_hold_under_chaos(router: str, seconds: int, model: str) -> None:
    options = [f"--router={router}", f"--seconds={seconds}"]
    if model == "gevent":
        pytest.importorskip("gevent")
        options.append("--gevent")
    run = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *options],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=170,
    )
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr
