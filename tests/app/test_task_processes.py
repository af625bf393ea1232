"""Background tasks in other processes: their context, errors, and end."""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_wamp import TaskAborted, signals
from flask_wamp.tasks.runner import RemoteTraceback
from tests.conftest import eventually
from tests.support import task_app
from tests.support.reports import TIMEOUT, Reports
from tests.support.tasks import add_to, stop

ROOT = Path(__file__).parents[2]


@pytest.fixture
def failures() -> t.Iterator[queue.SimpleQueue[BaseException]]:
    """The errors of failed tasks."""
    errors: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def receive(sender: Flask, task: t.Any, error: BaseException) -> None:
        errors.put(error)

    with signals.task_failed.connected_to(receive):
        yield errors


@pytest.fixture
def add() -> t.Iterator[t.Callable[..., None]]:
    """Run a function after a request to the app, in another process. The app is stopped after the test."""
    yield lambda f, *args, **kwargs: add_to(task_app.app, f, *args, **kwargs)
    stop(task_app.app)


def processes_of(app: Flask) -> t.Any:
    return app.extensions["wamp_tasks"]._by_process[os.getpid()].processes


def wait_until_idle() -> None:
    """Wait until all processes of the app wait for work."""
    processes = processes_of(task_app.app)
    eventually(lambda: len(processes._idle) == len(processes._children))


# The context.


def test_runs_in_another_process_with_an_app_context(
    add: t.Callable[..., None], reports: Reports
) -> None:
    for _ in range(2):
        add(task_app.report, reports.address, more=1)
        report = reports.next()
        pid = report["pid"]
        assert report.facts == {
            "pid": pid,
            "parent": os.getpid(),
            "app": "tests.support.task_app",
            "left behind": None,
            "request": False,
            "invocation": False,
            "more": 1,
        }
        assert pid != os.getpid()
        report.answer()
        wait_until_idle()


def test_a_task_computes(add: t.Callable[..., None], reports: Reports) -> None:
    add(task_app.compute, reports.address, 1000)
    report = reports.next()
    assert report["result"] == 332833500
    report.answer()


def test_as_many_processes_as_cpus_run_and_are_reused(
    add: t.Callable[..., None], reports: Reports
) -> None:
    cpus = os.cpu_count() or 1
    for _ in range(cpus + 1):
        add(task_app.report, reports.address)
    first = [reports.next() for _ in range(cpus)]
    pids = {report["pid"] for report in first}
    assert len(pids) == cpus
    assert reports.none_waits()
    for report in first:
        report.answer()
    last = reports.next()
    assert last["pid"] in pids
    last.answer()


def test_no_process_starts_before_it_is_needed() -> None:
    code = (
        "import sys; from tests.support import task_app; "
        "assert 'flask_wamp.tasks.processes' not in sys.modules; "
        "assert task_app.app.extensions['wamp_tasks']._by_process == {}"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=TIMEOUT)


def test_tasks_added_in_the_process_go_to_the_parent(
    add: t.Callable[..., None], reports: Reports
) -> None:
    add(task_app.add_more, reports.address)
    first = reports.next()
    assert reports.none_waits()
    first.answer()
    second, third = sorted((reports.next(), reports.next()), key=lambda report: len(report.facts))
    assert second["pid"] == os.getpid()
    assert third["added"] == "for a process"
    assert third["parent"] == os.getpid()
    second.answer()
    third.answer()


# The app.


class Module:
    """A module that a test writes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, source: str) -> t.Any:
        """Write and import the module."""
        self.path.write_text(source)
        return __import__(self.path.stem)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Module]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("FLASK_APP", raising=False)
    module = Module(tmp_path / "shop_of_a_test.py")
    yield module
    sys.modules.pop(module.path.stem, None)


FACTORY = """
import os
from flask import Flask, current_app
from flask_wamp import FlaskWAMP
from tests.support.reports import tell

def create_app({parameters}):
    app = Flask(__name__)
    app.config.update(TESTING=True, SHOP="tea")
    FlaskWAMP(app)
    {more}
    return app

def task(address):
    tell(address, shop=current_app.config["SHOP"], debug=current_app.debug)
"""


def test_app_of_a_factory(module: Module, reports: Reports) -> None:
    shop = module.write(FACTORY.format(parameters="", more=""))
    app = shop.create_app()
    add_to(app, shop.task, reports.address)
    report = reports.next()
    assert report["shop"] == "tea"
    report.answer()
    stop(app)


def test_an_app_of_a_factory_with_arguments_is_created_as_flask_app_says(
    module: Module, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = module.write(FACTORY.format(parameters="wares", more="app.config['SHOP'] = wares"))
    app = shop.create_app("coffee")
    monkeypatch.setenv("FLASK_APP", "shop_of_a_test:create_app('coffee')")
    add_to(app, shop.task, reports.address)
    report = reports.next()
    assert report["shop"] == "coffee"
    report.answer()
    stop(app)


def test_app_that_cannot_be_found_says_how_to_help(
    module: Module, failures: queue.SimpleQueue[BaseException]
) -> None:
    shop = module.write(FACTORY.format(parameters="wares", more=""))
    app = shop.create_app("coffee")
    for _ in range(2):
        add_to(app, shop.task, "nowhere")
        error = failures.get(timeout=TIMEOUT)
        assert "cannot find the app 'shop_of_a_test'" in str(error)
        assert "set FLASK_APP to 'module:create_app(...)'" in str(error)
        assert "create_app(args)" in str(error.__cause__)  # the error of Flask
    stop(app)


def test_error_names_an_app_that_cannot_be_imported(
    module: Module, failures: queue.SimpleQueue[BaseException]
) -> None:
    shop = module.write(FACTORY.format(parameters="", more="") + "\napp = create_app()\n")
    module.path.write_text("1 / 0\n")
    add_to(shop.app, shop.task, "nowhere")
    error = failures.get(timeout=TIMEOUT)
    assert "ZeroDivisionError" in str(error.__cause__)
    stop(shop.app)


def test_a_task_process_does_not_serve_http_at_import(module: Module, reports: Reports) -> None:
    source = FACTORY.format(parameters="", more="")
    shop = module.write(source)
    app = shop.create_app()
    module.path.write_text(source + "\ncreate_app().run(port=0)\n")
    add_to(app, shop.task, reports.address)
    reports.next().answer()
    stop(app)


def test_a_task_process_does_not_connect_at_import(module: Module, reports: Reports) -> None:
    """Do what a script does to serve HTTP."""
    started = """
    wamp = app.extensions["wamp"]
    wamp.callee("com.example.add")(lambda a, b: a + b)
    if os.environ.get("SERVES"):
        wamp.start()
        assert wamp.client.declarations == []
        assert wamp.client.peer is None
    """
    shop = module.write(FACTORY.format(parameters="", more=started))
    app = shop.create_app()
    os.environ["SERVES"] = "1"
    try:
        add_to(app, shop.task, reports.address)
        reports.next().answer()
    finally:
        del os.environ["SERVES"]
    stop(app)


# Misuse.


def test_arguments_that_cannot_be_pickled_are_refused_at_once(add: t.Callable[..., None]) -> None:
    def local() -> None: ...

    with pytest.raises(TypeError, match=r"test_task_processes\.test_.*<lambda> cannot run"):
        add(lambda: None)
    with pytest.raises(
        TypeError, match=r"local cannot run in another process: .*an attribute of its module"
    ):
        add(local)
    with pytest.raises(TypeError, match=r"task_app\.fail cannot run in another process: .*[lL]ock"):
        add(task_app.fail, threading.Lock())


def test_functions_of_an_interactive_session_are_refused(tmp_path: Path) -> None:
    code = """
from tests.support import task_app
from tests.support.tasks import add_to
def f(): pass
try:
    add_to(task_app.app, f)
except TypeError as error:
    assert "__main__.f is defined in an interactive session" in str(error)
else:
    assert False
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=TIMEOUT)


# Errors.


def test_an_error_comes_back_with_its_traceback(
    add: t.Callable[..., None],
    failures: queue.SimpleQueue[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR, "flask_wamp.tasks"):
        add(task_app.fail, "the reason")
        error = failures.get(timeout=TIMEOUT)
    assert isinstance(error, task_app.Unwilling)
    assert error.args == ("the reason",)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "raise Unwilling(reason)" in str(error.__cause__)
    assert "background task tests.support.task_app.fail of an HTTP request" in caplog.text
    assert "raise Unwilling(reason)" in caplog.text


def test_an_error_that_cannot_be_pickled_comes_back_as_text(
    add: t.Callable[..., None], failures: queue.SimpleQueue[BaseException]
) -> None:
    add(task_app.fail_awkwardly)
    error = failures.get(timeout=TIMEOUT)
    assert isinstance(error, TaskAborted)
    assert str(error) == "tests.support.task_app.Awkward: the reason"
    assert "raise Awkward(" in str(error.__cause__)


def test_sys_exit_ends_only_the_task(
    add: t.Callable[..., None], reports: Reports, failures: queue.SimpleQueue[BaseException]
) -> None:
    add(task_app.report, reports.address)
    first = reports.next()
    first.answer()
    add(sys.exit, 3)
    assert isinstance(failures.get(timeout=TIMEOUT), SystemExit)
    add(task_app.report, reports.address)
    second = reports.next()
    second.answer()
    assert second["parent"] == os.getpid()


def test_a_process_that_ends_fails_its_task_and_is_replaced(
    add: t.Callable[..., None],
    reports: Reports,
    failures: queue.SimpleQueue[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    add(task_app.leave, 3)
    error = failures.get(timeout=TIMEOUT)
    assert isinstance(error, TaskAborted)
    assert str(error) == "the process that ran it ended with exit status 3"
    assert "task_app.leave" in caplog.text
    add(task_app.report, reports.address)
    reports.next().answer()


def test_a_process_that_is_killed_fails_its_task_and_is_replaced(
    add: t.Callable[..., None], reports: Reports, failures: queue.SimpleQueue[BaseException]
) -> None:
    add(task_app.report, reports.address)
    first = reports.next()
    os.kill(first["pid"], signal.SIGKILL)
    assert str(failures.get(timeout=TIMEOUT)).endswith("was ended by signal 9 (Killed)")
    add(task_app.report, reports.address)
    second = reports.next()
    assert second["pid"] != first["pid"]
    second.answer()


def test_killing_an_idle_process_fails_no_task(
    add: t.Callable[..., None], reports: Reports, failures: queue.SimpleQueue[BaseException]
) -> None:
    add(task_app.report, reports.address)
    first = reports.next()
    first.answer()
    wait_until_idle()
    os.kill(first["pid"], signal.SIGKILL)
    add(task_app.report, reports.address)
    second = reports.next()
    assert second["pid"] != first["pid"]
    second.answer()
    assert failures.empty()


def test_only_the_parent_handles_ctrl_c(add: t.Callable[..., None], reports: Reports) -> None:
    add(task_app.report, reports.address)
    first = reports.next()
    os.kill(first["pid"], signal.SIGINT)
    first.answer()
    wait_until_idle()
    add(task_app.report, reports.address)
    second = reports.next()
    assert second["pid"] == first["pid"]
    second.answer()


def test_sigterm_waits_for_the_task(
    add: t.Callable[..., None], reports: Reports, failures: queue.SimpleQueue[BaseException]
) -> None:
    add(task_app.report, reports.address)
    first = reports.next()
    os.kill(first["pid"], signal.SIGTERM)
    first.answer()
    first.wait_for_end()
    add(task_app.report, reports.address)
    second = reports.next()
    assert second["pid"] != first["pid"]
    second.answer()
    assert failures.empty()


def test_sigterm_before_the_first_task_loses_nothing(
    module: Module, reports: Reports, failures: queue.SimpleQueue[BaseException]
) -> None:
    """systemd sends it to all processes of a service, including one that is just starting."""
    source = FACTORY.format(parameters="", more="")
    shop = module.write(source)
    app = shop.create_app()
    module.path.write_text(source + "\nimport signal; os.kill(os.getpid(), signal.SIGTERM)\n")
    add_to(app, shop.task, reports.address)
    report = reports.next()
    report.answer()
    report.wait_for_end()
    stop(app)
    assert failures.empty()


def test_a_server_that_embeds_python_runs_tasks(
    add: t.Callable[..., None], reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/uwsgi")
    add(task_app.report, reports.address)
    reports.next().answer()


def test_a_task_fails_without_a_python_executable(
    add: t.Callable[..., None],
    failures: queue.SimpleQueue[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    add(task_app.fail, "x")
    error = failures.get(timeout=TIMEOUT)
    assert isinstance(error, TaskAborted)
    assert "/no/such/python" in str(error)


# The end.


def test_idle_processes_end_with_stop(add: t.Callable[..., None], reports: Reports) -> None:
    add(task_app.report, reports.address)
    report = reports.next()
    report.answer()
    wait_until_idle()
    [child] = processes_of(task_app.app)._children
    stop(task_app.app)
    report.wait_for_end()
    assert child._process.returncode == 0


def test_stop_waits_for_tasks(
    add: t.Callable[..., None], reports: Reports, failures: queue.SimpleQueue[BaseException]
) -> None:
    cpus = os.cpu_count() or 1
    for _ in range(cpus + 1):
        add(task_app.report, reports.address)
    first = [reports.next() for _ in range(cpus)]
    stopping = threading.Thread(target=stop, args=(task_app.app,))
    stopping.start()
    for report in first:
        report.answer()
    last = reports.next()
    assert stopping.is_alive()
    last.answer()
    stopping.join(TIMEOUT)
    assert not stopping.is_alive()
    assert failures.empty()


def test_stop_kills_tasks_that_take_too_long(
    reports: Reports,
    make_app: t.Callable[..., Flask],
    module: Module,
    failures: queue.SimpleQueue[BaseException],
) -> None:
    source = FACTORY.format(parameters="", more="app.config['WAMP_DRAIN_TIMEOUT'] = 0.1")
    source = source.replace("FlaskWAMP(app)", "").replace(
        "return app", "FlaskWAMP(app)\n    return app"
    )
    shop = module.write(source)
    app = shop.create_app()
    cpus = os.cpu_count() or 1
    for _ in range(cpus + 1):
        add_to(app, task_app.compute_for_ever, reports.address)
    running = [reports.next() for _ in range(cpus)]
    for report in running:
        report.answer()
    stop(app)
    for report in running:
        report.wait_for_end()
    errors = [failures.get(timeout=TIMEOUT) for _ in range(cpus + 1)]
    assert {str(error) for error in errors} == {"it did not finish within WAMP_DRAIN_TIMEOUT"}
    assert failures.empty()
    assert reports.none_waits()
