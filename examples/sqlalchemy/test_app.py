"""Tests of the bank, with a database in memory. They need no router: ``pytest test_app.py``."""

import os

import pytest

from flask_wamp import ApplicationError

os.environ["FLASK_SQLALCHEMY_DATABASE_URI"] = "sqlite://"  # the app reads it when it is imported
from app import app, db, wamp


@pytest.fixture
def peer():
    app.config.update(TESTING=True)
    with app.app_context():
        db.create_all()
    # inline=True: handlers run in the thread of the test. A database in memory has only one connection.
    with wamp.test_client(inline=True) as peer:
        for name in ("ada", "bob"):
            peer.call("com.example.bank.open", name)
        yield peer
    with app.app_context():
        db.drop_all()


def test_a_successful_handler_commits(peer):
    assert peer.call("com.example.bank.pay", ["ada", "bob"], 100) == 2
    assert app.test_client().get("/accounts").json == {"ada": 100, "bob": 100}


def test_a_failed_handler_rolls_back(peer):
    with pytest.raises(ApplicationError, match="not_found"):
        peer.call("com.example.bank.pay", ["ada", "nobody"], 50)
    assert peer.call("com.example.bank.accounts") == {"ada": 0, "bob": 0}


def test_a_commit_that_fails_is_an_error_for_the_caller(peer):
    with pytest.raises(ApplicationError, match=r"com\.example\.bank\.error\.refused"):
        peer.call("com.example.bank.withdraw", "ada", 1)
    with pytest.raises(ApplicationError, match=r"com\.example\.bank\.error\.refused"):
        peer.call("com.example.bank.open", "bob")
    assert peer.call("com.example.bank.accounts") == {"ada": 0, "bob": 0}


def test_events_are_transactions_too(peer):
    peer.publish("com.example.bank.payday", ["ada"], 5)
    wamp.settle()
    assert peer.call("com.example.bank.accounts") == {"ada": 5, "bob": 0}
