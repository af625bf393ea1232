"""Background tasks on the workers of an app: how errors are reported, and the drain."""

from __future__ import annotations

import logging
import threading
import typing as t

import pytest
from flask import Flask, g

from flask_wamp import FlaskWAMP, TaskAborted, background_tasks, signals
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter
from tests.support.told import Told


def test_an_error_is_logged_and_signalled(
    serve: Serve, router: MemoryRouter, failed: Told, caplog: pytest.LogCaptureFixture
) -> None:
    problem = ValueError("the reason")

    def task() -> None:
        raise problem

    app, _ = serve(lambda wamp: wamp.callee(".add")(lambda: background_tasks.add(task)))
    with caplog.at_level(logging.ERROR, "flask_wamp.tasks"):
        router.call("com.example.add")
        assert failed.next() == (app, task, problem, True)
    [record] = [record for record in caplog.records if record.name == "flask_wamp.tasks"]
    assert record.levelno == logging.ERROR
    assert "test_an_error_is_logged_and_signalled.<locals>.task" in record.getMessage()
    assert "com.example.add" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is problem


def test_a_failing_receiver_has_no_effect(serve: Serve, router: MemoryRouter, told: Told) -> None:
    def task() -> None:
        raise ValueError("no")

    def add() -> None:
        background_tasks.add(task)
        background_tasks.add(told.put, "next")

    def receive(sender: Flask, **payload: t.Any) -> None:
        raise RuntimeError("the receiver fails")

    serve(lambda wamp: wamp.callee(".add")(add))
    with signals.task_failed.connected_to(receive):
        router.call("com.example.add")
        assert told.next() == "next"


def test_stop_runs_waiting_tasks(serve: Serve, router: MemoryRouter, told: Told) -> None:
    gate = threading.Event()

    def task(x: int) -> None:
        if x == 0:
            told.put("begun")
            assert gate.wait(TIMEOUT)
        told.put((x, g.wampy.call("com.example.peer", x)))

    def add() -> None:
        for x in range(3):
            background_tasks.add(task, x)

    router.register("com.example.peer", lambda x: x + 1)
    app, wamp = serve(lambda wamp: wamp.callee(".add")(add), WAMP_WORKERS=1)
    router.call("com.example.add")
    assert told.next() == "begun"
    stopping = stop_in_background(app, wamp)
    gate.set()
    stopping.join(TIMEOUT)
    assert [told.next() for _ in range(3)] == [(0, 1), (1, 2), (2, 3)]


def test_stop_runs_tasks_that_are_added_while_it_waits(
    serve: Serve, router: MemoryRouter, told: Told
) -> None:
    gate = threading.Event()

    def task() -> None:
        background_tasks.add(told.put, "the task's task")
        told.put(("task", g.wampy.call("com.example.peer")))

    def add() -> str:
        told.put("handler")
        assert gate.wait(TIMEOUT)
        background_tasks.add(task)
        return "answered"

    router.register("com.example.peer", lambda: "peer")
    app, wamp = serve(lambda wamp: wamp.callee(".add")(add))
    answer = router.invoke("com.example.add")
    assert told.next() == "handler"
    stopping = stop_in_background(app, wamp)
    eventually(lambda: not wamp.client.declarations or wamp.client.declarations[0].id is None)
    gate.set()
    assert answer.result(TIMEOUT).args == ["answered"]
    stopping.join(TIMEOUT)
    assert [told.next(), told.next()] == [("task", "peer"), "the task's task"]


def test_stop_waits_no_longer_than_the_limit(
    serve: Serve, router: MemoryRouter, told: Told, failed: Told
) -> None:
    gate = threading.Event()

    def running() -> None:
        told.put("begun")
        gate.wait(TIMEOUT)
        raise ValueError("this error must not be reported a second time")

    def waiting() -> None:
        told.put("waiting ran")

    def add() -> None:
        background_tasks.add(running)
        background_tasks.add(waiting)

    app, wamp = serve(
        lambda wamp: wamp.callee(".add")(add), WAMP_DRAIN_TIMEOUT=0.05, WAMP_WORKERS=1
    )
    router.call("com.example.add")
    assert told.next() == "begun"
    wamp.stop()
    lost = [failed.next(), failed.next()]
    assert {task for _, task, _, _ in lost} == {running, waiting}
    assert all(isinstance(error, TaskAborted) and in_context for _, _, error, in_context in lost)
    assert "WAMP_DRAIN_TIMEOUT" in str(lost[0][2])
    gate.set()
    eventually(lambda: not any(thread.name == "wamp-worker-1" for thread in threading.enumerate()))
    assert told.empty()
    assert failed.empty()


def test_a_task_may_stop_the_client(
    serve: Serve, router: MemoryRouter, told: Told, failed: Told
) -> None:
    def shut_down() -> None:
        wamp.stop()
        told.put("stopped")

    _, wamp = serve(lambda wamp: wamp.callee(".shut_down")(lambda: background_tasks.add(shut_down)))
    router.call("com.example.shut_down")
    assert told.next() == "stopped"
    assert failed.empty()


def stop_in_background(app: Flask, wamp: FlaskWAMP) -> threading.Thread:
    def stop() -> None:
        with app.app_context():
            wamp.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    return thread
