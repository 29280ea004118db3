"""The goals: each a figure of a run, what it must reach, and what it aims at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.places import PAGE
from bench.scale import Scale

Figures = dict[str, float]

MB = 1_000_000
TIMES = "\N{MULTIPLICATION SIGN}"
PEERS = {
    "foursquare-swarm-ical": (1.4, 2.0),
    "the old way": (4.3, 6.0),
    "psycopg loop": (9.5, 14.0),
    "dlt": (10.0, 15.0),
    "swarm-to-sqlite": (120.0, 180.0),
}
"""What a first import beside each of them must and should be: so many times as fast."""


@dataclass(frozen=True)
class Goal:
    """A figure that is worth something."""

    what: str
    figure: Callable[[Figures], float]
    """Raises KeyError where the run did not measure it."""
    must: float
    aim: float
    unit: str = TIMES
    more: bool = False
    """More is better."""

    def falls_short(self, value: float, bound: float) -> bool:
        """Return True if a value is worse than a bound."""
        return value < bound if self.more else value > bound


def goals(scale: Scale) -> list[Goal]:
    """Return all goals, in the order of the table."""
    n = f"{scale.checkins:,}"
    return [
        Goal(f"first import of {n}, of `COPY` of the same rows, a transaction per page",
             lambda f: f["import checkinsync"] / f["import COPY"], 2.0, 1.3),
        *(Goal(f"the same, as fast as {peer}",
               lambda f, peer=peer: f[f"import {peer}"] / f["import checkinsync"], *bounds,
               more=True)
          for peer, bounds in PEERS.items()),
        Goal(f"first import of {scale.latency_checkins:,} at 100 ms a request, of its requests one "
             "after the other",
             lambda f: f["latency seconds"] / (0.1 * scale.latency_checkins / PAGE), 0.64, 0.40),
        Goal("unchanged re-import (`--full`), as fast as the first import",
             lambda f: f["first seconds"] / f["full seconds"], 2.5, 4.0, more=True),
        Goal("WAL of an unchanged check-in", lambda f: f["wal bytes"], 5, 1, "B"),
        Goal(f"a night of {scale.users:,} caught-up users, no latency, one process",
             lambda f: f["night users/s"], 800, 1500, "users/s", more=True),
        Goal("the same at 100 ms with 64 workers, of workers / latency",
             lambda f: f["latency night of the bound"], 0.95, 0.95, more=True),
        Goal(f"a night of {scale.slice_users:,} with a slice each",
             lambda f: f["slice night users/s"], 250, 250, "users/s", more=True),
        Goal("SQL round trips of a caught-up user among many",
             lambda f: f["round trips of one among many"], 0.1, 0.1, ""),
        Goal("SQL round trips of a caught-up user alone",
             lambda f: f["round trips of one alone"], 10, 10, ""),
        Goal("peak memory, the largest of all sizes", _largest, 80, 64, "MB"),
        Goal("peak memory, the largest history of the smallest",
             lambda f: _growth(f, "history", "peak"), 1.10, 1.10),
        Goal("peak memory, the largest night of the smallest",
             lambda f: _growth(f, "night", "peak"), 1.10, 1.10),
        Goal(f"`--dry-run` of {scale.planned:,} users",
             lambda f: f["dry run seconds"], 20, 20, "s"),
        Goal("its peak memory", lambda f: f["dry run peak"] / MB, 150, 150, "MB"),
        Goal(f"peak memory of `status` of {scale.shown:,} users",
             lambda f: max(f["status peak"], f["status json peak"]) / MB, 100, 100, "MB"),
        Goal(f"`verify` of {n} right after a first import, of `--full`",
             lambda f: f["verify seconds"] / f["full seconds"], 1.2, 1.2),
        Goal("`checkinsync --help`, of `python -c pass`", lambda f: f["overview of bare"], 5, 5),
        Goal("any command's `--help`", lambda f: f["help of bare"], 6, 6),
        Goal("`orchestrate` with nobody due", lambda f: f["nobody due of bare"], 25, 25),
        Goal("growth: cost of a check-in from the smallest history on",
             lambda f: _growth_of_cost(f, "history"), 1.15, 1.15),
        Goal("growth: cost of a user from the smallest night on",
             lambda f: _growth_of_cost(f, "night"), 1.15, 1.15),
    ]  # fmt: skip


def curve(figures: Figures, what: str, measure: str) -> list[tuple[int, float]]:
    """Return the sizes of `history` or `night` that were measured, with their values."""
    found = []
    for name, value in figures.items():
        kind, *rest = name.split()
        if kind == what and rest[-1] == measure and rest[0].isdigit():
            found.append((int(rest[0]), value))
    return sorted(found)


def costs(figures: Figures, what: str) -> list[tuple[int, float]]:
    """Return the seconds for each check-in or user at each size, without those that any run takes
    to start."""
    start = figures.get("nobody due seconds", 0.0)
    return [(size, (taken - start) / size) for size, taken in curve(figures, what, "seconds")]


def _growth(figures: Figures, what: str, measure: str) -> float:
    points = curve(figures, what, measure)
    return points[-1][1] / points[0][1]


def _growth_of_cost(figures: Figures, what: str) -> float:
    first, *_, last = [each for _, each in costs(figures, what)]
    return last / first


def _largest(figures: Figures) -> float:
    points = [*curve(figures, "history", "peak"), *curve(figures, "night", "peak")]
    return max(value for _, value in points) / MB
