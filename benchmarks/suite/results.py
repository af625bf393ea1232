"""The results: medians, noise, ratios of rounds, and targets that are met or missed."""

from __future__ import annotations

import dataclasses
import statistics
import typing as t

OURS = "ours"


class Measured(t.NamedTuple):
    """One thing that is measured, for several clients."""

    part: str
    what: str
    unit: str
    setting: str


class Target(t.NamedTuple):
    """Our value must be at most this many times another. If ``against`` is None, at most this many units."""

    measured: Measured
    against: str | None
    limit: float
    who: str = OURS
    at_least: bool = False
    """Whether larger values are better."""

    def is_met(self, value: float) -> bool:
        """Return whether our value meets the limit."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclasses.dataclass
class Results:
    """Values by measurement and client, one for each round."""

    say: t.Callable[[str], object]
    values: dict[Measured, dict[str, list[float]]] = dataclasses.field(default_factory=dict)
    failures: list[str] = dataclasses.field(default_factory=list)

    def add(self, measured: Measured, who: str, value: float) -> None:
        """Record a value of this round."""
        self.values.setdefault(measured, {}).setdefault(who, []).append(value)

    def fail(self, what: str, error: BaseException) -> None:
        """Record that something could not be measured. The other measurements continue."""
        message = f"{what}: {type(error).__name__}: {error}"
        self.say(f"  failed: {message}")
        self.failures.append(message)

    def ratio(self, measured: Measured, against: str, who: str = OURS) -> float | None:
        """Return the median of the rounds' ratios, because the noise of a round affects both values."""
        by_client = self.values.get(measured, {})
        pairs = list(zip(by_client.get(who, ()), by_client.get(against, ()), strict=False))
        ratios = [ours / theirs for ours, theirs in pairs if theirs]
        return statistics.median(ratios) if ratios else None

    def rows(self, part: str) -> list[list[str]]:
        """The table of a part."""
        rows = []
        for measured, by_client in self.values.items():
            if measured.part != part:
                continue
            for who, values in by_client.items():
                ratio = None if who == OURS else self.ratio(measured, who)
                rows.append(
                    [
                        measured.what,
                        measured.setting,
                        who,
                        f"{number(statistics.median(values))} {measured.unit}".rstrip(),
                        spread(values),
                        f"{ratio:.2f}" if ratio is not None else "-",
                    ]
                )
        return rows

    def target_rows(self, targets: t.Iterable[Target]) -> list[list[str]]:
        """The table of the targets."""
        rows = []
        for target in targets:
            value = self._reached(target)
            if value is None:
                continue
            measured, unit = target.measured, "x" if target.against else target.measured.unit
            rows.append(
                [
                    f"{measured.what}, {measured.setting}",
                    target.against or "-",
                    f"at {'least' if target.at_least else 'most'} {target.limit:g} {unit}".rstrip(),
                    f"{value:.2f} {unit}".rstrip(),
                    "met" if target.is_met(value) else "MISSED",
                ]
            )
        return rows

    def _reached(self, target: Target) -> float | None:
        if target.against is not None:
            return self.ratio(target.measured, target.against, target.who)
        values = self.values.get(target.measured, {}).get(target.who)
        return statistics.median(values) if values else None


HEADER = ["measured", "setting", "client", "median", "spread", "ours is x"]
TARGETS_HEADER = ["target", "against", "must be", "ours", ""]


def spread(values: t.Sequence[float]) -> str:
    """Return the noise of the machine: the range of the rounds, in percent of the median."""
    middle = statistics.median(values)
    if len(values) < 2 or not middle:
        return "-"
    return f"{(max(values) - min(values)) / middle * 100:.0f} %"


def number(value: float) -> str:
    """Return a number with three significant digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def table(header: t.Sequence[str], rows: t.Sequence[t.Sequence[str]]) -> str:
    """A simple table of reStructuredText, which reads well in a terminal too."""
    cells = [list(header), *map(list, rows)]
    cells = [[cell or "\\" for cell in row] for row in cells]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in (rule, lines[0], rule, *lines[1:], rule))
