"""Tests of the tea shop. They need no router: ``pytest test_app.py``."""

import pytest
from app import app, stock, wamp

from flask_wamp import ApplicationError
from flask_wamp.signals import session_joined


@pytest.fixture(autouse=True)
def testing(monkeypatch):
    app.config.update(TESTING=True)
    monkeypatch.setitem(stock, "green", 1)


def test_the_shop_opens_when_it_has_joined():
    with app.app_context(), wamp.test_client() as peer:
        opened = peer.subscribe("com.example.shop.opened")
        session_joined.send(app)  # as Flask-WAMP does
        assert opened.get(timeout=5).args == [["green", "black"]]


def test_the_last_cup():
    with wamp.test_client() as guest:
        bought = guest.call("com.example.shop.buy", "green")
        assert (bought["tea"], bought["left"]) == ("green", 0)
        assert bought["ms"] >= 0  # of the hook after the handler
        with pytest.raises(ApplicationError) as error:
            guest.call("com.example.shop.buy", "green")
        assert error.value.uri == "com.example.shop.error.sold_out"
        assert error.value.args == ("green",)


def test_http_goes_through_the_same_hooks():
    with wamp.test_client():
        assert app.test_client().post("/buy/green").json["ms"] >= 0
        assert app.test_client().post("/buy/green").status_code == 502


def test_only_admins_refill(monkeypatch):
    with wamp.test_client() as peer:  # joins with the role "trusted"
        with pytest.raises(ApplicationError, match="trusted may not do that"):
            peer.call("com.example.shop.admin.refill", "green", 5)
        monkeypatch.setitem(app.config, "ADMIN_ROLES", ["trusted"])
        assert peer.call("com.example.shop.admin.refill", "green", 5)["left"] == 6
