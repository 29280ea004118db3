"""The hours of the nightly run where this program keeps them itself."""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime, timedelta

import pytest

from checkinsync.schedule import hours
from support.stories import Story

NIGHT = datetime(2026, 11, 28, tzinfo=UTC)


class Over(Exception):
    """The clock of a test has come to its end."""


def starts(begin: datetime, *, until: datetime, each: timedelta = timedelta(0)) -> list[str]:
    """The times at which a run is started; each takes so long."""
    at, started = begin, []

    def sleep(seconds: float) -> None:
        nonlocal at
        at += timedelta(seconds=seconds)
        if at > until:
            raise Over

    def start_run() -> None:
        started.append(f"{at:%d %H:%M}")
        sleep(each.total_seconds())

    with pytest.raises(Over):
        hours.keep(start_run, now=lambda: at, sleep=sleep)
    return started


def test_a_run_starts_at_two_and_each_hour_until_noon() -> None:
    told = starts(NIGHT, until=NIGHT + timedelta(hours=26, minutes=1))

    assert told == [*(f"28 {hour:02}:00" for hour in range(2, 13)), "29 02:00"]


def test_within_these_hours_the_first_one_starts_at_once() -> None:
    begin = NIGHT + timedelta(hours=4, minutes=20)

    assert starts(begin, until=NIGHT + timedelta(hours=6)) == ["28 04:20", "28 05:00", "28 06:00"]


def test_a_long_run_is_followed_by_the_next_hour() -> None:
    long = timedelta(hours=3, minutes=30)

    assert starts(NIGHT, until=NIGHT + timedelta(hours=9), each=long) == ["28 02:00", "28 06:00"]


def test_asked_to_stop_it_ends_with_the_code_of_the_signal(story: Story) -> None:
    process = story.start("schedule", "run")
    story.until(lambda: listens(process.pid))

    process.signal(signal.SIGTERM)

    assert process.ended().code == 143


def listens(pid: int) -> bool:
    """Return True if the process handles SIGTERM."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        caught = next(line.split()[1] for line in status if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


A_RUN = """
import sys
from checkinsync.cli import schedule_run
from checkinsync.cli.context import listening
from checkinsync.errors import Interrupted

listening()
try:
    schedule_run.run_once([sys.executable, "-m", "checkinsync", "orchestrate"])
except Interrupted as asked:
    sys.exit(asked.exit_code)
"""
"""What happens at an hour."""


def test_a_run_at_work_is_asked_to_stop_too_and_waited_for(story: Story) -> None:
    person = story.person("Ada", 800)
    with story.simulator.lock:
        process = story.start_program([sys.executable, "-c", A_RUN])
        story.at_request(2, lambda: process.signal(signal.SIGTERM))

    done = process.ended()

    assert done.code == 143
    assert "interrupted by SIGTERM" in done.err
    assert story.rows("SELECT outcome FROM sync_runs") == [("interrupted",)]
    assert story.stored(person)
