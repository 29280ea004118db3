"""`python -m bench [--quick] [--output FOLDER] [name …]` in `tests/`: see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from bench import imports, million, moving_in, nights
from bench.goals import Figures
from bench.places import Places, places
from bench.report import DOCS, Report
from bench.scale import FULL, QUICK, Scale
from bench.table import Table

MEASURED: dict[str, Callable[[Places, Scale], Figures]] = {
    "start": nights.starting,
    "peers": imports.beside_peers,
    "latency": imports.with_latency,
    "again": imports.again,
    "night": nights.nights,
    "trips": nights.round_trips,
    "everyone": nights.everyone,
    "histories": imports.growing,
    "nights": nights.growing,
}

ASIDE: dict[str, Callable[[Places, Scale], Table]] = {
    "moving": lambda found, _: moving_in.moving(found.running),
    "million": million.million,
}
"""Without a goal; measured only when named."""


def main() -> None:
    """Measure what is named, or all that has a goal; write it down, and print what falls short."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MEASURED, *ASIDE, []], metavar="name")
    parser.add_argument("--quick", action="store_true", help="in small, in about a minute")
    parser.add_argument("--output", type=Path, help="a folder; without, only a full run is kept")
    asked = parser.parse_args()
    scale, start = (QUICK if asked.quick else FULL), time.monotonic()
    figures: Figures = {}
    with places() as found:
        for name in asked.names or MEASURED:
            if name in ASIDE:
                print(ASIDE[name](found, scale))
                continue
            began = time.monotonic()
            figures |= MEASURED[name](found, scale)
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        command = "make bench QUICK=1" if asked.quick else "make bench"
        report = Report(scale, figures, found.version, command, time.monotonic() - start)
    for result in report.results:
        print(f"{result.verdict:>11}  {result.value:>12.4g} {result.goal.unit:<8}"
              f"{result.goal.what}")  # fmt: skip
    if asked.output or not (asked.quick or asked.names):
        report.write(asked.output or DOCS)
    print("\nfalls short:\n" + "\n".join(report.short) if report.short else "\nall goals are met")


if __name__ == "__main__":
    main()
