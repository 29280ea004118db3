"""Nights, each with all its runs: the nightly one, and those that caught up; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, timedelta

from checkinsync.nightly.summary import RunRecord


@dataclass(frozen=True, slots=True)
class Night:
    """What all runs that began on one day (UTC) did together."""

    day: date
    runs: int = 0
    outcome: str = "no run"
    """Of the last run that had anybody to import."""
    done: int = 0
    failed: int = 0
    """Users who failed, and were not imported later that night."""
    left: int = 0
    """Users who were due, and not tried to the end."""
    not_due: int = 0
    new: int = 0
    requests: int = 0
    busiest: int = 0
    """The most requests of one user's import."""
    minutes: float = 0.0
    """All runs together."""


def nights(
    runs: Iterable[RunRecord], *, first: date, last: date, busiest: Mapping[date, int]
) -> list[Night]:
    """Return every night from `first` to `last`, also those without a run."""
    by_day: defaultdict[date, list[RunRecord]] = defaultdict(list)
    for run in runs:
        by_day[run.started_at.astimezone(UTC).date()].append(run)
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return [_night(day, by_day[day], busiest.get(day, 0)) for day in days]


def _night(day: date, runs: list[RunRecord], busiest: int) -> Night:
    if not runs:
        return Night(day, busiest=busiest)
    whole = max(runs, key=lambda run: run.due)
    end = next((run for run in reversed(runs) if run.due), runs[-1])
    left = end.due - end.synced - end.failed
    return Night(
        day,
        runs=len(runs),
        outcome=end.outcome,
        done=max(0, whole.due - end.failed - left),
        failed=end.failed,
        left=left,
        not_due=max(0, whole.skipped - (whole.due - whole.synced - whole.failed)),
        new=sum(run.new for run in runs),
        requests=sum(run.requests for run in runs),
        busiest=busiest,
        minutes=sum(map(_minutes, runs)),
    )


def _minutes(run: RunRecord) -> float:
    if run.finished_at is None:
        return 0.0
    return (run.finished_at - run.started_at) / timedelta(minutes=1)
