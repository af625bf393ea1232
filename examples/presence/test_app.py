"""Tests of the page that shows who is online. They need no router: ``pytest test_app.py``."""

import pytest
from app import app, wamp

from flask_wamp import ApplicationError


@pytest.fixture(autouse=True)
def testing():
    app.config.update(TESTING=True)


def ids(people):
    return {person["id"] for person in people}


def wait_for(changed, expected):
    """Wait until a page knows who is there."""
    while ids(changed.get(timeout=5).args[0]) != expected:
        pass


def test_a_page_sees_another_one_come_and_go():
    with wamp.test_client(authrole="anonymous") as page:
        changed = page.subscribe("com.example.presence.changed")
        with wamp.test_client(authrole="anonymous") as other:
            both = {page.session_id, other.session_id}
            wait_for(changed, both)
            assert ids(other.call("com.example.presence.who")) == both
        wait_for(changed, {page.session_id})


def test_the_page_shows_the_number_of_sessions():
    with wamp.test_client(authrole="anonymous") as page:
        wamp.settle(timeout=5)
        assert 'data-testid="count">1<' in app.test_client().get("/").text
        [person] = page.call("com.example.presence.who")
        assert person["id"] == page.session_id


def test_other_programs_are_not_shown():
    with wamp.test_client() as program:
        wamp.settle(timeout=5)
        assert program.call("com.example.presence.who") == []


def test_a_page_cannot_call_the_meta_api():
    with (
        wamp.test_client(authrole="anonymous") as page,
        pytest.raises(ApplicationError, match="not_authorized"),
    ):
        page.call("wamp.session.list")
