"""The digest of a run: what notices say of it. No names unless asked for, never check-ins; pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from checkinsync import __version__
from checkinsync.errors import CheckinsyncError, Exit, NoToken, TokenRejected, sentence
from checkinsync.model.user import User
from checkinsync.nightly.alerts import troubled
from checkinsync.nightly.summary import RunSummary
from checkinsync.sync.outcome import Failed, Imported, Outcome, RetryAt

START = "start"
FAIL = "fail"
"""Signals of a ping, besides the exit code of a run."""

TELLING = {Exit.AWAY, Exit.SETTINGS, Exit.SCHEMA}
"""Exit codes of errors whose sentences are about the installation, and about no user."""

MOST_NAMED = 20
"""Users that a line has, at most."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What is to be said, to each target."""

    signal: str
    """START, FAIL, an exit code, or nothing where all is well."""
    title: str
    lines: tuple[str, ...] = ()
    alert: bool = False
    """True: an operator should know; False: for machines only."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The same for programs."""

    @property
    def text(self) -> str:
        """The lines as one text, which is never empty."""
        return "\n".join(self.lines) or self.title

    @property
    def json(self) -> dict[str, Any]:
        """All of it for programs. Names are only ever added."""
        about = {"title": self.title, "text": self.text, "alert": self.alert}
        return {"version": __version__, **about, **self.facts}


def started(host: str) -> Digest:
    """Return the digest of a run that begins."""
    return Digest(START, f"checkinsync on {host}: a run has begun")


def of_test(host: str) -> Digest:
    """Return a digest that says only that it has arrived."""
    title = f"checkinsync on {host}: this is a test"
    return Digest(
        "", title, ("Notices of this installation arrive here.",), True, {"event": "test"}
    )


def of_error(error: BaseException, host: str) -> Digest:
    """Return the digest of a run that could not begin, or broke off."""
    code = error.exit_code if isinstance(error, CheckinsyncError) else Exit.BUG
    reason = sentence(error) if code in TELLING else kind(error)
    lines = (f"{reason} (exit code {int(code)}); `checkinsync doctor` says more",)
    facts = {"event": "run_failed", "host": host, "exit_code": int(code), "reason": reason}
    return Digest(FAIL, f"checkinsync on {host}: no run", lines, True, facts)


def of_run(run: RunSummary, *, names: bool) -> Digest:
    """Return the digest of a run. `names`: users are named, not only numbered."""
    users = [report.user for report in run.reports] + [user for user, _ in run.not_due]
    notices = list(run.notices) if names else _nameless(run.notices, users)
    lines = tuple(_news(run, names=names))
    title = f"checkinsync on {run.host}: run {run.run_id}: {run.outcome}"
    return Digest(
        str(run.exit_code or ""),
        title,
        (_figures(run), *lines, *notices),
        alert=bool(troubled(run) or lines or notices),
        facts={"event": "run_finished", **_facts(run, names=names), "notices": notices},
    )


def kind(error: BaseException) -> str:
    """Return the name of an error's class in words: what happened, and to nobody in particular."""
    if not isinstance(error, CheckinsyncError):
        return "unexpected error"
    return re.sub(r"(?<!^)(?=[A-Z])", " ", type(error).__name__).lower()


def _news(run: RunSummary, *, names: bool) -> Iterator[str]:
    """Yield what an operator has to know besides the figures."""
    alerts, before = run.alerts, run.alerts.before
    if before is not None and before.outcome == "killed":
        yield f"run {before.id} was killed: it did not come to its end"
    elif before is not None and troubled(before) and not troubled(run):
        yield f"the trouble of run {before.id} ({before.outcome}) is over"
    if troubled(run):
        yield from (f"{_users(count)}: {reason}" for reason, count in _reasons(run).most_common())
    for user, nights in alerts.failing:
        yield f"{_who(user, names=names)} has failed {nights} nights in a row: {_why(run, user)}"
    if alerts.recovered:
        who = _listed(alerts.recovered, names=names)
        yield f"imported again after failing for several nights: {who}"
    if dead := _rejected(run):
        yield f"must log in to Foursquare again: {_listed(dead, names=names)}"


def _figures(run: RunSummary) -> str:
    saved, minutes = run.saved, (run.finished_at - run.started_at).total_seconds() / 60
    return (
        f"{run.due:,} due, {run.synced:,} synced, {run.failed:,} failed, {run.skipped:,} skipped; "
        f"{saved.new:,} new, {saved.changed:,} changed, {saved.gone:,} gone; "
        f"{run.requests:,} requests in {minutes:,.0f} minutes; exit code {int(run.exit_code)}"
    )


def _facts(run: RunSummary, *, names: bool) -> dict[str, Any]:
    def about(user: User) -> dict[str, Any]:
        return {"id": user.id, **({"name": user.name} if names else {})}

    saved, alerts = run.saved, run.alerts
    return {
        "host": run.host,
        "exit_code": int(run.exit_code),
        "run": {
            "id": run.run_id,
            "started_at": run.started_at.isoformat(),
            "finished_at": run.finished_at.isoformat(),
            "due": run.due,
            "synced": run.synced,
            "failed": run.failed,
            "skipped": run.skipped,
            "requests": run.requests,
            "new": saved.new,
            "changed": saved.changed,
            "gone": saved.gone,
            "outcome": run.outcome,
        },
        "reasons": dict(_reasons(run)),
        "failing": [{**about(user), "nights": nights} for user, nights in alerts.failing],
        "recovered": [about(user) for user in alerts.recovered],
        "must_log_in": [about(user) for user in _rejected(run)],
    }


def _reasons(run: RunSummary) -> Counter[str]:
    """Count the users who were due and are not done, by what kept them."""
    outcomes = (report.outcome for report in run.reports)
    return Counter(_reason(o) for o in outcomes if not isinstance(o, Imported))


def _reason(outcome: Outcome) -> str:
    match outcome:
        case Failed(error):
            return kind(error)
        case RetryAt():
            return "rate limited"
    return "not imported"


def _why(run: RunSummary, user: User) -> str:
    return next(_reason(report.outcome) for report in run.reports if report.user.id == user.id)


def _rejected(run: RunSummary) -> list[User]:
    """Return the users whose token was refused in this run, unless we are suspected ourselves.

    The next nights leave them out; then the weekly reminder among the notices names them.
    """
    if run.outcome == "suspect":
        return []
    return [
        report.user
        for report in run.reports
        if isinstance(report.outcome, Failed)
        and isinstance(report.outcome.error, TokenRejected | NoToken)
    ]


def _users(count: int) -> str:
    return "1 user" if count == 1 else f"{count:,} users"


def _who(user: User, *, names: bool) -> str:
    return str(user) if names else f"user {user.id}"


def _listed(users: Iterable[User], *, names: bool) -> str:
    told = [_who(user, names=names) for user in users]
    more = f" and {len(told) - MOST_NAMED:,} more" if len(told) > MOST_NAMED else ""
    return ", ".join(told[:MOST_NAMED]) + more


def _nameless(sentences: Iterable[str], users: Iterable[User]) -> list[str]:
    """Return the sentences with numbers instead of names; one name may be part of another."""
    numbered = {str(user): f"user {user.id}" for user in users}
    pattern = "|".join(map(re.escape, sorted(numbered, key=len, reverse=True)))
    return [re.sub(pattern, lambda found: numbered.get(found[0], ""), s) for s in sentences]
