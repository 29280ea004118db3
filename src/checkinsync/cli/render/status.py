"""How things stand, as text and as JSON values."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC
from typing import Any

from checkinsync.cli.render.orchestrate import iso
from checkinsync.cli.render.table import cell, moment, table
from checkinsync.model.user import one_line
from checkinsync.nightly.status import Report
from checkinsync.nightly.summary import RunRecord
from checkinsync.store.jobs import Job
from checkinsync.store.users import Status


def status_json(report: Report) -> dict[str, Any]:
    """The promised names; more may be added, none goes."""
    return {
        "runs": [run_json(run) for run in report.runs],
        "running": [job_json(job) for job in report.running],
        "users": [user_json(user, fresh=report.is_fresh(user)) for user in report.users],
    }


def run_json(run: RunRecord) -> dict[str, Any]:
    """A row of `sync_runs`."""
    values = asdict(run)
    return values | {"started_at": iso(run.started_at), "finished_at": iso(run.finished_at)}


def job_json(job: Job) -> dict[str, Any]:
    """An import at work."""
    return {
        "job_id": job.id,
        "user_id": job.user_id,
        "status": job.status,
        "started_at": iso(job.started_at),
        "imported": job.imported,
        "expected": job.expected,
        "page": job.page,
    }


def user_json(user: Status, *, fresh: bool) -> dict[str, Any]:
    """How a user is doing."""
    return {
        "id": user.id,
        "foursquare_user_id": user.foursquare_user_id,
        "name": user.name,
        "state": user.state,
        "active": user.active,
        "checkins": user.checkins,
        "last_checked_at": iso(user.last_checked_at),
        "last_new_at": iso(user.last_new_at),
        "fresh": fresh,
        "consecutive_failures": user.consecutive_failures,
        "reason": user.reason,
        "next_action": user.next_action,
        "quarantined": user.quarantined,
        "missing": user.missing,
        "withheld": user.withheld,
        "gone": user.gone,
        "oldest_unverified": oldest_unverified(user),
    }


def oldest_unverified(user: Status) -> dict[str, Any] | None:
    """The stretch of the history that waits longest; None where none has been compared yet."""
    if user.unverified_since is None:
        return None
    return {
        "newest": iso(user.unverified_newest),
        "oldest": iso(user.unverified_oldest),
        "verified_at": iso(user.unverified_since),
    }


def _stretch(user: Status) -> str | None:
    """`2026-02-01 (2010-03 to 2012-05)`: compared then, and which months it holds."""
    if user.unverified_since is None or user.unverified_newest is None:
        return None
    since, newest = user.unverified_since, user.unverified_newest
    oldest = user.unverified_oldest
    begins = f"{oldest.astimezone(UTC):%Y-%m} to " if oldest else "up to "
    return f"{since.astimezone(UTC):%Y-%m-%d} ({begins}{newest.astimezone(UTC):%Y-%m})"


def status_text(report: Report) -> str:
    """The last runs, what is at work, and everyone."""
    parts = [_runs(report), _running(report), users_table(report.users)]
    return "\n\n".join(part for part in parts if part)


def _runs(report: Report) -> str:
    if not report.runs:
        return "no run yet"
    counts = ("due", "synced", "failed", "skipped", "new", "gone", "requests")
    head = ("run", "started (UTC)", *counts, "outcome")
    rows = [
        (r.id, r.started_at, r.due, r.synced, r.failed, r.skipped, r.new, r.gone, r.requests,
         r.outcome)
        for r in report.runs
    ]  # fmt: skip
    return table(head, rows)


def _running(report: Report) -> str:
    return "\n".join(
        f"at work: user {job.user_id}, page {job.page}, {job.imported} of "
        f"{'?' if job.expected is None else job.expected} check-ins, since "
        f"{moment(job.started_at)} UTC"
        for job in report.running
    )


def users_table(users: tuple[Status, ...]) -> str:
    """A line per user."""
    if not users:
        return "no users yet; `checkinsync users add` adds one"
    head = (
        "user", "name", "state", "check-ins", "missing", "gone", "last checked (UTC)",
        "oldest comparison", "quarantined", "next",
    )  # fmt: skip
    rows = [
        (u.id, u.name, u.state, u.checkins, u.missing, u.gone, u.last_checked_at, _stretch(u),
         u.quarantined, u.next_action)
        for u in users
    ]  # fmt: skip
    return table(head, rows)


def why(user: Status, job: Job | None) -> str:
    """One line: why he was or was not synced, and what happens next."""
    who = f"user {user.id}" + (f" ({user.name})" if user.name else "")
    was, then = _what_was(user, job), user.next_action
    return one_line(f"{who}: {was}. {then[:1].upper()}{then[1:]}")


def _what_was(user: Status, job: Job | None) -> str:
    checked = "" if user.last_checked_at is None else f", last {moment(user.last_checked_at)} UTC"
    match user.state:
        case "paused":
            return f"not synced: paused by an operator{checked}"
        case "needs_reauth":
            reason = (user.reason or "no Foursquare token is stored").partition(";")[0]
            return f"not synced: {reason}{checked}"
        case "rate_limited" | "failing":
            return f"not synced: {user.reason}{checked}"
    if not user.active:
        return f"not synced: inactive{checked}"
    if job is not None and job.status == "failed":
        return f"not synced in the last attempt: {job.message}{checked}"
    if user.last_checked_at is None:
        return "not synced yet"
    return f"synced at {moment(user.last_checked_at)} UTC, {user.checkins} check-ins stored"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return cell(value)


def user_text(user: Status) -> str:
    """Everything that is known of a user, a line each; nothing secret."""
    values = asdict(user)
    width = max(map(len, values))
    return "\n".join(
        f"{name.replace('_', ' '):<{width}}  {_plain(value)}" for name, value in values.items()
    )
