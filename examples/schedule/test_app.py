"""Tests of the clock. They need no router: ``pytest test_app.py``."""

import datetime as dt
import os

import pytest
from app import app, wamp


@pytest.fixture(autouse=True)
def testing():
    app.config.update(TESTING=True)


def test_it_ticks(capsys):
    with wamp.test_client() as peer:
        tick = peer.subscribe("com.example.clock.tick").get(timeout=10)
        assert tick.args[1] == os.getpid()
        wamp.settle(timeout=5)
    assert f"process {os.getpid()} says it is" in capsys.readouterr().out


def test_the_alarm_goes_off_at_tea_time():
    time_machine = pytest.importorskip("time_machine")  # pip install time-machine
    begin = dt.datetime(2030, 1, 1, 10, 29)
    with time_machine.travel(begin, tick=False) as time, wamp.test_client() as peer:
        alarms = peer.subscribe("com.example.clock.alarm")
        wamp.schedule.run_pending()
        assert alarms.all() == []
        time.shift(dt.timedelta(minutes=1))
        wamp.schedule.run_pending()
        assert [alarm.args for alarm in alarms.all()] == [["tea time"]]


def test_it_can_be_muted():
    with wamp.test_client() as peer:
        assert peer.call("com.example.clock.mute") == 0
