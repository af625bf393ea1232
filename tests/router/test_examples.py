"""The examples, run as their README says, as real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import typing as t
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.support.peers import AutobahnPeer, RemoteError
from tests.support.postgres import find_postgres, running_postgres
from tests.support.served import STARTS_WITHIN, Served

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

ROOT = Path(__file__).parents[2]

Run = t.Callable[..., Served]


@pytest.fixture
def run(wamp_router: DevRouter, tmp_path: Path) -> Run:
    """Run the command of an example's README, on Crossbar.io."""

    def run(name: str, **environ: str) -> Served:
        readme = (ROOT / "examples" / name / "README.rst").read_text()
        commands = re.findall(r"^    .*?flask (--app .*)$", readme, re.M)
        app = f"--app examples/{name}/app.py"
        (command,) = commands
        assert command.startswith(f"{app} ")
        words = command.replace("examples", f"{ROOT}/examples", 1).split()
        if words[-1] == "run":
            words += ["--port", "{port}"]
        environ = {"FLASK_WAMP_ROUTER_URL": wamp_router.url, **environ}
        return Served(["flask", *words], wamp_router.url, tmp_path / "example.log", **environ)

    return run


def wait_for(peer: AutobahnPeer, server: Served, procedure: str) -> None:
    """Wait until an example has registered a procedure."""

    def is_there() -> bool:
        assert server.process.poll() is None, server.log
        return peer.call("wamp.registration.lookup", procedure).value is not None

    eventually(is_there, STARTS_WITHIN)


def test_hooks(run: Run, peer: AutobahnPeer) -> None:
    opened = peer.subscribe("com.example.shop.opened")
    with run("hooks") as server:
        assert opened.next(STARTS_WITHIN).value == ["green", "black"]
        bought = peer.call("com.example.shop.buy", "green").value
        assert bought.pop("ms") < 1000
        assert bought == {"tea": "green", "left": 1}
        assert server.get("/buy/green", "POST")["left"] == 0
        error = peer.error("com.example.shop.buy", "green")
        assert (error.uri, error.args) == ("com.example.shop.error.sold_out", ("green",))
        with pytest.raises(urllib.error.HTTPError, match="502"):
            server.get("/buy/green", "POST")
        error = peer.error("com.example.shop.admin.refill", "green", 5)
        assert error.uri == "wamp.error.not_authorized"
        assert error.args == ("anonymous may not do that.",)
        eventually(lambda: "admin.refill failed: <Forbidden '403" in server.log)
        accessed = re.findall(r"^flask_wamp\.access: (\S+) from (\d+): (.*) in", server.log, re.M)
        assert accessed[0] == ("com.example.shop.buy", str(peer.session_id), "ok")
        assert accessed[-1][::2] == ("com.example.shop.admin.refill", "403 Forbidden")


def test_hooks_lets_admins_in(run: Run, peer: AutobahnPeer) -> None:
    refill = "com.example.shop.admin.refill"
    with run("hooks", FLASK_ADMIN_ROLES='["anonymous"]') as server:
        wait_for(peer, server, refill)
        refilled = peer.call(refill, "green", 5).value
        assert (refilled["left"], refilled["by"]) == (7, peer.session_id)


def test_sse(run: Run, peer: AutobahnPeer) -> None:
    topic = "com.example.wall.note"
    with run("sse") as server:
        assert "<title>A wall of notes</title>" in server.get("/")
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/events", timeout=10) as events:
            data = (line for line in events if line.startswith(b"data: "))
            notes = peer.subscribe(topic)
            form = urllib.parse.urlencode({"who": "Ada", "text": "hello"}).encode()
            urllib.request.urlopen(
                f"http://127.0.0.1:{server.port}/notes", form, timeout=10
            ).close()
            note = notes.next().value
            assert (note["who"], note["text"]) == ("Ada", "hello")
            assert json.loads(next(data)[6:]) == note
            peer.publish(topic, {**note, "text": "from elsewhere"})
            assert json.loads(next(data)[6:])["text"] == "from elsewhere"
    peer.publish(topic, None, options={"retain": True})


def test_background(run: Run, peer: AutobahnPeer) -> None:
    ready = peer.subscribe("com.example.kitchen.ready")
    calories = peer.subscribe("com.example.kitchen.calories")
    with run("background") as server:
        assert server.get("/order/soup", "POST") == {"order": 1}
        assert ready.next().args == [1, "soup"]
        assert calories.next(STARTS_WITHIN).args == [1, 1199]
        assert peer.call("com.example.kitchen.order", "tea").value == {"order": 2}
        assert ready.next().args == [2, "tea"]
        assert calories.next(STARTS_WITHIN).args == [2, 899]
        for line in ("Order 1 is ready: soup", "Order 2 has 899 calories"):
            eventually(lambda line=line: line in server.log)


def test_schedule(run: Run, peer: AutobahnPeer) -> None:
    ticks = peer.subscribe("com.example.clock.tick")
    with run("schedule") as server:
        first, second = ticks.next(STARTS_WITHIN).args, ticks.next().args
        assert first[1] == second[1]
        assert second[0] > first[0]
        said = rf"^Process (\d+): process {first[1]} says it is \d\d:\d\d:\d\d$"
        eventually(lambda: len(set(re.findall(said, server.log, re.M))) == 3, STARTS_WITHIN)
        os.kill(first[1], signal.SIGKILL)
        assert eventually(lambda: ticks.next(STARTS_WITHIN).args[1] != first[1])
        assert peer.call("com.example.clock.mute").value == 0


# SQLAlchemy.


@pytest.fixture(scope="module")
def postgres() -> t.Iterator[str]:
    folder = find_postgres()
    if folder is None:
        reason = "there is no PostgreSQL: apt-get install postgresql"
        if os.environ.get("FLASK_WAMP_REQUIRE_POSTGRES") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with running_postgres(folder) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/bank.db"
    return str(request.getfixturevalue("postgres"))


def bank(peer: AutobahnPeer, name: str, *args: t.Any) -> t.Any:
    """Call one of the bank's procedures."""
    return peer.call(f"com.example.bank.{name}", *args).value


def refusal(peer: AutobahnPeer, name: str, *args: t.Any) -> RemoteError:
    """Call one of the bank's procedures, which must fail."""
    return peer.error(f"com.example.bank.{name}", *args)


def test_sqlalchemy(run: Run, peer: AutobahnPeer, database: str) -> None:
    with run("sqlalchemy", FLASK_SQLALCHEMY_DATABASE_URI=database) as server:
        wait_for(peer, server, "com.example.bank.accounts")
        # A successful transaction is committed: it is visible over HTTP, for example.
        for name in ("ada", "bob"):
            bank(peer, "open", name)
        assert bank(peer, "pay", ["ada", "bob"], 100) == 2
        assert server.get("/accounts") == {"ada": 100, "bob": 100}

        # The work of a failed handler is rolled back.
        error = refusal(peer, "pay", ["ada", "bob", "nobody"], 50)
        assert error.uri == "com.example.bank.error.not_found"
        assert bank(peer, "accounts") == {"ada": 100, "bob": 100}

        # A failed commit is an error for the caller, and the next message has a new transaction.
        error = refusal(peer, "withdraw", "ada", 101)
        assert error.uri == "com.example.bank.error.refused"
        assert refusal(peer, "open", "bob").uri == "com.example.bank.error.refused"
        assert bank(peer, "accounts") == {"ada": 100, "bob": 100}
        bank(peer, "withdraw", "ada", 100)

        # The same applies to events.
        peer.publish("com.example.bank.payday", ["ada", "nobody"], 7)
        peer.publish("com.example.bank.payday", ["ada"], 5)
        eventually(lambda: bank(peer, "accounts") == {"ada": 5, "bob": 100})
        assert "Traceback" not in server.log


def test_sqlalchemy_sessions_do_not_mix(run: Run, peer: AutobahnPeer, postgres: str) -> None:
    with run("sqlalchemy", FLASK_SQLALCHEMY_DATABASE_URI=postgres) as server:
        wait_for(peer, server, "com.example.bank.accounts")
        bank(peer, "open", "eve")
        calls = [
            peer.submit("com.example.bank.pay", ["eve", *(["nobody"] if n % 3 == 0 else [])], n)
            for n in range(60)
        ]
        paid = 0
        for n, call in enumerate(calls):
            try:
                call.wait()
            except RemoteError as error:
                assert (n % 3, error.uri) == (0, "com.example.bank.error.not_found")
            else:
                paid += n
        assert bank(peer, "accounts")["eve"] == paid == sum(n for n in range(60) if n % 3)
