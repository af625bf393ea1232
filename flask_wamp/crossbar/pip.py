"""Run pip, show its progress, and explain in one sentence why it failed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import typing as t
from pathlib import Path

from .errors import RouterError

_PROGRESS = re.compile(
    r"(Collecting|Processing) (\S*/)?(?P<collect>[\w.-]+?)(-\d\S*|[^\w.-]\S*)?( |$)"
    r"|Building wheel for (?P<build>\S+) .*started"
    r"|Installing collected packages: (?P<install>.*)"
    r"|WARNING: (?P<retry>Retrying) "
)

#: Patterns of pip's output, each with an explanation. The first that matches is used. A missing compiler
#: comes first, because pip may have retried a connection before that.
_REASONS: list[tuple[str, str]] = [
    (
        r"error: command '.*(cc|gcc|clang|c\+\+|g\+\+)\S*'? failed|unable to execute '|Python\.h"
        r"|No such file or directory: '(cc|gcc|clang|c\+\+|g\+\+)'",
        "one of its dependencies has no wheel for this machine, and there is no working C compiler to build "
        "it. Install a compiler and Python's headers (on Debian and Ubuntu, run: "
        "apt install build-essential python3-dev), and try again",
    ),
    (
        r"No space left on device",
        "the disk is full. It needs about 380 MB in the cache folder, and temporarily as much in the "
        "temporary folder",
    ),
    (
        r"NewConnectionError|Failed to establish a new connection|name resolution"
        r"|Max retries exceeded|Connect(ion)?TimeoutError|Read timed out|ProxyError|SSLError"
        r"|Connection refused|Network is unreachable|Connection broken|Retrying \(Retry"
        r"|\(from versions: none\)",
        "pip cannot reach its package index. Check the network, and pip's settings for the proxy and the "
        "index, and try again",
    ),
]

#: Two dependencies have an optional C extension. Without it, they need no compiler.
_NO_EXTENSIONS = {"PYBJDATA_NO_EXTENSION": "1", "PYUBJSON_NO_EXTENSION": "1"}


def install(
    command: list[str], requirement: str, *, log: Path, echo: t.Callable[[str], object]
) -> None:
    """Install one requirement.

    :param command: The command that runs pip in the environment.
    :param log: The file to which pip's output is written.
    :param echo: Called with a line of progress for each package.
    :raises RouterError: pip failed. The text says why.
    """
    environ = {**clean_environ(), **_NO_EXTENSIONS, "PYTHONUNBUFFERED": "1"}
    started = time.monotonic()
    process = subprocess.Popen(
        [*command, "install", "--progress-bar", "off", requirement],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environ,
        start_new_session=True,
    )
    output: list[str] = []
    with process, log.open("w") as file:
        try:
            for line in t.cast(t.IO[str], process.stdout):
                file.write(line)
                output.append(line)
                news = _progress(line)
                if news:
                    echo(f"  {time.monotonic() - started:4.0f} s  {news}")
        except BaseException:
            _interrupt(process)
            raise
    if process.returncode != 0:
        raise RouterError(f"Crossbar.io cannot be installed: {_reason(output, log)}")


def _interrupt(process: subprocess.Popen[str]) -> None:
    """Interrupt pip, so that it removes its temporary folders.

    It runs in its own session, so a Ctrl-C at the terminal reaches only this process.
    """
    process.send_signal(signal.SIGINT)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def clean_environ() -> dict[str, str]:
    """Return the environment without variables that would affect another Python, such as ``PYTHONPATH``."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


def _progress(line: str) -> str:
    match = _PROGRESS.match(line.strip())
    if not match:
        return ""
    if match["build"]:
        return f"building {match['build']}"
    if match["install"]:
        return f"installing {match['install'].count(',') + 1} packages"
    if match["retry"]:
        return "got no answer from the package index, trying again"
    return f"collecting {match['collect']}"


def _reason(output: list[str], log: Path) -> str:
    text = "".join(output)
    for pattern, reason in _REASONS:
        if re.search(pattern, text):
            return reason
    errors = [line.strip() for line in output if line.startswith("ERROR")] or ["pip failed"]
    return f"{errors[-1]} (pip's full output is in {log})"
