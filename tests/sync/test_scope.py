"""The window of an import, and where an unfinished walk is resumed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from checkinsync.model.listing import Checkpoint, Window
from checkinsync.sync.scope import Full, Nightly, Since, begin
from support.factories import NOW

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OVERLAP = 14 * DAY
NIGHTLY = Nightly(OVERLAP)
CURSOR = NOW - 3 * DAY


def checkpoint(*, age: timedelta = HOUR, offset: int = 1000, since=None) -> Checkpoint:
    """Return the checkpoint of a walk begun that long ago."""
    return Checkpoint(NOW - age, since, offset, ("last",), None)


def test_a_night_looks_back_from_the_cursor_by_the_overlap():
    window = Window(CURSOR - OVERLAP)

    assert begin(NIGHTLY, cursor=CURSOR, checkpoint=None, now=NOW) == (window, None)


def test_the_first_import_looks_at_everything():
    assert begin(NIGHTLY, cursor=None, checkpoint=None, now=NOW) == (Window(None), None)


def test_an_unfinished_walk_is_resumed_below_the_time_since_its_start():
    unfinished = checkpoint(age=20 * HOUR, since=CURSOR - OVERLAP)
    window = Window(NOW - 20 * HOUR - OVERLAP)

    assert begin(NIGHTLY, cursor=CURSOR, checkpoint=unfinished, now=NOW) == (window, unfinished)


@pytest.mark.parametrize("since", [None, CURSOR - OVERLAP])
@pytest.mark.parametrize("offset", [1000, 25_000])
def test_a_walk_resumed_on_another_night_reads_its_window_again(since, offset):
    unfinished = checkpoint(age=20 * HOUR + timedelta(seconds=1), offset=offset, since=since)

    assert begin(NIGHTLY, cursor=CURSOR, checkpoint=unfinished, now=NOW) == (
        Window(since),
        unfinished,
    )


@pytest.mark.parametrize("age", [20 * HOUR, 9 * DAY])
def test_but_not_of_a_history_so_long_that_it_would_come_to_no_end(age):
    unfinished = checkpoint(age=age, offset=25_001)
    window = Window(NOW - age - OVERLAP)

    assert begin(NIGHTLY, cursor=None, checkpoint=unfinished, now=NOW) == (window, unfinished)


def test_a_full_import_resumes_a_walk_over_everything_and_no_other():
    of_all, of_window = checkpoint(), checkpoint(since=CURSOR - OVERLAP)
    window = Window(NOW - HOUR - 14 * DAY)

    assert begin(Full(), cursor=CURSOR, checkpoint=of_all, now=NOW) == (window, of_all)
    assert begin(Full(), cursor=CURSOR, checkpoint=of_window, now=NOW) == (Window(None), None)
    assert begin(Full(), cursor=CURSOR, checkpoint=None, now=NOW) == (Window(None), None)


def test_an_import_with_a_start_of_its_own_resumes_nothing():
    scope = Since(NOW - 99 * DAY)

    assert begin(scope, cursor=CURSOR, checkpoint=checkpoint(), now=NOW) == (
        Window(scope.start),
        None,
    )
