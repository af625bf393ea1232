"""Random sequences of messages of random sessions, and invariants.

Every call is answered exactly once. No session gets an event twice, or one that it is not subscribed
to. Ids of a session are never reused. No record of an ended session is kept.
"""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from flask_wamp.protocol.identity import app_extra
from flask_wamp.router.app_api import BACKEND
from flask_wamp.router.router import Router
from tests.embedded.pair import (
    CALL,
    CANCEL,
    ERROR,
    EVENT,
    GOODBYE,
    INTERRUPT,
    INVOCATION,
    PUBLISH,
    PUBLISHED,
    REGISTER,
    REGISTERED,
    RESULT,
    ROLES,
    SUBSCRIBE,
    SUBSCRIBED,
    UNREGISTER,
    UNREGISTERED,
    UNSUBSCRIBE,
    UNSUBSCRIBED,
    WELCOME,
    YIELD,
    Line,
    Message,
    TestRouter,
)

PLAIN = {"caller": {}, "callee": {}, "subscriber": {}}

URIS = st.sampled_from(["com.a", "com.a.b", "com.a.b.c", "com.x.b"])
PATTERNS = st.sampled_from(
    [
        ("com.a", "exact"),
        ("com.a.b", "exact"),
        ("com.a", "prefix"),
        ("com.", "prefix"),
        ("com..b", "wildcard"),
        ("..", "wildcard"),
    ]
)
SERIALIZERS = st.sampled_from(["json", "msgpack", "cbor"])
POLICIES = st.sampled_from(["single", "first", "last", "roundrobin", "random"])


class Client:
    """A client that checks every message that it receives."""

    def __init__(self, line: Line, roles: t.Any) -> None:
        self.line = line
        self.can_be_interrupted = roles is ROLES
        self.requests: dict[int, tuple[t.Any, ...]] = {}
        """Unanswered requests other than calls."""
        self.calls: dict[int, dict[str, t.Any]] = {}
        """Unanswered calls, and their options."""
        self.canceled: set[int] = set()
        self.registrations: set[int] = set()
        self.subscriptions: set[int] = set()
        self.invocations: set[int] = set()
        """Unanswered invocations."""
        self.last_invocation = 0
        self.events: set[tuple[int, int]] = set()
        self.own: set[int] = set()
        """The client's own publications, which it does not receive."""
        self.left = False

    def read(self) -> None:
        """Check all received messages."""
        for message in self.line.take_all():
            self.checks[message[0]](self, message)

    def _on_result(self, message: Message) -> None:
        call = self.calls[message[1]]
        if message[2].get("progress"):
            assert call.get("receive_progress")
        else:
            del self.calls[message[1]]

    def _on_error(self, message: Message) -> None:
        if message[1] == CALL:
            del self.calls[message[2]]
        elif message[1] != CANCEL:
            code, *_ = self.requests.pop(message[2])
            assert code == message[1]

    def _on_invocation(self, message: Message) -> None:
        _, request_id, registration_id, details = message[:4]
        assert request_id == self.last_invocation + 1, "an invocation id is skipped or used again"
        assert registration_id in self.registrations
        self.last_invocation = request_id
        self.invocations.add(request_id)

    def _on_interrupt(self, message: Message) -> None:
        assert self.can_be_interrupted
        assert message[1] in self.invocations, "interrupted what is answered"

    def _on_event(self, message: Message) -> None:
        _, subscription_id, publication_id = message[:3]
        assert subscription_id in self.subscriptions, "an event after UNSUBSCRIBED"
        if not message[3].get("retained"):
            assert (subscription_id, publication_id) not in self.events, "an event came twice"
            self.events.add((subscription_id, publication_id))
            assert message[3].get("publisher") != self.line.id or message[4] == ["for all"]

    def _on_registered(self, message: Message) -> None:
        assert self.requests.pop(message[1])[0] == REGISTER
        assert message[2] not in self.registrations
        self.registrations.add(message[2])

    def _on_unregistered(self, message: Message) -> None:
        if message[1]:
            code, registration_id = self.requests.pop(message[1])
            assert code == UNREGISTER
        else:
            registration_id = message[2]["registration"]
        self.registrations.remove(registration_id)

    def _on_subscribed(self, message: Message) -> None:
        assert self.requests.pop(message[1])[0] == SUBSCRIBE
        self.subscriptions.add(message[2])

    def _on_unsubscribed(self, message: Message) -> None:
        code, subscription_id = self.requests.pop(message[1])
        assert code == UNSUBSCRIBE
        self.subscriptions.remove(subscription_id)

    def _on_published(self, message: Message) -> None:
        assert self.requests.pop(message[1])[0] == PUBLISH

    def _on_goodbye(self, message: Message) -> None:
        assert not self.left, "GOODBYE came twice"
        self.left = True

    checks: t.ClassVar[dict[int, t.Callable[..., None]]] = {
        RESULT: _on_result,
        ERROR: _on_error,
        INVOCATION: _on_invocation,
        INTERRUPT: _on_interrupt,
        EVENT: _on_event,
        REGISTERED: _on_registered,
        UNREGISTERED: _on_unregistered,
        SUBSCRIBED: _on_subscribed,
        UNSUBSCRIBED: _on_unsubscribed,
        PUBLISHED: _on_published,
        GOODBYE: _on_goodbye,
    }


class Lives(RuleBasedStateMachine):
    """Random requests of random clients."""

    clients = Bundle("clients")

    @initialize(
        target=clients,
        linger=st.sampled_from([0.0, 1.0]),
        seed=st.integers(0, 100),
        serializer=SERIALIZERS,
        roles=st.sampled_from([ROLES, PLAIN]),
    )
    def start(self, linger: float, seed: int, serializer: str, roles: t.Any) -> Client:
        """Begin with a session that serves everything, so that there are pending calls."""
        self.router = TestRouter(linger=linger, seed=seed, max_lingering_calls=3)
        self.all: list[Client] = []
        client = self.new_client(serializer, roles)
        client.requests[1] = (REGISTER,)
        client.line.request(REGISTER, {"match": "prefix", "invoke": "roundrobin"}, "com.")
        client.read()
        return client

    def read_all(self) -> None:
        for client in self.all:
            client.read()

    @rule(target=clients, serializer=SERIALIZERS, roles=st.sampled_from([ROLES, PLAIN]))
    def join(self, serializer: str, roles: t.Any) -> Client:
        return self.new_client(serializer, roles)

    def new_client(self, serializer: str, roles: t.Any) -> Client:
        # Those with all features are processes of an app: calls wait for their successors.
        is_app = roles is ROLES
        line = self.router.connect(serializer, identity=BACKEND if is_app else None)
        line.hello(roles=roles, authextra=app_extra("shop" if is_app else None))
        code, line.id, line.welcome = line.take()
        assert code == WELCOME
        client = Client(line, roles)
        self.all.append(client)
        return client

    @rule(
        client=clients,
        pattern=PATTERNS,
        invoke=POLICIES,
        concurrency=st.sampled_from([0, 1, 2]),
        force=st.booleans(),
    )
    def register(
        self,
        client: Client,
        pattern: tuple[str, str],
        invoke: str,
        concurrency: int,
        force: bool,
    ) -> None:
        if client.left:
            return
        options = {"match": pattern[1], "invoke": invoke, "concurrency": concurrency}
        options["force_reregister"] = force
        if force:  # subscriptions without revocation are removed silently
            self.forget_registration(pattern)
        client.requests[client.line.last_request_id + 1] = (REGISTER,)
        client.line.request(REGISTER, options, pattern[0])
        self.read_all()

    def forget_registration(self, pattern: tuple[str, str]) -> None:
        for realm in self.router.realms.values():
            registration_id = realm.dealer.lookup(*pattern)
            for client in self.all:
                if not client.can_be_interrupted and registration_id is not None:
                    client.registrations.discard(registration_id)

    @rule(client=clients, data=st.data())
    def unregister(self, client: Client, data: st.DataObject) -> None:
        if client.registrations and not client.left:
            number = data.draw(st.sampled_from(sorted(client.registrations)))
            client.requests[client.line.last_request_id + 1] = (UNREGISTER, number)
            client.line.request(UNREGISTER, number)
            self.read_all()

    @rule(client=clients, pattern=PATTERNS, get_retained=st.booleans())
    def subscribe(self, client: Client, pattern: tuple[str, str], get_retained: bool) -> None:
        if client.left:
            return
        client.requests[client.line.last_request_id + 1] = (SUBSCRIBE,)
        options = {"match": pattern[1], "get_retained": get_retained}
        client.line.request(SUBSCRIBE, options, pattern[0])
        self.read_all()

    @rule(client=clients, data=st.data())
    def unsubscribe(self, client: Client, data: st.DataObject) -> None:
        if client.subscriptions and not client.left:
            number = data.draw(st.sampled_from(sorted(client.subscriptions)))
            client.requests[client.line.last_request_id + 1] = (UNSUBSCRIBE, number)
            client.line.request(UNSUBSCRIBE, number)
            self.read_all()

    @rule(
        client=clients,
        uri=URIS,
        timeout=st.sampled_from([0, 500]),
        receive_progress=st.booleans(),
    )
    def call(self, client: Client, uri: str, timeout: int, receive_progress: bool) -> None:
        if client.left:
            return
        options = {"timeout": timeout, "receive_progress": receive_progress}
        client.calls[client.line.last_request_id + 1] = options
        client.line.call(uri, [1], **options)
        self.read_all()

    @rule(
        client=clients,
        data=st.data(),
        mode=st.sampled_from(["skip", "kill", "killnowait", "nonsense"]),
        any_=st.booleans(),
    )
    def cancel(self, client: Client, data: st.DataObject, mode: str, any_: bool) -> None:
        if client.left:
            return
        if client.calls and not any_:
            request_id = data.draw(st.sampled_from(sorted(client.calls)))
        else:  # answered, not a call, or not yet sent
            request_id = data.draw(st.integers(1, client.line.last_request_id + 1))
        was_open = request_id in client.calls
        client.line.send(CANCEL, request_id, {"mode": mode})
        self.read_all()
        if was_open and mode in ("skip", "killnowait"):
            assert request_id not in client.calls, "a call that was canceled is not answered"

    @rule(
        client=clients,
        data=st.data(),
        how=st.sampled_from(["yield", "progress", "error"]),
        late=st.booleans(),
    )
    def answer(self, client: Client, data: st.DataObject, how: str, late: bool) -> None:
        if client.left:
            return
        if late and client.last_invocation:  # perhaps again
            number = data.draw(st.integers(1, client.last_invocation))
        elif client.invocations:
            number = data.draw(st.sampled_from(sorted(client.invocations)))
        else:
            return
        if how != "progress":
            client.invocations.discard(number)
        if how == "error":
            client.line.send(ERROR, INVOCATION, number, {}, "com.error", [1])
        else:
            client.line.send(YIELD, number, {"progress": True} if how == "progress" else {}, [1])
        self.read_all()

    @rule(client=clients, topic=URIS, for_all=st.booleans(), retain=st.booleans())
    def publish(self, client: Client, topic: str, for_all: bool, retain: bool) -> None:
        if client.left:
            return
        client.requests[client.line.last_request_id + 1] = (PUBLISH,)
        options = {"exclude_me": not for_all, "retain": retain, "acknowledge": True}
        client.line.publish(topic, ["for all" if for_all else "for others"], **options)
        self.read_all()

    @rule(client=clients, victim=clients)
    def kill(self, client: Client, victim: Client) -> None:
        if client.left:
            return
        client.calls[client.line.last_request_id + 1] = {}
        client.line.call("wamp.session.kill", [victim.line.id])
        self.read_all()

    @rule(client=consumes(clients), how=st.sampled_from(["lost", "goodbye", "violation"]))
    def leave(self, client: Client, how: str) -> None:
        self.all.remove(client)
        if how == "lost":
            client.line.lose()
        elif how == "goodbye":
            client.line.send(GOODBYE, {}, "wamp.close.close_realm")
        else:
            client.line.send(99)
        client.line.take_all()
        client.line.lose()
        self.read_all()

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.router.pass_time(seconds)
        self.read_all()

    @invariant()
    def all_agree(self) -> None:
        if not hasattr(self, "router"):
            return
        check_consistency(self.router)
        for client in self.all:
            session = client.line.session
            if client.left:  # killed: no record is kept, whatever it still sends
                assert not session.calls and not session.invocations
                continue
            assert set(session.calls) == set(client.calls), "a call is not answered, or twice"
            assert set(session.invocations) <= client.invocations
            assert set(session.subscriptions) == client.subscriptions
            assert set(session.registrations) == client.registrations
            assert not client.requests, "a request is not answered"

    def teardown(self) -> None:
        if not hasattr(self, "router"):
            return
        for client in self.all:
            client.line.lose()
        self.router.pass_time(1.0)
        assert not self.router.sessions
        assert self.router.next_deadline is None
        for realm in self.router.realms.values():
            assert realm.dealer.is_empty and not realm.dealer.by_id
            assert not realm.broker.by_id
            assert len(realm.broker.retained), "kept for nothing"
            assert realm.dealer.calls.held == 0


def check_consistency(router: Router) -> None:
    """Check that the router's tables agree with each other."""
    for realm in router.realms.values():
        sessions = set(realm.sessions.values())
        pending = {call for session in sessions for call in session.calls.values()}
        invoked = {call for session in sessions for call in session.invocations.values()}
        held = {call for call in pending if call.callee is None}
        assert pending - held == invoked
        assert len(held) == realm.dealer.calls.held
        callees = {callee for session in sessions for callee in session.registrations.values()}
        assert callees == {
            callee
            for registration in realm.dealer.by_id.values()
            for callee in registration.callees
        }
        assert all(registration.callees for registration in realm.dealer.by_id.values())
        for callee in callees:
            running = sum(call.callee is callee for call in invoked)
            assert callee.running == running
            assert not callee.concurrency or running <= callee.concurrency
        for subscription in realm.broker.by_id.values():
            assert subscription.sessions, "a subscription without subscribers"
            for session in subscription.sessions:
                assert session in sessions
                assert session.subscriptions[subscription.id] is subscription


@pytest.mark.timeout(600)
def test_random_sequences_of_messages() -> None:
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=100,
            stateful_step_count=60,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
