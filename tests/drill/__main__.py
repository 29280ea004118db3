"""`python -m drill` in `tests/`: worlds in parallel, a line for each, and a summary."""

from __future__ import annotations

import multiprocessing
import os
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from drill import checks, seams, world
from drill.world import MORNINGS, SETTLES, Report

ENOUGH = 1000
"""Nights after which every seam must have been struck."""


def main() -> None:
    """Play at least the number of nights asked for; exit with 1 if anything was violated."""
    asked = _asked()
    seams.check()
    print(f"seed {asked.seed}", flush=True)
    reports = sorted(_played(asked), key=lambda report: report.seed)
    print("\n" + summary(reports))
    sys.exit(1 if trouble(reports, asked) else 0)


def _asked() -> Namespace:
    parser = ArgumentParser(prog="python -m drill", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first world")
    parser.add_argument("--nights", type=int, default=ENOUGH, help="at least; worlds are whole")
    parser.add_argument("--storm", type=int, default=40, help="stormy nights of each world")
    parser.add_argument("--calm", type=int, default=SETTLES, help="calm nights after them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worlds at a time")
    parser.add_argument("--engine", choices=list(world.ENGINES), default="embedded")
    return parser.parse_args()


def _played(asked: Namespace) -> list[Report]:
    """Play the worlds, as many at a time as asked for."""
    length = asked.storm + asked.calm + MORNINGS
    seeds = iter(range(asked.seed, asked.seed + -(-asked.nights // length)))
    reports: list[Report] = []
    under_way: set[Future[Report]] = set()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(asked.jobs, mp_context=spawn) as executor:
        while True:
            while len(under_way) < asked.jobs and (seed := next(seeds, None)) is not None:
                under_way.add(
                    executor.submit(world.play, seed, asked.storm, asked.calm, asked.engine)
                )
            if not under_way:
                return reports
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                reports.append(future.result())
                print(line(reports[-1], asked), flush=True)


def line(report: Report, asked: Namespace) -> str:
    """Return a world's line; after a violation with all of them and how to play it again."""
    bad = Counter(violation.kind for violation in report.violations)
    what = ", ".join(f"{count} {kind}" for kind, count in bad.items()) or "all well"
    per_night = report.seconds / max(1, report.nights)
    told = [
        f"world {report.seed} ({report.about}): {report.nights} nights, {what}; "
        f"{report.seconds:.0f} s, {per_night:.2f} a night"
    ]
    told += [f"    night {v.night}: {v.kind}: {v.text}" for v in report.violations]
    if report.violations:
        told.append(f"    what was said lies in {report.kept}; to play it again:")
        again = f"SEED={report.seed} NIGHTS=1"
        if asked.engine != "embedded":
            again += f" ENGINE={asked.engine}"
        if (asked.storm, asked.calm) != (40, SETTLES):
            again += f' DRILL="--storm {asked.storm} --calm {asked.calm}"'
        told.append(f"    make drill {again}")
    return "\n".join(told)


def summary(reports: list[Report]) -> str:
    """Return the figures of all worlds together."""
    bad = Counter(v.kind for report in reports for v in report.violations)
    deeds = sum((report.kinds for report in reports), Counter())
    hits = sum((report.hits for report in reports), Counter())
    rows = [("nights", sum(report.nights for report in reports)), ("worlds", len(reports))]
    rows += [(kind, bad[kind]) for kind in checks.KINDS]
    rows += [("seconds, of all worlds together", round(sum(r.seconds for r in reports)))]
    parts = [_table("drill", rows), _table("trouble made", deeds.most_common())]
    struck = [name for name in seams.ALL if name in seams.SEAMS or hits[name]]
    parts.append(_table("struck when", [(name, hits[name]) for name in struck]))
    notes = sorted(set().union(*(report.notes for report in reports)))
    return "\n\n".join([*parts, *notes])


def _table(title: str, rows: list[tuple[str, int]]) -> str:
    lines = [f"  {name:<36}{count:>8}" for name, count in rows]
    return "\n".join([title, *lines])


def trouble(reports: list[Report], asked: Namespace) -> bool:
    """Return True if anything was violated, or a seam was never struck."""
    hits = sum((report.hits for report in reports), Counter())
    missed = [name for name in seams.SEAMS if not hits[name]]
    if missed and asked.nights >= ENOUGH:
        print(f"\nnever struck: {', '.join(missed)}; the drill has a hole there")
        return True
    return any(report.violations for report in reports)


if __name__ == "__main__":
    main()
