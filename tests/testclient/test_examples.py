"""The tests of the examples, as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "examples").glob("*/test_*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_the_tests_of_an_example_pass(file: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-c", os.devnull]
    command += ["--rootdir", str(file.parent), "-p", "no:cacheprovider", "-p", "no:pytest_wampy"]
    command += ["-p", "no:asyncio"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, file.name], cwd=file.parent, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_example_has_tests() -> None:
    apps = sorted((ROOT / "examples").glob("*/app.py"))
    assert [file.parent for file in FILES] == [app.parent for app in apps]
