"""xconn as the other side of a test. ``xconn_peer.py URL REALM SERIALIZER``.

Speaks the line protocol of ``tests/support/autobahn_peer.py``, in a Python that has xconn.
"""

from __future__ import annotations

import asyncio
import builtins
import sys
import typing as t
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "support"))

from autobahn_peer import LONGEST_LINE, Declarations, from_line, say
from xconn import (
    AnonymousAuthenticator,
    AsyncClient,
    CBORSerializer,
    CryptoSignAuthenticator,
    JSONSerializer,
    MsgPackSerializer,
    TicketAuthenticator,
    WAMPCRAAuthenticator,
)
from xconn.exception import ApplicationError
from xconn.types import Event, Invocation, Result

Answer = t.Callable[[Invocation], t.Awaitable[Result]]

SERIALIZERS = {"json": JSONSerializer, "msgpack": MsgPackSerializer, "cbor": CBORSerializer}
AUTHENTICATORS: dict[str, t.Callable[[t.Any], t.Any]] = {
    "ticket": lambda auth: TicketAuthenticator(auth["authid"], auth["ticket"]),
    "wampcra": lambda auth: WAMPCRAAuthenticator(auth["authid"], auth["secret"]),
    "cryptosign": lambda auth: CryptoSignAuthenticator(auth["authid"], auth["key"]),
}


class Commands(Declarations):
    """The commands of a line of stdin: one method each, whose arguments are the members of the line."""

    def __init__(self, session: t.Any, join: t.Callable[[t.Any], t.Awaitable[t.Any]]) -> None:
        super().__init__()
        self._session = session
        self._join = join

    async def run(self, id: int, do: str, **arguments: t.Any) -> None:
        """Carry out a command and write its reply."""
        try:
            value = await getattr(self, do)(id, **arguments)
        except ApplicationError as error:
            details = {"args": list(error.args), "kwargs": error.kwargs}
            say(reply=id, error={"uri": error.message, **details})
        except Exception as error:
            say(reply=id, raised=f"{type(error).__name__}: {error}")
        else:
            say(reply=id, value=value)

    async def call(
        self,
        id: int,
        uri: str,
        args: t.Any,
        kwargs: t.Any,
        progress: bool,
        options: dict[str, t.Any],
    ) -> t.Any:
        wanted = {**options, **({"receive_progress": True} if progress else {})}
        return _payload(await self._session.call(uri, args, kwargs, wanted))

    async def cancel(self, id: int, call: int, mode: str) -> None:
        raise NotImplementedError("xconn's client has no way to cancel a call")

    async def publish(
        self, id: int, uri: str, args: t.Any, kwargs: t.Any, options: dict[str, t.Any]
    ) -> None:
        await self._session.publish(uri, args, kwargs, options)

    async def subscribe(self, id: int, uri: str, options: dict[str, t.Any] | None) -> None:
        async def on_event(event: Event) -> None:
            say(note=id, kind="event", **_payload(event))

        subscription = await self._session.subscribe(uri, on_event, options)
        self._withdrawals[id] = subscription.unsubscribe

    async def register(
        self, id: int, uri: str, options: dict[str, t.Any], behaviour: dict[str, t.Any]
    ) -> None:
        answer: Answer = getattr(self, f"_{behaviour.pop('kind')}")(id, **behaviour)

        async def on_invocation(invocation: Invocation) -> Result:
            say(note=id, kind="invocation", **_payload(invocation))
            return await answer(invocation)

        registration = await self._session.register(uri, on_invocation, options)
        self._withdrawals[id] = registration.unregister

    async def visit(self, id: int, auth: t.Any, uri: str) -> t.Any:
        """Join with another identity, call, and leave."""
        session = await self._join(auth)
        result = _payload(await session.call(uri))
        await session.leave()
        return result

    async def leave(self, id: int) -> None:
        await self._session.leave()
        say(lost=True)  # it does not call back if it leaves by itself

    # Behaviours of procedures.

    def _echo(self, id: int) -> Answer:
        async def echo(invocation: Invocation) -> Result:
            return Result(invocation.args, invocation.kwargs)

        return echo

    def _give(self, id: int, given: t.Any) -> Answer:
        async def give(invocation: Invocation) -> Result:
            return Result(*given)

        return give

    def _fail(self, id: int, error: t.Any) -> Answer:
        async def fail(invocation: Invocation) -> Result:
            raise ApplicationError(error["uri"], *error["args"], **error["kwargs"])

        return fail

    def _hold(self, id: int) -> Answer:
        async def hold(invocation: Invocation) -> Result:
            released = asyncio.Event()
            self._held.setdefault(id, []).append(released)
            await released.wait()
            return Result(invocation.args, invocation.kwargs)

        return hold

    def _progress(self, id: int, items: t.Any) -> Answer:
        async def progress(invocation: Invocation) -> Result:
            raise NotImplementedError("xconn's client has no way to send a progressive result")

        return progress


def _payload(message: t.Any) -> dict[str, t.Any]:
    details = dict(message.details or {})
    return {"args": message.args or [], "kwargs": message.kwargs or {}, "details": details}


async def main(url: str, realm: str, serializer: str) -> None:
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader(limit=LONGEST_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)

    async def join(auth: t.Any = None, lost: t.Any = None) -> t.Any:
        if auth and auth["method"] not in AUTHENTICATORS:
            raise NotImplementedError(f"xconn has no {auth['method']}")
        who = AUTHENTICATORS[auth["method"]](auth) if auth else AnonymousAuthenticator("")
        client = AsyncClient(who, SERIALIZERS[serializer]())
        return await client.connect(url, realm, disconnect_callback=lost)

    async def lost() -> None:
        say(lost=True)

    session = await join(None, lost)
    base = session._base_session
    say(joined={"session": base.id, "authid": base.authid, "authrole": base.authrole})
    commands = Commands(session, join)
    tasks: set[asyncio.Task[None]] = set()
    while line := await stdin.readline():
        task = loop.create_task(commands.run(**from_line(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    builtins.print = lambda *values, **options: (
        None
    )  # output of xconn would be mistaken for our lines
    try:
        asyncio.run(main(*sys.argv[1:]))
    except Exception as error:
        say(failed=f"{type(error).__name__}: {error}")
