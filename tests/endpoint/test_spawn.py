"""The router that an app starts: only one, only for this user, and only while the app runs."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socket import create_server

import pytest
from flask import Flask
from websockets.exceptions import InvalidStatus

from flask_wamp import ApplicationError, FlaskWAMP, TransportError, WAMPError
from flask_wamp.cli import wamp as commands
from flask_wamp.router.process import locks
from flask_wamp.router.process.locks import locked
from flask_wamp.router.process.place import Place, own_place, place_at, private_folder
from flask_wamp.router.process.spawn import ensure_running, listens
from flask_wamp.transports.urls import LONGEST_EMBEDDED_PATH
from tests.conftest import eventually
from tests.support.browser import Browser, Refused
from tests.support.peers import AutobahnPeer

from .conftest import stop_router

pytestmark = pytest.mark.slow

MakeApp = t.Callable[..., Flask]
SETUP = {"realm": "realm1"}


@pytest.fixture
def place(socket: Path) -> Place:
    return Place(str(socket))


def start(place: Place, **setup: t.Any) -> int:
    """Start a router. Return its process id."""
    ensure_running(place, {**SETUP, **setup}, time.monotonic() + 20)
    return int(json.loads(Path(place.info).read_text())["pid"])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_second_start_finds_the_running_router(place: Place) -> None:
    assert not listens(place)
    pid = start(place)
    assert listens(place)
    assert start(place) == pid


def test_ten_processes_at_once_start_one(place: Place) -> None:
    code = (
        "import sys, time, json\n"
        "from flask_wamp.router.process.place import Place\n"
        "from flask_wamp.router.process.spawn import ensure_running\n"
        "place = Place(sys.argv[1])\n"
        "ensure_running(place, {'realm': 'realm1'}, time.monotonic() + 30)\n"
        "print(json.load(open(place.info))['pid'])\n"
    )
    command = [sys.executable, "-c", code, place.socket]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(10)]
    pids = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert len(pids) == 1, pids
    assert is_alive(int(pids.pop()))


def test_the_router_is_detached_from_its_starter(place: Place) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    pid = start(place)
    os.close(write)
    assert os.read(read, 1) == b""  # at once: it has not inherited the other end
    os.close(read)
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    parent, session = int(fields[1]), int(fields[3])
    assert parent != os.getpid()
    assert session != os.getsid(0)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"


def test_other_users_cannot_reach_the_router(place: Place) -> None:
    start(place)
    for path in (place.socket, place.browsers):
        assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0
    for path in (place.info, place.lock, place.log, place.starting):
        assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0, path


def test_secrets_are_in_no_command_line(place: Place) -> None:
    pid = start(place, policy=[["wamp."], ["a", "call", "com.hush.hush", "exact", ""]])
    assert b"hush" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert b"hush" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_the_router_raises_its_limit_of_open_files(place: Place) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))  # 1,024 is common
        pid = start(place)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (hard, hard)


def test_files_of_a_killed_router_do_not_prevent_a_start(place: Place) -> None:
    pid = start(place)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not listens(place))
    assert os.path.exists(place.socket)
    assert start(place) != pid


def test_sigterm_sends_goodbye(place: Place, make_app: MakeApp) -> None:
    app = make_app(WAMP_ROUTER_URL=f"embedded:{place.socket}", WAMP_AUTOSTART=False)
    wamp = FlaskWAMP(app)
    wamp.start()
    with app.app_context():
        wamp.client.wait_until_joined(10)
        pid = int(json.loads(Path(place.info).read_text())["pid"])
        os.kill(pid, signal.SIGTERM)
        # The client joins again, so a router starts again.
        eventually(lambda: not is_alive(pid) and listens(place) and wamp.client.joined)


def test_status_shows_the_router_and_does_not_start_one(place: Place, make_app: MakeApp) -> None:
    app = make_app(WAMP_ROUTER_URL=f"embedded:{place.socket}")
    wamp = FlaskWAMP(app)
    wamp.callee("com.example.f")(lambda: None)
    run = app.test_cli_runner().invoke
    nobody = run(commands, ["status"])
    assert nobody.exit_code == 1
    assert f"no router is running at {place.socket}" in nobody.output
    assert not listens(place)
    pid = start(place)
    found = run(commands, ["status"])
    assert (
        found.output.splitlines()[0]
        == f"router embedded:{place.socket}, process {pid}, realm realm1"
    )
    assert "com.example.f has no callee" in found.output


def test_the_router_ends_after_the_app(place: Place, make_app: MakeApp) -> None:
    pid = start(place, grace=0.4)
    app = make_app(WAMP_ROUTER_URL=f"embedded:{place.socket}", WAMP_AUTOSTART=False)
    wamp = FlaskWAMP(app)
    wamp.start()
    with app.app_context():
        wamp.client.wait_until_joined(10)
        wamp.stop()
    eventually(lambda: not is_alive(pid))
    assert not os.path.exists(place.info)
    assert not os.path.exists(place.socket)


def test_a_router_that_cannot_start_says_why(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "no" / "folder" / "here.sock"))
    (tmp_path / "no").write_text("a file")
    with pytest.raises(TransportError, match="cannot start the embedded router"):
        ensure_running(place, SETUP, time.monotonic() + 5)


def test_where_it_cannot_write_the_error_says_what_to_do(tmp_path: Path) -> None:
    """Root may write everywhere except below a file, and in a file system that is read-only."""
    with pytest.raises(TransportError) as caught:
        ensure_running(Place("/proc/here.sock"), SETUP, time.monotonic() + 5)
    assert "Set WAMP_ROUTER_URL to embedded:/path/to/a.sock in a folder" in str(caught.value)


def test_a_private_folder_that_cannot_be_created_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
    monkeypatch.setattr("flask_wamp.router.process.place.Path", lambda *parts: Path("/proc", "no"))
    with pytest.raises(PermissionError, match="cannot create /proc/.*: .*Set WAMP_ROUTER_URL to"):
        private_folder()


def test_a_router_that_fails_at_its_start_says_why(place: Place) -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        why = f"the embedded router did not start: .*cannot listen on {url}: Address already in use"
        with pytest.raises(TransportError, match=why):
            ensure_running(place, {**SETUP, "listen": [url]}, time.monotonic() + 20)
    start(place)


def test_a_port_in_use_is_not_blamed_on_another_version(
    place: Place, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    start(place)
    with create_server(("127.0.0.1", 0)) as taken:
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        app = make_app(WAMP_ROUTER_URL=f"embedded:{place.socket}", WAMP_ROUTER_LISTEN=[url])
        FlaskWAMP(app).start()
        error = (
            "the embedded router cannot open a port of WAMP_ROUTER_LISTEN: cannot listen on "
            f"{url}: Address already in use"
        )
        eventually(lambda: error in caplog.messages)
    assert "another version" not in caplog.text


def test_an_app_with_another_realm_is_told_the_realm_of_the_router(
    place: Place, make_app: MakeApp
) -> None:
    start(place)
    app = make_app(WAMP_ROUTER_URL=f"embedded:{place.socket}", WAMP_REALM="other")
    wamp = FlaskWAMP(app)
    wamp.start()
    with pytest.raises(WAMPError, match="no realm 'other'; this router has the realm realm1"):
        wamp.client.wait_until_joined(5)


def test_a_refused_origin_is_logged_with_the_key_of_the_app(
    place: Place, make_app: MakeApp
) -> None:
    url = f"ws://127.0.0.1:{_free_port()}/ws"
    app = make_app(WAMP_ROUTER_URL=f"embedded:{place.socket}", WAMP_ROUTER_LISTEN=[url])
    wamp = FlaskWAMP(app)
    wamp.start()
    wamp.client.wait_until_joined(20)
    with pytest.raises(InvalidStatus, match="403"):
        Browser(url, origin="http://page.example")
    line = "its origin, 'http://page.example', is not allowed. Add it to WAMP_ORIGINS of the app"
    eventually(lambda: line in Path(place.log).read_text())


def test_a_realm_that_is_not_the_app_s_does_not_exist(place: Place) -> None:
    url = f"ws://127.0.0.1:{_free_port()}/ws"
    start(place, listen=[url], origins=[None])
    with pytest.raises(Refused) as refused:
        Browser(url, realm="other")
    assert str(refused.value) == "wamp.error.no_such_realm [\"there is no realm 'other'\"]"
    with Browser(url) as browser:
        assert browser.authrole == "anonymous"


def test_apps_checkouts_and_realms_have_separate_routers() -> None:
    places = [
        own_place("/srv/shop", "shop", "com.shop", "realm1"),
        own_place("/srv/shop2", "shop", "com.shop", "realm1"),
        own_place("/srv/shop", "bank", "com.shop", "realm1"),
        own_place("/srv/shop", "shop", "com.bank", "realm1"),
        own_place("/srv/shop", "shop", "com.shop", "realm2"),
        own_place("/srv/shop", "shopcom.", "shop", "realm1"),
    ]
    assert len({place.socket for place in places}) == len(places)
    assert places[0] == own_place("/srv/shop", "shop", "com.shop", "realm1")


def test_versions_of_flask_wamp_have_separate_routers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade of Flask-WAMP starts a new router. The old one ends with the old workers."""
    old = own_place("/srv/shop", "shop", "com.shop", "realm1")
    monkeypatch.setattr("flask_wamp.router.process.place.__version__", "99.0")
    assert own_place("/srv/shop", "shop", "com.shop", "realm1") != old


def test_the_folder_is_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
    folder = private_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(os.fsencode(str(folder))) < 60
    open_to_all = tmp_path / "run"
    open_to_all.mkdir(mode=0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(open_to_all))
    assert open_to_all not in private_folder().parents  # not private, so not used


def test_the_path_of_a_socket_must_not_be_too_long() -> None:
    with pytest.raises(ValueError, match="too long for a unix socket"):
        place_at("/" + "x" * 200)


def test_the_longest_path(make_app: MakeApp) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = f"{folder}/".ljust(LONGEST_EMBEDDED_PATH, "x")
        with pytest.raises(ValueError) as caught:
            FlaskWAMP(make_app(WAMP_ROUTER_URL=f"embedded:{path}x"))
        text = str(caught.value)
        start(Place(path))
        assert os.path.exists(f"{path}.browsers")
        stop_router(Path(path))
    assert text.endswith(
        f"Its path is too long for a Unix socket: it has {LONGEST_EMBEDDED_PATH + 1} bytes, and may "
        f"have {LONGEST_EMBEDDED_PATH}"
    )


def test_a_router_that_ends_removes_its_files(place: Place) -> None:
    start(place)
    stop_router(Path(place.socket))
    eventually(lambda: not os.listdir(os.path.dirname(place.socket)))


def test_a_router_that_ends_keeps_a_log_that_is_not_empty(place: Place) -> None:
    url = f"ws://127.0.0.1:{_free_port()}/ws"
    start(place, listen=[url], origins=[None])
    with pytest.raises(InvalidStatus, match="403"):
        Browser(url, origin="http://page.example")
    stop_router(Path(place.socket))
    eventually(lambda: os.listdir(os.path.dirname(place.socket)) == [Path(place.log).name])
    assert "http://page.example" in Path(place.log).read_text()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="shows no open files")
def test_only_one_router_runs_while_others_end_and_start(place: Place) -> None:
    """Eight threads want a router, and each router is stopped as soon as one of them knows it."""
    started: set[int] = set()

    def want() -> None:
        while len(started) < 20:
            ensure_running(place, SETUP, time.monotonic() + 60)
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
                pid = int(json.loads(Path(place.info).read_text())["pid"])
                if pid not in started:
                    started.add(pid)
                    os.kill(pid, signal.SIGTERM)
            time.sleep(0.01)  # lets greenlets, and the router that ends, have the lock

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(want) for _ in range(8)]:
            each.result(240)

    def only_the_last_one_runs() -> bool:
        pid = start(place)  # it finds the last one that was stopped, until that has ended
        return pid not in started and holders(place.lock) == {pid}

    eventually(only_the_last_one_runs)


def holders(path: str) -> set[int]:
    """Return the processes that have a file open, also one that is removed."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(link).removesuffix(" (deleted)") == path:
                found.add(int(link.parts[2]))
    return found


def test_a_lock_whose_file_was_removed_excludes_others(tmp_path: Path) -> None:
    path = str(tmp_path / "a.lock")
    has_it, may_end = threading.Event(), threading.Event()

    def wait_for_it() -> None:
        with locked(path, time.monotonic() + 60):
            has_it.set()
            may_end.wait(60)

    with ThreadPoolExecutor(1) as pool:
        with locked(path, 0):
            waiting = pool.submit(wait_for_it)
            assert not has_it.wait(0.1)
            os.unlink(path)
        assert has_it.wait(60)
        with pytest.raises(BlockingIOError), locked(path, 0):
            pass
        may_end.set()
        waiting.result(60)
    with locked(path, 0):
        pass


def test_a_lock_of_a_removed_file_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with open(path, "w") as file:
        assert locks._try(str(path), file.fileno())
        path.unlink()
        assert not locks._try(str(path), file.fileno())
        path.touch()
        assert not locks._try(str(path), file.fileno())


def test_a_router_left_behind_is_stopped(place: Place) -> None:
    pid = start(place)
    stop_router(Path(place.socket))
    assert not is_alive(pid) or not listens(place)


def _free_port() -> int:
    from flask_wamp.crossbar import free_port

    return free_port()


def test_calls_wait_while_the_last_worker_is_being_replaced(
    make_app: MakeApp, socket: Path
) -> None:
    def worker() -> FlaskWAMP:
        wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=f"embedded:{socket}"))
        wamp.callee("com.example.name")(lambda: "served")
        wamp.start()
        wamp.client.wait_until_joined(20)
        return wamp

    caller = FlaskWAMP(make_app(WAMP_ROUTER_URL=f"embedded:{socket}"))
    caller.start()
    caller.client.wait_until_joined(20)
    first = worker()
    assert caller.client.call("com.example.name") == "served"
    first.stop()
    waiting = caller.client.submit("com.example.name")
    caller.client.call("wamp.session.count")  # the router has read both
    assert not waiting.done()
    worker()
    assert waiting.result(20) == "served"


@pytest.mark.parametrize("how", ["leaves", "is killed"])
@pytest.mark.parametrize("where", ["unix socket", "RawSocket", "WebSocket"])
def test_calls_do_not_wait_for_clients_other_than_the_app(
    make_app: MakeApp, socket: Path, where: str, how: str
) -> None:
    port = _free_port()
    listen = f"{'ws' if where == 'WebSocket' else 'tcp'}://127.0.0.1:{port}"
    url = f"unix://{socket}" if where == "unix socket" else listen
    config = {"WAMP_ROUTER_LISTEN": [listen], "WAMP_CALL_TIMEOUT": 600.0}
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=f"embedded:{socket}", **config))
    wamp.allow("anonymous", register="com.example.device")
    wamp.start()
    wamp.client.wait_until_joined(20)
    with AutobahnPeer(url) as device:
        device.register("com.example.device")
        assert wamp.client.call("com.example.device", 1) == 1
        device.leave() if how == "leaves" else device.kill()
        eventually(
            lambda: wamp.client.call("wamp.registration.match", "com.example.device") is None
        )
        # A call that waits would wait for 600 s.
        with pytest.raises(ApplicationError, match="no_such_procedure"):
            wamp.client.call("com.example.device", 1, timeout=60)
