"""Scheduled jobs of several processes: exactly one runs them, whatever happens to it."""

from __future__ import annotations

import itertools
import threading
import typing as t

import pytest

from tests.support.members import Members

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

INTERVAL = 1.0
TAKEOVER = 2.0


def gaps(members: Members) -> list[float]:
    """Seconds between the runs, of all processes together."""
    times = sorted(line["at"] for line in members.said("ran"))
    return [late - early for early, late in itertools.pairwise(times)]


def turns(members: Members) -> list[int]:
    """The processes that ran the job, in order. Consecutive runs of one process count once."""
    runs = sorted(members.said("ran"), key=lambda line: line["at"])
    return [pid for pid, _ in itertools.groupby(line["pid"] for line in runs)]


def wait_for_runs(members: Members, count: int) -> dict[str, t.Any]:
    """Wait for this many more runs. Return the last one."""
    wanted = len(members.said("ran")) + count
    return t.cast("dict[str, t.Any]", members.wait(lambda: members.said("ran")[wanted - 1 :])[-1])


def test_one_of_all_processes_runs_the_jobs(wamp_router: DevRouter) -> None:
    with Members(wamp_router.rawsocket_url, "--job", "0.2") as members:
        members.start(3)
        wait_for_runs(members, 5)
        assert len(turns(members)) == 1
        assert min(gaps(members)) > 0.1


def test_every_process_runs_the_jobs_with_schedule_every(wamp_router: DevRouter) -> None:
    config = ("--config", '{"WAMP_SCHEDULE": "every"}')
    with Members(wamp_router.rawsocket_url, "--job", "0.2", *config) as members:
        pids = {member.pid for member in members.start(2)}
        for pid in pids:
            members.wait(lambda pid=pid: len(members.said("ran", pid)) > 2)  # type: ignore[misc]


def test_a_process_that_leaves_passes_on_the_next_runs(wamp_router: DevRouter) -> None:
    with Members(wamp_router.rawsocket_url, "--job", str(INTERVAL)) as members:
        members.start(2)
        for _ in range(3):
            runner = wait_for_runs(members, 1)["pid"]
            threading.Event().wait(INTERVAL * 0.3)  # in the middle of an interval
            members.all[runner].terminate()
            members.start()
            assert wait_for_runs(members, 1)["pid"] != runner
    between = gaps(members)
    print(f"runs every {min(between):.3f} to {max(between):.3f} s while processes leave")
    assert min(between) > INTERVAL * 0.8
    assert max(between) < INTERVAL + TAKEOVER


@pytest.mark.slow
def test_ten_runners_are_killed(wamp_router: DevRouter) -> None:
    with Members(wamp_router.rawsocket_url, "--job", str(INTERVAL)) as members:
        members.start(4)
        wait_for_runs(members, 1)
        for number in range(10):
            runner = members.said("ran")[-1]["pid"]
            # At each phase of an interval, but not before it could notify the others of this run.
            threading.Event().wait(INTERVAL * (0.1 + number * 0.09))
            members.all[runner].kill()
            members.start()
            members.wait(lambda: members.said("ran")[-1]["pid"] != runner)  # noqa: B023
    between = gaps(members)
    print(f"{len(between) + 1} runs, {min(between):.3f} to {max(between):.3f} s apart")
    # Never two processes at once: none ran it again after another one had.
    assert len(turns(members)) == len(set(turns(members))) == 11
    assert min(between) > INTERVAL * 0.5
    assert max(between) < INTERVAL + TAKEOVER
