"""What a run has found: as a page with a table and a plot, as JSON, and what falls short."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.goals import MB, PEERS, TIMES, Figures, Goal, costs, curve, goals
from bench.places import ROOT, commit, machine
from bench.scale import Scale

DOCS = ROOT / "docs"


@dataclass(frozen=True)
class Result:
    """One goal's figure."""

    goal: Goal
    value: float

    @property
    def verdict(self) -> str:
        """`aim`, `must`, or `falls short`."""
        if self.goal.falls_short(self.value, self.goal.must):
            return "falls short"
        return "must" if self.goal.falls_short(self.value, self.goal.aim) else "aim"


@dataclass(frozen=True)
class Report:
    """All figures of one run, and where they come from."""

    scale: Scale
    figures: Figures
    postgres: str
    command: str
    seconds: float

    @property
    def results(self) -> Iterator[Result]:
        """The goals that this run has measured."""
        for goal in goals(self.scale):
            try:
                yield Result(goal, goal.figure(self.figures))
            except (KeyError, IndexError, ValueError):
                continue

    @property
    def short(self) -> list[str]:
        """What falls short of its goal, a line each."""
        return [
            f"{result.goal.what}: {shown(result.value, result.goal.unit)}, must be "
            f"{'at least' if result.goal.more else 'at most'} "
            f"{shown(result.goal.must, result.goal.unit)}"
            for result in self.results
            if result.verdict == "falls short"
        ]

    def write(self, folder: Path) -> None:
        """Write `benchmarks.json`, and a page with its plot."""
        figures, page = json.dumps(self.as_json(), indent=2), self.page()  # of an unchanged commit
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "benchmarks.json").write_text(figures + "\n")
        (folder / "benchmarks.svg").write_text(plot(self.figures))
        (folder / "benchmarks.md").write_text(page)

    def as_json(self) -> dict[str, object]:
        """The run, its figures in seconds and bytes, and the goals."""
        return {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "commit": commit(),
            "command": self.command,
            "seconds": round(self.seconds),
            "machine": machine(),
            "python": platform.python_version(),
            "postgresql": self.postgres,
            "scale": self.scale.name,
            "figures": {name: float(f"{value:.6g}") for name, value in self.figures.items()},
            "goals": [
                {
                    "what": result.goal.what,
                    "value": float(f"{result.value:.4g}"),
                    "unit": result.goal.unit,
                    "must": result.goal.must,
                    "aim": result.goal.aim,
                    "verdict": result.verdict,
                }
                for result in self.results
            ],
        }

    def page(self) -> str:
        """The page, in Markdown."""
        rows = [
            (result.goal.what, f"**{shown(result.value, result.goal.unit)}**",
             _bound(result.goal, result.goal.must), _bound(result.goal, result.goal.aim),
             result.verdict)
            for result in self.results
        ]  # fmt: skip
        about = self.as_json()
        return PAGE.format(
            **about,
            table=table(("what", "measured", "must", "aim", ""), rows),
            peers=table(("a first import by", "seconds", "of ours"), list(self._peers())),
            growth=table(("size", "seconds", "of the smallest, for each", "peak memory"),
                         list(self._growth())),
        )  # fmt: skip

    def _peers(self) -> Iterator[tuple[str, ...]]:
        ours = self.figures.get("import checkinsync")
        for name in ("COPY", "checkinsync", *PEERS):
            seconds = self.figures.get(f"import {name}")
            if seconds is not None and ours is not None:
                yield (name, f"{seconds:.2f}", shown(seconds / ours, TIMES))

    def _growth(self) -> Iterator[tuple[str, ...]]:
        for what, noun in (("history", "check-ins"), ("night", "users")):
            seconds = dict(curve(self.figures, what, "seconds"))
            peaks = dict(curve(self.figures, what, "peak"))
            each = costs(self.figures, what)
            for size, cost in each:
                yield (f"{size:,} {noun}", f"{seconds[size]:.1f}", shown(cost / each[0][1], TIMES),
                       f"{peaks[size] / MB:.0f} MB")  # fmt: skip


def shown(value: float, unit: str) -> str:
    """Return a figure as text."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}".strip()


def _bound(goal: Goal, bound: float) -> str:
    return f"{'≥' if goal.more else '≤'} {shown(bound, goal.unit)}"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table in Markdown; all but the first column are on the right."""
    lines = [head, ("---", *["---:"] * (len(head) - 1)), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


PAGE = (Path(__file__).parent / "page.md").read_text()

COLOURS = {"history": "#2b6cb0", "night": "#c05621"}
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 680, 320, 70, 50, 20, 150


def plot(figures: Figures) -> str:
    """Return an SVG: microseconds for each check-in and each user, over the size; both
    logarithmic."""
    series = {what: [(size, cost * 1e6) for size, cost in costs(figures, what)] for what in COLOURS}
    points = [point for each in series.values() for point in each]
    if not points:
        return '<svg xmlns="http://www.w3.org/2000/svg"/>\n'
    xs, ys = ([math.log10(point[axis]) for point in points] for axis in (0, 1))
    low_x, high_x, low_y, high_y = (
        math.floor(min(xs)), math.ceil(max(xs)), math.floor(min(ys)), math.ceil(max(ys)),
    )  # fmt: skip

    def place(size: float, cost: float) -> tuple[float, float]:
        x = (math.log10(size) - low_x) / max(1, high_x - low_x)
        y = (math.log10(cost) - low_y) / max(1, high_y - low_y)
        return (
            round(LEFT + x * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - y * (HEIGHT - BOTTOM - TOP), 1),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#444">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for power in range(low_x, high_x + 1):
        x, y = place(10**power, 10**low_y)
        parts.append(f'<path d="M{x} {TOP}V{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{y + 18}" text-anchor="middle">{10**power:,}</text>')
    for power in range(low_y, high_y + 1):
        x, y = place(10**low_x, 10**power)
        parts.append(f'<path d="M{x} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 8}" y="{y + 4}" text-anchor="end">{10**power:,} µs</text>')
    names = {"history": "for each check-in", "night": "for each user"}
    for what, measured in series.items():
        places = [place(*point) for point in measured]
        if not places:
            continue
        line = "L".join(f"{x} {y}" for x, y in places)
        parts.append(f'<path d="M{line}" fill="none" stroke="{COLOURS[what]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3.5" fill="{COLOURS[what]}"/>' for x, y in places]
        x, y = places[-1]
        parts.append(f'<text x="{x + 10}" y="{y + 4}" fill="{COLOURS[what]}">{names[what]}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">check-ins of a first import, '
        "users of a night</text></svg>\n"
    )
    return "\n".join(parts)
