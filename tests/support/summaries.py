"""Runs as their summaries tell of them, made without a run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from checkinsync.errors import TokenRejected, UnsteadyList
from checkinsync.model.changes import Saved
from checkinsync.model.user import User
from checkinsync.nightly.summary import Alerts, RunRecord, RunSummary
from checkinsync.sync.outcome import Failed, Imported, UserReport
from support.factories import NOW

FINE = Imported(Saved(new=3), 2, 1.0, NOW)
REJECTED = Failed(TokenRejected("the token is no longer accepted"))
ODD = Failed(UnsteadyList("Ada's list shifts at the Zoo"))
BEFORE = RunRecord(6, NOW, NOW, "web1", 2, 2, 0, 0, 0, 0, 0, 0, "ok")


def user(number: int) -> User:
    return User(number, f"f{number}", ("Ada", "Ben", "Chloé", "user 1 (Ada)")[number - 1], None)


def summary(*outcomes, outcome: str = "ok", exit_code: int = 0, **changes) -> RunSummary:
    reports = tuple(UserReport(user(n), o, 1, Saved(new=1)) for n, o in enumerate(outcomes, 1))
    run = RunSummary(
        7, NOW, NOW + timedelta(hours=1), "web1", reports, (), 9, outcome, exit_code
    )  # fmt: skip
    return replace(run, **{"alerts": Alerts(before=BEFORE), **changes})
