"""Our calls to procedures of autobahn."""

from __future__ import annotations

import concurrent.futures
import threading
import time
import typing as t

import pytest
from flask import Flask, g

from flask_wamp import (
    ApplicationError,
    CallCanceled,
    CallResult,
    CallTimeout,
    FlaskWAMP,
    InvalidURI,
    NotJoined,
    WAMPError,
)
from tests.support.peers import PATIENCE, AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router


def give(peer: AutobahnPeer, *args: t.Any, **kwargs: t.Any) -> None:
    """Let ``com.shop.give`` return the arguments."""
    peer.register("com.shop.give", "give", given=[args, kwargs])


RESULTS: dict[str, tuple[list[t.Any], dict[str, t.Any], t.Any]] = {
    "one value": ([3], {}, 3),
    "one list": ([[1, 2]], {}, [1, 2]),
    "none": ([None], {}, None),
    "nothing": ([], {}, None),
    "several": ([1, 2], {}, CallResult(1, 2)),
    "keywords": ([], {"total": 3}, CallResult(total=3)),
    "both": ([1], {"total": 3}, CallResult(1, total=3)),
    "wampy's": (["hello"], {"message": "hello", "meta": {"session_id": 1}}, "hello"),
    "a message alone": ([1], {"message": "hello"}, CallResult(1, message="hello")),
}


@pytest.mark.parametrize(("args", "kwargs", "result"), RESULTS.values(), ids=RESULTS)
def test_what_a_call_returns(
    wamp: FlaskWAMP, peer: AutobahnPeer, args: list[t.Any], kwargs: dict[str, t.Any], result: t.Any
) -> None:
    give(peer, *args, **kwargs)
    assert wamp.client.call("com.shop.give") == result


def test_rpc_spells_a_uri_with_dots(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    peer.register("com.shop.echo")
    peer.register("echo")
    assert wamp.client.rpc.com.shop.echo(1) == 1
    assert wamp.client.rpc.echo(x=1) == CallResult(x=1)


def test_g_wampy_is_the_client_in_every_app_context(
    app: Flask, wamp: FlaskWAMP, peer: AutobahnPeer
) -> None:
    peer.register("com.shop.echo")

    @app.get("/")
    def view() -> dict[str, t.Any]:
        return {"answer": g.wampy.rpc.com.shop.echo("from a view")}

    @app.cli.command("ask")
    def ask() -> None:
        print(g.wampy.rpc.com.shop.echo("from a command"))

    assert app.test_client().get("/").get_json() == {"answer": "from a view"}
    assert app.test_cli_runner().invoke(args=["ask"]).output == "from a command\n"
    with app.app_context():
        assert g.wampy.call("com.shop.echo", "from a context") == "from a context"


# Errors.


def test_an_error_has_uri_args_and_kwargs(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    error = {"uri": "com.shop.sold_out", "args": ["tea", 2], "kwargs": {"left": 0}}
    peer.register("com.shop.buy", "fail", error=error)
    with pytest.raises(ApplicationError, match=r"com\.shop\.sold_out: 'tea', 2, left=0") as raised:
        wamp.client.call("com.shop.buy")
    assert raised.value.uri == "com.shop.sold_out"
    assert raised.value.args == ("tea", 2)
    assert raised.value.kwargs == {"left": 0}


def test_an_unknown_procedure_is_an_application_error(wamp: FlaskWAMP) -> None:
    with pytest.raises(ApplicationError) as raised:
        wamp.client.call("com.shop.nothing")
    assert raised.value.uri == "wamp.error.no_such_procedure"


def test_a_callee_that_leaves_during_a_call_cancels_it(
    wamp: FlaskWAMP, wamp_router: DevRouter
) -> None:
    with AutobahnPeer(wamp_router.url) as other:
        procedure = other.register("com.shop.slow", "hold")
        future = wamp.client.submit("com.shop.slow")
        procedure.next()
        other.kill()
        with pytest.raises(CallCanceled):
            future.result(PATIENCE)


def test_an_invalid_uri_is_not_sent(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    peer.register("com.shop.echo")
    session_id = wamp.client.session_id
    for uri in ("", "com..shop", "com.shop.", "..com", "com shop", "com.sh#op", "com.shop\n"):
        with pytest.raises(InvalidURI):
            wamp.client.call(uri)
        with pytest.raises(InvalidURI):
            wamp.client.publish(uri)
        with pytest.raises(InvalidURI):
            wamp.client.submit(uri)
    assert wamp.client.call("com.shop.echo", 1) == 1
    assert wamp.client.session_id == session_id


# Timeouts.


def test_a_call_that_takes_too_long_is_canceled_at_the_callee(
    wamp: FlaskWAMP, peer: AutobahnPeer
) -> None:
    procedure = peer.register("com.shop.slow", "hold")
    started = time.monotonic()
    with pytest.raises(CallTimeout, match=r"com\.shop\.slow did not answer within 0\.2 s"):
        wamp.client.with_options(timeout=0.2).call("com.shop.slow")
    assert 0.2 <= time.monotonic() - started < 2
    procedure.next()
    procedure.interrupted()


def test_an_answer_after_the_timeout_is_ignored(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    slow = peer.register("com.shop.slow", "hold")
    peer.register("com.shop.echo")
    impatient = wamp.client.with_options(timeout=0.1, cancel_mode="kill")
    with pytest.raises(CallTimeout):
        impatient.call("com.shop.slow")
    slow.next()
    slow.interrupted()
    assert wamp.client.call("com.shop.echo", "next") == "next"


def test_the_timeout_of_the_configuration_is_the_default(
    join: t.Callable[..., tuple[Flask, FlaskWAMP]], wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    _, wamp = join(wamp_router.url, WAMP_CALL_TIMEOUT=0.1)
    peer.register("com.shop.slow", "hold")
    with pytest.raises(CallTimeout):
        wamp.client.call("com.shop.slow")


# Futures.


def test_submit_returns_a_future(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    procedure = peer.register("com.shop.slow", "hold")
    futures = [wamp.client.submit("com.shop.slow", number) for number in range(5)]
    for _ in futures:
        procedure.next()
    assert not any(future.done() for future in futures)
    procedure.release()
    done, _ = concurrent.futures.wait(futures, PATIENCE)
    assert done == set(futures)
    assert [future.result() for future in futures] == [0, 1, 2, 3, 4]


def test_a_future_has_the_error(wamp: FlaskWAMP) -> None:
    future = wamp.client.submit("com.shop.nothing")
    error = future.exception(PATIENCE)
    assert isinstance(error, ApplicationError)
    assert error.uri == "wamp.error.no_such_procedure"


def test_a_canceled_future_interrupts_the_callee(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    procedure = peer.register("com.shop.slow", "hold")
    future = wamp.client.submit("com.shop.slow")
    procedure.next()
    assert future.cancel()
    assert future.cancelled()
    procedure.interrupted()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()


def test_a_future_that_is_done_cannot_be_canceled(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    peer.register("com.shop.echo")
    future = wamp.client.submit("com.shop.echo", 1)
    assert future.result(PATIENCE) == 1
    assert not future.cancel()


def test_a_future_times_out_by_itself(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    procedure = peer.register("com.shop.slow", "hold")
    future = wamp.client.with_options(timeout=0.1).submit("com.shop.slow")
    assert isinstance(future.exception(PATIENCE), CallTimeout)
    procedure.next()
    procedure.interrupted()


def test_callbacks_of_a_future_run_on_a_worker(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    peer.register("com.shop.echo")
    called = threading.Event()
    names: list[str] = []

    def callback(future: t.Any) -> None:
        # A callback may wait: it does not block the reader.
        names.append(threading.current_thread().name)
        assert wamp.client.call("com.shop.echo", 2) == 2
        called.set()

    wamp.client.submit("com.shop.echo", 1).add_done_callback(callback)
    assert called.wait(PATIENCE)
    assert names[0].startswith("wamp-worker-")


# Concurrent calls.


def test_twenty_threads_get_their_own_answers(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    peer.register("com.shop.echo")
    wrong: list[t.Any] = []

    def call_many(caller: int) -> None:
        for number in range(50):
            answer = wamp.client.call("com.shop.echo", [caller, number])
            if answer != [caller, number]:
                wrong.append((caller, number, answer))

    with concurrent.futures.ThreadPoolExecutor(20) as executor:
        list(executor.map(call_many, range(20)))
    assert wrong == []


# Without a session.


def test_a_stopped_client_says_how_to_start_it(wamp: FlaskWAMP) -> None:
    client = wamp.client
    wamp.stop()
    assert not client.joined
    assert client.session_id is None
    for use in (client.call, client.publish, client.submit):
        with pytest.raises(NotJoined, match=r"wamp\.start\(\)"):
            use("com.shop.echo")


def test_a_stopped_client_can_start_again(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    wamp.callee("com.example.here")(lambda: "here")
    first = wamp.client.session_id
    wamp.stop()
    wamp.start()
    wamp.client.wait_until_joined(PATIENCE)
    assert wamp.client.session_id not in (None, first)
    assert peer.call("com.example.here").value == "here"


def test_the_client_does_not_connect_before_its_first_use(
    make_app: t.Callable[..., Flask], wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    peer.register("com.shop.echo")
    app = make_app(WAMP_ROUTER_URL=wamp_router.url)
    wamp = FlaskWAMP(app)
    assert not wamp.client.joined
    assert wamp.client.call("com.shop.echo", "first use") == "first use"
    assert wamp.client.joined


def test_the_client_does_not_connect_by_itself_with_autostart_off(
    make_app: t.Callable[..., Flask], wamp_router: DevRouter
) -> None:
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=wamp_router.url, WAMP_AUTOSTART=False))
    with pytest.raises(WAMPError, match="WAMP_AUTOSTART is False"):
        wamp.client.call("com.shop.echo")
