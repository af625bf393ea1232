"""Processes and cores: start a client on one core, keep this process on the other, read CPU times."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
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
    """Return the CPU seconds of all threads of a process, to the nanosecond. See clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def cpu_of_tree(pid: int) -> float:
    """CPU seconds of a process and of its children."""
    return sum(map(cpu, tree(pid)))


def tree(pid: int) -> list[int]:
    """Return the ids of a process and of all its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in tree(int(child)))]


def threads(pid: int) -> list[int]:
    """The threads of a process."""
    return [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]


def memory(pid: int) -> float:
    """Return the MB of a process in memory, including shared memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {pid} has no memory")


@contextlib.contextmanager
def running(
    command: t.Sequence[str],
    *,
    python: str = sys.executable,
    pin: bool = True,
    stdin: int = subprocess.DEVNULL,
    stderr: int | None = None,
    **environ: str,
) -> t.Iterator[subprocess.Popen[bytes]]:
    """A Python program in a separate process, which ends with the block.

    :param pin: Whether it runs on the core that is not ours.
    """
    paths = [str(ROOT), *filter(None, [environ.pop("PYTHONPATH", "")])]
    process = subprocess.Popen(
        [python, "-W", "ignore", *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environ},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        cwd=ROOT,
    )
    if pin:
        os.sched_setaffinity(process.pid, THEIRS)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        for stream in filter(None, (process.stdin, process.stdout)):
            stream.close()


def wait_for_port(port: int, deadline: float) -> None:
    """Wait until something listens on a port of this machine, until ``time.monotonic()`` is ``deadline``."""
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise ValueError(f"nothing listens on port {port}")


def percentile(values: t.Sequence[float], share: float) -> float:
    """Return the value below which this share of the values is."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
