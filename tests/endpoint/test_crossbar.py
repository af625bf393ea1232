"""Crossbar.io with the app as its authenticator and authorizer."""

from __future__ import annotations

import collections
import concurrent.futures
import typing as t
from pathlib import Path

import pytest

from flask_wamp.testing import MakeRouter
from tests.conftest import eventually
from tests.support.browser import Refused
from tests.support.served import Served

from .conftest import ready
from .crossbar_node import AskingNode
from .visitor import Visitor

pytest.importorskip("flask_login")

pytestmark = [pytest.mark.slow, pytest.mark.router]

FOUR_WORKERS = ["gunicorn", "-w", "4", "-b", "127.0.0.1:{port}", "club:app"]
FAILED = "wamp.error.authentication_failed"
DENIED = "wamp.error.authentication_denied"
NOT_AUTHORIZED = "wamp.error.not_authorized"


@pytest.fixture(scope="module")
def node(make_wamp_router: MakeRouter, tmp_path_factory: pytest.TempPathFactory) -> AskingNode:
    """The configuration as it is in the file."""
    node = AskingNode(tmp_path_factory.mktemp("r") / "backend.sock")
    make_wamp_router([node.app_url, node.browsers_url], config=node.config)
    return node


@pytest.fixture(scope="module")
def club(node: AskingNode, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Served]:
    """``apps/club.py`` in four workers, whose members have the role that the file knows."""
    log = tmp_path_factory.mktemp("club") / "server.log"
    # Tickets last longer than a test takes on a busy machine.
    environ = {**node.environ, "FLASK_ROLE": "browser", "FLASK_WAMP_TICKET_MAX_AGE": "300"}
    with Served(FOUR_WORKERS, node.app_url, log, **environ) as server:
        ready(server)
        yield server


def test_a_member_joins_with_a_ticket(club: Served, node: AskingNode) -> None:
    ann = Visitor(club.port, "ann")
    how = ann.session()
    assert (how["url"], how["realm"], how["authid"]) == (node.browsers_url, "realm1", "ann")
    with ann.join_with(how) as browser:
        assert (browser.authid, browser.authrole) == ("ann", "browser")
        assert browser.welcome["authextra"]["name"] == "Ann"
        assert browser.call("com.club.whoami")["authid"] == "ann"
        assert browser.call("com.club.order", "tea") == "tea"
        with pytest.raises(Refused, match=NOT_AUTHORIZED):
            browser.call("com.club.secret")


def test_login_required_guards_calls_as_it_guards_requests(club: Served, node: AskingNode) -> None:
    ann = Visitor(club.port, "ann")
    with ann.join_with(ann.session()) as browser:
        assert browser.call("com.club.mine") == {"user": "ann"}


def test_a_ticket_joins_once_over_all_workers(club: Served) -> None:
    ann = Visitor(club.port, "ann")
    tickets: dict[str, list[dict[str, t.Any]]] = collections.defaultdict(list)

    def all_workers_have_issued_six() -> bool:
        ticket = ann.session()
        of_this_worker = tickets[ticket["ticket"].partition(".")[0]]
        if len(of_this_worker) < 6:
            of_this_worker.append(ticket)
        return [len(each) for each in tickets.values()] == [6] * 4

    # A worker that has just answered often gets the next request as well, so that the others need more.
    eventually(all_workers_have_issued_six)

    def join(ticket: dict[str, t.Any]) -> str:
        try:
            with ann.join_with(ticket) as browser:
                return browser.authid
        except Refused as error:
            return error.uri

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        in_turn = [ticket for each in zip(*tickets.values(), strict=True) for ticket in each]
        joined = list(pool.map(join, [each for each in in_turn for _ in range(3)]))
    assert (joined.count("ann"), joined.count(FAILED)) == (24, 48)


@pytest.mark.parametrize(
    "forged",
    ["", "x", "0" * 48, f"{'0' * 16}.{'0' * 48}", "0.session", f"{'0' * 16}.{'0' * 48}\n", "null"],
)
def test_a_forged_ticket(club: Served, node: AskingNode, forged: str) -> None:
    ticket = {"url": node.browsers_url, "authid": "ann", "ticket": forged}
    with pytest.raises(Refused, match=FAILED):
        Visitor(club.port).join_with(ticket)


def test_part_of_a_ticket(club: Served) -> None:
    ann = Visitor(club.port, "ann")
    how = ann.session()
    process, _, secret = how["ticket"].partition(".")
    for forged in (secret, process, f"{process}.{'0' * 48}", f"{'0' * 16}.{secret}"):
        with pytest.raises(Refused, match=FAILED):
            ann.join_with({**how, "ticket": forged})
    with ann.join_with(how) as browser:
        assert browser.authid == "ann"


@pytest.mark.parametrize(
    "hello",
    [
        {"authid": "bob"},
        {"authid": "flask", "authrole": "backend"},
        {"authextra": {"flask_wamp": {"login": "x", "since": 9e99}, "role": "backend"}},
    ],
)
def test_the_ticket_determines_the_identity(club: Served, hello: dict[str, t.Any]) -> None:
    ann = Visitor(club.port, "ann")
    with ann.join_with(ann.session(), hello=hello) as browser:
        assert (browser.authid, browser.authrole) == ("ann", "browser")
        assert browser.welcome["authextra"]["name"] == "Ann"
        assert browser.welcome["authextra"]["flask_wamp"]["since"] < 9e9
        assert "role" not in browser.welcome["authextra"]
        assert browser.call("com.club.whoami") == {
            "authid": "ann",
            "authrole": "browser",
            "caller_authid": "ann",
        }


def test_the_id_of_the_browser_session_is_not_sent(club: Served) -> None:
    ann = Visitor(club.port, "ann")
    with ann.join_router() as one, ann.join_router() as two:
        logins = [each.welcome["authextra"]["flask_wamp"]["login"] for each in (one, two)]
        assert logins[0] == logins[1]
        assert len(logins[0]) == 32
    # The cookie is signed and not encrypted, so it holds the id itself.
    assert logins[0] not in ann.cookie


def test_another_realm_is_not_joined(club: Served) -> None:
    ann = Visitor(club.port, "ann")
    with pytest.raises(Refused, match="no_such_realm"):
        ann.join_with(ann.session(), realm="realm2")


def test_a_visitor_is_anonymous(club: Served, node: AskingNode) -> None:
    visitor = Visitor(club.port)
    how = visitor.session()
    assert how == {"url": node.browsers_url, "realm": "realm1", "authid": None, "ticket": None}
    with pytest.raises(Refused, match="no_auth_method"):
        visitor.join_router()


def test_a_ticket_expires(node: AskingNode, tmp_path: Path, club: Served) -> None:
    environ = {**node.environ, "FLASK_ROLE": "browser", "FLASK_WAMP_TICKET_MAX_AGE": "0.001"}
    log = tmp_path / "server.log"
    with Served(["flask", "--app", "club", "run", "-p", "{port}"], "", log, **environ) as server:
        ready(server)
        ann = Visitor(server.port, "ann")
        with pytest.raises(Refused, match=FAILED):
            ann.join_router()


def test_a_ticket_of_a_worker_that_has_ended(
    node: AskingNode, tmp_path: Path, club: Served
) -> None:
    environ = {**node.environ, "FLASK_ROLE": "browser"}
    log = tmp_path / "server.log"
    with Served(["flask", "--app", "club", "run", "-p", "{port}"], "", log, **environ) as server:
        ready(server)
        ann = Visitor(server.port, "ann")
        how = ann.session()
    with pytest.raises(Refused, match=FAILED):  # by the present workers
        ann.join_with(how)


# Leaving.


def test_logging_out_ends_the_sessions_of_this_browser(club: Served) -> None:
    laptop, phone = Visitor(club.port, "ann"), Visitor(club.port, "ann")
    unused, other = laptop.session(), phone.session()
    with laptop.join_router() as one, laptop.join_router() as two, phone.join_router() as three:
        assert laptop.get("/logout") == "bye"
        assert (one.ends(), two.ends()) == ("wamp.close.logout", "wamp.close.logout")
        assert three.call("com.club.order", "tea") == "tea"
        with pytest.raises(Refused, match=FAILED):
            laptop.join_with(unused)
        with phone.join_with(other) as four:
            assert four.authid == "ann"


def test_sign_out(club: Served) -> None:
    laptop, phone, bob = (Visitor(club.port, name) for name in ("ann", "ann", "bob"))
    unused = phone.session()
    with laptop.join_router() as one, phone.join_router() as two, bob.join_router() as three:
        assert bob.get("/sign-out/ann") == {"ended": 2}
        assert (one.ends(), two.ends()) == ("wamp.close.logout", "wamp.close.logout")
        assert three.call("com.club.order", "tea") == "tea"
    with pytest.raises(Refused, match=FAILED):
        phone.join_with(unused)
    for _ in range(8):  # the old cookie, on any worker
        with pytest.raises(Refused, match=DENIED):
            phone.join_router()
    assert bob.get("/sign-out/ann") == {"ended": 0}
    phone.get("/login/ann")
    with phone.join_router() as again:
        assert again.authid == "ann"


def test_a_copy_of_an_old_cookie_does_not_join(club: Served) -> None:
    ann, thief = Visitor(club.port, "ann"), Visitor(club.port)
    copied = ann.cookie
    ann.get("/logout")
    for _ in range(8):  # on whichever worker
        how = thief.get("/wamp/session", "POST", Cookie=copied)
        assert how["authid"] == "ann"  # over HTTP the copy still works
        with pytest.raises(Refused, match=DENIED):
            thief.join_with(how)


@pytest.mark.parametrize("path", ["/logout", "/sign-out/eve"])
def test_a_client_that_ignores_goodbye_may_do_nothing(club: Served, path: str) -> None:
    eve = Visitor(club.port, "eve")
    with eve.join_router() as browser:
        browser.subscribe("com.club.news")
        assert browser.call("com.club.order", "tea") == "tea"
        eve.get(path)
        assert browser.ends() == "wamp.close.logout"
        for _ in range(8):  # on whichever worker
            for ask in (
                lambda: browser.call("com.club.order", "tea"),
                lambda: browser.call("com.club.whoami"),
                lambda: browser.subscribe("com.club.user.eve.inbox"),
                lambda: browser.publish("com.club.hello", "I am still here"),
            ):
                with pytest.raises(Refused, match=NOT_AUTHORIZED):
                    ask()


def test_other_users_continue(club: Served) -> None:
    """This test runs after all others on these workers."""
    ann = Visitor(club.port, "ann")
    with ann.join_router() as browser:
        assert browser.call("com.club.order", "tea") == "tea"
    assert "Traceback" not in club.log


def test_another_page(club: Served, node: AskingNode) -> None:
    ann = Visitor(club.port, "ann")
    with pytest.raises(Exception, match="400"):
        ann.join_with(ann.session(), origin="https://evil.example")
    with ann.join_with(ann.session(), origin="http://localhost:5000") as browser:
        assert browser.authid == "ann"
