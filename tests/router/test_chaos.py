"""The short form of ``python -m tests.chaos``: half a minute in threads, half a minute in greenlets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.router, pytest.mark.slow]

SECONDS = 30


@pytest.mark.usefixtures("wamp_router")  # there is one
@pytest.mark.parametrize("model", ["threads", "gevent"])
def test_what_must_not_happen_does_not(model: str, pytestconfig: pytest.Config) -> None:
    options = ["--seconds", str(SECONDS), "--router", pytestconfig.getoption("--router")]
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
