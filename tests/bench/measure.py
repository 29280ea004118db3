"""Ways of doing the same thing, measured turn by turn, so that a busy machine is busy for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any


@dataclass(frozen=True)
class Way:
    """One way; `prepare` is not timed, and makes what `do` is given."""

    name: str
    do: Callable[[Any], object]
    prepare: Callable[[], Any] = lambda: None


@dataclass(frozen=True)
class Taken:
    """What a way takes: the medians over all rounds."""

    name: str
    seconds: float
    amount: float
    """What the meter counted: bytes, or nothing."""


def in_turns(
    *ways: Way, rounds: int, meter: Callable[[], float] = lambda: 0.0, warm_ups: int = 1
) -> list[Taken]:
    """A B C, A B C, …; the first rounds are thrown away."""
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
    """What is compared with what; one paragraph."""
    head: Sequence[str]
    rows: Sequence[Sequence[str]] = field(default_factory=list)

    def __str__(self) -> str:
        """As Markdown."""
        lines = [f"## {self.title}", "", self.about, ""]
        lines += [_line(self.head), _line(["---", *["---:"] * (len(self.head) - 1)])]
        return "\n".join([*lines, *map(_line, self.rows)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def times(part: float, whole: float) -> str:
    """A ratio, with as many digits as it deserves."""
    ratio = part / whole
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def ms(seconds: float) -> str:
    """Milliseconds."""
    return f"{seconds * 1000:.2f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"
