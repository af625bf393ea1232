"""Scripts in separate processes, for actions that a process does once: import, patch, fork."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import typing as t
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

TIMEOUT = 60.0
"""Seconds after which a script has failed."""


def environment(**extra: str) -> dict[str, str]:
    """This process's environment, with the package and the tests on the path."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, **extra}


def run(*args: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python with some arguments."""
    return subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def script(code: str, *, silent: bool = True, **env: str) -> t.Any:
    """Run a script, with warnings as errors. Return its last line of output, as JSON."""
    done = run("-W", "error", "-c", textwrap.dedent(code), **env)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" or not silent
    return json.loads(done.stdout.splitlines()[-1])
