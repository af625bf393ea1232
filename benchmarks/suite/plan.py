"""How long to measure, and how often."""

from __future__ import annotations

import typing as t

from .contestants import BEST, TRANSPORTS, Contestant


class Plan(t.NamedTuple):
    """The same for all parts."""

    rounds: int = 5
    seconds: float = 0.5
    """Of one measurement."""
    quick: bool = False

    @property
    def transports(self) -> tuple[str, ...]:
        """All, or those that the targets are about."""
        return ("ws+json", BEST) if self.quick else tuple(TRANSPORTS)

    def turns(self, everybody: t.Sequence[Contestant]) -> t.Iterator[tuple[Contestant, str]]:
        """A B C, A B C, ...: who is next in each round, and what to print."""
        for n in range(self.rounds):
            for who in everybody:
                yield who, f"round {n + 1}: {who.name}"


QUICK = Plan(rounds=2, seconds=0.15, quick=True)
