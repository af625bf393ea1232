"""Routers that do not announce an optional feature: it is not used, which is logged once if it matters."""

from __future__ import annotations

import typing as t

import pytest
from flask import g

from flask_wamp import FlaskWAMP
from flask_wamp.coordination.leases import ON_UNREGISTER, Leases
from flask_wamp.coordination.linger import Linger
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.uris import COUNT_CALLEES, LOOKUP
from tests.app.conftest import Lack, Serve
from tests.conftest import eventually
from tests.support.memory import MemoryRouter

ADD, NEWS = "com.example.add", "com.example.news"
LEASE = "com.example.flask_wamp.lease.test"


def shared(wamp: FlaskWAMP) -> None:
    wamp.callee(ADD)(lambda: 1)


def calls(router: MemoryRouter) -> list[str]:
    return [message.procedure for message in router.sent(m.Call)]


def topics(router: MemoryRouter) -> list[str]:
    return [message.topic for message in router.sent(m.Subscribe)]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if "does not announce" in text]


# The end of a process.


def leave(wamp: FlaskWAMP) -> None:
    wamp.client.start_policy.linger = 3600.0
    wamp.stop()


def test_a_process_leaves_at_once_if_it_cannot_find_successors(
    serve: Serve, router: MemoryRouter, lack: Lack, caplog: pytest.LogCaptureFixture
) -> None:
    lack("registration_meta_api")
    router.register(COUNT_CALLEES, lambda number: 1)
    _, wamp = serve(shared)
    leave(wamp)
    assert calls(router) == []
    assert [each.procedure for each in router.sent(m.Register)] == [ADD]
    [warning] = said(caplog)
    assert "'registration_meta_api', so this process leaves without waiting" in warning


def test_a_process_leaves_at_once_without_shared_registration(
    serve: Serve, router: MemoryRouter, lack: Lack, caplog: pytest.LogCaptureFixture
) -> None:
    lack("shared_registration")
    router.register(COUNT_CALLEES, lambda number: 1)
    _, wamp = serve(shared)
    leave(wamp)
    assert calls(router) == []
    assert said(caplog) == []


@pytest.mark.parametrize("invoke", [None, "single"])
def test_a_process_without_shared_procedures_logs_nothing(
    serve: Serve,
    router: MemoryRouter,
    lack: Lack,
    caplog: pytest.LogCaptureFixture,
    invoke: str | None,
) -> None:
    lack("registration_meta_api")
    _, wamp = serve(lambda wamp: invoke and wamp.callee(ADD, invoke=invoke)(lambda: 1))
    leave(wamp)
    assert said(caplog) == []


def test_a_process_counts_callees_with_both_features(serve: Serve, router: MemoryRouter) -> None:
    router.register(COUNT_CALLEES, lambda number: 2)
    _, wamp = serve(shared)
    leave(wamp)
    assert calls(router) == [COUNT_CALLEES]


# Leases.


def test_a_lease_works_without_the_meta_api(
    serve: Serve, router: MemoryRouter, lack: Lack, caplog: pytest.LogCaptureFixture
) -> None:
    lack("registration_meta_api")
    leases = []
    for _ in range(2):
        _, wamp = serve()
        assert wamp.client.peer is not None
        leases.append((wamp, Leases.of(wamp.client.peer).add(LEASE)))
        eventually(lambda: leases[0][1].held)
    (first, _), (_, other) = leases
    eventually(lambda: other.held_elsewhere)
    first.stop()
    eventually(lambda: other.held, 10.0)  # it has tried again
    assert LOOKUP not in calls(router)
    assert ON_UNREGISTER not in topics(router)
    assert said(caplog) == []


def test_with_the_meta_api_a_lease_uses_it(serve: Serve, router: MemoryRouter) -> None:
    for _ in range(2):
        _, wamp = serve()
        assert wamp.client.peer is not None
        Leases.of(wamp.client.peer).add(LEASE)
    eventually(lambda: LOOKUP in calls(router))
    assert ON_UNREGISTER in topics(router)


# force_reregister.


def test_no_procedure_is_taken_over_if_callees_cannot_be_counted(
    serve: Serve, router: MemoryRouter, lack: Lack
) -> None:
    lack("registration_meta_api")
    router.register(LOOKUP, lambda uri, options: 77)
    router.register(COUNT_CALLEES, lambda number: 1)
    serve(shared)
    _, wamp = serve(
        lambda wamp: wamp.callee(ADD, invoke="single", force_reregister=True)(lambda: 2)
    )
    why = "only, and the router does not announce 'registration_meta_api'"
    assert why in wamp.health()["procedures"]["refused"][ADD]
    assert calls(router) == []
    assert router.call(ADD) == 1


def test_a_procedure_that_is_not_shared_is_taken_over_without_the_meta_api(
    serve: Serve, router: MemoryRouter, lack: Lack
) -> None:
    lack("registration_meta_api")
    serve(lambda wamp: wamp.callee(ADD, invoke="single")(lambda: 1))
    serve(lambda wamp: wamp.callee(ADD, invoke="single", force_reregister=True)(lambda: 2))
    assert router.call(ADD) == 2


# Subscriptions.


def retained(wamp: FlaskWAMP) -> None:
    for topic in (NEWS, "com.example.more"):
        wamp.subscriber(topic, get_retained=True)(lambda *args: None)


def options(router: MemoryRouter) -> list[t.Any]:
    return [message.options for message in router.sent(m.Subscribe)]


def test_get_retained_is_not_sent_without_retention_and_that_is_logged_once(
    serve: Serve, router: MemoryRouter, lack: Lack, caplog: pytest.LogCaptureFixture
) -> None:
    lack("event_retention")
    serve(retained)
    router.drop()
    router.wait_for(m.Subscribe, 4)
    assert not any("get_retained" in each for each in options(router))
    [warning] = said(caplog)
    assert "'event_retention': there is no retained event of com.example." in warning


def test_get_retained_of_a_stream_is_not_sent_without_retention(
    serve: Serve, router: MemoryRouter, lack: Lack, caplog: pytest.LogCaptureFixture
) -> None:
    lack("event_retention")
    app, _ = serve()
    for _ in range(2):
        with app.app_context(), g.wampy.events(NEWS, get_retained=True):
            pass
    assert options(router) == [{}, {}]
    assert len(said(caplog)) == 1


def test_get_retained_is_sent_with_retention(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    serve(retained)
    assert options(router) == [{"get_retained": True}] * 2
    assert said(caplog) == []


@pytest.mark.parametrize("complete", [True, False])
def test_missing_session_events_are_logged(
    serve: Serve, router: MemoryRouter, lack: Lack, caplog: pytest.LogCaptureFixture, complete: bool
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.on_session_join(lambda info: None)
        wamp.on_session_leave(lambda info: None)

    if not complete:
        lack("session_meta_api")
    serve(setup)
    assert sorted(topics(router)) == ["wamp.session.on_join", "wamp.session.on_leave"]
    assert len(said(caplog)) == (0 if complete else 1)


def test_linger_counts_callees(serve: Serve, router: MemoryRouter) -> None:
    """Without this test, those above would pass even if no process waited at all."""
    router.register(COUNT_CALLEES, lambda number: 1)
    _, wamp = serve(shared)
    assert wamp.client.peer is not None
    assert wamp.client.peer.connection is not None
    way_out = Linger(wamp.client.peer.connection, wamp.client.declarations)
    way_out.wait(0.2)
    way_out.release()
    assert COUNT_CALLEES in calls(router)
