"""A synchronous handle on an autobahn-python peer: the other side of the router tests."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import queue
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

from flask_wamp.crossbar import crossbar_python

from .autobahn_peer import from_line, to_line

SCRIPT = Path(__file__).with_name("autobahn_peer.py")

PATIENCE = 30.0
"""Seconds to wait for expected events: far more than needed."""

_bounds: list[float] = []


def patience(wanted: float = PATIENCE) -> float:
    """The present number of seconds to wait."""
    return min([wanted, *_bounds])


@contextlib.contextmanager
def impatient(seconds: float) -> t.Iterator[None]:
    """Wait no longer than this for a peer, because no answer is expected."""
    _bounds.append(seconds)
    try:
        yield
    finally:
        _bounds.pop()


class RemoteError(Exception):
    """An ERROR message that autobahn received."""

    def __init__(self, uri: str, args: t.Sequence[t.Any], kwargs: dict[str, t.Any]) -> None:
        super().__init__(uri, args, kwargs)
        self.uri = uri
        self.args = tuple(args)
        self.kwargs = kwargs

    def __str__(self) -> str:
        return f"{self.uri} {self.args} {self.kwargs}"


class Canceled(Exception):
    """The call was canceled by autobahn."""


class Received(t.NamedTuple):
    """The contents of a RESULT, an EVENT or an INVOCATION."""

    args: list[t.Any]
    kwargs: dict[str, t.Any]
    details: dict[str, t.Any]

    @property
    def value(self) -> t.Any:
        """The payload, if it is exactly one positional value."""
        assert len(self.args) == 1, self
        assert not self.kwargs, self
        return self.args[0]


class Reply:
    """The answer to one command, to wait for."""

    def __init__(self, peer: AutobahnPeer, number: int) -> None:
        self._peer = peer
        self.number = number
        self._lines: queue.SimpleQueue[dict[str, t.Any]] = queue.SimpleQueue()
        self._notes: queue.SimpleQueue[dict[str, t.Any]] = queue.SimpleQueue()

    def wait(self, timeout: float = PATIENCE) -> t.Any:
        """Return the answer, or raise its error."""
        line = get_line(self._lines, timeout)
        if "error" in line:
            raise RemoteError(**line["error"])
        if "raised" in line:
            raise RuntimeError(line["raised"])
        if "canceled" in line:
            raise Canceled
        return line["value"]

    def note(self, kind: str, timeout: float = PATIENCE) -> Received:
        """Return the next report, which must be of this kind."""
        note = get_line(self._notes, timeout)
        assert note["kind"] == kind, note
        return Received(note.get("args", []), note.get("kwargs", {}), note.get("details", {}))

    def is_quiet(self) -> bool:
        """Whether there are no unread reports."""
        return self._notes.empty()

    def take(self, line: dict[str, t.Any]) -> None:
        """Called by the reader."""
        (self._notes if "note" in line else self._lines).put(line)


class PendingCall(Reply):
    """A call in progress."""

    def wait(self, timeout: float = PATIENCE) -> Received:
        """Return the contents of RESULT. Raise :class:`RemoteError` for ERROR."""
        return Received(**super().wait(timeout))

    def cancel(self, mode: str = "killnowait") -> None:
        """Send CANCEL."""
        self._peer.command("cancel", call=self.number, mode=mode).wait()

    def progress(self) -> t.Any:
        """The next progressive result."""
        return self.note("progress").value


class Topic(Reply):
    """A subscription."""

    def next(self, timeout: float = PATIENCE) -> Received:
        """The next event."""
        return self.note("event", timeout)


class Procedure(Reply):
    """A registration."""

    def next(self, timeout: float = PATIENCE) -> Received:
        """The next invocation."""
        return self.note("invocation", timeout)

    def interrupted(self, timeout: float = PATIENCE) -> None:
        """Wait until the router has interrupted an invocation."""
        self.note("interrupted", timeout)

    def release(self) -> None:
        """Let the calls that a ``hold`` procedure holds end."""
        self._peer.command("release", declared=self.number).wait()

    def unregister(self) -> None:
        """Unregister or unsubscribe."""
        self._peer.command("withdraw", declared=self.number).wait()


class AutobahnPeer:
    """An autobahn-python session in a separate process. Any thread may use it.

    :param ca: The PEM file to trust, for ``wss://`` and ``tls://``.
    """

    def __init__(
        self, url: str, realm: str = "realm1", serializer: str = "msgpack", *, ca: str | None = None
    ) -> None:
        command = [python_with_autobahn(), "-I", str(SCRIPT), url, realm, serializer]
        self._open([*command, *(["--ca", ca] if ca else [])])

    def _open(self, command: t.Sequence[str], environ: t.Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._numbers = itertools.count(1)
        self._replies: dict[int, Reply] = {}
        self._writing = threading.Lock()
        self._greeting: queue.SimpleQueue[dict[str, t.Any]] = queue.SimpleQueue()
        self._lost = threading.Event()
        self._reader = threading.Thread(target=self._read, name="autobahn-reader")
        self._reader.start()
        try:
            greeting = get_line(self._greeting, PATIENCE)
            if "joined" not in greeting:
                raise ConnectionError(greeting)
        except BaseException:
            self.close()
            raise
        self.session_id: int = greeting["joined"]["session"]
        self.authid: str = greeting["joined"]["authid"]
        self.authrole: str = greeting["joined"]["authrole"]

    def call(self, procedure: str, *args: t.Any, **kwargs: t.Any) -> Received:
        """Call and wait; raises :class:`RemoteError`."""
        return self.submit(procedure, *args, **kwargs).wait()

    def error(self, procedure: str, *args: t.Any, **kwargs: t.Any) -> RemoteError:
        """Call a procedure that must fail, and return the ERROR."""
        try:
            result = self.call(procedure, *args, **kwargs)
        except RemoteError as error:
            return error
        raise AssertionError(f"{procedure} did not fail: {result}")

    def submit(
        self,
        procedure: str,
        *args: t.Any,
        progress: bool = False,
        options: t.Any = None,
        **kwargs: t.Any,
    ) -> PendingCall:
        """Call and do not wait."""
        payload = {"uri": procedure, "args": args, "kwargs": kwargs, "progress": progress}
        payload["options"] = options or {}
        return self.command("call", PendingCall, **payload)

    def publish(
        self, topic: str, *args: t.Any, options: t.Any = None, **kwargs: t.Any
    ) -> int | None:
        """Publish, with ``acknowledge`` unless the options say otherwise; return the publication id."""
        wanted = {"acknowledge": True, **(options or {})}
        payload = {"uri": topic, "args": args, "kwargs": kwargs, "options": wanted}
        return t.cast("int | None", self.command("publish", **payload).wait())

    def subscribe(self, topic: str, **options: t.Any) -> Topic:
        """Subscribe. The returned object has the events."""
        subscription = self.command("subscribe", Topic, uri=topic, options=options)
        subscription.wait()
        return subscription

    def register(
        self, procedure: str, kind: str = "echo", *, options: t.Any = None, **behaviour: t.Any
    ) -> Procedure:
        """Register a procedure. The returned object has the invocations.

        :param kind: ``echo``; ``give`` with ``given=[args, kwargs]``; ``fail`` with
            ``error={"uri", "args", "kwargs"}``; ``hold`` until released; ``progress`` with
            ``items``; ``relay`` with ``to``, the procedure it calls in turn.
        """
        registration = self.command(
            "register",
            Procedure,
            uri=procedure,
            options=options or {},
            behaviour={"kind": kind, **behaviour},
        )
        registration.wait()
        return registration

    def reset(self) -> None:
        """Withdraw all registrations and subscriptions."""
        self.command("reset").wait()

    @property
    def is_alive(self) -> bool:
        """Whether it is still connected."""
        return not self._lost.is_set()

    def visit(self, auth: dict[str, t.Any] | None, procedure: str) -> Received:
        """Join with another identity, call a procedure without arguments, and leave."""
        return Received(**self.command("visit", auth=auth, uri=procedure).wait())

    def leave(self) -> None:
        """Say GOODBYE."""
        self.command("leave").wait()

    def wait_until_lost(self, timeout: float = PATIENCE) -> None:
        """Wait until its connection is lost."""
        assert self._lost.wait(timeout)

    def command(self, do: str, kind: t.Any = Reply, **arguments: t.Any) -> t.Any:
        """Send a command. The returned object waits for its reply."""
        number = next(self._numbers)
        reply = self._replies[number] = kind(self, number)
        line = to_line({"id": number, "do": do, **arguments})
        with self._writing:
            self._stdin.write(line)
            self._stdin.flush()
        return reply

    def kill(self) -> None:
        """Kill the process, so that it leaves without GOODBYE."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(PATIENCE)
        self._stdout.close()

    def __enter__(self) -> AutobahnPeer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def _stdin(self) -> t.IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> t.IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _read(self) -> None:
        for data in self._stdout:
            line = from_line(data)
            if "note" in line or "reply" in line:
                self._replies[line.get("note") or line["reply"]].take(line)
            elif "lost" in line:
                self._lost.set()
            else:
                self._greeting.put(line)
        self._lost.set()
        self._greeting.put({"failed": "the peer ended"})


def get_line(lines: queue.SimpleQueue[t.Any], timeout: float = PATIENCE) -> t.Any:
    """Return the next item."""
    try:
        return lines.get(timeout=patience(timeout))
    except queue.Empty:
        raise AssertionError("nothing came in time") from None


def python_with_autobahn() -> str:
    """A Python with autobahn: ours, or otherwise Crossbar's."""
    if importlib.util.find_spec("autobahn"):
        return sys.executable
    python = crossbar_python()
    assert python is not None, "there is no autobahn: neither here nor beside Crossbar"
    return str(python)
