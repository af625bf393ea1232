"""The queue in front of the workers: order within a kind, turns between kinds, and limits."""

from __future__ import annotations

import typing as t

from flask_wamp.concurrency.fair_queue import FairQueue


def nothing() -> None:
    """A job."""


def fill(queue: FairQueue, kinds: str) -> None:
    """Append jobs that record their kind and number: "aab" is a0, a1, b0."""
    for at, kind in enumerate(kinds):
        name = f"{kind}{kinds[:at].count(kind)}"
        queue.offer(lambda name=name: name, kind)


def drain(queue: FairQueue) -> list[t.Any]:
    return [queue.popleft()() for _ in range(queue.length)]


def test_one_kind_keeps_its_order() -> None:
    queue = FairQueue(10)
    fill(queue, "aaaa")
    assert drain(queue) == ["a0", "a1", "a2", "a3"]
    assert queue.length == 0


def test_kinds_take_turns() -> None:
    queue = FairQueue(10)
    fill(queue, "aaaabbc")
    assert drain(queue) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_a_kind_that_returns_to_the_queue_is_last() -> None:
    queue = FairQueue(10)
    fill(queue, "ab")
    assert queue.popleft()() == "a0"
    queue.offer(lambda: "again", "a")
    assert drain(queue) == ["b0", "again"]


def test_full_queue_has_room_for_a_kind_below_its_share() -> None:
    queue = FairQueue(4)
    fill(queue, "aaaa")
    assert not queue.offer(nothing, "a")
    for number in range(2):
        assert queue.offer(nothing, "b"), number
    assert not queue.offer(nothing, "b") and not queue.offer(nothing, "a")
    assert queue.offer(nothing, "c")


def test_full_queue_never_holds_more_than_twice_its_limit() -> None:
    queue = FairQueue(64)
    for kind in range(1000):
        while queue.offer(nothing, kind) and queue.length < 1000:
            pass
    assert queue.length <= 128


def test_jobs_about_to_be_taken_do_not_count() -> None:
    queue = FairQueue(1)
    fill(queue, "a")
    assert not queue.offer(nothing, "a")
    assert queue.offer(nothing, "a", spare=1)


def test_cleared_queue_is_empty() -> None:
    queue = FairQueue(10)
    fill(queue, "aab")
    assert [job() for job in queue.clear()] == ["a0", "b0", "a1"]
    assert (queue.length, queue.bytes) == (0, 0)
    fill(queue, "b")
    assert drain(queue) == ["b0"]


# Bytes.


def test_the_bytes_of_the_queue_are_limited() -> None:
    queue = FairQueue(1000, max_bytes=100)
    assert queue.offer(nothing, "a", size=60)
    assert queue.offer(nothing, "a", size=40)
    assert not queue.offer(nothing, "a", size=1)
    queue.popleft()
    assert queue.bytes == 40
    assert queue.offer(nothing, "a", size=60)


def test_an_empty_queue_accepts_a_message_over_the_limit() -> None:
    queue = FairQueue(1000, max_bytes=100)
    assert queue.offer(nothing, "a", size=1000)
    assert not queue.offer(nothing, "a", size=1)


def test_large_messages_of_one_kind_leave_space_for_the_others() -> None:
    queue = FairQueue(1000, max_bytes=100)
    for _ in range(10):
        assert queue.offer(nothing, "a", size=10)
    assert not queue.offer(nothing, "a", size=10)
    assert all(queue.offer(nothing, "b", size=10) for _ in range(5))
    assert not queue.offer(nothing, "b", size=10)
    for kind in range(1000):
        while queue.offer(nothing, kind, size=1):
            pass
    assert queue.bytes <= 200
