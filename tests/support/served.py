"""A server program that serves ``apps/shop.py``, as a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

import flask_wamp
from flask_wamp.crossbar import free_port, spawn_bound, stop_process
from tests.conftest import eventually

from .peers import AutobahnPeer, RemoteError

APPS = Path(__file__).with_name("apps")
PACKAGE = Path(flask_wamp.__file__).parent.parent

STARTS_WITHIN = 30.0
"""Seconds that a server may take on a busy machine."""


class Served:
    """A server in a separate process; ``with Served([...], url, log) as server:``.

    :param command: A module and its arguments, or a program's path; ``{port}`` is a free port.
    """

    def __init__(
        self, command: t.Sequence[str], router_url: str, log: Path, **environ: str
    ) -> None:
        self.port = free_port()
        self._command = [each.format(port=self.port) for each in command]
        self._log = log
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("FLASK_", "WERKZEUG_"))},
            "PYTHONPATH": str(PACKAGE),
            "PYTHONUNBUFFERED": "1",
            "SHOP_ROUTER_URL": router_url,
            **environ,
        }

    def __enter__(self) -> Served:
        with self._log.open("wb") as log:
            self.process = spawn_bound(
                self._command
                if os.path.isabs(self._command[0])
                else [sys.executable, "-m", *self._command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=APPS,
                env=self._environ,
            )
        return self

    def __exit__(self, *exc_info: object) -> None:
        stop_process(self.process, 10)
        assert self.process.stdin is not None
        self.process.stdin.close()

    @property
    def processes(self) -> int:
        """The number of processes that serve HTTP, from the command."""
        for option in ("-w", "--workers", "--processes"):
            if option in self._command:
                return int(self._command[self._command.index(option) + 1])
        return 1

    def restart(self) -> None:
        """Stop the program, and start it again with an empty log."""
        self.__exit__()
        self.__enter__()

    def workers(self, peer: AutobahnPeer, count: int = 1) -> list[dict[str, t.Any]]:
        """Wait until this many processes serve. Return the result of ``com.shop.who`` of each."""
        found: dict[int, dict[str, t.Any]] = {}

        def all_serve() -> bool:
            assert self.process.poll() is None, self.log
            try:
                who = peer.call("com.shop.who").value
            except RemoteError as error:
                assert error.uri == "wamp.error.no_such_procedure", error
                return False
            found[who["pid"]] = who
            return len(found) == count

        try:
            eventually(all_serve, STARTS_WITHIN)
        except AssertionError as error:
            raise AssertionError(f"{len(found)} of {count} workers serve:\n{self.log}") from error
        return list(found.values())

    def get(self, path: str, method: str = "GET") -> t.Any:
        """Send an HTTP request. Wait until the server listens. JSON is decoded."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)

        def answer() -> bytes | None:
            try:
                with urllib.request.urlopen(request, timeout=10) as response:
                    return t.cast(bytes, response.read())
            except urllib.error.HTTPError:
                raise
            except (urllib.error.URLError, TimeoutError):  # a busy machine
                return None

        text = eventually(answer, STARTS_WITHIN).decode()
        return json.loads(text) if text.startswith(("{", "[")) else text

    @property
    def log(self) -> str:
        """The output of the server."""
        return self._log.read_text(errors="replace")


Serve = t.Callable[..., Served]
"""The type of the fixture ``serve``: ``serve("flask", "--app", "shop", "run", ...)``."""
