"""Leftovers of a test: a handler, a task, a thread, a session."""

from __future__ import annotations

import threading
import typing as t
import warnings

import pytest
from flask import Flask, g

from flask_wamp import FlaskWAMP, background_tasks
from flask_wamp.concurrency.threads import is_monkey_patched
from flask_wamp.testing import LeftBehind, LeftBehindWarning, stop_left


class Slow(t.NamedTuple):
    app: Flask
    wamp: FlaskWAMP
    began: threading.Event


@pytest.fixture
def slow() -> t.Iterator[Slow]:
    app = Flask("shop")
    app.config.update(TESTING=True, WAMP_URI_PREFIX="com.shop", WAMP_DRAIN_TIMEOUT=0.05)
    wamp, began, end = FlaskWAMP(app), threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def send_mail() -> None:
        threads.append(threading.current_thread())
        began.set()
        end.wait(30)

    @wamp.callee(".wait")
    def wait() -> None:
        send_mail()

    @wamp.subscriber(".news")
    def on_news() -> None:
        send_mail()

    @wamp.callee(".later")
    def later() -> None:
        background_tasks.add(send_mail)

    @wamp.callee(".thread")
    def thread() -> None:
        threading.Thread(target=send_mail, name="mailer").start()

    yield Slow(app, wamp, began)
    end.set()
    for each in threads:
        each.join(30)


LEFT = {
    ".wait": r"the handler of com\.shop\.wait in wamp-worker",
    ".later": r"the background task tests\.testclient\.test_leaks\.slow\.<locals>\.send_mail",
    ".thread": r"the thread mailer",
}


@pytest.mark.parametrize("procedure", LEFT)
def test_the_error_names_what_is_still_running_at_the_end(slow: Slow, procedure: str) -> None:
    if procedure == ".wait" and is_monkey_patched():
        pytest.skip("a greenlet ends when its caller leaves")
    with (
        pytest.raises(LeftBehind, match=f"the test has left running: .*{LEFT[procedure]}"),
        slow.wamp.test_client() as peer,
    ):
        peer.submit(procedure)
        assert slow.began.wait(30)


def test_the_error_names_a_subscriber_that_is_still_running(slow: Slow) -> None:
    with (
        pytest.raises(LeftBehind, match=r"the handler of com\.shop\.news"),
        slow.wamp.test_client() as peer,
    ):
        peer.publish(".news")
        assert slow.began.wait(30)


def test_the_error_of_the_test_is_raised(slow: Slow) -> None:
    with (
        pytest.warns(LeftBehindWarning, match=r"com\.shop\.news"),
        pytest.raises(LookupError),
        slow.wamp.test_client() as peer,
    ):
        peer.publish(".news")
        assert slow.began.wait(30)
        raise LookupError


def test_settling_names_handlers_and_tasks(slow: Slow) -> None:
    with (
        pytest.raises(LeftBehind),
        slow.wamp.test_client() as peer,
    ):
        peer.call(".later")
        assert slow.began.wait(30)
        with pytest.raises(AssertionError, match=r"1 background tasks \(.*send_mail\)"):
            slow.wamp.settle(0.01)
        peer.submit(".wait")
        with pytest.raises(AssertionError, match=r"handlers running \(com\.shop\.wait in wamp-"):
            slow.wamp.settle(0.05)


def test_apps_that_are_still_joined_are_stopped_and_named(slow: Slow) -> None:
    with slow.app.app_context():
        g.wampy.publish(".nothing")
    session = slow.wamp.client.session_id
    assert stop_left(but={slow.app}) == []
    assert stop_left() == [f"the session {session} of the app shop"]
    assert not slow.wamp.client.joined
    slow.wamp.test_client().__enter__()
    assert stop_left() == ["1 open test clients of the app shop"]
    assert stop_left() == []


def test_a_test_without_leftovers_gets_no_warning(slow: Slow) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with slow.wamp.test_client() as peer:
            peer.publish(".nothing")
        assert stop_left() == []
