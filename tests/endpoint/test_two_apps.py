"""Two apps at one router: each decides about the browsers that have joined at its endpoint."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import typing as t
from pathlib import Path

import pytest
from websockets.exceptions import WebSocketException

from flask_wamp.crossbar import free_port
from flask_wamp.router.process.place import place_at
from flask_wamp.router.process.spawn import listens
from tests.conftest import eventually
from tests.support.browser import Browser, Refused
from tests.support.served import APPS, STARTS_WITHIN, Served

from .conftest import ready, stop_router
from .visitor import Visitor

pytest.importorskip("flask_login")

pytestmark = pytest.mark.slow

REFUSED = "wamp.error.not_authorized"


class Town(t.NamedTuple):
    """A club and a bank, each in two workers and in a folder of its own, where it is called ``app``."""

    club: Served
    bank: Served
    socket: Path

    def router(self) -> int:
        """Return the process id of their router."""
        return int(json.loads(Path(f"{self.socket}.json").read_text())["pid"])

    def customer(self, name: str | None = None) -> Browser:
        """Join at the bank, which identifies its customers by a cookie."""
        cookie = f"customer={name}" if name else None
        return Browser(f"ws://127.0.0.1:{self.bank.port}/wamp", cookie=cookie)

    def member(self, name: str | None = None) -> Browser:
        """Join at the club."""
        return Visitor(self.club.port, name).join()


def served(name: str, folder: Path, **environ: str) -> Served:
    """Copy an app to a folder of its own, and serve it there."""
    home = folder / name
    home.mkdir(exist_ok=True)
    shutil.copy(APPS / f"{name}.py", home / "app.py")
    command = ["gunicorn", "-w", "2", "--chdir", str(home), "-b", "127.0.0.1:{port}", "app:app"]
    url = f"embedded:{folder / 'wamp.sock'}"
    environ["FLASK_WAMP_ROUTER_URL"] = url
    return Served(command, url, folder / f"{name}.log", **environ)


@contextlib.contextmanager
def open_town(folder: Path) -> t.Iterator[Town]:
    folder.chmod(0o700)
    try:
        with served("club", folder) as club, served("bank", folder) as bank:
            ready(club)
            ready(bank)
            yield Town(club, bank, folder / "wamp.sock")
    finally:
        stop_router(folder / "wamp.sock")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Town]:
    with open_town(tmp_path_factory.mktemp("r")) as town:
        yield town


def visit(url: str) -> Browser | None:
    """Join at a port of the router. The second app's port opens when that app has joined."""
    try:
        return Browser(url)
    except ConnectionRefusedError:
        return None


@contextlib.contextmanager
def refused() -> t.Iterator[None]:
    with pytest.raises(Refused) as error:
        yield
    assert error.value.uri == REFUSED


def test_two_apps_call_each_other(town: Town) -> None:
    assert isinstance(town.club.get("/ask/com.bank.ledger")["answer"], int)
    assert town.bank.get("/ask/com.club.secret") == {"answer": "secret"}
    with town.customer("ann") as ann:
        assert ann.call("com.bank.ask", "com.club.secret") == {"answer": "secret"}


def test_visitors_may_do_what_their_app_allows(town: Town) -> None:
    with town.member() as member, town.customer() as customer:
        member.subscribe("com.club.news")
        customer.subscribe("com.bank.rates")
        for browser, topic in ((member, "com.bank.rates"), (customer, "com.club.news")):
            with refused():
                browser.subscribe(topic)
        assert member.call("com.club.whoami")["authrole"] == "anonymous"
        with refused():
            customer.call("com.club.whoami")


def test_a_role_of_one_app_gives_no_rights_in_the_other(town: Town) -> None:
    with town.member("ann") as member, town.customer("ann") as customer:
        assert member.authid == customer.authid and member.authrole == customer.authrole
        assert customer.call("com.bank.balance")["of"] == "ann"
        customer.subscribe("com.bank.user.ann.statement")
        assert member.call("com.club.order", "tea") == "tea"
        member.subscribe("com.club.user.ann.inbox")
        for call in (
            lambda: member.call("com.bank.balance"),
            lambda: member.subscribe("com.bank.user.ann.statement"),
            lambda: customer.call("com.club.order", "tea"),
            lambda: customer.subscribe("com.club.user.ann.inbox"),
        ):
            with refused():
                call()


def test_each_authorizer_decides_about_its_own_clients(town: Town) -> None:
    with town.customer("banned") as customer, town.member("banned") as member:
        with refused():
            customer.call("com.bank.balance")
        assert member.call("com.club.order", "tea") == "tea"


def test_signing_out_of_one_app_does_not_sign_out_of_the_other(town: Town) -> None:
    with town.member("cecil") as member, town.customer("cecil") as customer:
        assert town.bank.get("/sign-out/cecil") == {"ended": 1}
        assert customer.ends() == "wamp.close.logout"
        assert member.call("com.club.order", "tea") == "tea"
        with town.customer("dora") as dora:
            assert town.club.get("/sign-out/dora") == {"ended": 0}
            assert dora.call("com.bank.balance")["of"] == "dora"
        assert town.club.get("/sign-out/cecil") == {"ended": 1}
        assert member.ends() == "wamp.close.logout"


def test_a_ticket_belongs_to_the_app_that_issued_it(town: Town) -> None:
    ticket = Visitor(town.club.port, "ann").session()
    with Visitor(town.bank.port).join_with(ticket) as member:
        assert member.call("com.club.order", "tea") == "tea"
        with refused():
            member.call("com.bank.balance")


def test_a_deploy_of_one_app_does_not_affect_the_other(town: Town) -> None:
    pid = town.router()
    with town.member("ann") as member, town.customer("ann") as customer:
        for server, browser in ((town.bank, customer), (town.club, member)):
            before = {town.club.get("/ask/com.bank.ledger")["answer"] for _ in range(20)}
            server.process.send_signal(signal.SIGHUP)
            if server is town.bank:
                eventually(
                    lambda before=before: (
                        town.club.get("/ask/com.bank.ledger")["answer"] not in before
                    ),
                    STARTS_WITHIN,
                )
            assert member.call("com.club.order", "tea") == "tea"
            assert customer.call("com.bank.balance")["of"] == "ann"
            assert browser.events == []
    assert town.router() == pid


def test_both_apps_join_again_after_the_router_was_killed(town: Town) -> None:
    pid = town.router()
    os.kill(pid, signal.SIGKILL)

    def is_back(join: t.Callable[[str], Browser], procedure: str, *args: str) -> bool:
        try:
            with join("ann") as ann:
                return bool(ann.call(procedure, *args))
        except Refused as error:
            assert error.uri != REFUSED, error  # it waits for the app's rights
            return False
        except (OSError, EOFError, WebSocketException):
            return False

    eventually(lambda: is_back(town.customer, "com.bank.balance"), STARTS_WITHIN)
    eventually(lambda: is_back(town.member, "com.club.order", "tea"), STARTS_WITHIN)
    assert town.router() != pid


def test_each_app_has_its_own_port_at_the_router(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    ports = {name: f"ws://127.0.0.1:{free_port()}/ws" for name in ("club", "bank")}
    with contextlib.ExitStack() as stack:
        stack.callback(stop_router, tmp_path / "wamp.sock")
        for name, url in ports.items():
            server = served(name, tmp_path, FLASK_WAMP_ROUTER_LISTEN=url)
            ready(stack.enter_context(server))
        for name, topic in (("club", "news"), ("bank", "rates")):
            with eventually(lambda url=ports[name]: visit(url)) as browser:
                browser.subscribe(f"com.{name}.{topic}")
                with refused():
                    browser.subscribe("com.club.rates")


def test_two_apps_cannot_share_a_port(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    url = f"ws://127.0.0.1:{free_port()}/ws"
    with contextlib.ExitStack() as stack:
        stack.callback(stop_router, tmp_path / "wamp.sock")
        club, bank = (
            stack.enter_context(served(name, tmp_path, FLASK_WAMP_ROUTER_LISTEN=url))
            for name in ("club", "bank")
        )
        ready(club)
        ready(bank)
        eventually(lambda: "is open for another application" in club.log + bank.log)


def test_the_router_stays_until_the_last_one_ends(tmp_path: Path) -> None:
    socket = tmp_path / "wamp.sock"
    tmp_path.chmod(0o700)
    with contextlib.ExitStack() as stack:
        stack.callback(stop_router, socket)
        with served("bank", tmp_path) as bank:  # it starts the router
            ready(bank)
            club = stack.enter_context(served("club", tmp_path))
            ready(club)
            town = Town(club, bank, socket)
            pid = town.router()
            member = stack.enter_context(town.member("ann"))
            customer = stack.enter_context(town.customer("ann"))
        assert member.call("com.club.order", "tea") == "tea"
        with refused():  # there is no process that could decide about the bank's customers
            customer.subscribe("com.bank.rates")
        assert town.router() == pid and listens(place_at(str(socket)))
        with served("bank", tmp_path) as bank:
            ready(bank)
            assert customer.call("com.bank.balance")["of"] == "ann"
        stack.pop_all().close()
    eventually(lambda: not listens(place_at(str(socket))), 60)
