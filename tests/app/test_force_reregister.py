"""``force_reregister``: no procedure is taken over partly, and no request waits forever."""

from __future__ import annotations

import functools
import typing as t

import pytest

from flask_wamp import ApplicationError, FlaskWAMP
from flask_wamp.protocol import error_uris
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.uris import COUNT_CALLEES, LOOKUP
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter

URI = "com.example.taken"
FORCED = {"force_reregister": True}


def declare(wamp: FlaskWAMP, invoke: str = "single", name: str = "ours") -> None:
    wamp.callee(URI, invoke=invoke, force_reregister=True)(lambda: name)


def theirs(invoke: str) -> t.Callable[[FlaskWAMP], t.Any]:
    """The setup of an app that has already registered the procedure."""
    return lambda wamp: wamp.callee(URI, invoke=invoke)(lambda: "theirs")


def tell(router: MemoryRouter, callees: int) -> None:
    """Let the router answer with a number of callees."""
    router.register(LOOKUP, lambda uri, options: 77)
    router.register(COUNT_CALLEES, lambda number: callees)


def options(router: MemoryRouter) -> list[t.Any]:
    """The ``force_reregister`` option of each REGISTER."""
    return [message.options for message in router.sent(m.Register)]


def refused(wamp: FlaskWAMP) -> dict[str, str]:
    found: dict[str, str] = wamp.health()["procedures"]["refused"]
    return found


@pytest.mark.parametrize("invoke", ["single", "roundrobin"])
def test_a_free_procedure_is_registered(serve: Serve, router: MemoryRouter, invoke: str) -> None:
    serve(lambda wamp: declare(wamp, invoke))
    assert options(router) == [{"invoke": invoke}]
    assert router.call(URI) == "ours"


@pytest.mark.parametrize("invoke", ["single", "roundrobin"])
def test_a_procedure_that_is_not_shared_is_taken_over(
    serve: Serve, router: MemoryRouter, invoke: str
) -> None:
    _, other = serve(theirs("single"))
    serve(lambda wamp: declare(wamp, invoke))
    assert options(router)[1:] == [{"invoke": invoke}, {"invoke": invoke, **FORCED}]
    assert router.call(URI) == "ours"
    eventually(lambda: "the router has revoked it" in refused(other).get(URI, ""))


def test_workers_of_one_app_keep_sharing(serve: Serve, router: MemoryRouter) -> None:
    for name in ("one", "two", "three"):
        serve(functools.partial(declare, invoke="roundrobin", name=name))
    assert {router.call(URI) for _ in range(3)} == {"one", "two", "three"}


def test_a_procedure_of_one_callee_with_another_policy_is_taken_over(
    serve: Serve, router: MemoryRouter
) -> None:
    tell(router, 1)
    serve(theirs("roundrobin"))
    serve(declare)
    assert options(router)[1:] == [{"invoke": "single"}, {"invoke": "single", **FORCED}]
    [lookup] = [call for call in router.sent(m.Call) if call.procedure == LOOKUP]
    assert lookup.args == [URI, {"match": "exact"}]
    assert router.call(URI) == "ours"


def test_a_procedure_of_several_callees_with_another_policy_is_not_taken_over(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    tell(router, 2)
    others = [serve(theirs("roundrobin"))[1] for _ in range(2)]
    _, wamp = serve(declare)
    other = error_uris.PROCEDURE_EXISTS_WITH_OTHER_POLICY
    registered = f"'{URI} is registered with invoke=roundrobin'"
    why = f"{other}: {registered}, 'it is taken away from one callee only, and 2 callees share it'"
    assert refused(wamp) == {URI: why}
    assert f"{URI} was refused: {why}" in caplog.text
    assert not any(refused(other) for other in others)
    assert not any("force_reregister" in asked for asked in options(router))
    others[0].client.unregister(URI)
    tell(router, 1)
    eventually(lambda: not refused(wamp), TIMEOUT)
    assert router.call(URI) == "ours"


def test_register_at_run_time_does_not_take_it_over_either(
    serve: Serve, router: MemoryRouter
) -> None:
    tell(router, 2)
    serve(theirs("last"))
    _, wamp = serve()
    with pytest.raises(ApplicationError, match="2 callees share it") as raised:
        wamp.client.register(lambda: "ours", URI, force_reregister=True)
    assert raised.value.uri == error_uris.PROCEDURE_EXISTS_WITH_OTHER_POLICY
    assert wamp.client.declarations == []


@pytest.mark.parametrize("silent", [LOOKUP, COUNT_CALLEES])
def test_no_procedure_is_taken_over_if_the_router_does_not_count_callees(
    serve: Serve, router: MemoryRouter, silent: str
) -> None:
    tell(router, 1)
    router.refuse(silent)
    serve(theirs("roundrobin"))
    _, wamp = serve(declare)
    assert f"only, and {silent} says wamp.error.not_authorized" in refused(wamp)[URI]
    assert router.call(URI) == "theirs"


@pytest.mark.parametrize("gone", ["lookup", "count"])
def test_a_procedure_that_became_free_meanwhile_is_registered(
    serve: Serve, router: MemoryRouter, gone: str
) -> None:
    lookup, count = router.hold(LOOKUP), router.hold(COUNT_CALLEES)
    _, other = serve(theirs("roundrobin"))
    _, wamp = serve(WAMP_CALL_TIMEOUT=0.2)
    declare(wamp)  # waits for WAMP_CALL_TIMEOUT
    held = lookup.get(timeout=TIMEOUT)
    other.client.unregister(URI)
    if gone == "count":
        held.answer(77)
        count.get(timeout=TIMEOUT).fail("wamp.error.no_such_registration")
    else:
        held.answer(None)
    eventually(lambda: wamp.health()["procedures"]["registered"] == 1, TIMEOUT)
    assert router.call(URI) == "ours"


def test_a_declaration_that_was_withdrawn_meanwhile_is_not_registered(
    serve: Serve, router: MemoryRouter
) -> None:
    held = router.hold(LOOKUP)
    serve(theirs("roundrobin"))
    _, wamp = serve(WAMP_CALL_TIMEOUT=0.2)
    declare(wamp)  # is not answered in time
    wamp.client.unregister(URI)
    held.get(timeout=TIMEOUT).answer(None)
    wamp.callee(".other")(lambda: None)  # earlier messages have been read by now
    assert router.sent(m.Register)[-1].procedure == "com.example.other"
    assert router.call(URI) == "theirs"


def test_a_router_that_does_not_answer_does_not_block_the_start(
    serve: Serve, router: MemoryRouter
) -> None:
    router.hold(LOOKUP)
    _, other = serve(theirs("roundrobin"))

    def setup(wamp: FlaskWAMP) -> None:
        declare(wamp)
        wamp.callee(".here")(lambda: "here")

    _, wamp = serve(setup, WAMP_CALL_TIMEOUT=0.3)
    assert router.call("com.example.here") == "here"
    assert refused(wamp) == {URI: "the router did not answer within 0.3 s"}
    other.client.unregister(URI)
    eventually(lambda: not refused(wamp), TIMEOUT)
    assert router.call(URI) == "ours"
    assert len(router.sent(m.Unregister)) == 1


def test_the_callees_are_counted_again_after_a_reconnect(
    serve: Serve, router: MemoryRouter
) -> None:
    _, wamp = serve(declare)
    router.drop()
    eventually(lambda: len(options(router)) == 2)
    wamp.client.wait_until_joined(TIMEOUT)
    assert options(router) == [{"invoke": "single"}] * 2
    assert error_uris.PROCEDURE_ALREADY_EXISTS not in str(wamp.health())


@pytest.mark.parametrize("answer", [None, "one", [1], {"a": 1}, 1.5])
def test_an_invalid_count_takes_over_no_procedure(
    serve: Serve, router: MemoryRouter, answer: object
) -> None:
    serve(theirs("random"))
    router.register(LOOKUP, lambda uri, options: 77)
    router.register(COUNT_CALLEES, lambda number: answer)
    _, wamp = serve(lambda wamp: declare(wamp, "roundrobin"))
    assert "an unknown number of callees share it" in refused(wamp)[URI]
    assert router.call(URI) == "theirs"
