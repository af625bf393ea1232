"""Tests of the kitchen. They need no router: ``pytest test_app.py``."""

import pytest
from app import app, wamp


@pytest.fixture(autouse=True)
def testing():
    app.config.update(TESTING=True)


def test_an_order_is_confirmed_and_then_cooked(capsys):
    with wamp.test_client() as guest:
        ready = guest.subscribe("com.example.kitchen.ready")
        calories = guest.subscribe("com.example.kitchen.calories")
        number = guest.call("com.example.kitchen.order", "soup")["order"]
        assert ready.get(timeout=5).args == [number, "soup"]
        assert calories.get(timeout=5).args == [number, 1199]
        wamp.settle(timeout=5)
    assert f"Order {number} is ready: soup" in capsys.readouterr().out


def test_an_order_over_http():
    with wamp.test_client() as guest:
        ready = guest.subscribe("com.example.kitchen.ready")
        with app.test_client().post("/order/tea") as response:  # closed, so the tasks begin
            number = response.json["order"]
        assert ready.get(timeout=5).args == [number, "tea"]
