"""The pages in ``docs``: they are valid, and all our snippets are run."""

from __future__ import annotations

import ast
import configparser
import json
import os
import queue
import re
import subprocess
import sys
import types
import typing as t
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree

from flask_wamp import ApplicationError, CallResult, FlaskWAMP
from flask_wamp.concurrency.child_processes import spawn_bound, stop_process
from flask_wamp.config import KEYS
from flask_wamp.crossbar import DevRouter
from flask_wamp.router import RouterSettings
from flask_wamp.router.process import embedded
from flask_wamp.router.process.access import read_access
from flask_wamp.router.process.server import ServerSettings
from tests.conftest import eventually
from tests.support.notes import publish
from tests.support.peers import PATIENCE, AutobahnPeer, Topic
from tests.testclient.test_docs import OTHERS, TUTORIAL

pytestmark = pytest.mark.router

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str) -> t.Iterator[tuple[str | None, str]]:
    """The Python snippets of a page, each with its name."""
    path = DOCS / f"{page}.rst"
    # A warning is an error.
    settings = {"report_level": 2, "halt_level": 2}
    tree = publish_doctree(path.read_text(), str(path), settings_overrides=settings)
    for block in tree.findall(nodes.literal_block):
        if "python" in block["classes"]:
            yield (block["names"] or [None])[0], block.astext()


class Page:
    """A page whose snippets are run in one module.

    :param module: Where they are run.
    """

    def __init__(self, page: str, module: types.ModuleType) -> None:
        self.module = module
        self.printed: list[object] = []
        """What the snippets have printed, in any thread. capfd loses lines while it is read."""
        vars(module)["print"] = self.printed.append
        self._file = f"docs/{page}.rst"
        self._snippets = {name: source for name, source in blocks(page) if name}

    @property
    def names(self) -> list[str]:
        """The snippets, in order."""
        return list(self._snippets)

    def replace(self, old: str, new: str) -> None:
        """Replace text in every snippet."""
        self._snippets = {name: s.replace(old, new) for name, s in self._snippets.items()}

    def execute(self, *names: str) -> t.Any:
        """Run some of the snippets, and return their module."""
        for name in names:
            exec(compile(self._snippets[name], self._file, "exec"), vars(self.module))
        return self.module

    def run(self, *names: str) -> FlaskWAMP:
        """Run some of the snippets, join, and return the extension."""
        wamp: FlaskWAMP = self.execute(*names).wamp
        wamp.start()
        wamp.client.wait_until_joined(PATIENCE)
        return wamp


@pytest.fixture
def page(
    monkeypatch: pytest.MonkeyPatch, wamp_router: DevRouter, request: pytest.FixtureRequest
) -> t.Iterator[Page]:
    """The page a test names, with a router configured."""
    monkeypatch.setenv("FLASK_WAMP_ROUTER_URL", wamp_router.url)
    monkeypatch.setenv("FLASK_WAMP_REALM", wamp_router.realm)
    monkeypatch.setenv("FLASK_TESTING", "true")
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    yield Page(request.param, module)
    if "wamp" in vars(module) and module.wamp._apps:
        module.wamp.stop()
    if "db" in vars(module):
        with module.app.app_context():
            module.db.engine.dispose()


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.rst")), ids=lambda path: path.stem)
def test_snippets_are_valid_python(path: Path) -> None:
    for name, source in blocks(path.stem):
        compile(source, name or path.name, "exec")


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.rst")), ids=lambda path: path.stem)
def test_every_snippet_has_a_name_under_which_a_test_runs_it(path: Path) -> None:
    unnamed = [source for name, source in blocks(path.stem) if name is None]
    # The left column of this page shows other libraries.
    assert len(unnamed) == (12 if path.stem == "coming-from-wampify" else 0)


def test_the_index_names_every_page_and_example() -> None:
    index = (DOCS / "index.rst").read_text()
    for path in DOCS.glob("*.rst"):
        assert path.stem == "index" or f"<{path.name}>`_" in index
    for path in (DOCS.parent / "examples").glob("*/README.rst"):
        assert f"<../examples/{path.parent.name}>`_" in index


def uri_of_error(wamp: FlaskWAMP, uri: str, *args: t.Any, **kwargs: t.Any) -> str | None:
    """The error that a call gets."""
    with pytest.raises(ApplicationError) as raised:
        wamp.client.call(f"com.example.{uri}", *args, **kwargs)
    return raised.value.uri


# handlers.rst

on_handlers = pytest.mark.parametrize("page", ["handlers"], indirect=True)


@on_handlers
def test_no_snippet_of_handlers_is_left_out(page: Page) -> None:
    assert [*blocks("handlers")] == [(name, page._snippets[name]) for name in page.names]
    assert page.names == [
        "app.py",
        "views.py",
        "factory.py",
        "hooks.py",
        "middlewares.py",
        "errors.py",
        "signals.py",
        "blueprints.py",
        "requests.py",
        "guards.py",
        "coroutines.py",
    ]


@on_handlers
def test_views_and_factories(page: Page) -> None:
    wamp = page.run("app.py", "views.py", "factory.py")
    call = wamp.client.rpc.com.example
    assert call.price("green") == {"tea": "green", "price": 3}
    assert call.stock("green") == {"tea": "green", "stock": 7}
    shop = page.module.shop
    for name in ("one", "two"):
        app = page.module.create_app(name)
        with app.app_context():
            shop.start()
            shop.client.wait_until_joined(PATIENCE)
            assert wamp.client.call(f"com.{name}.open") is True
            assert wamp.client.call("version") == "1.0"
            shop.stop()


@on_handlers
def test_hooks_middlewares_and_errors(page: Page) -> None:
    wamp = page.run("app.py", "hooks.py", "middlewares.py", "errors.py")
    call = wamp.client.rpc.com.example
    assert call.buy("green")["seconds"] < 1
    assert uri_of_error(wamp, "buy", "green", card="expired") == "wamp.error.not_authorized"
    assert call.buy("nothing")["tea"] is None
    assert call.buy("please")["tea"] == "of course"
    assert call.shout("green")["tea"] == "GREEN"
    assert call.brew("green")["tea"] == call.grow("green")["tea"] == "green"
    assert uri_of_error(wamp, "sell", "green") == "com.example.error.sold_out"
    assert call.sell("black")["tea"] == "water"


@on_handlers
def test_signals(page: Page, peer: AutobahnPeer, caplog: pytest.LogCaptureFixture) -> None:
    up = peer.subscribe("com.example.up")
    wamp = page.run("app.py", "signals.py")
    assert up.next().value == wamp.client.session_id
    assert uri_of_error(wamp, "buy") == "wamp.error.invalid_argument"
    assert "com.example.buy: InvalidArgument(" in caplog.text


@on_handlers
def test_blueprints_requests_and_coroutines(page: Page) -> None:
    wamp = page.run("app.py", "blueprints.py", "requests.py", "coroutines.py")
    call = wamp.client.rpc.com.example
    assert call.users.rename(7, "Ada") == {"number": 7, "name": "Ada"}
    assert uri_of_error(wamp, "users.admin.remove", 7) == "wamp.error.not_authorized"
    assert call.order(tea="green") == {"ordered": "green", "see": "/orders"}
    assert call.steep("green") == {"tea": "green"}


@on_handlers
def test_a_view_for_users_who_are_logged_in(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_WAMP_ROUTER_URL", "memory:")
    monkeypatch.setenv("FLASK_SECRET_KEY", "x")
    flask_login = pytest.importorskip("flask_login")
    wamp = page.run("app.py", "guards.py")
    module: t.Any = page.module
    ann = flask_login.UserMixin()
    ann.id = "ann"
    module.login_manager.user_loader({"ann": ann}.get)
    assert module.app.test_client().post("/reserve/green").status_code == 401
    with wamp.test_client(authrole="anonymous") as peer:
        with pytest.raises(ApplicationError) as raised:
            peer.call("com.example.reserve", "green")
        assert raised.value.uri == "wamp.error.not_authorized"
    with wamp.test_client(authid="ann", authrole="user") as peer:
        assert peer.call("com.example.reserve", "green") == {"reserved": "green", "user": "ann"}
    with (
        wamp.test_client(authid="bob", authrole="user") as peer,
        pytest.raises(ApplicationError, match="not_authorized"),
    ):
        peer.call("com.example.reserve", "green")


# results-and-errors.rst


@pytest.mark.parametrize("page", ["results-and-errors"], indirect=True)
def test_results_and_errors(page: Page) -> None:
    assert page.names == ["app.py", "handlers.py", "inner.py"]
    wamp = page.run(*page.names)
    call = wamp.client.rpc.com.example
    assert call.order("coffee") == {"item": "coffee", "day": "2026-01-01"}
    assert uri_of_error(wamp, "order", "coffee", 0) == "com.example.error.bad_amount"
    assert uri_of_error(wamp, "order", "tea") == "com.example.error.sold_out"
    assert uri_of_error(wamp, "order", "secret") == "wamp.error.not_authorized"
    assert uri_of_error(wamp, "order", "coffee", "many") == "wamp.error.invalid_argument"
    assert call.whoami() == CallResult(wamp.client.session_id, role="anonymous")

    def refuse(amount: int) -> None:
        raise ApplicationError("com.bank.error.overdrawn", amount)

    wamp.client.register(refuse, "com.bank.withdraw")
    with pytest.raises(ApplicationError) as raised:
        call.withdraw(7)
    assert (raised.value.uri, raised.value.args) == ("com.bank.error.overdrawn", (7,))


# client.rst


@pytest.mark.parametrize("page", ["client"], indirect=True)
def test_client(page: Page) -> None:
    # tests/endpoint/test_device_page.py runs the others.
    assert page.names == ["app.py", "client.py", "printers.py", "printer.py"]
    page.run("app.py")
    page.run("client.py")


# configuration.rst


def test_the_configuration_table_has_every_key_and_its_default() -> None:
    tree = publish_doctree((DOCS / "configuration.rst").read_text())
    (table, *_) = tree.findall(nodes.table)
    _, *rows = ([cell.astext() for cell in row] for row in table.findall(nodes.row))
    assert [row[0] for row in rows] == [key.name for key in KEYS]
    for key, (_, default, _) in zip(KEYS, rows, strict=True):
        if key.default in (None, [], {}):  # none, or the library finds out
            assert not default.startswith(('"', "[", "{", "True", "False")), key.name
        else:
            assert ast.literal_eval(re.sub(r" (s|bytes)$", "", default)) == key.default, key.name


def test_the_table_of_optional_packages_has_every_extra() -> None:
    text = (DOCS / "configuration.rst").read_text()
    settings = configparser.ConfigParser()
    settings.read(DOCS.parent / "setup.cfg")
    extras = list(settings["options.extras_require"])
    assert re.findall(r"^``([a-z]+)`` ", text, flags=re.M) == extras


# router.rst


@pytest.mark.parametrize("page", ["router"], indirect=True)
def test_a_router_in_the_same_process(page: Page) -> None:
    assert page.execute("memory.py").main() == 3


def test_the_file_of_principals_is_valid(tmp_path: Path) -> None:
    tree = publish_doctree((DOCS / "router.rst").read_text())
    (source,) = (b.astext() for b in tree.findall(nodes.literal_block) if "json" in b["classes"])
    (tmp_path / "access.json").write_text(source)
    access = read_access(str(tmp_path / "access.json"))
    assert access.authorizer is not None and not access.is_open


def test_the_limits_are_those_of_the_embedded_router() -> None:
    session, server = RouterSettings(), ServerSettings()
    tree = publish_doctree((DOCS / "router.rst").read_text())
    tables = [
        {row[0].astext(): row[1].astext() for row in table.findall(nodes.row)}
        for table in tree.findall(nodes.table)
    ]
    assert tables[1] == {
        "connections": f"{server.max_connections:,}",
        "connections from one address": f"{server.max_connections_per_address:,}",
        "size of a message": f"{session.max_message_size >> 20} MiB",
        "data that waits for a client that reads slowly": f"{session.max_unsent >> 20} MiB",
        "registrations of a session": f"{session.max_registrations:,}",
        "subscriptions of a session": f"{session.max_subscriptions:,}",
        "calls of a session that wait for results": f"{session.max_pending_calls:,}",
        "calls that wait for a procedure's next process": f"{session.max_lingering_calls:,}",
        "testaments of a session": f"{session.max_testaments:,}",
        "messages that wait while an authorizer is asked": f"{session.max_waiting:,}",
        "topics with retained events": f"{session.max_retained:,}",
    }
    assert (embedded.GRACE, embedded.LINGER) == (10, 10)


# testing.rst: its tutorial needs no router, and is in tests/testclient/test_docs.py.


@pytest.mark.parametrize("page", ["testing"], indirect=True)
def test_testing(page: Page, wamp_router: DevRouter, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name in page.names if name not in (*TUTORIAL, *OTHERS)]
    assert names == ["app.py", "test_users.py"]
    monkeypatch.setitem(sys.modules, "app", page.module)
    module = page.execute(*names)
    module.test_get_user(wamp_router, monkeypatch)


# coming-from-flask-wamp.rst


@pytest.mark.parametrize("page", ["coming-from-flask-wamp"], indirect=True)
@pytest.mark.filterwarnings("ignore:(CROSSBAR_URL|REALM) is now called:DeprecationWarning")
def test_code_written_for_flask_wamp(page: Page, wamp_router: DevRouter) -> None:
    printed: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
    page.replace("ws://127.0.0.1:8080/ws", wamp_router.url)
    page.module.print = lambda *values: printed.put(values)  # type: ignore[attr-defined]
    module = page.execute("old.py")
    module.client.start()
    module.client.wait_until_joined(PATIENCE)
    others = module.client.with_options(exclude_me=False, acknowledge=True)
    others.publish(topic="news", message="tea is ready")
    assert "tea is ready" in map(str, printed.get(timeout=PATIENCE))
    assert module.app.test_client().get("/").text == "data"


# deploying.rst


def test_the_commands_of_deploying(tmp_path: Path, wamp_router: DevRouter) -> None:
    text = (DOCS / "deploying.rst").read_text()

    def printed(command: str) -> str:
        found = re.search(rf"\n    \$ {re.escape(command)}\n((?:    .*\n)+)", text)
        assert found, command
        return re.sub(r"^    ", "", found.group(1), flags=re.M)

    worker = "flask --app app.py wamp worker --workers 3"
    status = "flask --app app.py wamp status"
    (app,) = (source for name, source in blocks("client") if name == "app.py")
    (tmp_path / "app.py").write_text(app)
    environ = {**os.environ, "FLASK_WAMP_ROUTER_URL": wamp_router.url, "PYTHONUNBUFFERED": "1"}
    options: dict[str, t.Any] = {"cwd": tmp_path, "env": environ, "stdin": subprocess.DEVNULL}
    log = tmp_path / "worker.log"
    with log.open("w") as out:
        started = spawn_bound(
            [sys.executable, "-m", *worker.split()], stdout=out, stderr=out, **options
        )
    try:
        eventually(lambda: log.read_text() == printed(worker), 30)
        shown = subprocess.run(
            [sys.executable, "-m", *status.split()],
            capture_output=True,
            text=True,
            timeout=30,
            **options,
        )
    finally:
        stop_process(started, 10)
    assert shown.stdout == printed(status).replace("ws://127.0.0.1:8080/ws", wamp_router.url)
    assert (shown.stderr, shown.returncode) == ("", 0)


@pytest.mark.parametrize("page", ["client"], indirect=True)
def test_the_health_view_of_deploying(page: Page) -> None:
    wamp = page.run("app.py")
    app = page.module.app  # type: ignore[attr-defined]
    sources = dict(blocks("deploying"))
    assert list(sources) == ["proxy.py", "listen.py", "health.py"]  # the others: tests/endpoint
    name, source = "health.py", sources["health.py"]
    exec(compile(source, name, "exec"), vars(page.module))

    def shows_the_health() -> bool:
        response = app.test_client().get("/wamp/health")
        return (response.status_code, response.json) == (200, wamp.health())

    eventually(shows_the_health)  # not while the start is still running


# streaming.rst


@pytest.mark.parametrize("page", ["streaming"], indirect=True)
def test_streaming(page: Page) -> None:
    assert page.names == ["app.py", "count.py", "stream.py"]
    wamp = page.run(*page.names)
    items = [{"number": 0}, {"number": 1}, {"number": 2}, "done"]
    app = page.module.app  # type: ignore[attr-defined]
    with app.app_context():
        assert page.module.collect() == items  # type: ignore[attr-defined]
    for path in ("/count/3", "/relayed"):
        text = app.test_client().get(path).text
        assert [json.loads(line) for line in text.splitlines()] == items
    assert wamp.client.call("com.example.count", 3) == "done"
    assert list(wamp.client.stream("com.example.relayed")) == items


# background.rst


@pytest.mark.parametrize("page", ["background"], indirect=True)
def test_background_schedules_and_delivery(page: Page, peer: AutobahnPeer) -> None:
    delivered = peer.subscribe("com.example.delivered")
    tidied = peer.subscribe("com.example.tidied")
    counted = peer.subscribe("com.example.counted")
    assert page.names == ["app.py", "background.py", "schedules.py", "delivery.py"]
    wamp = page.run(*page.names)
    assert wamp.client.call("com.example.deliver", "green") == {"delivered": "soon"}
    assert delivered.next().value == "green"
    assert tidied.next().value == "the kitchen"
    assert len(wamp.schedule.jobs) == 1
    eventually(lambda: peer.call("wamp.subscription.lookup", "com.example.bought").value)
    number = peer.publish("com.example.bought", "green")
    assert counted.next().args == ["green", number]


# coming-from-wampify.rst

on_wampify = pytest.mark.parametrize("page", ["coming-from-wampify"], indirect=True)


@on_wampify
def test_every_wampify_snippet_has_a_counterpart(page: Page) -> None:
    names = [name for name, _ in blocks("coming-from-wampify")]
    assert names[::2] == [None] * len(page.names)
    assert names[1::2] == page.names
    assert page.names == [
        "app.py",
        "procedures.py",
        "topics.py",
        "story.py",
        "background.py",
        "scheduling.py",
        "signals.py",
        "middlewares.py",
        "errors.py",
        "sqlalchemy.py",
        "bridge.py",  # run in test_bridge.py
        "autobahn.py",
    ]


@on_wampify
def test_the_snippets_for_users_of_wampify(page: Page, peer: AutobahnPeer) -> None:
    peer.register("com.counter.increment")
    page.replace('"duration": 1}', '"duration": 30}')  # a machine may be busy
    wamp = page.run(*page.names[:9])
    call = wamp.client.rpc.com.example
    assert (call.pow(3), call.pow(), wamp.client.call("math.square", "2")) == (9, 1, 4)
    for args, kwargs, loc in [(["x"], {}, [0]), ([], {"x": "x"}, ["x"])]:
        with pytest.raises(ApplicationError) as raised:
            call.pow(*args, **kwargs)
        assert raised.value.uri == "wamp.error.invalid_argument"
        assert [error["loc"] for error in raised.value.kwargs["errors"]] == [loc]
    assert call.anything("x") == "x, please"
    assert (call.quick(), call.slow()) == ("now, please", "later")
    assert uri_of_error(wamp, "buy", "green") == "com.example.error.sold_out"
    assert call.asap() is None
    peer.publish("com.example.hello", name="Ada")
    peer.publish("com.example.visit")
    expected = {"im here", "Ada you are welcome!", peer.session_id}
    eventually(lambda: expected <= set(page.printed))
    (job,) = wamp.schedule.jobs
    assert job.unit == "days"


@on_wampify
def test_sqlalchemy(page: Page) -> None:
    wamp = page.run("app.py", "sqlalchemy.py")
    assert wamp.client.call("com.example.count", 2) == 3


@on_wampify
def test_the_snippets_for_users_of_autobahn(page: Page, peer: AutobahnPeer) -> None:
    up, length = peer.subscribe("com.example.up"), peer.subscribe("com.example.length")
    page.replace("timeout=1,", "timeout=30,")
    wamp = page.run("app.py", "autobahn.py")
    up.next()
    peer.publish("com.example.news", "tea")
    assert length.next().value == 3
    assert wamp.client.session_id in page.printed
    wamp.client.unregister("com.example.add")
    publish(wamp, "com.example.news", "tea")
    eventually(lambda: "no_such_procedure" in str(page.printed))


# payloads.rst


@pytest.mark.parametrize("page", ["payloads"], indirect=True)
def test_payloads(page: Page) -> None:
    assert page.names == ["provider.py", "encoder.py", "decoder.py"]
    call = page.run(*page.names).client.rpc.com.example
    assert call.favourite() == {"colour": "red"}
    assert call.price("green") == "2.50 EUR"
    assert call.double("2.50 EUR") == "5.00 EUR"


# meta.rst


@pytest.mark.parametrize("page", ["meta"], indirect=True)
def test_meta(page: Page, wamp_router: DevRouter, peer: AutobahnPeer) -> None:
    wamp = page.run(*page.names)
    assert page.names == ["meta.py", "presence.py", "testaments.py", "history.py"]
    ended = [peer.subscribe(f"com.example.worker.{name}") for name in ("gone", "lost")]
    http = page.module.app.test_client()  # type: ignore[attr-defined]
    told: dict[str, Topic] = {
        name: peer.subscribe(f"com.example.{name}") for name in ("joined", "left")
    }
    here = page.module.here  # type: ignore[attr-defined]
    eventually(lambda: peer.session_id in here)
    with AutobahnPeer(wamp_router.rawsocket_url) as other:
        assert told["joined"].next().value == here[other.session_id] == other.authid
        ids = {session["id"] for session in http.get("/sessions").json}
        assert {wamp.client.session_id, other.session_id} <= ids
        assert http.delete(f"/sessions/{other.session_id}").status_code == 204
        other.wait_until_lost()
    assert told["left"].next().value == other.authid
    assert other.session_id not in here
    assert http.get("/news").status_code == 502  # the router keeps nothing
    wamp.stop()
    assert ended[0].next().args == [os.getpid()]
    peer.call("wamp.session.count")  # all other events have arrived by then
    assert ended[1].is_quiet()


# patterns.rst


@pytest.mark.parametrize("page", ["patterns"], indirect=True)
def test_patterns(page: Page, peer: AutobahnPeer, caplog: pytest.LogCaptureFixture) -> None:
    wamp = page.run(*page.names)
    caplog.set_level("INFO")
    assert peer.call("com.example.users.7.get", True).value == {"id": 7, "verbose": True}
    assert peer.error("com.example.users.7.get", user_id=8).uri == "wamp.error.invalid_argument"
    assert peer.call("com.example.files.a.b").value == "com.example.files.a.b"
    assert peer.call("com.example.tea.size").value == 3
    assert wamp.client.call("com.example.resize", 4) == 4
    peer.publish("com.example.tea.sold", 2)
    eventually(lambda: "com.example.tea.sold: 2 tea sold" in caplog.text)


# events.rst


@pytest.mark.parametrize("page", ["events"], indirect=True)
def test_events(page: Page, peer: AutobahnPeer) -> None:
    assert page.names == ["view.py", "map.py", "iterate.py"]
    wamp = page.run(*page.names)
    client = page.module.app.test_client()  # type: ignore[attr-defined]
    for path, topic, data in (
        ("/events", "com.example.chat", b'"hello"'),
        ("/rooms/tea?name=ada", "com.example.rooms", b'{"for": "ada", "text": "hello"}'),
    ):
        response = client.get(path, buffered=False)
        lines = response.iter_encoded()
        assert next(lines) == b": \n\n"
        peer.publish("com.example.rooms", "hush", room="coffee")
        peer.publish(topic, "hello", **({"room": "tea"} if "rooms" in topic else {}))
        assert b"data: " + data + b"\n" in next(lines)
        response.close()
    peer.publish("com.example.numbers", 11, options={"retain": True})
    assert wamp.client.call("com.example.first_above", 10) == 11
