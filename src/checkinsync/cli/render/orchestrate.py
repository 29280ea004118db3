"""A run, an import or a plan as text and as JSON values."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from checkinsync.cli.render.table import cell, fitted, moment, table
from checkinsync.cli.terminal import iso
from checkinsync.errors import sentence
from checkinsync.model.user import User
from checkinsync.nightly.summary import RunSummary
from checkinsync.sync.outcome import Failed, Imported, Outcome, RetryAt, Skipped, UserReport

if TYPE_CHECKING:  # loads HTTP, which `status` does without
    from checkinsync.nightly.plan import RunPlan, Start

MOST = 100
"""Users that a table on a terminal has."""

USER = 7
"""Cells for a user's id in a plan."""


def what(outcome: Outcome) -> str:
    """The outcome in words."""
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
    """`run 7: ok; 3 due, 3 synced, …`."""
    seconds = (summary.finished_at - summary.started_at).total_seconds()
    saved = summary.saved
    kept = f", {saved.quarantined:,} in quarantine" if saved.quarantined else ""
    return (
        f"run {summary.run_id}: {summary.outcome}; {summary.due:,} due, {summary.synced:,} synced, "
        f"{summary.failed:,} failed, {summary.skipped:,} skipped; {saved.new:,} new, "
        f"{saved.changed:,} changed, {saved.gone:,} gone{kept}, {summary.requests:,} requests in "
        f"{seconds:,.0f} s"
    )


def as_table(summary: RunSummary, *, width: int | None = None, colours: bool = False) -> str:
    """A line per user, those who are not done first, then the run in one line.

    `width`: of the terminal, which then shows no more than MOST users.
    """
    head = ("user", "name", "new", "changed", "gone", "requests", "seconds", "outcome")
    reports = sorted(summary.reports, key=lambda report: isinstance(report.outcome, Imported))
    rows = [_row(report) for report in reports]
    rows += [
        (user.id, user.name, *[None] * 5, f"not due: {reason}") for user, reason in summary.not_due
    ]
    if not rows:
        return in_one_line(summary)
    if width is None:
        return f"{table(head, rows)}\n\n{in_one_line(summary)}"
    states = 7 if colours else None
    text = fitted(head, rows[:MOST], width=width, flexible=(1, 7), states=states)
    more = f"\nand {len(rows) - MOST:,} more users" if len(rows) > MOST else ""
    return f"{text}{more}\n\n{in_one_line(summary)}"


def _row(report: UserReport) -> tuple[object, ...]:
    user, outcome = report.user, report.outcome
    if not isinstance(outcome, Imported):
        return (user.id, user.name, *[None] * 5, what(outcome))
    saved = report.saved
    figures = (saved.new, saved.changed, saved.gone, outcome.requests, f"{outcome.seconds:.1f}")
    return (user.id, user.name, *figures, "imported")


def run_json(summary: RunSummary) -> dict[str, Any]:
    """The names of `status --json`, and the outcome of each user."""
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
        "notices": list(summary.notices),
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
    """The outcome of one user."""
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
    """The plan, for `--dry-run --json`; with iterators, since there may be a million users."""
    return {
        "users": (_start_json(*start) for start in plan.starts),
        "skipped": (
            {"id": user.id, "name": user.name, "reason": why} for user, why in plan.skipped
        ),
        "stagger_seconds": plan.stagger.total_seconds(),
        "end": iso(plan.end),
    }


def _start_json(user: Start, at: datetime) -> dict[str, Any]:
    return {
        "id": user.id,
        "foursquare_user_id": user.foursquare_user_id,
        "name": user.name,
        "start": iso(at),
        "expected_requests": user.requests,
    }


def plan_lines(plan: RunPlan) -> Iterator[str]:
    """The plan, for `--dry-run`, line by line: there may be a million users."""
    if plan.due:
        yield f"{'start (UTC)':<19}  {'requests':>13}  {'user':>{USER}}  name"
    for user, at in plan.starts:
        requests = "whole history" if user.requests is None else user.requests
        yield f"{moment(at)}  {requests:>13}  {user.id:>{USER}}  {cell(user.name)}"
    for skipped, reason in plan.skipped:
        yield f"not due: {skipped}: {reason}"
    yield (
        f"{len(plan.due)} due, {plan.stagger.total_seconds():g} s apart; the last one starts at "
        f"{moment(plan.end)} UTC; nothing was written"
        if plan.due
        else "no user is due; nothing was written"
    )
