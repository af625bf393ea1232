"""``delivery="one"``: each event is handled once, while processes start and stop."""

from __future__ import annotations

import collections
import queue
import threading
import time
import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, WAMPBlueprint, event, signals
from flask_wamp.coordination.forwarder import WINDOW
from tests.conftest import eventually
from tests.support.members import Members
from tests.support.peers import AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

PATIENCE = 20.0

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]


@pytest.fixture
def url(wamp_router: DevRouter) -> str:
    return wamp_router.rawsocket_url


class Stream(threading.Thread):
    """Publishes numbers, each acknowledged before the next, until it is stopped."""

    def __init__(self, peer: AutobahnPeer, topic: str) -> None:
        super().__init__(name="stream")
        self.published: list[int | None] = []
        self._peer = peer
        self._topic = topic
        self._stopping = threading.Event()
        self._changed = threading.Condition()

    def run(self) -> None:
        while not self._stopping.wait(0.002):
            publication = self._peer.publish(self._topic, len(self.published))
            with self._changed:
                self.published.append(publication)
                self._changed.notify_all()

    def wait(self, more: int) -> None:
        """Wait until this many more events are published."""
        wanted = len(self.published) + more
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.published) >= wanted, PATIENCE)

    def __enter__(self) -> Stream:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        self.join(PATIENCE)


def holder(peer: AutobahnPeer, members: Members, topic: str, match: str = "exact") -> int:
    """The process that forwards."""
    uri = f"{members.prefix}.flask_wamp.lease.deliver.{match}.{topic}"
    eventually(lambda: peer.call("wamp.registration.lookup", uri).value, PATIENCE)
    return members.pid_of(peer.call(uri).value["session"])


def wait_until_delivered(peer: AutobahnPeer, topic: str) -> None:
    """Wait until the holder has subscribed. Earlier events would reach no process."""
    match = {"match": "exact"}
    eventually(lambda: peer.call("wamp.subscription.lookup", topic, match).value, PATIENCE)


def handled(members: Members) -> collections.Counter[int]:
    """Return how often each publication was handled."""
    return collections.Counter(line["publication"] for line in members.said("handled"))


# Processes one after another, and concurrently.


def test_each_event_is_handled_once_by_one_of_the_processes(url: str, peer: AutobahnPeer) -> None:
    with Members(url, "--topic", ".orders") as members:
        members.start(3)
        topic = f"{members.prefix}.orders"
        wait_until_delivered(peer, topic)
        published = [peer.publish(topic, number) for number in range(60)]
        members.wait(lambda: len(members.said("handled")) >= 60)
    assert handled(members) == dict.fromkeys(published, 1)
    per_process = collections.Counter(line["pid"] for line in members.said("handled"))
    assert sorted(per_process.values()) == [20, 20, 20]
    assert {line["publisher"] for line in members.said("handled")} == {peer.session_id}
    assert {line["topic"] for line in members.said("handled")} == {topic}


def test_an_event_of_one_of_the_processes_is_handled_once(url: str, peer: AutobahnPeer) -> None:
    with Members(url, "--topic", ".orders") as members:
        members.start(3)
        topic = f"{members.prefix}.orders"
        wait_until_delivered(peer, topic)
        published = [
            peer.call(f"{members.prefix}.publish{pid}", topic, number).value
            for number in range(10)
            for pid in members.all
        ]
        members.wait(lambda: len(members.said("handled")) >= 30)
    assert handled(members) == dict.fromkeys(published, 1)


def test_no_event_is_lost_or_handled_twice_while_processes_start_and_stop(
    url: str, peer: AutobahnPeer
) -> None:
    with Members(url, "--topic", ".orders") as members:
        members.start(3)
        topic = f"{members.prefix}.orders"
        wait_until_delivered(peer, topic)
        with Stream(peer, topic) as stream:
            for _ in range(3):
                stream.wait(15)
                members.all[
                    holder(peer, members, topic)
                ].terminate()  # the forwarding process leaves
                stream.wait(15)
                started, _ = members.start(2)
                stream.wait(15)
                started.terminate()  # another process leaves
            stream.wait(max(0, 300 - len(stream.published)))
        members.wait(lambda: len(handled(members)) >= len(stream.published))
    assert len(stream.published) >= 300
    assert handled(members) == dict.fromkeys(stream.published, 1)
    assert len({line["pid"] for line in members.said("handled")}) >= 6
    assert len(members.said("stopped")) == len(members.all)


def test_waiting_events_are_handed_over(url: str, peer: AutobahnPeer) -> None:
    """There are far more events than the window allows, and handlers are slower than the drain."""
    config = ("--config", '{"WAMP_DRAIN_TIMEOUT": 1}')
    with Members(url, "--topic", ".orders", "--seconds", "0.03", *config) as members:
        members.start(3)
        topic = f"{members.prefix}.orders"
        wait_until_delivered(peer, topic)
        published = [peer.publish(topic, number) for number in range(WINDOW * 3)]
        leaver = members.all[holder(peer, members, topic)]
        leaver.terminate()
        assert leaver.join() == 0
        assert len(members.said("handled")) < len(published)
        other = members.all[holder(peer, members, topic)]
        other.terminate()
        other.join()
        members.wait(lambda: len(members.said("handled")) >= len(published))
    assert handled(members) == dict.fromkeys(published, 1)
    assert len(members.said("begun")) == len(published)


def test_the_last_process_does_not_wait(url: str, peer: AutobahnPeer) -> None:
    with Members(url, "--topic", ".orders") as members:
        (member,) = members.start()
        wait_until_delivered(peer, f"{members.prefix}.orders")
        began = time.monotonic()
        member.terminate()
        member.join()
        assert members.said("stopped")[0]["at"] - began < 0.8


def test_all_processes_leave_at_the_same_time(url: str, peer: AutobahnPeer) -> None:
    with Members(url, "--topic", ".orders", "--seconds", "0.01") as members:
        members.start(3)
        topic = f"{members.prefix}.orders"
        wait_until_delivered(peer, topic)
        published = [peer.publish(topic, number) for number in range(50)]
        began = time.monotonic()
        members.stop()
        took = max(line["at"] for line in members.said("stopped")) - began
    print(f"all stopped within {took:.2f} s")
    assert took < 8
    assert handled(members) == dict.fromkeys(published, 1)


def test_events_of_patterns_are_delivered_to_one_process(url: str, peer: AutobahnPeer) -> None:
    with Members(url, "--topic", "com.shop..sold", "--match", "wildcard") as members:
        members.start(2)
        assert holder(peer, members, "com.shop._.sold", "wildcard") in members.all
        match = {"match": "wildcard"}
        eventually(lambda: peer.call("wamp.subscription.lookup", "com.shop..sold", match).value)
        for number in range(10):
            peer.publish(f"com.shop.item{number}.sold", number)
        members.wait(lambda: len(members.said("handled")) >= 10)
    assert len(members.said("handled")) == 10
    topics = {line["topic"] for line in members.said("handled")}
    assert topics == {f"com.shop.item{number}.sold" for number in range(10)}


# Killed.


@pytest.mark.slow
def test_events_that_are_lost_when_the_forwarding_process_is_killed(
    url: str, peer: AutobahnPeer
) -> None:
    with Members(url, "--topic", ".orders") as members:
        members.start(3)
        topic = f"{members.prefix}.orders"
        wait_until_delivered(peer, topic)
        with Stream(peer, topic) as stream:
            for _ in range(5):
                stream.wait(20)
                members.all[holder(peer, members, topic)].kill()
                members.start()
        eventually(lambda: stream.published[-1] in handled(members), PATIENCE)
    lost = [p for p in stream.published if p not in handled(members)]
    print(f"{len(lost)} of {len(stream.published)} events lost in 5 kills")
    assert max(handled(members).values()) == 1
    assert len(lost) <= 5 * WINDOW


@pytest.mark.slow
def test_events_that_are_lost_when_another_process_is_killed(url: str, peer: AutobahnPeer) -> None:
    with Members(url, "--topic", ".orders", "--seconds", "0.005") as members:
        members.start(3)
        topic = f"{members.prefix}.orders"
        wait_until_delivered(peer, topic)
        published = [peer.publish(topic, number) for number in range(300)]
        forwards = holder(peer, members, topic)
        victim = next(member for pid, member in members.all.items() if pid != forwards)
        victim.kill()
        published.append(peer.publish(topic, -1))
        members.wait(lambda: published[-1] in handled(members))
        eventually(lambda: len(handled(members)) >= len(published) - WINDOW, PATIENCE)
    lost = [p for p in published if p not in handled(members)]
    print(f"{len(lost)} of {len(published)} events lost in the hands of who was killed")
    assert max(handled(members).values()) == 1
    assert len(lost) <= WINDOW


# In one process.


def test_the_handler_sees_the_original_event(join: Join, url: str, peer: AutobahnPeer) -> None:
    seen: queue.SimpleQueue[t.Any] = queue.SimpleQueue()

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.subscriber(delivery="one")
        def hello(*args: t.Any, **kwargs: t.Any) -> None:
            facts = (event.topic, event.publication, event.publisher, event.publisher_authrole)
            seen.put((args, kwargs, facts, event.retained))

    join(url, setup)
    wait_until_delivered(peer, "com.example.hello")
    publication = peer.publish("com.example.hello", 1, b"\x00", [None], name="you")
    facts = ("com.example.hello", publication, peer.session_id, "anonymous")
    assert seen.get(timeout=PATIENCE) == ((1, b"\x00", [None]), {"name": "you"}, facts, False)


@pytest.mark.parametrize("serializer", ["json", "msgpack", "cbor"])
def test_forwarding_works_with_every_serializer(
    join: Join, url: str, peer: AutobahnPeer, serializer: str
) -> None:
    seen: queue.SimpleQueue[t.Any] = queue.SimpleQueue()

    def setup(wamp: FlaskWAMP) -> None:
        wamp.subscriber(".hello", delivery="one", validate=False)(lambda *args: seen.put(args))

    join(url, setup, WAMP_SERIALIZERS=[serializer])
    wait_until_delivered(peer, "com.example.hello")
    peer.publish("com.example.hello", 2**53, b"\xff\x00", {"a": [1.5, None]})
    assert seen.get(timeout=PATIENCE) == (2**53, b"\xff\x00", {"a": [1.5, None]})


def test_hooks_and_errors_are_the_same_as_for_any_subscriber(
    join: Join, url: str, peer: AutobahnPeer, caplog: pytest.LogCaptureFixture
) -> None:
    seen: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
    users = WAMPBlueprint("users", uri_prefix=".users")

    @users.teardown_dispatch
    def teardown(message: t.Any, error: BaseException | None) -> None:
        seen.put((message.topic, type(error)))

    @users.subscriber(delivery="one")
    def gone(number: int) -> None:
        raise LookupError(number)

    join(url, lambda wamp: wamp.register_blueprint(users))
    wait_until_delivered(peer, "com.example.users.gone")
    peer.publish("com.example.users.gone", 7)
    assert seen.get(timeout=PATIENCE) == ("com.example.users.gone", LookupError)
    peer.publish("com.example.users.gone", 8)  # an event whose handler failed is not sent again
    assert seen.get(timeout=PATIENCE)[1] is LookupError
    assert seen.empty()


def test_each_process_handles_one_event_at_a_time_by_default(
    join: Join, url: str, peer: AutobahnPeer
) -> None:
    gate, inside = threading.Event(), []

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.subscriber(".a", delivery="one")
        def one(number: int) -> None:
            inside.append(number)
            assert gate.wait(PATIENCE)

        @wamp.subscriber(".b", delivery="one", concurrency=3)
        def three(number: int) -> None:
            inside.append(number)
            assert gate.wait(PATIENCE)

    join(url, setup)
    for topic in ("com.example.a", "com.example.b"):
        wait_until_delivered(peer, topic)
    for number in range(5):
        peer.publish("com.example.a", number)
        peer.publish("com.example.b", 10 + number)
    eventually(lambda: len(inside) == 4)
    gate.set()
    eventually(lambda: len(inside) == 10)
    assert [number for number in inside if number < 10] == [0, 1, 2, 3, 4]


def test_events_over_the_limit_are_dropped_and_counted(
    join: Join, url: str, peer: AutobahnPeer
) -> None:
    gate, dropped = threading.Event(), queue.SimpleQueue[t.Any]()

    def setup(wamp: FlaskWAMP) -> None:
        wamp.subscriber(".a", delivery="one")(lambda number: gate.wait(PATIENCE))

    def on_dropped(app: Flask, **payload: t.Any) -> None:
        dropped.put(payload)

    with signals.event_dropped.connected_to(on_dropped):
        _, wamp = join(url, setup, WAMP_EVENT_QUEUE=10)
        wait_until_delivered(peer, "com.example.a")
        for number in range(WINDOW + 11):
            peer.publish("com.example.a", number)
        payload = dropped.get(timeout=PATIENCE)
    gate.set()
    assert (payload["topic"], payload["count"]) == ("com.example.a", 1)
    assert wamp.health()["topics"]["dropped"] == {"com.example.a": 1}


def test_a_shared_topic_is_a_topic_of_the_app(join: Join, url: str, peer: AutobahnPeer) -> None:
    _, wamp = join(url)
    wamp.subscriber(".a", delivery="one")(lambda: None)  # at run time
    wait_until_delivered(peer, "com.example.a")
    with pytest.raises(ValueError, match="declared twice"):
        wamp.subscriber(".a")(lambda: None)
    assert wamp.health()["topics"]["subscribed"] == 1
    assert wamp.health()["topics"]["refused"] == {}
    wamp.client.unsubscribe("com.example.a")
    match = {"match": "exact"}
    assert peer.call("wamp.subscription.lookup", "com.example.a", match).value is None
    assert peer.error("com.example.flask_wamp.deliver.exact.com.example.a").uri.endswith(
        "no_such_procedure"
    )


def test_delivery_continues_after_a_lost_session(join: Join, url: str, peer: AutobahnPeer) -> None:
    seen: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
    _, wamp = join(url, lambda wamp: wamp.subscriber(".a", delivery="one")(seen.put))
    wait_until_delivered(peer, "com.example.a")
    session = wamp.client.session_id
    assert wamp.client.peer is not None
    assert wamp.client.peer.connection is not None
    wamp.client.peer.connection.close()
    eventually(lambda: wamp.client.session_id not in (None, session))
    wait_until_delivered(peer, "com.example.a")
    peer.publish("com.example.a", 1)
    assert seen.get(timeout=PATIENCE) == 1


def test_the_app_name_replaces_a_missing_prefix(wamp_router: DevRouter, peer: AutobahnPeer) -> None:
    app = Flask("my-shop.web")
    app.config.update(WAMP_ROUTER_URL=wamp_router.rawsocket_url)
    wamp = FlaskWAMP(app)
    wamp.subscriber("com.a", delivery="one")(lambda: None)
    wamp.start()
    try:
        wamp.client.wait_until_joined(PATIENCE)
        wait_until_delivered(peer, "com.a")
        uri = "my_shop_web.flask_wamp.lease.deliver.exact.com.a"
        assert peer.call(uri).value["session"] == wamp.client.session_id
    finally:
        wamp.stop()


def test_a_forged_event_is_refused(join: Join, url: str, peer: AutobahnPeer) -> None:
    join(url, lambda wamp: wamp.subscriber(".a", delivery="one")(lambda: None))
    error = peer.error("com.example.flask_wamp.deliver.exact.com.example.a", "no", "event")
    assert error.uri == "wamp.error.not_authorized"
