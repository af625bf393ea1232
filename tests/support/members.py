"""Processes of one app, each a ``support/apps/member.py``, and one list of all their reports."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

from flask_wamp.concurrency.threads import is_monkey_patched
from flask_wamp.crossbar import spawn_bound

SCRIPT = Path(__file__).parent / "apps" / "member.py"
ROOT = Path(__file__).parents[2]

PATIENCE = 20.0
"""Seconds to wait for expected events: far more than needed."""

Line = dict[str, t.Any]


class Member:
    """One process of the app."""

    def __init__(self, members: Members, arguments: t.Sequence[str]) -> None:
        command = [sys.executable, str(SCRIPT), *arguments]
        self.process = spawn_bound(command, stdout=subprocess.PIPE, cwd=ROOT)
        self.pid = self.process.pid
        self._members = members
        self._reader = threading.Thread(target=self._read, name=f"member-{self.pid}")
        self._reader.start()

    def kill(self) -> None:
        """Kill it, without GOODBYE."""
        self.process.kill()

    def terminate(self) -> None:
        """Let it end with GOODBYE."""
        self.process.send_signal(signal.SIGTERM)

    def join(self) -> int:
        """Wait until it has ended and all its reports are recorded. Return its status."""
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGUSR1)  # it prints the stacks of its threads
            status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._members.note(json.loads(line))


class Members:
    """The processes of an app, and all their reports, in order of arrival.

    :param arguments: The arguments of ``member.py``.
    """

    _numbers = itertools.count()

    def __init__(self, url: str, *arguments: str) -> None:
        self.prefix = f"com.members{next(self._numbers)}"
        """Each test uses a different app."""
        self.lines: list[Line] = []
        self.all: dict[int, Member] = {}
        self._arguments = [url, "--prefix", self.prefix, *arguments]
        if is_monkey_patched():
            self._arguments.append("--gevent")
        self._changed = threading.Condition()

    def start(self, count: int = 1) -> list[Member]:
        """Start some, and wait until they have joined."""
        members = [Member(self, self._arguments) for _ in range(count)]
        self.all.update((member.pid, member) for member in members)
        for member in members:
            self.wait(lambda pid=member.pid: self.said("joined", pid))  # type: ignore[misc]
        return members

    def said(self, what: str, pid: int | None = None) -> list[Line]:
        """Return all reports of a kind, of one process or of all."""
        return [
            line for line in list(self.lines) if line["what"] == what and pid in (None, line["pid"])
        ]

    def pid_of(self, session: int) -> int:
        """The process that has joined with a session."""
        [pid] = [line["pid"] for line in self.said("joined") if line["session"] == session]
        return int(pid)

    def wait(self, condition: t.Callable[[], t.Any], timeout: float = PATIENCE) -> t.Any:
        """Wait until the reports fulfil a condition. Return its value."""
        with self._changed:
            value = self._changed.wait_for(condition, timeout)
        assert value, f"not within {timeout} s; the last of {len(self.lines)}: {self.lines[-9:]}"
        return value

    def note(self, line: Line) -> None:
        """Called by the readers."""
        with self._changed:
            self.lines.append(line)
            self._changed.notify_all()

    def stop(self) -> None:
        """Stop all remaining processes."""
        for member in self.all.values():
            if member.process.poll() is None:
                member.terminate()
        for member in self.all.values():
            member.join()

    def __enter__(self) -> Members:
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.stop()
        finally:
            for member in self.all.values():
                member.kill()
