"""Error messages for tests that wait for something that does not happen. They say what happened instead."""

from __future__ import annotations

import typing as t

from ..exceptions import CallTimeout
from ..protocol.similar import did_you_mean, listed
from .inbox import Inbox
from .recording import Recording


class Facts(t.Protocol):
    """Facts about a tested app."""

    failures: list[str]
    """The errors of event handlers, as text."""

    @property
    def procedures(self) -> list[str]:
        """The registered procedures."""

    @property
    def topics(self) -> list[str]:
        """The subscribed topics."""

    @property
    def unfinished(self) -> list[str]:
        """The handlers and background tasks that are running."""


class NoAnswer(CallTimeout):
    """A call of a test client timed out. The message lists what is still running."""

    def __init__(self, procedure: str, timeout: float, facts: str) -> None:
        super().__init__(procedure, timeout)
        self.facts = facts

    def __str__(self) -> str:
        return f"{super().__str__()}. {self.facts}"


def no_answer(error: CallTimeout, recording: Recording, facts: Facts) -> NoAnswer:
    """Return the error of a call that got no answer in time."""
    running = listed(facts.unfinished, "no handler of the app")
    text = f"Still running: {running}. The app has called: {listed(recording.called)}."
    return NoAnswer(error.procedure, error.timeout, text)


def empty_inbox(
    inbox: Inbox,
    others: t.Iterable[Inbox],
    own: t.Sequence[str],
    recording: Recording,
    facts: Facts,
) -> str:
    """Return the error message for an inbox without an event.

    :param others: The other inboxes of the test client.
    :param own: The topics that the test client has published to.
    """
    lines = [f"The app has published: {listed(recording.published)}."]
    hint = did_you_mean(inbox.topic, [record.uri for record in recording.published])
    if hint:
        lines.append(f"{inbox.topic} was not published{hint}")
    if inbox.topic in own:
        lines.append(
            "This test client has published to it: a publisher does not receive its own events, unless you "
            "publish with_options(exclude_me=False)."
        )
    for topic in dict.fromkeys(own):
        hint = "" if topic in facts.topics else did_you_mean(topic, facts.topics)
        if hint:
            lines.append(f"This test client has published to {topic}, without subscribers{hint}")
    lines += [f"The inbox of {each} has {each.waiting()}." for each in others if each.waiting()]
    lines += [f"Handlers of events have failed: {each}." for each in facts.failures]
    if facts.unfinished:
        lines.append(f"Not finished: {listed(facts.unfinished)}.")
    return " ".join(lines)


def not_called(uri: str, index: object, count: int, recording: Recording) -> str:
    """Return the error message for a stub that was called less often than a test expects."""
    others = [record for record in recording.called if record.uri != uri]
    hint = did_you_mean(uri, [record.uri for record in others]) if not count else ""
    return (
        f"{uri} was called {count} times: there is no call {index}. The app has also called: "
        f"{listed(others)}{hint}"
    )
