"""Background tasks in tests."""

from __future__ import annotations

import os
import typing as t

import pytest
from flask import Flask, g

from flask_wamp import FlaskWAMP, background_tasks


@pytest.fixture
def wamp() -> t.Iterator[FlaskWAMP]:
    app = Flask("shop")
    app.config.update(TESTING=True, WAMP_URI_PREFIX="com.shop")
    wamp = FlaskWAMP(app)

    @wamp.callee(".add")
    def add(executor: str) -> None:
        background_tasks.add(publish, executor, executor=executor)

    @wamp.callee(".add_lambda")
    def add_lambda() -> None:
        background_tasks.add(lambda: None, executor="process")

    yield wamp  # which does not reference the app, unlike this function


def publish(text: str) -> None:
    g.wampy.publish(".done", text, os.getpid())


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_events_of_a_task_arrive(wamp: FlaskWAMP, executor: str) -> None:
    with wamp.test_client() as peer:
        done = peer.subscribe("com.shop.done")
        peer.call(".add", executor)
        wamp.settle(timeout=10)
        [event] = done.all()
        assert event.args == [executor, os.getpid()]


def test_a_function_that_cannot_be_sent_to_a_process_is_refused(wamp: FlaskWAMP) -> None:
    with wamp.test_client() as peer, pytest.raises(Exception) as caught:
        peer.call(".add_lambda")
    assert isinstance(caught.value.__cause__, TypeError)
