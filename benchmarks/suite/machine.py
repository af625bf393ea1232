"""Processes and cores: start a client on one core, keep ourselves on the other, read its CPU time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CLIENTS = Path(__file__).with_name("clients")

_CORES = sorted(os.sched_getaffinity(0))
OURS = {_CORES[0]}
"""The core of this process: the stand-in router."""
THEIRS = set(_CORES[1:2]) or OURS
"""The core of the client that is measured."""


def cpu(pid: int) -> float:
    """CPU seconds of a process, all its threads, in nanoseconds' resolution: clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def cpu_of_tree(pid: int) -> float:
    """CPU seconds of a process and of its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu(pid) + sum(cpu_of_tree(int(child)) for child in children)


def memory(pid: int) -> float:
    """MB a process has in memory, what it shares with others included."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {pid} has no memory")


@contextlib.contextmanager
def running(
    command: t.Sequence[str], *, python: str = sys.executable, pin: bool = True, **environ: str
) -> t.Iterator[subprocess.Popen[bytes]]:
    """A Python program in a process of its own, ended with the block."""
    paths = [str(ROOT), *filter(None, [environ.pop("PYTHONPATH", "")])]
    process = subprocess.Popen(
        [python, "-W", "ignore", *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    if pin:
        os.sched_setaffinity(process.pid, THEIRS)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def percentile(values: t.Sequence[float], share: float) -> float:
    """The value below which ``share`` of them are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
