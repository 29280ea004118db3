"""The one clock."""

from __future__ import annotations

from datetime import timedelta

from checkinsync.app import SteadyClock
from support.factories import NOW


def test_the_clock_reads_the_time_of_day_once_and_goes_on_by_a_steady_one():
    """So a step of the machine's clock moves neither starts nor retries."""
    clock = SteadyClock(started=NOW)

    first, second = clock.now(), clock.now()

    assert NOW <= first <= second < NOW + timedelta(minutes=10)
