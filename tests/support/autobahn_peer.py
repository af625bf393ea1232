"""autobahn-python as the other side of a test, in a separate process that does not use our code.

It reads commands from stdin and reports to stdout, one JSON object a line in both cases. It ends when stdin
ends. ``peers.AutobahnPeer`` controls it.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import functools
import json
import ssl
import sys
import typing as t
import urllib.parse

#: The maximum size of a line: a 16 MB payload in Base64, and more.
LONGEST_LINE = 32 * 1024 * 1024


def to_line(value: t.Any) -> bytes:
    """Encode a line; bytes become ``{"__bytes__": Base64}``."""
    return json.dumps(value, default=_from_bytes, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> t.Any:
    """Decode a line."""
    return json.loads(line, object_hook=_to_bytes)


def _from_bytes(value: t.Any) -> t.Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"__bytes__": base64.b64encode(value).decode()}
    return repr(value)


def _to_bytes(value: dict[str, t.Any]) -> t.Any:
    if value.keys() == {"__int__"}:
        return int(value["__int__"])
    return base64.b64decode(value["__bytes__"]) if value.keys() == {"__bytes__"} else value


def say(**line: t.Any) -> None:
    """Write a line."""
    sys.stdout.buffer.write(to_line(line))
    sys.stdout.buffer.flush()


class Declarations:
    """The commands that undo declarations, for any library."""

    def __init__(self) -> None:
        self._held: dict[int, list[asyncio.Event]] = {}
        """The events for which the calls of a ``hold`` procedure wait."""
        self._withdrawals: dict[int, t.Callable[[], t.Awaitable[object]]] = {}
        """The functions that unregister or unsubscribe."""

    async def withdraw(self, id: int, declared: int) -> None:
        """Unregister or unsubscribe."""
        await self._withdrawals.pop(declared)()

    async def release(self, id: int, declared: int) -> None:
        """Let the calls that a ``hold`` procedure holds end."""
        for event in self._held.pop(declared, []):
            event.set()

    async def reset(self, id: int) -> None:
        """Withdraw everything."""
        for declared in list(self._held):
            await self.release(id, declared)
        withdrawals = [self.withdraw(id, declared) for declared in list(self._withdrawals)]
        await asyncio.gather(*withdrawals, return_exceptions=True)  # some no longer exist


class Commands(Declarations):
    """The commands of stdin. Each is a method, whose arguments are the members of the line."""

    def __init__(self, session: t.Any, join: t.Callable[[t.Any], t.Awaitable[t.Any]]) -> None:
        super().__init__()
        self._session = session
        self._join = join
        self._calls: dict[int, t.Any] = {}

    async def run(self, id: int, do: str, **arguments: t.Any) -> None:
        """Carry out a command and write its reply."""
        from autobahn.wamp.exception import ApplicationError

        try:
            value = await getattr(self, do)(id, **arguments)
        except ApplicationError as error:
            details = {"args": list(error.args), "kwargs": error.kwargs}
            say(reply=id, error={"uri": error.error, **details})
        except asyncio.CancelledError:
            say(reply=id, canceled=True)
        except Exception as error:
            say(reply=id, raised=f"{type(error).__name__}: {error}")
        else:
            say(reply=id, value=value)

    async def call(
        self, id: int, uri: str, args: t.Any, kwargs: t.Any, progress: bool, options: t.Any
    ) -> t.Any:
        from autobahn.wamp.types import CallOptions, CallResult

        def on_progress(*args: t.Any, **kwargs: t.Any) -> None:
            say(note=id, kind="progress", args=args, kwargs=kwargs)

        # autobahn 26.10 ends its session at a progressive result if details were requested.
        wanted: t.Any = {"on_progress": on_progress} if progress else {"details": True}
        wanted = CallOptions(**wanted, **options)
        future = self._session.call(uri, *args, options=wanted, **kwargs)
        self._calls[id] = future
        try:
            result = await future
        finally:
            del self._calls[id]
        if not isinstance(result, CallResult):
            result = CallResult(result)
        details = {name: getattr(result, name) for name in ("callee", "callee_authrole")}
        return {"args": result.results, "kwargs": result.kwresults, "details": details}

    async def cancel(self, id: int, call: int, mode: str) -> None:
        if mode != "killnowait":
            raise NotImplementedError("autobahn sends CANCEL without a mode, which is killnowait")
        self._calls[call].cancel()

    async def publish(
        self, id: int, uri: str, args: t.Any, kwargs: t.Any, options: dict[str, t.Any]
    ) -> int | None:
        from autobahn.wamp.types import PublishOptions

        acknowledgement = self._session.publish(
            uri, *args, options=PublishOptions(**options), **kwargs
        )
        return (await acknowledgement).id if acknowledgement is not None else None

    async def subscribe(self, id: int, uri: str, options: dict[str, t.Any] | None) -> int:
        from autobahn.wamp.types import SubscribeOptions

        def on_event(*args: t.Any, _details: t.Any, **kwargs: t.Any) -> None:
            say(note=id, kind="event", args=args, kwargs=kwargs, details=_facts(_details))

        wanted = SubscribeOptions(details_arg="_details", **(options or {}))
        subscription = await self._session.subscribe(on_event, uri, options=wanted)
        self._withdrawals[id] = subscription.unsubscribe
        return int(subscription.id)

    async def register(
        self, id: int, uri: str, options: dict[str, t.Any], behaviour: dict[str, t.Any]
    ) -> int:
        from autobahn.wamp.types import RegisterOptions

        answer = functools.partial(getattr(self, f"_{behaviour.pop('kind')}"), id, **behaviour)

        async def on_invocation(*args: t.Any, _details: t.Any, **kwargs: t.Any) -> t.Any:
            details = _facts(_details)
            say(note=id, kind="invocation", args=args, kwargs=kwargs, details=details)
            try:
                return await answer(args, kwargs, _details)
            except asyncio.CancelledError:
                say(note=id, kind="interrupted")
                raise

        wanted = RegisterOptions(details_arg="_details", **options)
        registration = await self._session.register(on_invocation, uri, options=wanted)
        self._withdrawals[id] = registration.unregister
        return int(registration.id)

    async def visit(self, id: int, auth: t.Any, uri: str) -> t.Any:
        """Join with another identity, call, and leave."""
        session = await self._join(auth)
        result = await session.call(uri)
        await _leave(session)
        return {"args": [result], "kwargs": {}, "details": {}}

    async def leave(self, id: int) -> None:
        await _leave(self._session)

    # Behaviours of procedures.

    async def _echo(self, id: int, args: t.Any, kwargs: t.Any, details: t.Any) -> t.Any:
        return _result(args, kwargs)

    async def _give(
        self, id: int, args: t.Any, kwargs: t.Any, details: t.Any, *, given: t.Any
    ) -> t.Any:
        return _result(*given)

    async def _fail(
        self, id: int, args: t.Any, kwargs: t.Any, details: t.Any, *, error: t.Any
    ) -> t.Any:
        from autobahn.wamp.exception import ApplicationError

        raise ApplicationError(error["uri"], *error["args"], **error["kwargs"])

    async def _hold(self, id: int, args: t.Any, kwargs: t.Any, details: t.Any) -> t.Any:
        released = asyncio.Event()
        self._held.setdefault(id, []).append(released)
        await released.wait()
        return _result(args, kwargs)

    async def _relay(
        self, id: int, args: t.Any, kwargs: t.Any, details: t.Any, *, to: str
    ) -> t.Any:
        return await self._session.call(to, *args, **kwargs)

    async def _progress(
        self, id: int, args: t.Any, kwargs: t.Any, details: t.Any, *, items: t.Any
    ) -> t.Any:
        if details.progress is not None:
            for item in items:
                details.progress(item)
        return _result(args, kwargs)


def _result(args: t.Any, kwargs: t.Any) -> t.Any:
    from autobahn.wamp.types import CallResult

    return CallResult(*args, **kwargs)


_FACTS = ("caller", "caller_authid", "caller_authrole", "procedure", "topic", "publication")
_FACTS += ("publisher", "publisher_authid", "publisher_authrole", "retained")


def _facts(details: t.Any) -> dict[str, t.Any]:
    """The contents of autobahn's details of a call or an event."""
    return {name: getattr(details, name) for name in _FACTS if hasattr(details, name)}


# Connecting.


def _serializer(name: str) -> t.Any:
    from autobahn.wamp import serializer

    classes = {"json": "JsonSerializer", "msgpack": "MsgPackSerializer", "cbor": "CBORSerializer"}
    return getattr(serializer, classes[name])()


def _authenticator(method: str, **members: t.Any) -> t.Any:
    from autobahn.wamp import auth

    names = {"key": "privkey", "secret": "password" if method == "scram" else "secret"}
    given = {names.get(key, key): value for key, value in members.items() if key != "pubkey"}
    if method == "cryptosign":
        given["authextra"] = {"pubkey": members["pubkey"]}
    return auth.create_authenticator(method, **given)


async def _leave(session: t.Any) -> None:
    """Say GOODBYE and wait until the connection is closed."""
    session.left = asyncio.get_running_loop().create_future()
    session.leave()
    await session.left


def _session_class(joined: asyncio.Future[t.Any], auth: t.Any) -> t.Any:
    from autobahn.asyncio.wamp import ApplicationSession
    from autobahn.wamp.exception import ApplicationError

    class Session(ApplicationSession):  # type: ignore[misc]
        left: asyncio.Future[None] | None = None

        def onConnect(self) -> None:
            if auth is None:
                super().onConnect()
                return
            self.authenticator = _authenticator(**auth)
            self.join(
                self.config.realm,
                authmethods=[auth["method"]],
                authid=auth["authid"],
                authextra=self.authenticator.authextra,
            )

        def onChallenge(self, challenge: t.Any) -> t.Any:
            return self.authenticator.on_challenge(self, challenge)

        def onLeave(self, details: t.Any) -> None:
            if not joined.done():
                joined.set_exception(ApplicationError(details.reason, details.message))
            super().onLeave(details)

        def onJoin(self, details: t.Any) -> None:
            self._uri_to_ecls.clear()  # some URIs become exceptions without args
            joined.set_result((self, details))

        def onUserError(self, fail: t.Any, message: str) -> None:
            pass  # autobahn would print it, and the caller gets it anyway

        def onDisconnect(self) -> None:
            if self.left is not None:
                self.left.set_result(None)
            if auth is None:
                say(lost=True)
            if not joined.done():
                joined.set_exception(ConnectionError("not joined"))

    return Session


async def _connect(
    url: str, realm: str, serializer: str, ca: str | None, auth: t.Any = None
) -> t.Any:
    """Join. Return the session, and the details of WELCOME."""
    from autobahn.asyncio.rawsocket import WampRawSocketClientFactory
    from autobahn.asyncio.websocket import WampWebSocketClientFactory
    from autobahn.wamp.types import ComponentConfig

    loop = asyncio.get_running_loop()
    joined = loop.create_future()
    Session = _session_class(joined, auth)

    def session() -> t.Any:
        return Session(ComponentConfig(realm))

    parts = urllib.parse.urlsplit(url)
    factory: t.Any
    if parts.scheme in ("ws", "wss"):
        factory = WampWebSocketClientFactory(
            session, url=url, serializers=[_serializer(serializer)], loop=loop
        )
    else:
        factory = WampRawSocketClientFactory(session, serializer=_serializer(serializer))
    if parts.scheme == "unix":
        await loop.create_unix_connection(factory, parts.path)
    else:
        context = None
        if parts.scheme in ("wss", "tls"):
            context = ssl.create_default_context(cafile=ca)
        await loop.create_connection(factory, parts.hostname, parts.port, ssl=context)
    return await joined


async def main(url: str, realm: str, serializer: str, ca: str | None) -> None:
    loop = asyncio.get_running_loop()
    # At its end, autobahn cancels calls and answers them on a connection that no longer exists.
    loop.set_exception_handler(lambda loop, context: None)
    stdin = asyncio.StreamReader(limit=LONGEST_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)

    async def join(auth: t.Any) -> t.Any:
        return (await _connect(url, realm, serializer, ca, auth))[0]

    session, details = await _connect(url, realm, serializer, ca)
    facts = ("session", "realm", "authid", "authrole", "authmethod")
    say(joined={name: getattr(details, name) for name in facts})
    commands = Commands(session, join)
    tasks: set[asyncio.Task[None]] = set()
    while line := await stdin.readline():
        task = loop.create_task(commands.run(**from_line(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    import txaio

    txaio.use_asyncio()
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("realm")
    parser.add_argument("serializer")
    parser.add_argument("--ca")
    arguments = parser.parse_args()
    try:
        asyncio.run(main(**vars(arguments)))
    except Exception as error:
        say(failed=f"{type(error).__name__}: {error}")
