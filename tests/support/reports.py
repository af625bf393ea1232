"""Other processes report their progress to a test, and wait for its answer."""

from __future__ import annotations

import json
import os
import socket
import typing as t
from pathlib import Path

TIMEOUT = 20.0


#: The kept connections. The test notices the end of this process by their end.
_lines: list[socket.socket] = []


def tell(address: str, *, keep: bool = True, **facts: t.Any) -> str:
    """Send a report from another process to the test, and wait for an answer.

    :param keep: Keep the connection as long as the process lives.
    """
    channel = socket.socket(socket.AF_UNIX)
    channel.connect(address)
    channel.sendall(json.dumps({"pid": os.getpid(), **facts}).encode() + b"\n")
    with channel.makefile("r") as answers:
        word = answers.readline().strip()
    if keep:
        _lines.append(channel)
    else:
        channel.close()
    return word


class Report:
    """The report of one call of :func:`tell`, which waits for the answer."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._channel.settimeout(TIMEOUT)
        self._file = channel.makefile("r")
        self.facts: dict[str, t.Any] = json.loads(self._file.readline())

    def __getitem__(self, name: str) -> t.Any:
        return self.facts[name]

    def answer(self, word: str = "go") -> None:
        """Let it continue."""
        self._channel.sendall(f"{word}\n".encode())

    def wait_for_end(self) -> None:
        """Wait until the process has ended."""
        try:
            assert self._file.readline() == ""
        except ConnectionResetError:  # it never read the answer
            return

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._channel.close()


class Reports:
    """The receiver of reports. ``address`` is for :func:`tell`."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "reports.sock")
        self._reports: list[Report] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.address)
        self._listener.listen(64)

    def next(self, timeout: float = TIMEOUT) -> Report:
        """Wait for the next report."""
        self._listener.settimeout(timeout)
        channel, _ = self._listener.accept()
        report = Report(channel)
        self._reports.append(report)
        return report

    def none_waits(self) -> bool:
        """Whether there is no report now."""
        try:
            self.next(0.0)
        except (BlockingIOError, TimeoutError):
            return True
        return False

    def close(self) -> None:
        """Close everything."""
        for report in self._reports:
            report.close()
        self._listener.close()
