"""``force_reregister``: the router is asked first, so that nothing is half taken and nobody waits."""

from __future__ import annotations

import contextlib
import queue
import typing as t

import pytest

from flask_wamp import ApplicationError, FlaskWAMP
from flask_wamp import messages as m
from flask_wamp.take_over import ALREADY_EXISTS, COUNT_CALLEES, LOOKUP
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter

URI = "com.example.taken"
FORCED = {"force_reregister": True}


def declare(wamp: FlaskWAMP, invoke: str = "single") -> None:
    wamp.callee(URI, invoke=invoke, force_reregister=True)(lambda: "ours")


def told(router: MemoryRouter, callees: int | None) -> None:
    """Let the router say how many callees there are; None: there is no registration."""
    router.register(LOOKUP, lambda uri, options: 77 if callees is not None else None)
    router.register(COUNT_CALLEES, lambda number: callees)


def options(router: MemoryRouter) -> list[t.Any]:
    """What REGISTER asked for, each time."""
    return [message.options for message in router.sent(m.Register)]


@pytest.mark.parametrize(
    ("callees", "sent"), [(None, {}), (0, FORCED), (1, FORCED)], ids=["none", "gone", "one"]
)
@pytest.mark.parametrize("invoke", ["single", "roundrobin"])
def test_what_one_has_is_taken(
    serve: Serve, router: MemoryRouter, callees: int | None, sent: t.Any, invoke: str
) -> None:
    told(router, callees)
    serve(lambda wamp: declare(wamp, invoke))
    assert options(router) == [{"invoke": invoke, **sent}]
    assert router.sent(m.Call)[0].args == [URI, {"match": "exact"}]
    assert router.call(URI) == "ours"


def test_what_several_share_is_not(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    told(router, 2)
    _, wamp = serve(declare)
    why = "2 callees share it; it can be taken away from one only"
    assert wamp.health()["procedures"]["refused"] == {URI: f"{ALREADY_EXISTS}: {why!r}"}
    assert f"{URI} was refused: {ALREADY_EXISTS}: {why!r}" in caplog.text
    assert options(router) == []
    told(router, 1)
    eventually(lambda: wamp.health()["procedures"]["registered"] == 1, TIMEOUT)
    assert wamp.health()["procedures"]["refused"] == {}
    assert options(router) == [{"invoke": "single", **FORCED}]


def test_nor_at_run_time(serve: Serve, router: MemoryRouter) -> None:
    told(router, 2)
    _, wamp = serve()
    with pytest.raises(ApplicationError, match="2 callees share it"):
        wamp.client.register(lambda: "ours", URI, force_reregister=True)
    assert wamp.client.declarations == []


def test_where_nobody_may_ask_a_plain_register_tells(serve: Serve, router: MemoryRouter) -> None:
    _, theirs = serve()
    theirs.callee(URI, invoke="single")(lambda: "theirs")
    router.refuse(LOOKUP)
    serve(declare)
    # This router knows no force_reregister; Crossbar does.
    assert options(router)[1:3] == [{"invoke": "single"}, {"invoke": "single", **FORCED}]


@pytest.mark.parametrize("refused", [LOOKUP, COUNT_CALLEES])
def test_and_what_is_shared_is_shared(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture, refused: str
) -> None:
    told(router, 1)
    router.refuse(refused)
    serve(lambda wamp: declare(wamp, "roundrobin"))
    assert options(router) == [{"invoke": "roundrobin"}]
    assert f"{URI} is registered beside who has it already, if anybody" in caplog.text
    assert router.call(URI) == "ours"


def test_what_was_withdrawn_meanwhile_is_not_registered(serve: Serve, router: MemoryRouter) -> None:
    held = router.hold(LOOKUP)
    _, wamp = serve(WAMP_CALL_TIMEOUT=0.2)
    declare(wamp)  # it is not answered in time
    wamp.client.unregister(URI)
    held.get(timeout=TIMEOUT).answer(None)
    wamp.callee(".other")(lambda: None)  # what came before is read by now
    assert [message.procedure for message in router.sent(m.Register)] == ["com.example.other"]


def test_a_router_that_does_not_answer_holds_nobody_up(serve: Serve, router: MemoryRouter) -> None:
    held = router.hold(LOOKUP)

    def setup(wamp: FlaskWAMP) -> None:
        declare(wamp)
        wamp.callee(".here")(lambda: "here")

    def is_registered() -> bool:
        with contextlib.suppress(queue.Empty):
            held.get_nowait().answer(None)
        return bool(wamp.health()["procedures"]["registered"] == 2)

    _, wamp = serve(setup, WAMP_CALL_TIMEOUT=0.3)
    assert router.call("com.example.here") == "here"
    refused = wamp.health()["procedures"]["refused"]
    assert refused == {URI: "the router did not answer within 0.3 s"}
    eventually(is_registered, TIMEOUT)
    assert wamp.health()["procedures"]["refused"] == {}
    assert router.call(URI) == "ours"
    assert router.sent(m.Unregister) == []


def test_after_a_reconnect_it_is_asked_again(serve: Serve, router: MemoryRouter) -> None:
    told(router, 1)
    _, wamp = serve(declare)
    router.drop()
    wamp.client.wait_until_joined(TIMEOUT)
    eventually(lambda: len(options(router)) == 2)
    assert options(router) == [{"invoke": "single", **FORCED}] * 2
