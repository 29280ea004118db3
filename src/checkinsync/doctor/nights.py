"""The outcome of the last nights: users who are not served, and the last run; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from checkinsync.doctor.findings import Finding, ok, warning
from checkinsync.model.standing import (
    CLOCK_TOLERANCE,
    NIGHTLY,
    Standing,
    none_active,
    none_fresh,
)
from checkinsync.nightly.summary import RunRecord

NAMED = 10
"""Users named in a sentence."""

AN_HOUR = timedelta(hours=1)


def of_users(everyone: Sequence[Standing], *, now: datetime) -> Iterator[Finding]:
    """Every user is served, or it is known why not."""
    if none_active(everyone):
        yield warning(
            "users",
            f"none of {len(everyone):,} users is active: no run imports anyone",
            "let the application record logins (docs/web.md), or set CHECKINSYNC_ACTIVE_DAYS",
        )
    elif none_fresh(everyone, at=now, max_age=NIGHTLY):
        yield warning(
            "users",
            f"none of {len(everyone):,} users was imported within {NIGHTLY // AN_HOUR} h",
            "`checkinsync status` says why; `checkinsync orchestrate` imports those who are due",
        )
    rejected = [user for user in everyone if user.active and user.state == "needs_reauth"]
    if rejected:
        names = ", ".join(map(str, rejected[:NAMED]))
        more = f" and {len(rejected) - NAMED:,} more" if len(rejected) > NAMED else ""
        first = rejected[0].id
        yield warning(
            "users",
            f"must log in again: {names}{more}",
            f"in the application; or each by a command like `checkinsync login {first}` or "
            f"`checkinsync users set-token {first}`",
        )


def of_last_run(run: RunRecord | None, *, now: datetime, at_work: bool) -> Finding:
    """The last run began lately and ended well; `at_work`: a run is at work now."""
    if run is None:
        return warning(
            "runs", "none yet", "checkinsync orchestrate; then `checkinsync schedule install`"
        )
    age = now - run.started_at
    outcome = "killed" if run.outcome == "running" and not at_work else run.outcome
    if age < -CLOCK_TOLERANCE:
        says = f"run {run.id} on {run.host} began at {run.started_at:%Y-%m-%d %H:%M} UTC, which is "
        return warning("runs", f"{says}in the future", "set the clocks of all machines by NTP")
    says = f"run {run.id} began {_age(age)} ago on {run.host}: {outcome}"
    if age > NIGHTLY:
        return warning(
            "runs", says, "check that cron or the timer still starts `checkinsync orchestrate`"
        )
    if outcome not in {"ok", "running"}:
        return warning("runs", says, "checkinsync status")
    return ok("runs", says)


def _age(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return (
        f"{age.days} days" if age.days > 1 else f"{hours:.0f} h" if hours >= 1 else "less than 1 h"
    )
