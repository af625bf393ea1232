"""Load: random callers and publishers of every member."""

from __future__ import annotations

import concurrent.futures
import contextlib
import random
import threading
import typing as t

from flask_wamp import ApplicationError, CallTimeout, NotJoined, SessionLost
from flask_wamp.exceptions import PayloadTooLarge, WAMPError

from .ledger import SLACK, Ledger
from .members import INNER, PLANNED, Member
from .payloads import payload

PREFIX = "com.chaos"

LARGEST = 1_000_000

#: Errors of any call on a failing connection, whose callee or router has ended.
_UNLUCKY = {"wamp.error.canceled", "wamp.error.no_such_procedure"}

_TOO_LARGE = "wamp.error.payload_size_exceeded"

CONNECT = 2.0
"""Seconds a call may wait for the first attempt to join."""


class Kind(t.NamedTuple):
    """A kind of call: its procedure, its share, its arguments, the errors it may end in."""

    procedure: str
    share: int
    arguments: t.Callable[[random.Random], list[t.Any]]
    errors: frozenset[str] = frozenset()
    returns: bool = True


KINDS = (
    Kind("echo", 50, lambda rng: [payload(rng, LARGEST)]),
    Kind("slow", 14, lambda rng: [round(rng.uniform(0, 0.6), 3)]),
    Kind("fail", 6, lambda rng: [], frozenset({PLANNED}), returns=False),
    Kind("crash", 3, lambda rng: [], frozenset({"wamp.error.runtime_error"}), returns=False),
    Kind("nest", 12, lambda rng: [rng.randrange(1, 6)], frozenset({INNER})),
    Kind("large", 1, lambda rng: [5_000_000], frozenset({_TOO_LARGE}), returns=False),
    Kind("echo", 1, lambda rng: ["x" * 3_000_000], frozenset({_TOO_LARGE})),  # some take it
    Kind("echo", 1, lambda rng: ["x" * 5_000_000], frozenset({_TOO_LARGE}), returns=False),
    Kind(
        "limited",
        8,
        lambda rng: [round(rng.uniform(0, 0.8), 3)],
        frozenset({"wamp.error.timeout"}),
    ),
)

NEST = KINDS[4]


class Load:
    """All threads that call and publish. While paused, they have no pending request."""

    def __init__(self, ledger: Ledger, seed: str, pause: float) -> None:
        self.ledger = ledger
        self._seed = seed
        self._pause = pause
        self._running = threading.Event()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()
        self._busy = 0

    def add(self, member: Member, callers: int) -> None:
        """Start the callers and the publisher of a member."""
        for number in range(callers):
            self._spawn(self._call_once, member, f"caller-{member.name}-{number}")
        self._spawn(self._publish_once, member, f"publisher-{member.name}")

    def go_on(self) -> None:
        self._running.set()

    def pause(self, limit: float) -> bool:
        """Start no new requests, and wait for the pending ones. Return False if one hangs."""
        self._running.clear()
        wait = threading.Event()
        for _ in range(int(limit * 20)):
            if not self._busy:
                return True
            wait.wait(0.05)
        return False

    def stop(self) -> None:
        """End all threads."""
        self._stopped.set()
        self._running.set()
        for thread in self._threads:
            thread.join(20)

    def _spawn(self, once: t.Callable[..., None], member: Member, name: str) -> None:
        rng = random.Random(f"{self._seed} {name}")
        thread = threading.Thread(target=self._run, args=[once, member, rng], name=name)
        thread.daemon = True
        self._threads.append(thread)
        thread.start()

    def _run(self, once: t.Callable[..., None], member: Member, rng: random.Random) -> None:
        while not self._stopped.wait(rng.expovariate(1 / self._pause)):
            with self._lock:
                self._busy += self._running.is_set()
                free = self._running.is_set()
            if not free:
                self._running.wait()
                continue
            try:
                once(member, rng)
            except BaseException as error:
                self.ledger.violation(f"{threading.current_thread().name} ended in {error!r}")
                raise
            finally:
                with self._lock:
                    self._busy -= 1

    # Calls.

    def _call_once(self, member: Member, rng: random.Random) -> None:
        (kind,) = rng.choices(KINDS, [kind.share for kind in KINDS])
        timeout = rng.choice((0.1, 0.5, 2.0, 5.0))
        ways = (self._call, self._submit, self._cancel, self._burst, self._register)
        (way,) = rng.choices(ways, (60, 30, 10, 1, 5))
        way(member, kind, kind.arguments(rng), timeout, rng)

    def nested(self, member: Member, depth: int) -> None:
        """Make the call of a handler. Raise its error."""
        with self.ledger.call(f"nested call of {member.name}", 5.0 + CONNECT) as token:
            result = member.client.call(f"{PREFIX}.nest", token, depth)
            self._check(NEST, token, [depth], result)

    def _call(
        self, member: Member, kind: Kind, args: list[t.Any], timeout: float, rng: random.Random
    ) -> None:
        client = member.client.with_options(
            timeout=timeout, cancel_mode=rng.choice(("kill", "killnowait"))
        )
        with self.ledger.call(f"call of {kind.procedure} by {member.name}", timeout + CONNECT) as n:
            try:
                result = client.call(f"{PREFIX}.{kind.procedure}", n, *args)
            except Exception as error:
                self._failed(kind, n, error)
            else:
                self._check(kind, n, args, result)

    def _submit(
        self, member: Member, kind: Kind, args: list[t.Any], timeout: float, rng: random.Random
    ) -> None:
        client = member.client.with_options(timeout=timeout)
        limit = timeout + CONNECT
        with self.ledger.call(f"future of {kind.procedure} by {member.name}", limit) as n:
            try:
                future = client.submit(f"{PREFIX}.{kind.procedure}", n, *args)
                result = future.result(limit + SLACK)
            except concurrent.futures.TimeoutError:
                self.ledger.violation(f"future #{n} of {kind.procedure} never ended")
            except Exception as error:
                self._failed(kind, n, error)
            else:
                self._check(kind, n, args, result)

    def _cancel(
        self, member: Member, kind: Kind, args: list[t.Any], timeout: float, rng: random.Random
    ) -> None:
        client = member.client.with_options(timeout=timeout)
        limit = timeout + CONNECT + 0.2
        with self.ledger.call(f"canceled {kind.procedure} by {member.name}", limit) as n:
            try:
                future = client.submit(f"{PREFIX}.{kind.procedure}", n, *args)
                threading.Event().wait(rng.uniform(0, 0.2))
                future.cancel()
                result = future.result(limit + SLACK)
            except concurrent.futures.CancelledError:
                self.ledger.outcomes["canceled by caller"] += 1
            except concurrent.futures.TimeoutError:
                self.ledger.violation(f"canceled future #{n} of {kind.procedure} never ended")
            except Exception as error:
                self._failed(kind, n, error)
            else:
                self._check(kind, n, args, result)

    def _burst(
        self, member: Member, kind: Kind, args: list[t.Any], timeout: float, rng: random.Random
    ) -> None:
        """Make many calls at once."""
        ledger, futures = self.ledger, []
        limit = 5.0 + CONNECT
        with contextlib.ExitStack() as calls:
            for _ in range(150):
                token = calls.enter_context(ledger.call(f"burst of {member.name}", limit))
                try:
                    futures.append((token, member.client.submit(f"{PREFIX}.echo", token, token)))
                except WAMPError as error:
                    self._failed(KINDS[0], token, error)
            for token, future in futures:
                try:
                    result = future.result(limit + SLACK)
                except Exception as error:
                    self._failed(KINDS[0], token, error)
                else:
                    self._check(KINDS[0], token, [token], result)

    def _register(
        self, member: Member, kind: Kind, args: list[t.Any], timeout: float, rng: random.Random
    ) -> None:
        """Declare something for a moment."""
        client = member.client.with_options(timeout=timeout)
        with self.ledger.call(f"registration by {member.name}", 3 * timeout + CONNECT) as n:
            uri = f"{PREFIX}.temporary.{n}"
            try:
                client.register(lambda: n, uri, validate=False)
            except WAMPError as error:
                self.ledger.outcomes[f"register: {type(error).__name__}"] += 1
                return
            try:
                answer = client.call(uri)
                if answer != n:
                    self.ledger.violation(f"{uri} returned {answer!r}")
            except WAMPError as error:
                self._failed(KINDS[0], n, error)
            with contextlib.suppress(WAMPError):
                client.unregister(uri)
            self.ledger.outcomes["register: done"] += 1

    def _check(self, kind: Kind, token: int, args: list[t.Any], result: t.Any) -> None:
        self.ledger.outcomes["result"] += 1
        if not kind.returns:
            self.ledger.violation(f"{kind.procedure} #{token} returned {result!r:.80}")
        elif result != {"token": token, "payload": args[0]}:
            self.ledger.violation(
                f"{kind.procedure} #{token} returned {result!r:.120}, asked with {args!r:.120}"
            )

    def _failed(self, kind: Kind, token: int, error: Exception) -> None:
        name = type(error).__name__
        if isinstance(error, ApplicationError):
            self.ledger.outcomes[f"error {error.uri}"] += 1
            legal = error.uri in kind.errors | _UNLUCKY
            if error.uri == PLANNED and error.args != (token,):
                self.ledger.violation(f"#{token} ended in the error of #{error.args}")
        else:
            self.ledger.outcomes[name] += 1
            legal = isinstance(error, CallTimeout | NotJoined | SessionLost) or (
                isinstance(error, PayloadTooLarge) and _TOO_LARGE in kind.errors
            )
        if not legal:
            self.ledger.violation(f"{kind.procedure} #{token} ended in {name}: {error!s:.300}")

    # Publications.

    def _publish_once(self, member: Member, rng: random.Random) -> None:
        self.publish(member, payload(rng, 100_000), acknowledge=rng.random() < 0.8)
        client = member.client.with_options(exclude_me=False)
        with contextlib.suppress(NotJoined):
            client.publish(f"{PREFIX}.jobs", self.ledger.job())

    def publish(
        self, member: Member, value: t.Any = None, *, acknowledge: bool = True, timeout: float = 2.0
    ) -> tuple[str, int] | None:
        """Publish the member's next event. Return None if it is unknown whether it arrived."""
        with self._lock:
            number = self._numbers[member.name] = self._numbers.get(member.name, 0) + 1
        key = member.name, number
        client = member.client.with_options(
            acknowledge=acknowledge, exclude_me=False, timeout=timeout
        )
        with self.ledger.call(f"publication of {member.name}", timeout + CONNECT):
            self.ledger.publishing(key)
            try:
                client.publish(f"{PREFIX}.news", *key, value)
            except (CallTimeout, NotJoined, SessionLost) as error:
                self.ledger.outcomes[f"publish: {type(error).__name__}"] += 1
                return None
            if acknowledge:
                self.ledger.published(key)
        self.ledger.outcomes["publish: acknowledged" if acknowledge else "publish: sent"] += 1
        return key
