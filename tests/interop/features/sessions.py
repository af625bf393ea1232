"""Sessions of the peer."""

from __future__ import annotations

import typing as t

import pytest

from flask_wamp import invocation
from tests.support import peers

from .scene import Scene, error_of, eventually, feature, procedure

KEY = "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510"
PUBLIC_KEY = "1adfc8bfe1d35616e64dffbd900096f23b066f914c8c2ffbb66f6075b96e116d"
SESSIONS = "The peer joins and leaves"

CREDENTIALS: dict[str, dict[str, t.Any]] = {
    "ticket": {"authid": "ticket-user", "ticket": "ticket-secret"},
    "wampcra": {"authid": "cra-user", "secret": "cra-secret"},
    "salted": {"method": "wampcra", "authid": "cra-salted", "secret": "cra-secret"},
    "cryptosign": {"authid": "cryptosign-user", "key": KEY, "pubkey": PUBLIC_KEY},
    "scram": {"authid": "scram-argon2", "secret": "scram-secret"},
}


def visits(scene: Scene, name: str) -> None:
    """Let a session with these credentials call the app, which gets its identity."""

    def who() -> list[t.Any]:
        return [invocation.caller_authid, invocation.caller_authrole]

    auth = {"method": name, **CREDENTIALS[name]}
    scene.ours.callee(who, scene.uri("who"))
    assert scene.peer.visit(auth, scene.uri("who")).value == [auth["authid"], "user"]


@feature(SESSIONS, "ticket", authenticates=True)
def joins_ticket(scene: Scene) -> None:
    visits(scene, "ticket")


@feature(SESSIONS, "WAMP-CRA", authenticates=True)
def joins_wampcra(scene: Scene) -> None:
    visits(scene, "wampcra")


@feature(SESSIONS, "WAMP-CRA, salted", authenticates=True)
def joins_salted(scene: Scene) -> None:
    visits(scene, "salted")


@feature(SESSIONS, "cryptosign", authenticates=True)
def joins_cryptosign(scene: Scene) -> None:
    visits(scene, "cryptosign")


@feature(SESSIONS, "SCRAM", authenticates=True)
def joins_scram(scene: Scene) -> None:
    visits(scene, "scram")


@feature(SESSIONS, "a wrong secret is refused", authenticates=True)
def joins_refused(scene: Scene) -> None:
    auth = {"method": "wampcra", "authid": "cra-user", "secret": "wrong"}
    with pytest.raises(
        (peers.RemoteError, RuntimeError), match=r"not_authorized|authentication_denied"
    ):
        scene.peer.visit(auth, scene.uri("who"))


@feature(SESSIONS, "leaving with GOODBYE: its procedures are gone", kills=True)
def leaves(scene: Scene) -> None:
    procedure(scene)
    assert scene.client.call(scene.uri("f"), 1) == 1
    scene.peer.leave()
    scene.peer.wait_until_lost()

    def gone() -> bool:
        error = error_of(lambda: scene.client.call(scene.uri("f")))
        return error.uri == "wamp.error.no_such_procedure"

    eventually(gone)
