"""Many threads send on one connection: no message waits unnecessarily or stays unsent."""

from __future__ import annotations

import threading
import time
import types
import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, NotJoined
from flask_wamp.concurrency.pool import Pool
from flask_wamp.concurrency.timer_thread import TimerThread
from flask_wamp.exceptions import TransportError
from flask_wamp.peer.connection import Connection
from flask_wamp.peer.declarations import Declaration, Failure, Registration
from flask_wamp.peer.registrar import Registrar
from flask_wamp.peer.sending import MAX_UNSENT
from flask_wamp.peer.settings import PeerSettings
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.session import Session
from tests.app.test_pool import TIMEOUT
from tests.conftest import eventually
from tests.support.memory import MemoryRouter
from tests.support.memory_transport import MemoryTransport
from tests.support.wire import new_session


class Transport(MemoryTransport):
    """A transport that a test can block."""

    def __init__(self, router: MemoryRouter) -> None:
        super().__init__(router, "msgpack")
        self.batches: list[int] = []
        self.sending = threading.Event()
        self.may_send = threading.Event()
        self.may_send.set()
        self.when_asked_for_more: t.Callable[[], object] | None = None
        self.error: TransportError | None = None

    def send(self, messages: t.Sequence[bytes]) -> None:
        self.batches.append(len(messages))
        self.sending.set()
        assert self.may_send.wait(TIMEOUT)
        if self.error is not None:
            raise self.error
        super().send(messages)

    def pending(self) -> bool:
        function, self.when_asked_for_more = self.when_asked_for_more, None
        if function is not None:
            function()
        return False

    def hold(self) -> None:
        self.sending.clear()
        self.may_send.clear()


def read_all(
    read: t.Callable[[], t.Any], handle: t.Callable[[t.Any], None], flush: t.Callable[[], None]
) -> None:
    while (events := read()) is not None:
        handle(events)


class Line:
    """A joined connection, with its reader running."""

    def __init__(self, router: MemoryRouter) -> None:
        self.pool = Pool(1, 10)
        self.router = router
        self.transport = Transport(router)
        router.transports.append(self.transport)
        self.connection = Connection(
            self.transport,
            new_session(),
            2**24,
            lambda connection, events: None,
            self.pool,
        )
        self.connection.join(deadline=1e12)
        self.ended: list[Exception] = []
        self._reader = threading.Thread(
            target=lambda: self.ended.append(self.connection.run(read_all)), name="wamp-reader"
        )
        self._reader.start()
        self.transport.batches.clear()

    def publish(self, text: str = "") -> t.Any:
        return self.connection.ask(Session.publish, "com.x", [text], {}, {})

    def published(self) -> list[str]:
        return [message.args[0] for message in self.router.sent(m.Publish)]

    def close(self) -> None:
        self.transport.may_send.set()
        self.connection.close()
        self._reader.join(TIMEOUT)


@pytest.fixture
def line(router: MemoryRouter) -> t.Iterator[Line]:
    line = Line(router)
    yield line
    line.close()


def test_a_single_message_is_sent_at_once(line: Line) -> None:
    line.publish("one")
    assert line.published() == ["one"]
    assert line.transport.batches == [1]


def test_thread_does_not_wait_while_another_one_sends(line: Line) -> None:
    line.transport.hold()
    first = threading.Thread(target=line.publish, args=["0"])
    first.start()
    assert line.transport.sending.wait(TIMEOUT)
    for number in range(1, 50):
        line.publish(str(number))  # returns, though nothing can be sent
    assert line.published() == []
    line.transport.may_send.set()
    first.join(TIMEOUT)
    assert line.published() == [str(number) for number in range(50)]
    assert line.transport.batches == [1, 49]  # with one system call


def test_put_does_not_wait_for_a_slow_transport(line: Line) -> None:
    line.transport.hold()
    line.connection.put(Session.publish, "com.x", ["put"], {}, {})
    assert line.transport.sending.wait(TIMEOUT)  # the writer sends it
    line.connection.put(Session.publish, "com.x", ["more"], {}, {})
    line.transport.may_send.set()
    eventually(lambda: line.published() == ["put", "more"])


def test_a_message_queued_while_the_writer_checks_its_queue_is_sent(line: Line) -> None:
    # The writer checks its queue and finds nothing. Meanwhile another thread sees that the writer is
    # active, and leaves a message for it.
    asked: list[threading.Thread] = []

    def ask() -> None:
        asked.append(threading.Thread(target=line.publish, args=["in between"]))
        asked[0].start()
        asked[0].join(0.05)

    line.transport.when_asked_for_more = ask
    line.connection._send_rest()
    asked[0].join(TIMEOUT)
    eventually(lambda: line.published() == ["in between"])


def test_request_without_a_message_does_not_block_the_next_one(line: Line) -> None:
    assert line.connection.ask(Session.yield_, 999, [], {}) is False
    assert line.transport.batches == []
    line.publish("next")
    assert line.published() == ["next"]


def test_consecutive_answers_are_sent_together(line: Line) -> None:
    line.transport.hold()
    line.pool.queue.length = 1  # as far as the connection sees
    for text in "abc":  # the writer may have started with the first message, and is blocked
        line.connection.answer(Session.publish, "com.x", [text], {}, {})
    line.transport.may_send.set()
    eventually(lambda: line.published() == ["a", "b", "c"])
    assert len(line.transport.batches) <= 2


def test_an_answer_is_sent_if_no_other_answer_follows(line: Line) -> None:
    line.pool.queue.length = 1  # as far as the connection sees
    line.connection.answer(Session.publish, "com.x", ["a"], {}, {})
    eventually(lambda: line.published() == ["a"])


def test_an_answer_waits_for_the_next_ones_while_a_reader_watches(line: Line) -> None:
    line.pool.queue.length = 1  # as far as the connection sees
    line.pool.is_watched = True
    for text in "ab":
        line.connection.answer(Session.publish, "com.x", [text], {}, {})
    time.sleep(0.05)  # as long as the writer would take
    assert line.published() == []
    line.connection.send_soon()
    eventually(lambda: line.published() == ["a", "b"])
    assert len(line.transport.batches) == 1


def test_concurrent_requests_keep_request_ids_in_order(line: Line) -> None:
    def publish_many() -> None:
        for _ in range(200):
            line.publish()

    threads = [threading.Thread(target=publish_many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    sent = line.router.sent(m.Publish)
    assert [message.request_id for message in sent] == list(range(1, 1601))


# A router that does not read.


def fill(line: Line) -> threading.Thread:
    """Queue more messages than the limit allows. Return the sending threads."""
    line.transport.hold()
    sender = threading.Thread(target=line.publish)
    sender.start()
    assert line.transport.sending.wait(TIMEOUT)
    for _ in range(4):
        line.publish("x" * (MAX_UNSENT // 4))
    return sender


def test_unsent_messages_are_limited(line: Line) -> None:
    sender = fill(line)
    waiting = threading.Thread(target=line.publish, args=["last"])
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    line.connection.put(Session.publish, "com.x", ["never waits"], {}, {})
    line.transport.may_send.set()
    for thread in (waiting, sender):
        thread.join(TIMEOUT)
    assert sorted(line.published()[-2:]) == ["last", "never waits"]


def test_waiting_sender_gets_an_error_when_the_connection_ends(line: Line) -> None:
    sender, errors = fill(line), []

    def publish() -> None:
        try:
            line.publish()
        except NotJoined as error:
            errors.append(error)

    waiting = threading.Thread(target=publish)
    waiting.start()
    waiting.join(0.05)
    line.connection.close()
    waiting.join(TIMEOUT)
    assert len(errors) == 1
    line.transport.may_send.set()
    sender.join(TIMEOUT)


def test_a_send_error_ends_the_connection(line: Line) -> None:
    line.transport.error = TransportError("the connection broke: Broken pipe")
    line.publish()
    eventually(lambda: line.ended)
    assert line.ended == [line.transport.error]
    with pytest.raises(NotJoined):
        line.publish()


def test_reader_does_not_wait_while_it_registers_everything(line: Line) -> None:
    """Otherwise it could wait for a router that waits for it, before the heartbeat has started."""
    line.transport.hold()
    registrations: list[Declaration] = [
        Registration(f"com.x.{number}", lambda work: Failure("com.x.error"))
        for number in range(500)
    ]
    timer, done = TimerThread(), threading.Event()
    settings = t.cast(PeerSettings, types.SimpleNamespace(call_timeout=TIMEOUT, realm="realm1"))
    registrar = Registrar(settings, lambda: registrations, timer, lambda name, **payload: None)
    registrar.restore(line.connection, done.set)  # returns, though nothing can be sent
    assert line.router.sent(m.Register) == []
    line.transport.may_send.set()
    eventually(lambda: len(line.router.sent(m.Register)) == 500)
    timer.stop()


def test_a_process_that_is_ending_registers_nothing(
    make_app: t.Callable[..., Flask], router: MemoryRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_wamp.peer.peer.is_ending", lambda: True)
    wamp = FlaskWAMP(make_app())
    wamp.callee("com.example.add")(lambda: None)
    wamp.start()
    router.wait_for(m.Hello, 2)  # the first session was not entered
    assert not router.sent(m.Register)
    wamp.stop()
