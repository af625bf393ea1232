"""Calls of the client: what they return and raise, and that every caller gets its own answer."""

from __future__ import annotations

import concurrent.futures
import threading
import typing as t

import pytest

from flask_wamp import (
    ApplicationError,
    CallCanceled,
    CallResult,
    CallTimeout,
    FlaskWAMP,
    InvalidURI,
    NotJoined,
    SerializationError,
)
from flask_wamp.client.client import Client
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter

ADD = "com.example.add"


@pytest.fixture
def client(serve: Serve) -> Client:
    """A client that has joined."""
    return serve()[1].client


@pytest.fixture
def threads() -> t.Iterator[concurrent.futures.ThreadPoolExecutor]:
    """Threads to call from."""
    with concurrent.futures.ThreadPoolExecutor(20) as executor:
        yield executor


Threads = concurrent.futures.ThreadPoolExecutor

# Ways to call.


def test_procedure_as_text_and_as_attributes(client: Client, router: MemoryRouter) -> None:
    router.register(ADD, lambda a, b=1: a + b)
    router.register("add", lambda: "short")
    router.register("call", lambda: "a procedure of that name")
    assert client.call(ADD, 1, b=2) == 3
    assert client.rpc.com.example.add(1, b=2) == 3
    assert client.rpc.add() == "short"
    assert client.rpc.call() == "a procedure of that name"
    assert repr(client.rpc.com.example.add) == "<rpc com.example.add>"


def test_keywords_of_any_name_are_payload(client: Client, router: MemoryRouter) -> None:
    router.register(ADD, lambda **kwargs: kwargs)
    kwargs = {"procedure": 1, "self": 2, "timeout": 3, "args": 4, "uri": 5}
    assert client.call(ADD, **kwargs) == kwargs
    assert client.submit(ADD, **kwargs).result(TIMEOUT) == kwargs


def test_rpc_has_no_special_methods(client: Client, router: MemoryRouter) -> None:
    with pytest.raises(AttributeError):
        client.rpc.__html__  # noqa: B018
    assert not hasattr(client.rpc.x, "__len__")
    assert router.sent(m.Call) == []


@pytest.mark.parametrize("uri", ["", "com..x", "com. x", None, 5])
def test_invalid_uri_is_not_sent(client: Client, router: MemoryRouter, uri: t.Any) -> None:
    for call in (client.call, client.submit):
        with pytest.raises(InvalidURI, match="procedure"):
            call(uri)
    with pytest.raises(InvalidURI):
        client.rpc()
    assert router.sent(m.Call) == []


# Results.


@pytest.mark.parametrize(
    ("args", "kwargs", "result"),
    [
        ([], {}, None),
        ([None], {}, None),
        ([5], {}, 5),
        ([[1, 2]], {}, [1, 2]),
        ([1, 2], {}, CallResult(1, 2)),
        ([], {"a": 1}, CallResult(a=1)),
        ([1], {"a": 2}, CallResult(1, a=2)),
        ([5], {"message": 5, "meta": {"x": 1}}, 5),  # a callee of wampy's
        ([], {"message": 5, "meta": {"x": 1}}, 5),
        ([5], {"message": 5}, CallResult(5, message=5)),
        ([5], {"message": 6, "meta": {}}, CallResult(5, message=6, meta={})),
        ([5, 5], {"message": 5, "meta": {}}, CallResult(5, 5, message=5, meta={})),
        ([], {"message": 5, "meta": 1}, CallResult(message=5, meta=1)),
        ([], {"message": 5, "meta": {}, "more": 1}, CallResult(message=5, meta={}, more=1)),
    ],
)
def test_result(
    client: Client, router: MemoryRouter, args: t.Any, kwargs: t.Any, result: t.Any
) -> None:
    held = router.hold(ADD)
    future = client.submit(ADD)
    held.get(timeout=TIMEOUT).answer(*args, **kwargs)
    assert future.result(TIMEOUT) == result


def test_call_result_shows_its_values() -> None:
    result = CallResult(1, a=2)
    assert (result.args, result.kwargs) == ((1,), {"a": 2})
    assert repr(result) == "CallResult(1, a=2)"
    assert result != CallResult(1) != 1


def test_progress_that_was_not_requested_is_ignored(client: Client, router: MemoryRouter) -> None:
    held = router.hold(ADD)
    future = client.submit(ADD)
    call = held.get(timeout=TIMEOUT)
    router.send(m.Result(router.sent(m.Call)[-1].request_id, {"progress": True}, ["progress"]))
    call.answer("end")
    assert future.result(TIMEOUT) == "end"


# Errors.


def test_error_is_raised_with_its_payload(client: Client, router: MemoryRouter) -> None:
    held = router.hold(ADD)
    future = client.submit(ADD)
    held.get(timeout=TIMEOUT).fail("com.example.error.sold_out", "tea", left=0)
    with pytest.raises(ApplicationError) as info:
        future.result(TIMEOUT)
    error = info.value
    assert (error.uri, error.args, error.kwargs) == (
        "com.example.error.sold_out",
        ("tea",),
        {"left": 0},
    )
    assert str(error) == "com.example.error.sold_out: 'tea', left=0"


def test_procedure_that_is_not_registered(client: Client) -> None:
    with pytest.raises(ApplicationError) as info:
        client.call("com.example.nothing")
    assert info.value.uri == "wamp.error.no_such_procedure"


def test_call_that_was_canceled_elsewhere(client: Client, router: MemoryRouter) -> None:
    held = router.hold(ADD)
    future = client.submit(ADD)
    held.get(timeout=TIMEOUT).fail("wamp.error.canceled", "callee disconnected")
    with pytest.raises(CallCanceled, match="wamp.error.canceled: 'callee disconnected'"):
        future.result(TIMEOUT)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (object(), "cannot be sent"),
        ({1: 2}, "not a string"),
        (float("nan"), "NaN"),
        (2**70, "64 bits"),
        ("\ud800", "cannot carry"),
        ("x" * 5000, "WAMP_MAX_MESSAGE_SIZE"),
    ],
)
def test_payload_that_cannot_be_sent(
    serve: Serve, router: MemoryRouter, payload: t.Any, why: str
) -> None:
    router.register(ADD, lambda: "fine")
    client = serve(WAMP_MAX_MESSAGE_SIZE=4096)[1].client
    for call in (client.call, client.submit):
        with pytest.raises(SerializationError, match=why):
            call(ADD, payload)
        with pytest.raises(SerializationError, match=why):
            call(ADD, x=payload)
    assert client.call(ADD) == "fine"
    assert [message.request_id for message in router.sent(m.Call)] == [1]


def test_the_routers_limit_applies_too(serve: Serve, router: MemoryRouter) -> None:
    router.max_message_size = 1024
    client = serve()[1].client
    with pytest.raises(SerializationError, match="the router's limit"):
        client.call(ADD, "x" * 1024)


# Timeouts.


def test_timeout_cancels_and_ignores_the_late_answer(client: Client, router: MemoryRouter) -> None:
    held = router.hold(ADD)
    with pytest.raises(CallTimeout) as info:
        client.with_options(timeout=0.05).call(ADD, 1)
    assert (info.value.procedure, info.value.timeout) == (ADD, 0.05)
    assert str(info.value) == "com.example.add did not answer within 0.05 s"
    assert router.wait_for(m.Cancel).options == {"mode": "killnowait"}
    held.get(timeout=TIMEOUT).answer("too late")
    future = client.submit(ADD, 2)
    held.get(timeout=TIMEOUT).answer("in time")
    assert future.result(TIMEOUT) == "in time"


def test_timeout_of_the_configuration(serve: Serve, router: MemoryRouter) -> None:
    client = serve(WAMP_CALL_TIMEOUT=0.05)[1].client
    router.hold(ADD)
    for call in (client.call, lambda uri: client.submit(uri).result(TIMEOUT)):
        with pytest.raises(CallTimeout, match="0.05"):
            call(ADD)


def test_cancel_mode(client: Client, router: MemoryRouter) -> None:
    router.hold(ADD)
    with pytest.raises(CallTimeout):
        client.with_options(timeout=0.01, cancel_mode="kill").call(ADD)
    assert router.wait_for(m.Cancel).options == {"mode": "kill"}


# Concurrent calls.


def test_every_caller_gets_its_own_answer(
    client: Client, router: MemoryRouter, threads: Threads
) -> None:
    router.register(ADD, lambda x: x + 1)
    numbers = range(1000)
    assert list(threads.map(lambda x: client.call(ADD, x), numbers)) == [x + 1 for x in numbers]
    assert [message.request_id for message in router.sent(m.Call)] == list(range(1, 1001))


def test_answers_in_any_order(client: Client, router: MemoryRouter, threads: Threads) -> None:
    held = router.hold(ADD)
    calls = {x: threads.submit(client.call, ADD, x) for x in range(20)}
    arrived = [held.get(timeout=TIMEOUT) for _ in calls]
    for call in reversed(arrived):
        call.answer(call.message.args[0] * 2)
    assert {x: future.result(TIMEOUT) for x, future in calls.items()} == {
        x: x * 2 for x in range(20)
    }


def test_calls_of_one_thread_keep_their_order(client: Client, router: MemoryRouter) -> None:
    held = router.hold(ADD)
    for number in range(100):
        client.submit(ADD, number)
    assert [held.get(timeout=TIMEOUT).message.args[0] for _ in range(100)] == list(range(100))
    router.drop()


# Futures.


def test_future_is_canceled(client: Client, router: MemoryRouter) -> None:
    held = router.hold(ADD)
    future = client.submit(ADD)
    assert future.cancel() is True
    assert future.cancel() is True
    assert future.cancelled()
    assert router.wait_for(m.Cancel).request_id == 1
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(TIMEOUT)
    assert len(router.sent(m.Cancel)) == 1
    held.get(timeout=TIMEOUT).answer("too late")
    router.register("com.example.next", lambda: "next")
    assert client.call("com.example.next") == "next"


def test_future_that_is_done_is_not_canceled(client: Client, router: MemoryRouter) -> None:
    router.register(ADD, lambda: 1)
    future = client.submit(ADD)
    assert future.result(TIMEOUT) == 1
    assert future.cancel() is False
    assert router.sent(m.Cancel) == []


def test_future_times_out(client: Client, router: MemoryRouter) -> None:
    router.hold(ADD)
    future = client.with_options(timeout=0.05).submit(ADD)
    assert isinstance(future.exception(TIMEOUT), CallTimeout)
    router.wait_for(m.Cancel)


def test_callback_of_a_future_runs_on_a_worker(client: Client, router: MemoryRouter) -> None:
    held = router.hold(ADD)
    names: list[str] = []
    future = client.submit(ADD)
    future.add_done_callback(lambda future: names.append(threading.current_thread().name))
    future.add_done_callback(lambda future: names.append(str(client.call("com.example.next"))))
    router.register("com.example.next", lambda: "it may call")
    held.get(timeout=TIMEOUT).answer(1)
    eventually(lambda: len(names) == 2)
    assert sorted(names)[0] == "it may call"
    assert sorted(names)[1].startswith("wamp-worker")


def test_futures_are_waited_for_together(client: Client, router: MemoryRouter) -> None:
    router.register(ADD, lambda x: x)
    futures = [client.submit(ADD, x) for x in range(20)]
    done, not_done = concurrent.futures.wait(futures, TIMEOUT)
    assert {future.result() for future in done} == set(range(20))
    assert not not_done


# Options.


def test_options_return_a_view_of_the_same_client(client: Client, router: MemoryRouter) -> None:
    router.register(ADD, lambda: 1)
    view = client.with_options(disclose_me=True, timeout=3)
    assert type(view) is type(client)
    assert view.session_id == client.session_id
    view.with_options(disclose_me=False).call(ADD)
    view.call(ADD)
    client.call(ADD)
    assert [message.options for message in router.sent(m.Call)] == (
        [{"disclose_me": False}, {"disclose_me": True}, {}]
    )


def test_unknown_option_is_a_type_error(client: Client) -> None:
    with pytest.raises(TypeError, match="unknown option 'timout'"):
        client.with_options(timout=1)


# Without a session.


def test_a_call_before_the_start_fails_with_autostart_off(
    make_app: t.Any, router: MemoryRouter
) -> None:
    wamp = FlaskWAMP(make_app(WAMP_AUTOSTART=False))
    for call in (wamp.client.call, wamp.client.submit, wamp.client.publish):
        with pytest.raises(NotJoined, match=r"WAMP_AUTOSTART is False; call wamp\.start\(\) first"):
            call(ADD)
    assert router.attempts == 0


def test_a_call_after_the_stop_fails(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve()
    wamp.stop()
    with pytest.raises(NotJoined, match=r"was stopped; call wamp\.start\(\)"):
        wamp.client.call(ADD)
    assert router.attempts == 1


@pytest.mark.parametrize("autostart", ["auto", "lazy"])
def test_first_call_starts_and_waits_for_the_session(
    make_app: t.Any, router: MemoryRouter, autostart: str
) -> None:
    router.register(ADD, lambda: "at once")
    wamp = FlaskWAMP(make_app(WAMP_AUTOSTART=autostart))
    assert wamp.client.call(ADD) == "at once"


def test_calls_wait_for_the_first_attempt(
    make_app: t.Any, router: MemoryRouter, threads: Threads
) -> None:
    router.silent = True
    router.register(ADD, lambda x: x)
    wamp = FlaskWAMP(make_app())
    wamp.start()
    router.wait_for(m.Hello)
    calls = [threads.submit(wamp.client.call, ADD, x) for x in range(5)]
    assert concurrent.futures.wait(calls, 0.05).done == set()
    router.welcome()
    assert [call.result(TIMEOUT) for call in calls] == list(range(5))
    assert router.attempts == 1


def test_call_error_names_a_router_that_is_down(make_app: t.Any, router: MemoryRouter) -> None:
    router.down = True
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL="ws://router:1/ws"))
    with pytest.raises(NotJoined, match="realm realm1 at ws://router:1/ws: .*Connection refused"):
        wamp.client.call(ADD)


def test_a_call_error_contains_the_routers_reason(make_app: t.Any, router: MemoryRouter) -> None:
    router.abort = m.Abort({"message": "no realm realm1"}, "wamp.error.no_such_realm")
    wamp = FlaskWAMP(make_app())
    with pytest.raises(NotJoined, match=r"wamp\.error\.no_such_realm: no realm realm1"):
        wamp.client.call(ADD)
