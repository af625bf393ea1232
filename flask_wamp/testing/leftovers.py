"""Detection of what a test leaves running. The test itself fails, before it disturbs the next one."""

from __future__ import annotations

import threading
import typing as t
import warnings

from blinker import NamedSignal
from flask import Flask

from .. import signals
from ..app_state import apps, state_of
from ..concurrency.clock import monotonic
from ..exceptions import TaskAborted
from ..handlers.context import Message
from ..protocol.similar import listed
from ..tasks.task import name

KEY = "wamp_test_bench"

#: Seconds to wait for the threads of the app to end after the test.
PATIENCE = 1.0

#: Name prefixes of threads that may outlive a test: pools that wait for more work, and threads of pytest.
STAYING = ("wamp-", "pytest", "ThreadPoolExecutor", "asyncio_")


class LeftBehind(AssertionError):
    """A test ended while a handler, a background task or a thread of its app was still running."""


class LeftBehindWarning(UserWarning):
    """A test left an app joined, or failed while something of the app was still running."""


class Watch:
    """Watches what runs for one app while test clients are open."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._running: dict[int, tuple[Message, str]] = {}
        self._aborted: list[str] = []
        self._before: set[threading.Thread] = set()
        self._receivers: tuple[tuple[NamedSignal, t.Callable[..., None]], ...] = (
            (signals.dispatch_started, self._started),
            (signals.dispatch_finished, self._ended),
            (signals.dispatch_failed, self._ended),
            (signals.task_failed, self._task_failed),
        )

    @property
    def handlers(self) -> list[str]:
        """The running handlers and their threads, as text."""
        return [f"{message.uri} in {thread}" for message, thread in list(self._running.values())]

    def begin(self) -> None:
        """Start watching. Threads that are already running are ignored."""
        self._before = set(threading.enumerate())
        self._aborted.clear()
        self._running.clear()
        for signal, receiver in self._receivers:
            signal.connect(receiver, sender=self._app)

    def end(self) -> list[str]:
        """Stop watching, and return what is still running although the app has been stopped."""
        for signal, receiver in self._receivers:
            signal.disconnect(receiver, sender=self._app)
        left = [f"the handler of {each}" for each in self.handlers]
        left += [f"the background task {each}" for each in self._aborted]
        left += [f"the thread {thread.name}" for thread in self._threads()]
        return left

    def _threads(self) -> list[threading.Thread]:
        """Return the threads of the app that have not ended within :data:`PATIENCE`."""
        new = [
            thread
            for thread in threading.enumerate()
            if thread not in self._before and not thread.name.startswith(STAYING)
        ]
        deadline = monotonic() + PATIENCE
        for thread in new:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - monotonic()))
        return [thread for thread in new if thread.is_alive()]

    def _started(self, sender: Flask, *, message: Message, **payload: object) -> None:
        self._running[id(message)] = message, threading.current_thread().name

    def _ended(self, sender: Flask, *, message: Message, **payload: object) -> None:
        self._running.pop(id(message), None)

    def _task_failed(
        self, sender: Flask, *, task: object, error: BaseException, **payload: object
    ) -> None:
        if isinstance(error, TaskAborted):
            self._aborted.append(name(task))


def tell(left: t.Sequence[str], test_has_failed: bool) -> None:
    """Report what is still running. If the test has already failed, warn only.

    :raises LeftBehind: Something is still running, and the test has not failed.
    """
    if not left:
        return
    text = f"the test has left running: {listed(left)}"
    if test_has_failed:
        warnings.warn(text, LeftBehindWarning, stacklevel=2)
    else:
        raise LeftBehind(text)


def joined() -> set[Flask]:
    """Return the apps of this process that were started and not stopped."""
    return {app for app in list(apps) if _is_started(app)}


def _is_started(app: Flask) -> bool:
    peer = state_of(app).client.peer
    return peer is not None and peer.started


def stop_left(but: t.Container[Flask] = ()) -> list[str]:
    """Stop the apps that are still joined, and return descriptions of them.

    In a ``tearDown`` of ``unittest``, use ``self.assertEqual(stop_left(), [])``. The pytest plugin calls this
    after each test, and warns if an app was still joined.

    :param but: Apps that stay joined, because a fixture of several tests has started them.
    """
    left = []
    for app in joined():
        if app in but:
            continue
        bench, client = app.extensions.get(KEY), state_of(app).client
        peers = bench.peers if bench is not None else []
        if peers:
            left.append(f"{len(peers)} open test clients of the app {app.name}")
            for peer in list(peers):
                peer.abandon()
        else:
            session = client.session_id
            which = "a session" if session is None else f"the session {session}"
            left.append(f"{which} of the app {app.name}")
        client.stop_until_next_use()
    return left
