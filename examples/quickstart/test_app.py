"""Tests of the poll. They need no router: ``pytest test_app.py``."""

import pytest
from app import app, totals, wamp

from flask_wamp import ApplicationError


@pytest.fixture(autouse=True)
def testing():
    app.config.update(TESTING=True)
    totals.update(dict.fromkeys(totals, 0))


def test_a_vote_over_http_reaches_open_pages():
    with wamp.test_client(authrole="anonymous") as page:
        changed = page.subscribe("com.example.poll.changed")
        assert app.test_client().post("/vote/tea").json["tea"] == 1
        assert changed.get(timeout=1).args[0]["tea"] == 1


def test_a_page_votes_over_wamp():
    with wamp.test_client(authrole="anonymous") as page:
        page.call("com.example.poll.vote", "water")
        assert app.test_client().get("/votes").json["water"] == 1
        with pytest.raises(ApplicationError, match="There is no 'gin' in this poll"):
            page.call("com.example.poll.vote", "gin")


def test_a_page_cannot_publish_totals_of_its_own():
    with (
        wamp.test_client(authrole="anonymous") as page,
        pytest.raises(ApplicationError, match="not_authorized"),
    ):
        page.publish("com.example.poll.changed", {"tea": 1000})
