"""When a caller cancels, all nested calls end, across any number of apps."""

from __future__ import annotations

import subprocess
import sys
import threading
import typing as t

import pytest
from flask import Flask, g

from flask_wamp import CallCanceled, CallTimeout, FlaskWAMP, background_tasks, invocation
from flask_wamp.concurrency.threads import is_monkey_patched
from flask_wamp.crossbar import spawn_bound
from tests.conftest import eventually
from tests.support.notes import Notes
from tests.support.peers import PATIENCE, AutobahnPeer, RemoteError
from tests.support.scripts import ROOT, environment

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

URI = "com.example.handler"

LINES = {
    "ws-json": ("url", "json"),
    "ws-msgpack": ("url", "msgpack"),
    "rawsocket-msgpack": ("rawsocket_url", "msgpack"),
}

CALLER = """
import sys
if sys.argv[1] == "gevent":
    from gevent import monkey
    monkey.patch_all()
from flask import Flask
from flask_wamp import FlaskWAMP

app = Flask("caller")
app.config.update(WAMP_ROUTER_URL=sys.argv[2], WAMP_SERIALIZERS=[sys.argv[3]])
wamp = FlaskWAMP(app)
wamp.start()
wamp.client.wait_until_joined(10)
wamp.client.with_options(timeout=60).call("com.first.outer")
"""


class Chain:
    """Three apps: the caller calls the first, whose handler calls a waiting handler in the second."""

    def __init__(self, join: t.Callable[..., tuple[Flask, FlaskWAMP]], url: str, kind: str) -> None:
        def joined() -> FlaskWAMP:
            return join(url, WAMP_SERIALIZERS=[kind], WAMP_CALL_TIMEOUT=60)[1]

        self.url, self.kind = url, kind
        self.client = joined().client
        self.notes = Notes()
        self.call: t.Callable[[t.Any, str], t.Any] = lambda client, uri: client.call(uri)
        self.raised: list[BaseException] = []
        first, second = joined(), joined()

        @first.callee("com.first.outer")
        def outer() -> None:
            try:
                self.call(g.wampy, "com.second.inner")
            except BaseException as error:
                self.raised.append(error)
                raise
            finally:
                self.notes("outer ended")

        @second.callee("com.second.inner")
        def inner() -> None:
            _until_canceled(self.notes, "inner")

    def assert_ended(self) -> None:
        """Check that both handlers were canceled and have ended."""
        assert sorted(self.notes.take(2)) == ["inner ended", "outer ended"]
        (error,) = self.raised
        if is_monkey_patched():
            assert not isinstance(error, Exception)
        else:
            assert isinstance(error, CallCanceled)


def _until_canceled(notes: Notes, name: str) -> None:
    message = invocation._get_current_object()  # type: ignore[attr-defined]
    notes(f"{name} began")
    try:
        eventually(lambda: message.canceled, PATIENCE)
    finally:
        notes(f"{name} ended" if message.canceled else f"{name} was not canceled")


@pytest.fixture(params=LINES)
def chain(
    request: pytest.FixtureRequest,
    join: t.Callable[..., tuple[Flask, FlaskWAMP]],
    wamp_router: DevRouter,
) -> Chain:
    url, serializer = LINES[request.param]
    return Chain(join, getattr(wamp_router, url), serializer)


@pytest.fixture
def one_chain(join: t.Callable[..., tuple[Flask, FlaskWAMP]], wamp_router: DevRouter) -> Chain:
    return Chain(join, wamp_router.rawsocket_url, "msgpack")


# All ways in which a caller cancels.


def _cancel(chain: Chain, **options: t.Any) -> None:
    future = chain.client.with_options(**options).submit("com.first.outer")
    assert chain.notes.next() == "inner began"
    assert future.cancel()


def _close(chain: Chain) -> None:
    with chain.client.stream("com.first.outer"):
        assert chain.notes.next() == "inner began"


def _wait_too_long(chain: Chain) -> None:
    with pytest.raises(CallTimeout):
        chain.client.with_options(timeout=1).call("com.first.outer")
    assert chain.notes.next() == "inner began"


def _lose_the_session(chain: Chain) -> None:
    future = chain.client.submit("com.first.outer")
    assert chain.notes.next() == "inner began"
    chain.client.peer.connection.close()  # type: ignore[union-attr]
    assert future.exception(PATIENCE)


def _kill_autobahn(chain: Chain) -> None:
    with AutobahnPeer(chain.url, serializer=chain.kind) as other:
        other.submit("com.first.outer")
        assert chain.notes.next() == "inner began"
        other.kill()


def _kill_a_process_of_ours(chain: Chain) -> None:
    kind = "gevent" if is_monkey_patched() else "threads"
    command = [sys.executable, "-c", CALLER, kind, chain.url, chain.kind]
    process = spawn_bound(command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL)
    try:
        assert chain.notes.next() == "inner began"
    finally:
        process.kill()
        process.wait()


WAYS: dict[str, t.Callable[[Chain], None]] = {
    "cancel kill": lambda chain: _cancel(chain, cancel_mode="kill"),
    "cancel killnowait": lambda chain: _cancel(chain, cancel_mode="killnowait"),
    "stream closed": _close,
    "timeout": _wait_too_long,
    "session lost": _lose_the_session,
    "autobahn killed": _kill_autobahn,
    "process killed": _kill_a_process_of_ours,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_canceled_call_cancels_the_calls_of_its_handler(chain: Chain, way: str) -> None:
    WAYS[way](chain)
    chain.assert_ended()


def test_autobahn_cancels(chain: Chain) -> None:
    with AutobahnPeer(chain.url, serializer=chain.kind) as other:
        call = other.submit("com.first.outer")
        assert chain.notes.next() == "inner began"
        call.cancel()
        chain.assert_ended()


def test_a_future_that_expires(one_chain: Chain) -> None:
    future = one_chain.client.with_options(timeout=1).submit("com.first.outer")
    assert one_chain.notes.next() == "inner began"
    assert isinstance(future.exception(PATIENCE), CallTimeout)
    one_chain.assert_ended()


INNER: dict[str, t.Callable[[t.Any, str], t.Any]] = {
    "submit": lambda client, uri: client.submit(uri).result(),
    "stream": lambda client, uri: list(client.stream(uri)),
    "options": lambda client, uri: client.with_options(cancel_mode="kill").call(uri),
}


@pytest.mark.parametrize("inner", INNER)
def test_calls_of_every_kind_end(one_chain: Chain, inner: str) -> None:
    one_chain.call = INNER[inner]
    _cancel(one_chain)
    one_chain.assert_ended()


# The handler whose caller has canceled.


@pytest.fixture
def free(wamp: FlaskWAMP) -> str:
    """A procedure that answers at once."""
    wamp.callee("com.example.free")(lambda: "free")
    return "com.example.free"


def test_a_canceled_handler_may_still_call(wamp: FlaskWAMP, peer: AutobahnPeer, free: str) -> None:
    held, notes = peer.register("com.shop.slow", "hold"), Notes()

    @wamp.callee(URI)
    def handler() -> None:
        try:
            g.wampy.call("com.shop.slow")
        finally:
            notes(g.wampy.call(free))
            notes(list(g.wampy.stream(free)))

    future = wamp.client.submit(URI)
    held.next()
    future.cancel()
    held.interrupted()
    assert notes.take(2) == ["free", ["free"]]


def test_the_next_call_of_a_canceled_handler_raises(wamp: FlaskWAMP, free: str) -> None:
    """Under gevent, the greenlet is ended earlier, while it waits."""
    notes, canceled = Notes(), threading.Event()

    @wamp.callee(URI)
    def handler() -> None:
        notes("began")
        try:
            canceled.wait(PATIENCE)
        except BaseException:
            notes("ended")
            raise
        for _ in range(2):
            try:
                notes(g.wampy.call(free))
            except CallCanceled as error:
                notes(str(error))

    future = wamp.client.submit(URI)
    assert notes.next() == "began"
    message = _in_hand(wamp)
    future.cancel()
    eventually(lambda: message.canceled)
    if is_monkey_patched():
        assert notes.next() == "ended"
        return
    canceled.set()
    assert "com.example.free was canceled" in notes.next()
    assert notes.next() == "free"


def test_many_futures_of_one_handler_end(wamp: FlaskWAMP, peer: AutobahnPeer, free: str) -> None:
    held, futures = peer.register("com.shop.slow", "hold"), []

    @wamp.callee(URI)
    def handler() -> None:
        assert g.wampy.submit(free).result() == "free"
        futures.extend(g.wampy.submit("com.shop.slow") for _ in range(3))
        futures[0].result()

    future = wamp.client.submit(URI)
    for _ in range(3):
        held.next()
    work = _in_hand(wamp)
    assert set(work.calls) == set(futures)
    future.cancel()
    for _ in range(3):
        held.interrupted()
    assert all(isinstance(each.exception(PATIENCE), CallCanceled) for each in futures)
    assert not work.calls


def test_a_background_task_inherits_nothing(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    held, notes = peer.register("com.shop.slow", "hold"), Notes()

    @wamp.callee(URI)
    def handler() -> str:
        background_tasks.add(lambda: notes(g.wampy.call("com.shop.slow", "done")))
        return "answered"

    assert wamp.client.call(URI) == "answered"
    held.next()
    held.release()
    assert notes.next() == "done"


def _in_hand(wamp: FlaskWAMP) -> t.Any:
    connection: t.Any = wamp.client.peer.connection  # type: ignore[union-attr]
    (work,) = [work for work in connection.invocations.values() if work.uri == URI]
    return work


def test_a_timeout_of_another_client_is_handled_by_the_router(
    wamp: FlaskWAMP, peer: AutobahnPeer, on_crossbar: bool
) -> None:
    """Crossbar uses seconds, and the specification milliseconds. Only the router interrupts."""
    timeout, answer = (1, "timeout reached") if on_crossbar else (1000, "wamp.error.timeout")
    notes = Notes()

    @wamp.callee(URI)
    def handler() -> None:
        notes((invocation.details["timeout"], invocation.deadline))
        _until_canceled(notes, "it")

    call = peer.submit(URI, options={"timeout": timeout})
    assert notes.take(2) == [(timeout, None), "it began"]
    with pytest.raises(RemoteError, match=answer):
        call.wait()
    assert notes.next() == "it ended"


def test_no_timeout_is_sent(wamp: FlaskWAMP) -> None:
    @wamp.callee(URI)
    def handler() -> t.Any:
        return sorted(invocation.details)

    assert "timeout" not in wamp.client.with_options(timeout=5).call(URI)
