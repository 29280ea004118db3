"""`python -m bench [name …]` in `tests/`: the benchmarks, as Markdown."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime

from bench import first_import, leasing, moving_in, parsing, saving, starting, verifying
from bench.places import machine, server, version

WITHOUT_DATABASE = {"start": starting.overview, "parse": parsing.page}
WITH_DATABASE = {
    "unchanged": saving.unchanged,
    "new": saving.new,
    "lease": leasing.lease,
    "import": first_import.history,
    "verify": verifying.verifying,
    "moving": moving_in.moving,
}


def main(*names: str) -> None:
    """Run the benchmarks named, or all."""
    strange = set(names) - {*WITH_DATABASE, *WITHOUT_DATABASE}
    if strange:
        sys.exit(f"no such benchmark; there are {', '.join([*WITH_DATABASE, *WITHOUT_DATABASE])}")
    with server() as running:
        print(
            f"{datetime.now(UTC):%Y-%m-%d}; {machine()}; Python {platform.python_version()}, "
            f"PostgreSQL {version(running)}."
        )
        for name, bench in WITH_DATABASE.items():
            if not names or name in names:
                print(f"\n{bench(running)}", flush=True)
    for name, alone in WITHOUT_DATABASE.items():
        if not names or name in names:
            print(f"\n{alone()}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
