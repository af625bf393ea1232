"""Background tasks of scripts, in other processes: the app and its functions live in ``__main__``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from tests.support.reports import TIMEOUT, Reports

ROOT = Path(__file__).parents[2]

SCRIPT = """
{patch}
import os, select, signal, sys, threading
from flask import Flask, current_app
from flask_wamp import FlaskWAMP
from tests.support.tasks import add_to
from tests.support.reports import tell

class Unwilling(Exception):
    pass

app = Flask(__name__)
app.config.update(TESTING=True)
wamp = FlaskWAMP(app)
address = sys.argv[1]

def task(address, **more):
    print("printed by the task")
    tell(address, name=__name__, app=current_app.import_name, **more)

def fail():
    raise Unwilling("no")

def forever(address):
    tell(address)
    while True:
        pass

def wait():
    select.select([0], [], [])  # as gevent wants it
    os.read(0, 10)

if __name__ == "__main__":
{run}
"""

PATCH = "from gevent import monkey; monkey.patch_all()"


@pytest.fixture
def script(tmp_path: Path, reports: Reports) -> t.Iterator[t.Callable[..., t.Any]]:
    """Run a script. It is ended after the test."""
    with contextlib.ExitStack() as stack:

        def run(source: str, *, patch: str = "", options: t.Sequence[str] = ()) -> t.Any:
            path = tmp_path / "script.py"
            body = "\n".join(f"    {line}" for line in source.splitlines())
            path.write_text(SCRIPT.format(patch=patch, run=body))
            process = subprocess.Popen(
                [sys.executable, *options, str(path), reports.address],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield run


@pytest.mark.parametrize("patch", ["", PATCH], ids=["threads", "gevent"])
def test_functions_of_a_script(
    script: t.Callable[..., t.Any], reports: Reports, patch: str
) -> None:
    options = ["-W", "error"] if patch else []  # gevent warns about earlier imports
    process = script(
        "add_to(app, task, address, n=1, keep=False)\nwait()", patch=patch, options=options
    )
    report = reports.next()
    assert report["pid"] != process.pid
    assert report["name"] == "__mp_main__"
    assert report["n"] == 1
    report.answer()
    out, err = process.communicate("", TIMEOUT)
    assert (out, err, process.returncode) == ("printed by the task\n", "", 0)


def test_errors_of_a_script(script: t.Callable[..., t.Any]) -> None:
    source = """
from flask_wamp.signals import task_failed
@task_failed.connect
def failed(app, task, error):
    assert type(error) is Unwilling and task is fail, error
    print("signalled")
add_to(app, fail)
"""
    out, err = script(source).communicate("", TIMEOUT)
    assert out == "signalled\n"
    assert 'raise Unwilling("no")' in err


def test_exit_of_the_parent_runs_waiting_tasks(
    script: t.Callable[..., t.Any], reports: Reports
) -> None:
    process = script("for n in range(10): add_to(app, task, address, n=n)")
    seen = set()
    for _ in range(10):
        report = reports.next()
        seen.add(report["n"])
        report.answer()
    process.communicate("", TIMEOUT)
    assert seen == set(range(10))
    assert process.returncode == 0


#: From 3.12 on, Python does not fork while it exits, and gevent starts processes by forking.
AT_THE_END = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="gevent cannot start a process when Python 3.12 ends"
)


@pytest.mark.parametrize(
    "patch", ["", pytest.param(PATCH, marks=AT_THE_END)], ids=["threads", "gevent"]
)
@pytest.mark.parametrize("begun", [True, False])
def test_ctrl_c_runs_waiting_tasks(
    script: t.Callable[..., t.Any], reports: Reports, patch: str, begun: bool
) -> None:
    """The signal goes to all processes of a terminal, including one that has just been started."""
    # If pytest is a background job of a shell, it and its child processes ignore Ctrl-C.
    source = "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    source += "add_to(app, task, address, keep=False)\n"
    process = script(source + ("wait()" if begun else "os.killpg(0, signal.SIGINT)"), patch=patch)
    report = reports.next()
    if begun:
        time.sleep(0.3)  # until the script waits: gevent ends the greenlet that a signal interrupts
        os.killpg(process.pid, signal.SIGINT)
    report.answer()
    out, err = process.communicate(timeout=TIMEOUT)
    assert out == "printed by the task\n"
    assert err.count("Traceback") == 1, err  # the script's own
    assert "task_process" not in err


@pytest.mark.parametrize("patch", ["", PATCH], ids=["threads", "gevent"])
def test_death_of_the_parent_leaves_no_process(
    script: t.Callable[..., t.Any], reports: Reports, patch: str
) -> None:
    source = "add_to(app, task, address)\nadd_to(app, forever, address)\nwait()"
    process = script(source, patch=patch)
    both = []
    for _ in range(2):
        both.append(reports.next())
        both[-1].answer()
    process.kill()
    for report in both:
        report.wait_for_end()


def test_a_fork_does_not_keep_task_processes_alive(
    script: t.Callable[..., t.Any], reports: Reports
) -> None:
    source = """
add_to(app, forever, address)
wait()
if os.fork() == 0:
    wait()
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = script(source)
    report = reports.next()
    report.answer()
    process.stdin.write("\n")
    process.stdin.flush()
    report.wait_for_end()


def test_a_child_of_a_task_does_not_hide_its_end(
    script: t.Callable[..., t.Any], reports: Reports
) -> None:
    """The parent sees the end of a process even if a child of that process still runs."""
    source = """
from flask_wamp.signals import task_failed
ended = threading.Event()
@task_failed.connect
def failed(app, task, error):
    print(error)
    ended.set()
add_to(app, os.fork)
add_to(app, os._exit, 4)
"""
    process = script(source)
    out, _ = process.communicate("", TIMEOUT)
    assert "exit status 4" in out
