"""The peer calls a handler of the app."""

from __future__ import annotations

import threading
import typing as t

import pytest

from flask_wamp import ApplicationError, CallResult, invocation
from tests.support import peers

from .scene import Scene, eventually, feature, wait
from .values import BYTES, ERROR, LARGE, MEGABYTE, VALUES

CALLS = "The peer calls the app"


def answers(scene: Scene, f: t.Callable[..., t.Any], *args: t.Any, **kwargs: t.Any) -> t.Any:
    """Register a handler, and let the peer call it."""
    scene.ours.callee(f, scene.uri("f"))
    return scene.peer.call(scene.uri("f"), *args, **kwargs)


def echoed(scene: Scene, value: t.Any) -> t.Any:
    """Return the value that comes back to the peer. Check that the handler got the same."""
    got: list[t.Any] = []

    def echo(value: t.Any) -> t.Any:
        got.append(value)
        return value

    scene.ours.callee(echo, scene.uri("echo"), validate=False)
    back = scene.peer.call(scene.uri("echo"), value).value
    assert got == [value]
    return back


@feature(CALLS, "positional arguments")
def calls_args(scene: Scene) -> None:
    assert answers(scene, lambda a, b: a - b, 5, 3).value == 2


@feature(CALLS, "keyword arguments")
def calls_kwargs(scene: Scene) -> None:
    def f(a: int, *, b: int = 0, c: str) -> list[t.Any]:
        return [a, b, c]

    assert answers(scene, f, 1, b=2, c="three").value == [1, 2, "three"]


@feature(CALLS, "no result")
def calls_none(scene: Scene) -> None:
    result = answers(scene, lambda: None)
    assert result.args in ([None], []), result
    assert result.kwargs == {}


@feature(CALLS, "several results, and results by keyword")
def calls_several(scene: Scene) -> None:
    result = answers(scene, lambda: CallResult(1, "two", three=3))
    assert (result.args, result.kwargs) == ([1, "two"], {"three": 3})


@feature(CALLS, "an error with arguments of both kinds")
def calls_error(scene: Scene) -> None:
    def f() -> None:
        raise ApplicationError(ERROR["uri"], *ERROR["args"], **ERROR["kwargs"])

    scene.ours.callee(f, scene.uri("f"))
    error = scene.peer.error(scene.uri("f"))
    assert (error.uri, list(error.args), error.kwargs) == tuple(ERROR.values())


@feature(CALLS, "an argument that fails validation")
def calls_invalid(scene: Scene) -> None:
    def f(count: int) -> None:
        raise AssertionError

    scene.ours.callee(f, scene.uri("f"))
    error = scene.peer.error(scene.uri("f"), "many")
    assert error.uri == "wamp.error.invalid_argument"
    assert error.kwargs["errors"][0]["loc"] == [0], error


@feature(CALLS, "a procedure that is not there")
def calls_unknown(scene: Scene) -> None:
    assert scene.peer.error(scene.uri("f")).uri == "wamp.error.no_such_procedure"


@feature(CALLS, "null, booleans, numbers, Unicode, nested lists and objects")
def calls_values(scene: Scene) -> None:
    assert echoed(scene, VALUES) == VALUES


@feature(CALLS, "integers of 64 bits")
def calls_large(scene: Scene) -> None:
    assert echoed(scene, LARGE) == LARGE


@feature(CALLS, "bytes")
def calls_bytes(scene: Scene) -> None:
    assert echoed(scene, BYTES) == BYTES


@feature(CALLS, "a payload of 1 MB")
def calls_megabyte(scene: Scene) -> None:
    assert echoed(scene, MEGABYTE) == MEGABYTE


def counting(n: int) -> t.Iterator[int]:
    yield from range(n)
    return "done"


@feature(CALLS, "progressive results, of a generator")
def calls_progress(scene: Scene) -> None:
    scene.ours.callee(counting, scene.uri("count"), validate=False)
    call = scene.peer.submit(scene.uri("count"), 3, progress=True)
    assert [call.progress() for _ in range(3)] == [0, 1, 2]
    assert call.wait().value == "done"


@feature(CALLS, "a generator, without asking for progress")
def calls_no_progress(scene: Scene) -> None:
    def count(n: int) -> t.Iterator[int]:
        yield from range(n)

    assert answers(scene, count, 3).value == [0, 1, 2]


@feature(CALLS, "canceling, ``killnowait``: the handler is interrupted")
def calls_cancel(scene: Scene) -> None:
    calls_and_cancels(scene, "killnowait")


@feature(CALLS, "canceling, ``kill``: the handler is interrupted")
def calls_kill(scene: Scene) -> None:
    calls_and_cancels(scene, "kill")


def calls_and_cancels(scene: Scene, mode: str) -> None:
    held = scene.ours.hold(scene.uri("hold"))
    call = scene.peer.submit(scene.uri("hold"))
    wait(held.started)
    call.cancel(mode)
    wait(held.interrupted)
    with pytest.raises((peers.Canceled, peers.RemoteError)) as caught:
        call.wait()
    if isinstance(caught.value, peers.RemoteError):
        assert caught.value.uri == "wamp.error.canceled"
    assert scene.peer.error(scene.uri("f")).uri == "wamp.error.no_such_procedure"  # it still works


@feature(CALLS, "``options.timeout``: the handler is interrupted", once=True)
def calls_timeout(scene: Scene) -> None:
    held = scene.ours.hold(scene.uri("hold"))
    call = scene.peer.submit(scene.uri("hold"), options={"timeout": scene.second})
    wait(held.started)
    wait(held.interrupted)
    with pytest.raises(peers.RemoteError) as caught:
        call.wait()
    assert caught.value.uri in ("wamp.error.canceled", "wamp.error.timeout")


@feature(CALLS, "caller identification")
def calls_disclosed(scene: Scene) -> None:
    result = answers(scene, lambda: [invocation.caller, invocation.caller_authrole]).value
    assert result == [scene.peer.session_id, "anonymous"]


@feature(CALLS, "prefix registration")
def calls_prefix(scene: Scene) -> None:
    scene.ours.callee(lambda: invocation.procedure, scene.uri("p"), match="prefix")
    assert scene.peer.call(scene.uri("p.a.b")).value == scene.uri("p.a.b")


@feature(CALLS, "wildcard registration")
def calls_wildcard(scene: Scene) -> None:
    scene.ours.callee(lambda: invocation.procedure, scene.uri("w..get"), match="wildcard")
    assert scene.peer.call(scene.uri("w.seven.get")).value == scene.uri("w.seven.get")


@feature(CALLS, "vanishing mid-call: the handler is interrupted", kills=True)
def calls_vanish(scene: Scene) -> None:
    held = scene.ours.hold(scene.uri("hold"))
    scene.peer.submit(scene.uri("hold"))
    wait(held.started)
    scene.peer.kill()
    wait(held.interrupted)


@feature(CALLS, "the app stops: it finishes the call first")
def calls_drained(scene: Scene) -> None:
    started, released = threading.Event(), threading.Event()

    def slow() -> str:
        started.set()
        wait(released)
        return "finished"

    with scene.ours.another() as app:
        app.callee(slow, scene.uri("slow"))
        app.callee(lambda: None, scene.uri("quick"))
        call = scene.peer.submit(scene.uri("slow"))
        wait(started)
        stopping = threading.Thread(target=app.stop)
        stopping.start()
        eventually(lambda: is_gone(scene, scene.uri("quick")))
        released.set()
        assert call.wait().value == "finished"
        stopping.join()


def is_gone(scene: Scene, procedure: str) -> bool:
    try:
        scene.peer.call(procedure)
    except peers.RemoteError as error:
        assert error.uri == "wamp.error.no_such_procedure"
        return True
    return False


@feature(CALLS, "the app is lost mid-call: the peer gets an error")
def calls_lost(scene: Scene) -> None:
    with scene.ours.another() as app:
        held = app.hold(scene.uri("hold"))
        call = scene.peer.submit(scene.uri("hold"))
        wait(held.started)
        app.drop()
        with pytest.raises(peers.RemoteError) as caught:
            call.wait()
    assert caught.value.uri == "wamp.error.canceled"
