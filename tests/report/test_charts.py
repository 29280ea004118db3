"""Nights and their bars."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from checkinsync.nightly.summary import RunRecord
from checkinsync.report.charts import HEIGHT, nice, of_nights
from checkinsync.report.nights import Night, nights
from support.factories import NOW

TODAY = NOW.date()
GOOD = RunRecord(1, NOW, NOW + timedelta(minutes=90), "web1", 100, 100, 0, 7, 300, 40, 0, 0, "ok")


def of(*runs: RunRecord, first: date = TODAY, busiest: int = 0) -> list[Night]:
    return nights(runs, first=first, last=TODAY, busiest={TODAY: busiest})


def test_a_night_has_what_its_run_did():
    [night] = of(GOOD, busiest=12)

    assert night == Night(
        TODAY, runs=1, outcome="ok", done=100, not_due=7, new=40, requests=300, busiest=12,
        minutes=90,
    )  # fmt: skip


def test_a_run_that_caught_up_takes_failures_back():
    partial = replace(GOOD, synced=90, failed=8, skipped=9, outcome="partial")
    later = replace(GOOD, due=10, synced=9, failed=1, skipped=97, new=3, outcome="partial")
    idle = replace(GOOD, due=0, synced=0, skipped=107, new=0, outcome="ok")

    [night] = of(partial, later, idle)

    assert (night.done, night.failed, night.left, night.not_due) == (99, 1, 0, 7)
    assert (night.runs, night.outcome, night.new) == (3, "partial", 43)


def test_users_whom_a_killed_run_left_are_not_done():
    [night] = of(replace(GOOD, synced=0, skipped=0, finished_at=None, outcome="killed"))

    assert (night.done, night.left, night.minutes, night.outcome) == (0, 100, 0, "killed")


def test_a_night_without_a_run_is_shown():
    before, today = of(GOOD, first=TODAY - timedelta(days=1))

    assert (before.runs, before.outcome) == (0, "no run")
    assert today.runs == 1


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 1), (0.2, 1), (1, 1), (11, 15), (120, 150), (481, 500), (1001, 1500), (10**5, 10**5)],
)
def test_the_scale_ends_at_a_round_number(value: float, top: float):
    assert nice(value) == top


def test_the_pieces_of_a_bar_stand_on_each_other():
    shown = of(replace(GOOD, synced=80, failed=20, outcome="partial"))

    chart = of_nights(
        shown, lambda n: (("done", n.done), ("failed", n.failed)), title="", text="", limit=50
    )

    assert chart.top == 100
    [bar] = chart.bars
    assert [(p.kind, p.y, p.height) for p in bar.pieces] == [("done", 20, 80), ("failed", 0, 20)]
    assert bar.label == "2026-03-01: done 80, failed 20"
    assert chart.line == HEIGHT / 2
    assert chart.ends == ("2026-03-01",)
