"""Many browsers that are joined and call again and again, in a thread of this process."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import json
import resource
import threading
import time
import typing as t

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from .served import STARTS_WITHIN

HELLO = [1, "realm1", {"roles": {"caller": {}}}]

PROCEDURE = "com.shop.who"
"""Returns a dictionary with the ``pid`` of the process that answers, in ``apps/browsed.py``."""

OTHER_FILES = 200
"""How many files this process opens besides the browsers' sockets, at most."""

AT_ONCE = 20
"""How many browsers join at the same time."""

LAST_CALL_WITHIN = 90.0
"""Seconds for the last call of each browser. They are more than the app's ``WAMP_CALL_TIMEOUT``."""


@contextlib.contextmanager
def many_open_files(count: int) -> t.Iterator[None]:
    """Let this process, and those that it starts meanwhile, open this many sockets.

    :raises OSError: The system does not permit it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise OSError(f"{count} browsers need {needed} open files, and ulimit -Hn says {hard}")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class BrowserCrowd:
    """Anonymous browsers that each call :data:`PROCEDURE` again and again, one call at a time.

    ::

        with BrowserCrowd("ws://127.0.0.1:5000/wamp", 1000, pause=1.0) as crowd: ...
        print(crowd)

    The block begins when all are joined. After the block, each browser calls once more.

    :param pause: Seconds between the answer to a browser's call and its next call.
    """

    def __init__(self, url: str, count: int, *, pause: float) -> None:
        self._url = url
        self._count = count
        self._pause = pause
        self._lock = threading.Lock()
        self._all_joined = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="browsers")
        self._pids: set[int] = set()
        self.joined = self.calls = self.failed = self.lost = 0
        self.slowest = 0.0
        """Seconds that the slowest call took."""
        self.errors: collections.Counter[str] = collections.Counter()
        """What the failed calls and the lost browsers got."""

    def __enter__(self) -> BrowserCrowd:
        self._thread.start()
        self._all_joined.wait()
        if self.joined < self._count:
            self._end()
            raise RuntimeError(f"not all have joined: {self}")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._thread.join()

    def __str__(self) -> str:
        return (
            f"{self.joined} of {self._count} browsers joined, {self.lost} lost, {self.calls} calls, "
            f"{self.failed} failed, the slowest took {self.slowest:.2f} s"
            + "".join(f"\n  {count} x {error}" for error, count in self.errors.items())
        )

    def pids(self) -> set[int]:
        """Return all processes that have answered so far."""
        with self._lock:
            return set(self._pids)

    # In the thread of the browsers:

    def _run(self) -> None:
        asyncio.run(self._browse_all())

    async def _browse_all(self) -> None:
        gate = asyncio.Semaphore(AT_ONCE)
        try:
            found = await asyncio.gather(*(self._join(gate) for _ in range(self._count)))
        finally:
            self._all_joined.set()
        sockets = [socket for socket in found if socket is not None]
        if len(sockets) == self._count:
            await self._call_from_all(sockets)
        await asyncio.gather(*(socket.close() for socket in sockets))

    async def _call_from_all(self, sockets: list[ClientConnection]) -> None:
        tasks = [
            asyncio.ensure_future(self._browse(socket, self._pause * number / self._count))
            for number, socket in enumerate(sockets)
        ]
        while not self._ended:
            await asyncio.sleep(0.05)
        _, unanswered = await asyncio.wait(tasks, timeout=2 * self._pause + LAST_CALL_WITHIN)
        for task in unanswered:
            self.failed += 1
            self.errors["no answer"] += 1
            task.cancel()

    async def _join(self, gate: asyncio.Semaphore) -> ClientConnection | None:
        async with gate:
            try:
                # As a browser does, it sends no pings of its own.
                socket = await connect(
                    self._url,
                    subprotocols=[Subprotocol("wamp.2.json")],
                    compression=None,
                    open_timeout=STARTS_WITHIN,
                    ping_interval=None,
                )
                await socket.send(json.dumps(HELLO))
                welcome = json.loads(await socket.recv())
                assert welcome[0] == 2, welcome
            except Exception as error:
                self.errors[f"joining: {error!r}"] += 1
                return None
        self.joined += 1
        return socket

    async def _browse(self, socket: ClientConnection, delay: float) -> None:
        await asyncio.sleep(delay)  # so that they do not all call at the same time
        try:
            await self._call_until_ended(socket)
        except Exception as error:
            self.lost += 1
            self.errors[f"lost: {error!r}"] += 1

    async def _call_until_ended(self, socket: ClientConnection) -> None:
        for number in itertools.count(1):
            is_last = self._ended
            begun = time.monotonic()
            await socket.send(json.dumps([48, number, {}, PROCEDURE]))
            answer = json.loads(await socket.recv())
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self._count_answer(number, answer)
            if is_last:
                return
            await asyncio.sleep(self._pause)

    def _count_answer(self, number: int, answer: list[t.Any]) -> None:
        if answer[:2] == [50, number]:
            with self._lock:
                self._pids.add(answer[3][0]["pid"])
        elif answer[:3] == [8, 48, number]:
            self.failed += 1
            self.errors[f"call: {answer[4:]}"] += 1
        else:  # GOODBYE, for example
            raise RuntimeError(f"no answer to the call, but {answer}")
        self.calls += 1
