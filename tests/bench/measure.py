"""Ways of doing the same thing, measured in turns, so that a busy machine affects all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any


@dataclass(frozen=True)
class Way:
    """One way; `prepare` is not timed, and returns the argument of `do`."""

    name: str
    do: Callable[[Any], object]
    prepare: Callable[[], Any] = lambda: None


@dataclass(frozen=True)
class Taken:
    """The cost of a way: the medians over all rounds."""

    name: str
    seconds: float
    amount: float
    """The meter's count, in bytes; 0 without a meter."""


def in_turns(
    *ways: Way, rounds: int, meter: Callable[[], float] = lambda: 0.0, warm_ups: int = 1
) -> list[Taken]:
    """Measure A B C, A B C, …; the first rounds are discarded."""
    taken: dict[str, list[tuple[float, float]]] = {way.name: [] for way in ways}
    for _ in range(warm_ups + rounds):
        for way in ways:
            given = way.prepare()
            before, start = meter(), perf_counter()
            way.do(given)
            seconds = perf_counter() - start
            taken[way.name].append((seconds, meter() - before))
    return [
        Taken(name, *(median(values) for values in zip(*samples[warm_ups:], strict=True)))
        for name, samples in taken.items()
    ]


@dataclass(frozen=True)
class Table:
    """A benchmark's result."""

    title: str
    about: str
    """One paragraph on what is compared."""
    head: Sequence[str]
    rows: Sequence[Sequence[str]] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the table as Markdown."""
        lines = [f"## {self.title}", "", self.about, ""]
        lines += [_line(self.head), _line(["---", *["---:"] * (len(self.head) - 1)])]
        return "\n".join([*lines, *map(_line, self.rows)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def times(part: float, whole: float) -> str:
    """Return a ratio, with two decimals if it is small."""
    ratio = part / whole
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def ms(seconds: float) -> str:
    """Return seconds as text in milliseconds."""
    return f"{seconds * 1000:.2f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"
