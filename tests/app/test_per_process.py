"""Values of which each process has its own copy."""

from __future__ import annotations

import os
import subprocess
import sys

from flask_wamp.concurrency.per_process import PerProcess


def test_a_process_keeps_its_value() -> None:
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    value = PerProcess(make)
    assert made == []
    assert value() is value()
    assert len(made) == 1


CHILD = """
import os, sys, threading
from flask_wamp.concurrency.per_process import PerProcess

lock = PerProcess(lambda: threading.Lock())
with lock():  # as another thread may hold it
    pid = os.fork()
    if pid == 0:
        os._exit(0 if lock().acquire(blocking=False) else 1)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_child_has_a_value_of_its_own() -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", CHILD], env=environ, timeout=60).returncode == 0
