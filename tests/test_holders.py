"""The report of ``python -m tests.chaos`` about leaked objects."""

from __future__ import annotations

import gc
import threading
import typing as t

import pytest

from tests.support.chaos.holders import ways_to


class Wanted:
    def __init__(self, **attributes: t.Any) -> None:
        self.__dict__.update(attributes)


@pytest.fixture(autouse=True)
def no_garbage() -> None:
    gc.collect()


def ways(*living: object) -> list[str]:
    return ways_to(lambda thing: type(thing) is Wanted, living)


def test_the_way_begins_at_what_lives() -> None:
    keeper = Wanted(kept={"key": [Wanted()]})
    assert ways(keeper) == ["Wanted.kept -> dict['key'] -> list -> Wanted (1 of these)"]


def test_a_thread_holds_its_variables() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def wait() -> None:
        held = [Wanted()]
        begun.set()
        may_end.wait(30)
        assert held

    thread = threading.Thread(target=wait, name="waiting")
    thread.start()
    assert begun.wait(30)
    (found,) = ways()
    may_end.set()
    thread.join(30)
    assert found.endswith(", wait: held -> list -> Wanted (1 of these)")


def test_garbage_holds_nothing() -> None:
    garbage = Wanted(other=Wanted())
    garbage.other.other = garbage
    gc.disable()
    try:
        del garbage
        found = ways()
    finally:
        gc.enable()
    assert found == ["Wanted, which nothing holds that the garbage collector knows (2 of these)"]
