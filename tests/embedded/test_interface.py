"""The router as a driver sees it."""

from __future__ import annotations

import pytest

from tests.embedded.pair import (
    CALL,
    EVENT,
    GOODBYE,
    INVOCATION,
    PUBLISHED,
    RESULT,
    YIELD,
    TestRouter,
)

SERIALIZERS = ["json", "msgpack", "cbor"]


@pytest.mark.parametrize("theirs", SERIALIZERS)
@pytest.mark.parametrize("ours", SERIALIZERS)
def test_a_call_works_between_all_serializers(router: TestRouter, ours: str, theirs: str) -> None:
    caller, callee = router.join(serializer=ours), router.join(serializer=theirs)
    registration_id = callee.register("com.example.add")
    request_id = caller.call("com.example.add", [1, "ä"], {"b": [None, 2.5]})
    message = callee.take_last()
    assert message == [
        INVOCATION,
        1,
        registration_id,
        {
            "caller": caller.id,
            "caller_authid": caller.welcome["authid"],
            "caller_authrole": "anonymous",
        },
        [1, "ä"],
        {"b": [None, 2.5]},
    ]
    callee.send(YIELD, 1, {}, [3], {"c": {}})
    assert caller.take_last() == [RESULT, request_id, {}, [3], {"c": {}}]


def test_an_event_reaches_all_subscribers_but_its_publisher(router: TestRouter) -> None:
    publisher, *subscribers = [router.join(serializer=name) for name in [*SERIALIZERS, "json"]]
    ids = {line.subscribe("com.example.news") for line in [publisher, *subscribers]}
    [subscription_id] = ids
    request_id = publisher.publish("com.example.news", ["hello"], acknowledge=True)
    [code, answered, publication_id] = publisher.take_last()
    assert (code, answered) == (PUBLISHED, request_id)
    for line in subscribers:
        assert line.take_last() == [
            EVENT,
            subscription_id,
            publication_id,
            {
                "publisher": publisher.id,
                "publisher_authid": publisher.welcome["authid"],
                "publisher_authrole": "anonymous",
            },
            ["hello"],
        ]


def test_shutting_down_sends_goodbye_and_closes_each_transport(router: TestRouter) -> None:
    polite, deaf = router.join(), router.join()
    router.shut_down()
    for line in (polite, deaf):
        assert line.take_last() == [
            GOODBYE,
            {"message": "the router is shutting down"},
            "wamp.close.system_shutdown",
        ]
        assert line.closed is None
    polite.send(GOODBYE, {}, "wamp.close.goodbye_and_out")
    assert polite.closed is False
    deaf.send(CALL, 1, {}, "com.example.ignored")
    assert deaf.closed is None
    router.pass_time(router.settings.goodbye_timeout)
    assert deaf.closed is False
    assert not router.sessions
    assert router.next_deadline is None
