"""The app calls a procedure of the peer."""

from __future__ import annotations

import typing as t
from concurrent.futures import CancelledError

import pytest

from flask_wamp import CallResult, CallTimeout
from tests.support import peers

from .scene import Scene, error_of, feature, procedure
from .values import BYTES, ERROR, LARGE, MEGABYTE, VALUES

CALLED = "The app calls the peer"


@feature(CALLED, "positional and keyword arguments")
def called_args(scene: Scene) -> None:
    f = procedure(scene)
    result = scene.client.call(scene.uri("f"), 1, "two", three=3)
    assert result == CallResult(1, "two", three=3)
    got = f.next()
    assert (got.args, got.kwargs) == ([1, "two"], {"three": 3})


@feature(CALLED, "no result")
def called_none(scene: Scene) -> None:
    procedure(scene, "give", given=[[], {}])
    assert scene.client.call(scene.uri("f")) is None


@feature(CALLED, "an error with arguments of both kinds")
def called_error(scene: Scene) -> None:
    procedure(scene, "fail", error=ERROR)
    error = error_of(lambda: scene.client.call(scene.uri("f")))
    assert (error.uri, list(error.args), error.kwargs) == tuple(ERROR.values())


@feature(CALLED, "null, booleans, numbers, Unicode, nested lists and objects")
def called_values(scene: Scene) -> None:
    called_with(scene, VALUES)


@feature(CALLED, "integers of 64 bits")
def called_large(scene: Scene) -> None:
    called_with(scene, LARGE)


@feature(CALLED, "bytes")
def called_bytes(scene: Scene) -> None:
    called_with(scene, BYTES)


@feature(CALLED, "a payload of 1 MB")
def called_megabyte(scene: Scene) -> None:
    called_with(scene, MEGABYTE)


def called_with(scene: Scene, value: t.Any) -> None:
    f = procedure(scene)
    assert scene.client.call(scene.uri("f"), value) == value
    assert f.next().value == value


@feature(CALLED, "from an HTTP view")
def called_view(scene: Scene) -> None:
    procedure(scene)
    response = scene.ours.app.test_client().get(f"/call/{scene.uri('f')}")
    assert response.get_json() == {"answer": "from a view"}


@feature(CALLED, "progressive results, as a stream")
def called_progress(scene: Scene) -> None:
    procedure(scene, "progress", items=[1, {"two": 2}, [3]])
    with scene.client.stream(scene.uri("f"), "done") as stream:
        assert list(stream) == [1, {"two": 2}, [3], "done"]


@feature(CALLED, "canceling: the caller goes on at once")
def called_cancel(scene: Scene) -> None:
    f = procedure(scene, "hold")
    future = scene.client.submit(scene.uri("f"))
    f.next()
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(peers.patience())
    f.release()
    assert procedure_works(scene)


@feature(CALLED, "canceling: the peer is interrupted")
def called_interrupt(scene: Scene) -> None:
    f = procedure(scene, "hold")
    future = scene.client.submit(scene.uri("f"))
    f.next()
    future.cancel()
    f.interrupted()


@feature(CALLED, "a timeout: the caller goes on in time")
def called_timeout(scene: Scene) -> None:
    f = procedure(scene, "hold")
    with pytest.raises(CallTimeout):
        scene.client.with_options(timeout=0.1).call(scene.uri("f"))
    f.next()
    f.release()
    assert procedure_works(scene)


def procedure_works(scene: Scene) -> bool:
    """Check that a canceled call has not ended the peer's session."""
    scene.peer.register(scene.uri("after"))
    return bool(scene.client.call(scene.uri("after"), "more") == "more")


@feature(CALLED, "caller identification")
def called_disclosed(scene: Scene) -> None:
    f = procedure(scene)
    scene.client.call(scene.uri("f"))
    details = f.next().details
    assert details["caller"] == scene.client.session_id
    assert details["caller_authrole"] == "anonymous"


@feature(CALLED, "prefix registration")
def called_prefix(scene: Scene) -> None:
    called_by_pattern(scene, scene.uri("p"), "prefix", scene.uri("p.a.b"))


@feature(CALLED, "wildcard registration")
def called_wildcard(scene: Scene) -> None:
    called_by_pattern(scene, scene.uri("w..get"), "wildcard", scene.uri("w.seven.get"))


def called_by_pattern(scene: Scene, pattern: str, match: str, uri: str) -> None:
    f = scene.peer.register(pattern, options={"match": match})
    assert scene.client.call(uri, "hello") == "hello"
    assert f.next().details["procedure"] == uri


@feature(CALLED, "a registration that both share, roundrobin")
def called_shared(scene: Scene) -> None:
    scene.ours.callee(lambda: "ours", scene.uri("f"), invoke="roundrobin")
    theirs = {"kind": "give", "given": [["theirs"], {}]}
    scene.peer.register(scene.uri("f"), options={"invoke": "roundrobin"}, **theirs)
    answers = [scene.client.call(scene.uri("f")) for _ in range(6)]
    assert sorted(answers) == ["ours"] * 3 + ["theirs"] * 3


@feature(CALLED, "a procedure that the peer has taken back")
def called_unregistered(scene: Scene) -> None:
    procedure(scene).unregister()
    error = error_of(lambda: scene.client.call(scene.uri("f")))
    assert error.uri == "wamp.error.no_such_procedure"


@feature(CALLED, "vanishing mid-call: the caller gets an error", kills=True)
def called_vanish(scene: Scene) -> None:
    f = procedure(scene, "hold")
    future = scene.client.submit(scene.uri("f"))
    f.next()
    scene.peer.kill()
    error = error_of(lambda: future.result(peers.patience()))
    assert error.uri in ("wamp.error.canceled", "wamp.error.no_such_procedure")
