"""Bars, one for each night, as values that the page draws; pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from checkinsync.report.nights import Night

HEIGHT = 100.0
"""Of a drawing; its width is one for each bar, and the page stretches both."""

FEW = 14
"""Bars that there is room for, at least."""

STEPS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
"""Round numbers, and with zeros behind them."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a bar."""

    kind: str
    """The class of its colour."""
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar, from its lowest piece to its highest."""

    label: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing, and what it says in words."""

    title: str
    text: str
    """For those who do not see it; it is shown, too."""
    bars: tuple[Bar, ...]
    top: float
    """The value at the upper edge."""
    legend: tuple[tuple[str, str], ...] = ()
    """Classes of colours, and what they mean."""
    line: float | None = None
    """The height of a line across: a limit."""
    ends: tuple[str, ...] = ()
    """The days of the first bar and the last one."""

    @property
    def width(self) -> int:
        """Return how many bars there is room for: a few are drawn no broader than many."""
        return max(len(self.bars), FEW)


Parts = Callable[[Night], Sequence[tuple[str, float]]]


def of_nights(
    nights: Sequence[Night],
    parts: Parts,
    *,
    title: str,
    text: str,
    legend: tuple[tuple[str, str], ...] = (),
    limit: float | None = None,
) -> Chart:
    """Return a chart with a bar for each night. `parts`: the pieces of a bar, lowest first."""
    values = [parts(night) for night in nights]
    top = nice(max([limit or 0, *(sum(value for _, value in each) for each in values)]))
    bars = tuple(
        Bar(_label(night, each), _pieces(each, top))
        for night, each in zip(nights, values, strict=True)
    )
    line = None if limit is None else HEIGHT - HEIGHT * limit / top
    ends = tuple(dict.fromkeys(str(night.day) for night in (*nights[:1], *nights[-1:])))
    return Chart(title, text, bars, top, legend, line, ends)


def nice(value: float) -> float:
    """Return the next round number; never less than 1."""
    if value <= 1:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(step * size for step in STEPS if step * size >= value)


def _pieces(parts: Sequence[tuple[str, float]], top: float) -> tuple[Piece, ...]:
    pieces, base = [], HEIGHT
    for kind, value in parts:
        if value:
            height = HEIGHT * value / top
            base -= height
            pieces.append(Piece(kind, round(base, 2), round(height, 2)))
    return tuple(pieces)


def _label(night: Night, parts: Sequence[tuple[str, float]]) -> str:
    if not night.runs:
        return f"{night.day}: no run"
    return f"{night.day}: " + ", ".join(f"{kind} {value:,.0f}" for kind, value in parts)
