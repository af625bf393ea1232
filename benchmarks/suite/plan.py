"""Durations and numbers of measurements."""

from __future__ import annotations

import typing as t

from .contestants import BEST, TRANSPORTS, Contestant


class Plan(t.NamedTuple):
    """The number of rounds and the duration of measurements, for all parts."""

    rounds: int = 5
    seconds: float = 0.5
    """The duration of one measurement."""
    quick: bool = False

    @property
    def transports(self) -> tuple[str, ...]:
        """The transports to measure: all, or only those of targets."""
        return ("ws+json", BEST) if self.quick else tuple(TRANSPORTS)

    def turns(self, everybody: t.Sequence[Contestant]) -> t.Iterator[tuple[Contestant, str]]:
        """Yield each client once in each round, in this order, and a line of output for it."""
        for n in range(self.rounds):
            for who in everybody:
                yield who, f"round {n + 1}: {who.name}"


QUICK = Plan(rounds=2, seconds=0.15, quick=True)
