"""The line in front of the workers: in order within a kind, in turns between kinds, bounded."""

from __future__ import annotations

import typing as t

from flask_wamp.concurrency.fair_queue import FairQueue


def nothing() -> None:
    """A job."""


def fill(line: FairQueue, kinds: str) -> None:
    """Append jobs that say their kind and number: "aab" is a0, a1, b0."""
    for at, kind in enumerate(kinds):
        name = f"{kind}{kinds[:at].count(kind)}"
        line.append(lambda name=name: name, kind)


def drain(line: FairQueue) -> list[t.Any]:
    return [line.popleft()() for _ in range(line.length)]


def test_one_kind_keeps_its_order() -> None:
    line = FairQueue(10)
    fill(line, "aaaa")
    assert drain(line) == ["a0", "a1", "a2", "a3"]
    assert line.length == 0


def test_kinds_take_turns() -> None:
    line = FairQueue(10)
    fill(line, "aaaabbc")
    assert drain(line) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_a_kind_that_comes_back_is_last() -> None:
    line = FairQueue(10)
    fill(line, "ab")
    assert line.popleft()() == "a0"
    line.append(lambda: "again", "a")
    assert drain(line) == ["b0", "again"]


def test_full_line_has_room_for_who_has_less_than_a_share() -> None:
    line = FairQueue(4)
    fill(line, "aaaa")
    assert not line.offer(nothing, "a")
    for number in range(2):
        assert line.offer(nothing, "b"), number
    assert not line.offer(nothing, "b") and not line.offer(nothing, "a")
    assert line.offer(nothing, "c")


def test_full_line_never_holds_more_than_twice_its_limit() -> None:
    line = FairQueue(64)
    for kind in range(1000):
        while line.offer(nothing, kind) and line.length < 1000:
            pass
    assert line.length <= 128


def test_jobs_about_to_be_taken_do_not_count() -> None:
    line = FairQueue(1)
    fill(line, "a")
    assert not line.offer(nothing, "a")
    assert line.offer(nothing, "a", spare=1)


def test_cleared_line_is_empty() -> None:
    line = FairQueue(10)
    fill(line, "aab")
    assert [job() for job in line.clear()] == ["a0", "b0", "a1"]
    assert (line.length, line.bytes) == (0, 0)
    fill(line, "b")
    assert drain(line) == ["b0"]


# Bytes.


def test_bytes_are_bounded() -> None:
    line = FairQueue(1000, max_bytes=100)
    assert line.offer(nothing, "a", size=60)
    assert line.offer(nothing, "a", size=40)
    assert not line.offer(nothing, "a", size=1)
    line.popleft()
    assert line.bytes == 40
    assert line.offer(nothing, "a", size=60)


def test_a_message_over_the_limit_gets_into_an_empty_line() -> None:
    line = FairQueue(1000, max_bytes=100)
    assert line.offer(nothing, "a", size=1000)
    assert not line.offer(nothing, "a", size=1)


def test_large_messages_of_one_kind_leave_the_others_their_share() -> None:
    line = FairQueue(1000, max_bytes=100)
    for _ in range(10):
        assert line.offer(nothing, "a", size=10)
    assert not line.offer(nothing, "a", size=10)
    assert all(line.offer(nothing, "b", size=10) for _ in range(5))
    assert not line.offer(nothing, "b", size=10)
    for kind in range(1000):
        while line.offer(nothing, kind, size=1):
            pass
    assert line.bytes <= 200
