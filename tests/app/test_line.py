"""The line in front of the workers: in order within a kind, in turns between kinds, bounded."""

from __future__ import annotations

import typing as t

from flask_wamp.concurrency.fair_queue import FairQueue


def fill(line: FairQueue, kinds: str) -> None:
    """Append jobs that say their kind and number: "aab" is a0, a1, b0."""
    for at, kind in enumerate(kinds):
        name = f"{kind}{kinds[:at].count(kind)}"
        line.append(lambda name=name: name, kind)


def drain(line: FairQueue) -> list[t.Any]:
    return [line.popleft()() for _ in range(len(line))]


def test_one_kind_keeps_its_order() -> None:
    line = FairQueue(10)
    fill(line, "aaaa")
    assert drain(line) == ["a0", "a1", "a2", "a3"]
    assert len(line) == 0


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
    assert not line.has_room("a", 0)
    for number in range(2):
        assert line.has_room("b", 0), number
        line.append(lambda: "b", "b")
    assert not line.has_room("b", 0) and not line.has_room("a", 0)
    assert line.has_room("c", 0)


def test_full_line_never_holds_more_than_twice_its_limit() -> None:
    line = FairQueue(64)
    for kind in range(1000):
        while line.has_room(kind, 0) and len(line) < 1000:
            line.append(lambda: None, kind)
    assert len(line) <= 128


def test_jobs_about_to_be_taken_do_not_count() -> None:
    line = FairQueue(1)
    fill(line, "a")
    assert not line.has_room("a", 0)
    assert line.has_room("a", 1)


def test_cleared_line_is_empty() -> None:
    line = FairQueue(10)
    fill(line, "aab")
    line.clear()
    assert len(line) == 0 and not line
    fill(line, "b")
    assert drain(line) == ["b0"]
