"""A run, an import or a plan as text and as JSON values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from checkinsync.cli.render.table import moment, table
from checkinsync.errors import sentence
from checkinsync.model.user import User
from checkinsync.nightly.summary import RunSummary
from checkinsync.sync.outcome import Failed, Imported, Outcome, RetryAt, Skipped, UserReport

if TYPE_CHECKING:  # loads HTTP, which `status` does without
    from checkinsync.nightly.plan import RunPlan


def iso(value: datetime | None) -> str | None:
    """A time in JSON, in UTC whatever the session's zone."""
    return None if value is None else value.astimezone(UTC).isoformat()


def trouble(summary: RunSummary) -> list[str]:
    """One line per user who was due and is not done, then the run in one line."""
    lines = [
        f"{report.user}: {what(report.outcome)}"
        for report in summary.reports
        if not isinstance(report.outcome, Imported)
    ]
    return [*lines, in_one_line(summary)]


def what(outcome: Outcome) -> str:
    """How it ended, in words."""
    match outcome:
        case Imported(saved):
            gone = f", {saved.gone} gone" if saved.gone else ""
            return f"{saved.new} new, {saved.changed} changed{gone}"
        case Skipped(reason):
            return f"skipped: {reason}"
        case RetryAt(at, reason):
            return f"waits until {moment(at)} UTC: {reason}"
        case Failed(error):
            return f"failed: {sentence(error)}"


def in_one_line(summary: RunSummary) -> str:
    """`run 7: 3 due, 2 synced, …`."""
    seconds = (summary.finished_at - summary.started_at).total_seconds()
    saved = summary.saved
    return (
        f"run {summary.run_id}: {summary.outcome}; {summary.due} due, {summary.synced} synced, "
        f"{summary.failed} failed, {summary.skipped} skipped; {saved.new} new, {saved.changed} "
        f"changed, {saved.gone} gone, {summary.requests} requests in {seconds:.0f} s"
    )


def as_table(summary: RunSummary) -> str:
    """Everyone, and the run in one line."""
    head = ("user", "name", "new", "changed", "gone", "requests", "seconds", "outcome")
    rows = [_row(report) for report in summary.reports]
    rows += [
        (user.id, user.name, None, None, None, None, None, f"not due: {reason}")
        for user, reason in summary.not_due
    ]
    return f"{table(head, rows)}\n\n{in_one_line(summary)}" if rows else in_one_line(summary)


def _row(report: UserReport) -> tuple[object, ...]:
    user, outcome = report.user, report.outcome
    if isinstance(outcome, Imported):
        saved = report.saved
        seconds = f"{outcome.seconds:.1f}"
        return (
            user.id,
            user.name,
            saved.new,
            saved.changed,
            saved.gone,
            outcome.requests,
            seconds,
            "imported",
        )
    return (user.id, user.name, None, None, None, None, None, what(outcome))


def run_json(summary: RunSummary) -> dict[str, Any]:
    """The names of `status --json`, and how each user fared."""
    saved = summary.saved
    return {
        "id": summary.run_id,
        "started_at": iso(summary.started_at),
        "finished_at": iso(summary.finished_at),
        "host": summary.host,
        "due": summary.due,
        "synced": summary.synced,
        "failed": summary.failed,
        "skipped": summary.skipped,
        "requests": summary.requests,
        "new": saved.new,
        "changed": saved.changed,
        "gone": saved.gone,
        "outcome": summary.outcome,
        "exit_code": summary.exit_code,
        "users": [
            {
                **outcome_json(report.user, report.outcome),
                "new": report.saved.new,
                "changed": report.saved.changed,
                "gone": report.saved.gone,
                "attempts": report.attempts,
            }
            for report in summary.reports
        ]
        + [
            {**outcome_json(user, Skipped(reason)), "attempts": 0}
            for user, reason in summary.not_due
        ],
    }


def outcome_json(user: User, outcome: Outcome) -> dict[str, Any]:
    """How one user fared."""
    about: dict[str, Any] = {
        "id": user.id,
        "foursquare_user_id": user.foursquare_user_id,
        "name": user.name,
    }
    match outcome:
        case Imported(saved, requests, seconds, cursor):
            return about | {
                "outcome": "imported",
                "new": saved.new,
                "changed": saved.changed,
                "gone": saved.gone,
                "quarantined": saved.quarantined,
                "requests": requests,
                "seconds": round(seconds, 3),
                "cursor": iso(cursor),
            }
        case Skipped(reason):
            return about | {"outcome": "skipped", "reason": reason}
        case RetryAt(at, reason):
            return about | {"outcome": "rate_limited", "retry_at": iso(at), "reason": reason}
        case Failed(error):
            return about | {"outcome": "failed", "reason": sentence(error)}


def plan_json(plan: RunPlan) -> dict[str, Any]:
    """What `--dry-run --json` prints."""
    return {
        "users": [
            {
                "id": entry.user.id,
                "foursquare_user_id": entry.user.foursquare_user_id,
                "name": entry.user.name,
                "start": iso(entry.at),
                "expected_requests": plan.requests.get(entry.user.id),
            }
            for entry in plan.entries
        ],
        "skipped": [
            {"id": user.id, "name": user.name, "reason": reason} for user, reason in left_out(plan)
        ],
        "stagger_seconds": plan.stagger.total_seconds(),
        "end": iso(plan.entries[-1].at) if plan.entries else None,
    }


def left_out(plan: RunPlan) -> list[tuple[User, str]]:
    """Active users who would not be imported, and why."""
    unreadable = [(user, "no key opens the stored token") for user in plan.unreadable]
    return [*plan.skipped, *unreadable]


def plan_text(plan: RunPlan) -> str:
    """What `--dry-run` prints."""
    rows = [
        (entry.user.id, entry.user.name, entry.at, _requests(plan.requests.get(entry.user.id)))
        for entry in plan.entries
    ]
    lines = [table(("user", "name", "start (UTC)", "requests"), rows)] if rows else []
    lines += [f"not due: {user}: {reason}" for user, reason in left_out(plan)]
    lines.append(
        f"{len(rows)} due, {plan.stagger.total_seconds():g} s apart; the last one starts at "
        f"{moment(plan.entries[-1].at)} UTC; nothing was written"
        if rows
        else "nobody is due; nothing was written"
    )
    return "\n".join(lines)


def _requests(expected: int | None) -> str:
    return "whole history" if expected is None else str(expected)
