"""Background tasks of real servers, on a real router."""

from __future__ import annotations

import contextlib
import queue
import threading
import typing as t

import pytest
from flask import g

from flask_wamp import FlaskWAMP, TaskAborted, background_tasks, event, invocation, signals
from tests.conftest import eventually
from tests.support.peers import PATIENCE, AutobahnPeer, Procedure
from tests.support.served import Serve, Served

pytestmark = pytest.mark.router

FACTORY = "chores:create_app('tea')"

SERVERS = {
    "flask run": ["flask", "--app", FACTORY, "run", "--port", "{port}"],
    "gthread": ["gunicorn", "--worker-class", "gthread", "--threads", "4"],
    "gthread, preload": ["gunicorn", "--worker-class", "gthread", "--threads", "4", "--preload"],
    "gevent": ["gunicorn", "--worker-class", "gevent"],
    "gevent, preload": ["gunicorn", "--worker-class", "gevent", "--preload"],
}


@pytest.fixture
def gate(peer: AutobahnPeer) -> Procedure:
    """The procedure that tasks call and wait for."""
    return peer.register("com.chores.gate", "hold")


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, serve: Serve, peer: AutobahnPeer) -> t.Iterator[Served]:
    """Each server, with the app of a factory that needs an argument."""
    command = list(SERVERS[request.param])
    if command[0] == "gunicorn":
        pytest.importorskip("gunicorn")
        if "gevent" in command:
            pytest.importorskip("gevent")
        command += ["--bind", "127.0.0.1:{port}", FACTORY]
    with serve(*command) as server:
        wait_until_it_serves(server, peer)
        yield server


def wait_until_it_serves(server: Served, peer: AutobahnPeer) -> None:
    def serves() -> bool:
        assert server.process.poll() is None, server.log
        with contextlib.suppress(Exception):
            return bool(peer.call("com.chores.who"))
        return False

    eventually(serves, 30)


def test_tasks_of_calls(server: Served, peer: AutobahnPeer, gate: Procedure) -> None:
    """Tasks run in a thread of the serving process, or in another process that serves nothing."""
    parent = peer.call("com.chores.add", "thread").value
    here = gate.next()
    assert here.kwargs["pid"] == parent["pid"]
    assert here.details["caller"] == here.kwargs["session"] == parent["session"]
    peer.call("com.chores.add", "process")
    there = gate.next()
    assert there.kwargs["pid"] != parent["pid"]
    assert there.kwargs["session"] is None, "it connects before it is used"
    assert there.details["caller"] != parent["session"]
    now = peer.call("com.chores.who").value
    assert not set(there.kwargs["sockets"]) & set(now["sockets"])
    registration = peer.call("wamp.registration.lookup", "com.chores.who").value
    assert peer.call("wamp.registration.count_callees", registration).value == 1
    for task, executor in ((here, "thread"), (there, "process")):
        assert task.kwargs["wares"] == "tea"
        assert task.kwargs["number"] == 7
        assert task.kwargs["procedure"] == "com.chores.add"
        assert task.kwargs["args"] == [executor]
        assert task.kwargs["caller"] == peer.session_id
    gate.release()


def test_tasks_of_requests_and_of_the_stop(
    server: Served, peer: AutobahnPeer, gate: Procedure
) -> None:
    """Only the task waits, and the server's end waits for the task."""
    tasks = []
    for executor in ("thread", "process"):
        parent = server.get(f"/add/{executor}", "POST")
        tasks.append(gate.next())
        assert (tasks[-1].kwargs["pid"] == parent["pid"]) is (executor == "thread")
        assert "procedure" not in tasks[-1].kwargs
    server.process.terminate()
    eventually(lambda: not is_registered(peer, "com.chores.who"), 10)
    gate.release()
    server.process.wait(PATIENCE)
    pids = {task.kwargs["pid"] for task in tasks}
    eventually(lambda: not any(map(is_alive, pids)), 10)
    assert "Traceback" not in server.log
    assert "failed" not in server.log


def is_registered(peer: AutobahnPeer, uri: str) -> bool:
    return peer.call("wamp.registration.lookup", uri).args[0] is not None


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# In the process of the test.


def test_a_task_calls_and_publishes(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    done = peer.subscribe("com.example.done")

    @wamp.callee
    def double(x: int) -> int:
        return 2 * x

    def task(x: int) -> None:
        g.wampy.publish("com.example.done", g.wampy.rpc.com.example.double(x))

    @wamp.callee
    def add(x: int) -> str:
        background_tasks.add(task, x)
        return "answered"

    assert peer.call("com.example.add", 4).value == "answered"
    assert done.next().args == [8]


def test_a_task_of_an_event(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    told: queue.SimpleQueue[t.Any] = queue.SimpleQueue()

    @wamp.subscriber
    def hello(name: str) -> None:
        background_tasks.add(lambda: told.put((event.topic, event.args, event.publisher)))

    peer.publish("com.example.hello", "you")
    assert told.get(timeout=PATIENCE) == ("com.example.hello", ["you"], peer.session_id)


def test_stop_waits_for_tasks_before_leaving(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    gate = peer.register("com.example.gate", "hold")
    done = peer.subscribe("com.example.done")

    def task() -> None:
        g.wampy.call("com.example.gate")
        background_tasks.add(g.wampy.publish, "com.example.done", invocation.procedure)

    @wamp.callee
    def add() -> None:
        background_tasks.add(task)

    peer.call("com.example.add")
    gate.next()
    stopping = threading.Thread(target=wamp.stop)
    stopping.start()
    eventually(lambda: not is_registered(peer, "com.example.add"), PATIENCE)
    assert stopping.is_alive()
    gate.release()
    assert done.next().args == ["com.example.add"]
    stopping.join(PATIENCE)


def test_stop_respects_the_limit(
    join: t.Callable[..., t.Any], wamp_router: t.Any, peer: AutobahnPeer
) -> None:
    gate = threading.Event()
    errors: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".add")(lambda: background_tasks.add(gate.wait, PATIENCE))

    app, wamp = join(wamp_router.rawsocket_url, setup, WAMP_DRAIN_TIMEOUT=0.1)
    peer.call("com.example.add")

    def failed(sender: t.Any, task: t.Any, error: BaseException) -> None:
        errors.put(error)

    with signals.task_failed.connected_to(failed):
        wamp.stop()
    assert isinstance(errors.get(timeout=PATIENCE), TaskAborted)
    assert not wamp.client.joined
    gate.set()
