"""The built-in router with the configuration of a Crossbar node: ``configured_router.py CONFIG``.

It reads as much of the configuration as the tests use. Clients of all transports may use every method of
authentication that one of them has.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import signal
import ssl
import sys
import time
import typing as t

from flask_wamp.protocol.identity import Identity
from flask_wamp.router import Decision, KeptEvents, Permission, Router, RouterSettings
from flask_wamp.router.authentication import Challenge, JoinRequest, Mutual, Refusal, Verdict
from flask_wamp.router.principals import Principals
from flask_wamp.router.process import event_loop
from flask_wamp.router.process.listeners import Listener
from flask_wamp.router.process.server import RouterServer, ServerSettings
from flask_wamp.transports.urls import parse_router_url

Config = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Member(Identity):
    """The realms of identities, because roles of the same name differ between realms."""

    realm: str = ""


class Authenticator:
    """Principals of Crossbar's static authentication."""

    def __init__(self, transports: t.Sequence[Config]) -> None:
        table: dict[str, t.Any] = {}
        for transport in transports:
            table.update(principals_of(transport["auth"]))
        self._principals = Principals(table)

    def __call__(self, request: JoinRequest) -> Verdict | Challenge:
        """Authenticate by the table, and record the realm."""
        answer = self._principals(request)
        if not isinstance(answer, Challenge):
            return _in_realm(answer, request.realm)
        verify = answer.verify
        return dataclasses.replace(
            answer,
            verify=lambda *signature: _in_realm(t.cast(Verdict, verify(*signature)), request.realm),
        )


def principals_of(auth: Config) -> dict[str, t.Any]:
    """Return the table of :class:`Principals` for the ``auth`` of a transport of Crossbar."""
    return {method: _principals(method, settings) for method, settings in auth.items()}


def _principals(method: str, settings: Config) -> t.Any:
    if method == "anonymous":
        return {"role": settings["role"]}
    principals = settings.get("principals") or settings["users"]
    if method != "scram":
        return principals
    return {authid: _scram(entry) for authid, entry in principals.items()}


def _scram(entry: Config) -> Config:
    names = ["kdf", "iterations", "stored-key", "server-key", "role"]
    if entry["kdf"] != "pbkdf2":
        names.append("memory")
    salt = base64.b64encode(bytes.fromhex(entry["salt"])).decode()
    return {"salt": salt, **{name.replace("-", "_"): entry[name] for name in names}}


def _in_realm(verdict: Verdict, realm: str) -> Verdict:
    if isinstance(verdict, Refusal):
        return verdict
    if isinstance(verdict, Mutual):
        return dataclasses.replace(verdict, identity=_member(verdict.identity, realm))
    return _member(verdict, realm)


def _member(identity: Identity, realm: str) -> Member:
    return Member(**vars(identity), realm=realm)


class Authorizer:
    """Crossbar's static permissions, where the one with the longest URI decides."""

    def __init__(self, realms: t.Sequence[Config]) -> None:
        self._permissions = {
            (realm["name"], role["name"]): [
                (Permission(each["uri"], each.get("match", "exact")), each)
                for each in sorted(role["permissions"], key=_precedence, reverse=True)
            ]
            for realm in realms
            for role in realm["roles"]
        }

    def __call__(
        self, identity: Identity, action: str, uri: str, options: t.Mapping[str, t.Any]
    ) -> Decision:
        """Decide by realm and role."""
        assert isinstance(identity, Member)
        match = options.get("match") if action in ("register", "subscribe") else None
        for permission, entry in self._permissions[identity.realm, identity.authrole]:
            if permission.covers(uri, match):
                whom = "caller" if action == "call" else "publisher"
                discloses = entry.get("disclose", {}).get(whom, False)
                return Decision(entry["allow"].get(action, False), discloses)
        return Decision(False)


def _precedence(permission: Config) -> tuple[bool, int]:
    return permission.get("match", "exact") == "exact", len(permission["uri"])


def _settings(worker: Config, options: Config) -> RouterSettings:
    kept = [
        KeptEvents(each["uri"], each.get("match", "exact"), each["limit"])
        for realm in worker["realms"]
        for each in realm.get("store", {}).get("event-history", [])
    ]
    names = tuple(realm["name"] for realm in worker["realms"])
    default = RouterSettings()
    size = options.get("max_message_size", default.max_message_size)
    return RouterSettings(realms=names, history=tuple(kept), max_message_size=size)


def _server_settings(options: Config) -> ServerSettings:
    default = ServerSettings()
    return ServerSettings(
        compression="compression" in options,  # Crossbar has none by default
        ping_interval=options.get("auto_ping_interval", default.ping_interval * 1000) / 1000,
        ping_timeout=options.get("auto_ping_timeout", default.ping_timeout * 1000) / 1000,
    )


def _url(transport: Config) -> str:
    endpoint, is_raw = transport["endpoint"], transport["type"] == "rawsocket"
    if endpoint["type"] == "unix":
        return f"unix://{endpoint['path']}"
    scheme = ("tls" if is_raw else "wss") if "tls" in endpoint else ("tcp" if is_raw else "ws")
    return f"{scheme}://{endpoint['interface']}:{endpoint['port']}/{'' if is_raw else 'ws'}"


def _tls(transport: Config) -> ssl.SSLContext | None:
    tls = transport["endpoint"].get("tls")
    if tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls["certificate"], tls["key"])
    return context


def _services(transport: Config) -> t.Iterator[Config]:
    """A transport's services: of a Web transport, the WebSocket at ``/ws``."""
    yield transport["paths"]["ws"] if transport["type"] == "web" else transport


async def run(config: Config) -> None:
    """Run until SIGTERM."""
    (worker,) = config["workers"]
    transports = worker["transports"]
    services = [service for transport in transports for service in _services(transport)]
    options: dict[str, t.Any] = {}
    for service in services:
        options.update(service.get("options", {}))
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    router = Router(
        _settings(worker, options),
        clock=loop.time,
        wall_clock=time.time_ns,
        authenticator=Authenticator(services),
        authorizer=Authorizer(worker["realms"]),
    )
    server = RouterServer(router, _server_settings(options))
    listeners = [
        Listener(server, parse_router_url(_url(transport)), tls=_tls(transport))
        for transport in transports
    ]
    await ended.wait()
    for listener in listeners:
        listener.close()
    await server.stop(5.0)


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        event_loop.run(run(json.load(file)))
