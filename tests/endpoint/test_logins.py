"""Flask-Login's users as WAMP sessions: they join as themselves, and leave when they log out."""

from __future__ import annotations

import time

import pytest

from tests.support.browser import Refused
from tests.support.served import Served

from .conftest import Serve, ready
from .visitor import Visitor

pytest.importorskip("flask_login")

pytestmark = pytest.mark.slow

TWO_WORKERS = ["gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "club:app"]
DENIED = "wamp.error.authentication_denied"
FAILED = "wamp.error.authentication_failed"


def test_a_member_joins_with_cookies(club: Served) -> None:
    with Visitor(club.port, "ann").join() as ann:
        assert (ann.authid, ann.authrole) == ("ann", "member")
        assert ann.call("com.club.whoami")["authid"] == "ann"
        assert ann.call("com.club.order", "tea") == "tea"


def test_a_visitor_is_anonymous(club: Served) -> None:
    with Visitor(club.port).join() as visitor:
        assert visitor.authrole == "anonymous"
        with pytest.raises(Refused, match="not_authorized"):
            visitor.call("com.club.order", "tea")


def test_login_required_guards_calls_as_it_guards_requests(club: Served) -> None:
    with Visitor(club.port, "ann").join() as ann:
        assert ann.call("com.club.mine") == {"user": "ann"}
    with (
        Visitor(club.port).join() as visitor,
        pytest.raises(Refused, match="not_authorized"),
    ):
        visitor.call("com.club.mine")


def test_a_ticket_is_for_one_session(club: Served) -> None:
    ann = Visitor(club.port, "ann")
    tickets = [ann.session() for _ in range(20)]  # of both workers
    assert len({ticket["ticket"] for ticket in tickets}) == 20
    for ticket in tickets:
        with ann.join_with(ticket) as browser:
            assert (browser.authid, browser.authrole) == ("ann", "member")
        with pytest.raises(Refused, match=FAILED):  # on any worker
            ann.join_with(ticket)


def test_the_ticket_determines_the_identity(club: Served) -> None:
    ticket = {**Visitor(club.port, "ann").session(), "authid": "bob"}
    with Visitor(club.port).join_with(ticket) as browser:
        assert browser.authid == "ann"


@pytest.mark.parametrize("forged", ["", "0" * 48, "x", "ann", "null"])
def test_a_forged_ticket(club: Served, forged: str) -> None:
    ticket = {"authid": "ann", "ticket": forged}
    with pytest.raises(Refused, match=FAILED):
        Visitor(club.port).join_with(ticket)


def test_a_ticket_expires(serve: Serve) -> None:
    with serve(*TWO_WORKERS, FLASK_WAMP_TICKET_MAX_AGE="0.05") as server:
        ready(server)
        ann = Visitor(server.port, "ann")

        ticket = ann.session()
        age = time.monotonic()
        while time.monotonic() < age + 0.1:  # other tickets are a clock that needs no sleep
            ann.session()
        with pytest.raises(Refused, match=FAILED):
            ann.join_with(ticket)


def test_logging_out_ends_the_sessions_of_this_browser(club: Served) -> None:
    laptop, phone = Visitor(club.port, "ann"), Visitor(club.port, "ann")
    unused = laptop.session()
    other = phone.session()
    with laptop.join() as one, laptop.join_with(laptop.session()) as two, phone.join() as three:
        assert laptop.get("/logout") == "bye"
        assert (one.ends(), two.ends()) == ("wamp.close.logout", "wamp.close.logout")
        assert three.call("com.club.order", "tea") == "tea"
        with pytest.raises(Refused, match=FAILED):
            laptop.join_with(unused)
        with phone.join_with(other) as four, phone.join() as five:
            assert (four.authid, five.authid) == ("ann", "ann")


def test_a_copy_of_an_old_cookie_does_not_join(club: Served) -> None:
    laptop = Visitor(club.port, "ann")
    copied = laptop.cookie
    laptop.get("/logout")
    thief = Visitor(club.port)
    with pytest.raises(Refused, match=DENIED):
        thief.join(copied)
    with laptop.join() as visitor:
        assert visitor.authrole == "anonymous"
    laptop.get("/login/ann")
    with laptop.join() as ann:
        assert ann.authid == "ann"


def test_clearing_the_flask_session_before_logout_ends_all_sessions_of_the_user(
    club: Served,
) -> None:
    ann = Visitor(club.port, "ann")
    with ann.join() as one:
        assert ann.get("/clear") == "bye ann"
        assert one.ends() == "wamp.close.logout"


def test_logging_in_as_another_user(club: Served) -> None:
    visitor = Visitor(club.port, "ann")
    with visitor.join() as ann:
        visitor.get("/login/bob")
        assert ann.ends() == "wamp.close.logout"
    with visitor.join() as bob:
        assert bob.authid == "bob"


def test_sign_out(club: Served) -> None:
    laptop, phone, bob = (Visitor(club.port, name) for name in ("ann", "ann", "bob"))
    unused = phone.session()
    with laptop.join() as one, phone.join() as two, bob.join() as three:
        assert bob.get("/sign-out/ann") == {"ended": 2}
        assert (one.ends(), two.ends()) == ("wamp.close.logout", "wamp.close.logout")
        assert three.call("com.club.order", "tea") == "tea"
    with pytest.raises(Refused, match=FAILED):
        phone.join_with(unused)
    with pytest.raises(Refused, match=DENIED):  # the old cookie
        phone.join()
    assert bob.get("/sign-out/ann") == {"ended": 0}
    phone.get("/login/ann")
    with phone.join() as again:
        assert again.authid == "ann"


def test_the_id_of_the_browser_session_is_not_sent(club: Served) -> None:
    with Visitor(club.port, "ann").join() as ann:
        assert set(ann.welcome) == {
            *("realm", "roles", "agent", "authid", "authrole", "authmethod", "authprovider"),
            "authextra",
        }
        assert ann.welcome["authextra"] == {"name": "Ann"}
