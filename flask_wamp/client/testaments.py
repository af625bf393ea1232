"""Testaments: events that the router publishes when the session of this process ends.

The router keeps a testament only for one session, so this process adds it again in every new session. The
router cannot withdraw a single testament. So to withdraw one, this process flushes all testaments of its
scope, and adds the others again at once.

Source: WAMP Advanced Profile, "Testament Meta API".
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..exceptions import CallTimeout, NotJoined, SessionLost, WAMPError
from ..peer.calls import give_up
from ..peer.connection import Connection
from ..peer.listeners import PeerInterface
from ..peer.sending import payload
from ..protocol import messages as m
from ..protocol.call_result import remote_error
from ..protocol.options import RECEIVERS
from ..protocol.session import Session
from .meta import explained

if t.TYPE_CHECKING:
    from ..peer.peer import Peer
    from ..protocol.options import CallOptions

logger = get_logger("flask_wamp")

ADD, FLUSH = "wamp.session.add_testament", "wamp.session.flush_testaments"

#: The maximum number of testaments of a process.
MOST = 100

#: The options of a publication that a testament may have. Crossbar 26.10 fails with other options.
_PUBLISH_OPTIONS = (*RECEIVERS, "retain")


@dataclasses.dataclass(frozen=True)
class Testament:
    """An event that the router publishes when the session of this process ends."""

    __test__ = False  # otherwise pytest would collect it, because of its name

    topic: str
    args: tuple[object, ...] = ()
    kwargs: dict[str, object] = dataclasses.field(default_factory=dict)
    options: dict[str, object] = dataclasses.field(default_factory=dict)
    """Options of the publication."""
    scope: str = "destroyed"
    unless_stopped: bool = False
    """Whether it is withdrawn if the process leaves the realm cleanly."""
    _on_the_wire: t.Callable[[int | None], m.Details] = dataclasses.field(
        default=lambda session_id: {}, repr=False, compare=False
    )
    _withdraw: t.Callable[[Testament], object] = dataclasses.field(
        default=lambda testament: None, repr=False, compare=False
    )

    @property
    def key(self) -> tuple[object, ...]:
        """The key of a testament.

        It contains the payload as text, because the payload may not be hashable.
        """
        payload = repr((self.args, self.kwargs, self.options))
        return self.topic, payload, self.scope, self.unless_stopped

    def publish_options(self, session_id: int | None) -> m.Details:
        """Return the ``publish_options`` of the testament for a session."""
        return _known(self._on_the_wire(session_id))

    def remove(self) -> None:
        """Withdraw the testament. Does nothing if it was withdrawn already.

        :raises ApplicationError: ``wamp.error.not_authorized``. The text says which permission is missing.
        """
        self._withdraw(self)


def _known(options: m.Details) -> m.Details:
    return {name: options[name] for name in _PUBLISH_OPTIONS if name in options}


class Testaments:
    """The testaments of one client. It creates no lock before ``start()``.

    :param present_peer: Returns the peer of this process, if there is one.
    """

    __test__ = False

    def __init__(self, present_peer: t.Callable[[], Peer | None]) -> None:
        self._present_peer = present_peer
        self._sync: TestamentSync | None = None
        self.by_key: dict[tuple[object, ...], Testament] = {}

    def add(
        self,
        topic: str,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        options: CallOptions,
        *,
        timeout: float,
    ) -> Testament:
        """Add a testament to the current session and all later ones. See :meth:`.Caller.testament`."""
        testament = Testament(
            topic,
            args,
            kwargs,
            _known(options.publish),
            **options.testament,
            _on_the_wire=options.on_the_wire,
            _withdraw=self._remove,
        )
        if testament.key not in self.by_key and len(self.by_key) >= MOST:
            raise RuntimeError(
                f"this process has {MOST} testaments already. Make them once for each process, not in each "
                "request, and remove() those that you no longer need"
            )
        testament = self.by_key.setdefault(testament.key, testament)  # atomic, so no lock is needed
        sync = self._current_sync()
        if sync is not None:
            try:
                sync.add(testament, timeout)
            except BaseException:
                self.by_key.pop(testament.key, None)
                raise
        return testament

    def flush(self) -> int:
        """Withdraw all testaments of this process. Return how many there were."""
        gone, self.by_key = list(self.by_key.values()), {}
        sync = self._current_sync()
        if sync is not None and gone:
            sync.withdraw({testament.scope for testament in gone})
        return len(gone)

    def add_listener(self, peer: Peer) -> None:
        """Add the testaments to every session of a peer that has been started."""
        peer.add_listener(TestamentSync, self._make_sync)

    def forget(self) -> None:
        """Forget the testaments in the child after a fork. They belong to the session of the parent."""
        if self._sync is not None:
            self._sync = None
            self.by_key = {}

    def _remove(self, testament: Testament) -> None:
        if self.by_key.pop(testament.key, None) is not None:
            sync = self._current_sync()
            if sync is not None:
                sync.withdraw({testament.scope})

    def _current_sync(self) -> TestamentSync | None:
        peer = self._present_peer()
        if peer is None or not peer.started:
            return None
        if self.by_key:
            self.add_listener(peer)
        sync = self._sync
        return sync if sync is not None and sync.peer is peer else None

    def _make_sync(self, peer: PeerInterface) -> TestamentSync:
        self._sync = TestamentSync(self, peer)
        return self._sync


class _TestamentTicket:
    """The ticket of a request. Any number of threads may wait for it."""

    def __init__(self, topic: str = "") -> None:
        self._topic = topic
        self._done = threading.Event()
        self.error: BaseException | None = None
        self.forget: t.Callable[[], None] = lambda: None
        """Removes the request from the session."""

    def resolve(self, message: m.Message) -> None:
        """Handle RESULT or ERROR. The reader calls this."""
        if isinstance(message, m.Error):
            procedure = ADD if self._topic else FLUSH
            self.error = explained(remote_error(message), procedure)
            if self._topic:
                logger.error("the router refused the testament to %s: %s", self._topic, self.error)
        self._done.set()

    def fail(self, error: BaseException) -> None:
        """Handle the end of the session."""
        self.error = error
        self._done.set()

    def wait(self, timeout: float) -> bool:
        """Wait for the answer. Return whether it arrived in time."""
        return self._done.wait(max(0.0, timeout))


class TestamentSync:
    """Adds the testaments of one process to each of its sessions."""

    def __init__(self, testaments: Testaments, peer: PeerInterface) -> None:
        self.peer = peer
        self._testaments = testaments
        # Held while requests are sent, but not while their answers are awaited.
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._added: list[tuple[Testament, _TestamentTicket]] = []

    def joined(self, connection: Connection) -> None:
        """Add all testaments to a new session. Does not wait."""
        with self._lock:
            if connection is self._connection:
                return
            self._connection, self._added = connection, []
            unsendable = self._add_missing()
        _log(unsendable)

    def lost(self) -> None:
        """Forget which testaments the session had."""
        with self._lock:
            self._connection, self._added = None, []

    def leave(self, deadline: float) -> None:
        """Withdraw the testaments with ``unless_stopped``."""
        testaments = list(self._testaments.by_key.values())
        scopes = {testament.scope for testament in testaments if testament.unless_stopped}
        if not scopes:
            return
        try:
            timeout = min(deadline - monotonic(), 2.0)
            self.withdraw(
                scopes, timeout=timeout, keep=[w for w in testaments if not w.unless_stopped]
            )
        except WAMPError as error:
            logger.warning("cannot withdraw the testaments: %s", error)

    def add(self, testament: Testament, timeout: float) -> None:
        """Add one testament, and wait for the answer. If there is no session, it is added to the next one."""
        try:
            with self._lock:
                if self._connection is None:
                    return
                answer = self._answer_to(testament) or self._put(self._connection, testament)
            self._wait(answer, ADD, timeout)
        except (NotJoined, SessionLost):
            return
        except WAMPError:
            with self._lock:
                self._added = [each for each in self._added if each[0] != testament]
            raise

    def withdraw(
        self,
        scopes: t.Iterable[str],
        *,
        timeout: float | None = None,
        keep: t.Sequence[Testament] | None = None,
    ) -> None:
        """Withdraw the testaments of these scopes.

        :param keep: The testaments to add again. None means all.
        """
        answers = []
        with self._lock:
            connection = self._connection
            if connection is None:
                return
            for scope in sorted(scopes):
                answers.append(flushed := _TestamentTicket())
                self._ask(connection, FLUSH, [], {"scope": scope}, flushed)
                self._added = [each for each in self._added if each[0].scope != scope]
            unsendable = self._add_missing(keep)
        _log(unsendable)
        for answer in answers:
            self._wait(answer, FLUSH, timeout)

    def _add_missing(self, testaments: t.Sequence[Testament] | None = None) -> list[str]:
        """Send the testaments that this session does not have. Return why some cannot be sent.

        Requires the lock. Does not wait.
        """
        assert self._lock.locked()
        unsendable = []
        for testament in (
            list(self._testaments.by_key.values()) if testaments is None else testaments
        ):
            if self._connection is None or self._answer_to(testament) is not None:
                continue
            try:
                self._put(self._connection, testament)
            except NotJoined:
                break  # the session has ended, and they are added to the next one
            except WAMPError as error:
                unsendable.append(f"{testament.topic} cannot be sent: {error}")
        return unsendable

    def _put(self, connection: Connection, testament: Testament) -> _TestamentTicket:
        assert self._lock.locked()
        args, kwargs = payload(connection.transport, testament.args, testament.kwargs)
        answer = _TestamentTicket(testament.topic)
        publish = testament.publish_options(connection.session.session_id)
        options: dict[str, object] = {"publish_options": publish} if publish else {}
        if testament.scope != "destroyed":
            options["scope"] = testament.scope
        self._ask(connection, ADD, [testament.topic, args, kwargs], options, answer)
        self._added.append((testament, answer))
        return answer

    def _ask(
        self,
        connection: Connection,
        procedure: str,
        args: list[object],
        kwargs: m.Details,
        answer: _TestamentTicket,
    ) -> None:
        request_id = connection.put(Session.call, procedure, args, kwargs, {}, answer)
        answer.forget = functools.partial(give_up, connection, request_id)

    def _answer_to(self, testament: Testament) -> _TestamentTicket | None:
        return next((answer for other, answer in self._added if other == testament), None)

    def _wait(self, answer: _TestamentTicket, procedure: str, timeout: float | None) -> None:
        limit = self.peer.settings.call_timeout if timeout is None else timeout
        with self.peer.pool.release_slot():
            answered = answer.wait(limit)
        if not answered:
            answer.forget()
            raise CallTimeout(procedure, limit)
        if answer.error is not None:
            raise answer.error


def _log(unsendable: list[str]) -> None:
    """Log which testaments cannot be sent. Call this without the lock, because log handlers may publish."""
    for what in unsendable:
        logger.error("the testament to %s", what)
