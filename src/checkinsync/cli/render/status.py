"""The state of everything, as text and as JSON values."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from checkinsync.cli.render.table import ago, cell, cut, fitted, many, moment, table, table_lines
from checkinsync.cli.terminal import iso
from checkinsync.model.user import one_line
from checkinsync.nightly.status import Report
from checkinsync.nightly.summary import RunRecord
from checkinsync.store.jobs import Job
from checkinsync.store.users import Status

MOST = 100
"""Users that a terminal shows by default."""

ROOMY = 120
"""Cells of a terminal that shows the whole next action."""

WORDS = {"needs_reauth": "must log in again", "rate_limited": "rate-limited"}
"""Groups of users that have another name in sentences."""

TROUBLE = ("needs_reauth", "failing", "rate_limited", "stale", "new", "ok", "paused", "inactive")
"""Groups of users in the order in which a table shows them."""

NEXT = {
    "needs_reauth": "users set-token {id}",
    "failing": "next night; why {id}",
    "rate_limited": "why {id}",
    "stale": "why {id}",
    "new": "next run",
    "ok": "next night",
    "paused": "users resume {id}",
    "inactive": "nothing",
}
"""The next action in a narrow table, commands without the program's name."""


@dataclass(frozen=True, slots=True)
class View:
    """The part of a report that an operator wants to see, and the room for it."""

    states: tuple[str, ...] = ()
    """Groups of users; none: all."""
    limit: int | None = None
    """Users at most; None: as many as there are, but on a terminal MOST."""
    width: int | None = None
    """Cells of the terminal; None: everything is shown, however wide."""
    terminal: bool = False
    colours: bool = False

    def of(self, report: Report) -> list[int]:
        """Return the places of the users of the groups, by id."""
        return [
            place
            for place, group in enumerate(report.groups)
            if not self.states or group in self.states
        ]

    def most(self) -> int | None:
        """Return how many users to show at most."""
        return self.limit or (MOST if self.terminal else None)


PLAIN = View()


def status_json(report: Report, view: View = PLAIN) -> dict[str, Any]:
    """The promised names; more may be added, none goes. The users are an iterator."""
    return {
        "counts": report.counts,
        "quarantined": report.quarantined,
        "run_at_work": report.run_at_work,
        "progress": report.progress,
        "runs": [run_json(run) for run in report.runs],
        "running": [job_json(job) for job in report.running],
        "users": (
            user_json(user, fresh=report.is_fresh(user))
            for user in map(report.users.__getitem__, view.of(report)[: view.limit])
        ),
    }


def run_json(run: RunRecord) -> dict[str, Any]:
    """A row of `sync_runs`."""
    values = asdict(run)
    return values | {"started_at": iso(run.started_at), "finished_at": iso(run.finished_at)}


def job_json(job: Job) -> dict[str, Any]:
    """An import that is at work."""
    return {
        "job_id": job.id,
        "user_id": job.user_id,
        "status": job.status,
        "started_at": iso(job.started_at),
        "imported": job.imported,
        "expected": job.expected,
        "page": job.page,
        "message": job.message,
    }


def user_json(user: Status, *, fresh: bool) -> dict[str, Any]:
    """One user's state."""
    return {
        "id": user.id,
        "foursquare_user_id": user.foursquare_user_id,
        "name": user.name,
        "state": user.state,
        "active": user.active,
        "importing": user.importing,
        "created_at": iso(user.created_at),
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
    """The stretch of the history compared longest ago; None where none has been compared yet."""
    if user.unverified_since is None:
        return None
    return {
        "newest": iso(user.unverified_newest),
        "oldest": iso(user.unverified_oldest),
        "verified_at": iso(user.unverified_since),
    }


def _stretch(user: Status) -> str | None:
    """`2026-02-01 (2010-03 to 2012-05)`: when it was compared, and the months it holds."""
    since, newest, oldest = user.unverified_since, user.unverified_newest, user.unverified_oldest
    if since is None or newest is None:
        return None
    begins = f"{oldest.astimezone(UTC):%Y-%m} to " if oldest else "up to "
    return f"{since.astimezone(UTC):%Y-%m-%d} ({begins}{newest.astimezone(UTC):%Y-%m})"


def counts_text(counts: dict[str, int]) -> str:
    """`5 users: 3 ok, 1 must log in again, 1 paused`."""
    total = sum(counts.values())
    if not total:
        return "no users yet; `checkinsync users add` adds one"
    groups = ", ".join(f"{count:,} {WORDS.get(group, group)}" for group, count in counts.items())
    return f"{many(total, 'user')}: {groups}"


def status_text(report: Report, view: View = PLAIN) -> str:
    """See `status_lines`."""
    return "\n".join(status_lines(report, view))


def status_lines(report: Report, view: View = PLAIN) -> Iterator[str]:
    """Counts and warnings, the last runs, imports at work, then the users, trouble first."""
    yield from (_head(report, view), "", _runs(report, view))
    if not report.users:
        return
    yield ""
    found = view.of(report)
    found.sort(key=lambda place: TROUBLE.index(report.groups[place]))  # else they stay by id
    shown = found[: view.most()]
    yield from _users(report, shown, view)
    if more := len(found) - len(shown):
        yield from ("", f"and {more:,} more users (--limit {len(found)} shows all)")


def _head(report: Report, view: View) -> str:
    counts, lines = counts_text(report.counts), [*_warnings(report), *_at_work(report)]
    if view.width is not None:
        counts = textwrap.fill(counts, view.width)
        lines = [cut(line, view.width) for line in lines]
    return "\n".join([counts, *lines])


def _warnings(report: Report) -> list[str]:
    """Facts about all users together that no line of the table shows."""
    lines = []
    if report.nobody_served:
        lines.append(f"no user is served: {report.nobody_served}; see `checkinsync doctor`")
    if report.quarantined:
        kept = many(report.quarantined, "check-in")
        lines.append(f"in quarantine: {kept} (`checkinsync quarantine`)")
    if report.without_slices:
        users = many(report.without_slices, "user")
        lines.append(f"older history not compared for 25 days: {users}; see `checkinsync doctor`")
    return lines


def _at_work(report: Report) -> list[str]:
    """The run with its progress, each import, and who is next."""
    lines = []
    progress = report.progress or {"next": (), "again": ()}
    named = {each["user_id"] for each in (*progress["next"], *progress["again"])}
    named |= {job.user_id for job in report.running}
    names = {user.id: str(user) for user in report.users if user.id in named}
    if report.run_at_work and report.runs and report.runs[0].outcome == "running":
        run = report.runs[0]
        checked = (user.last_checked_at for user in report.users)
        done = sum(at is not None and at >= run.started_at for at in checked)
        lines.append(
            f"run {run.id} at work since {moment(run.started_at)} UTC: {done:,} of {run.due:,} "
            "users imported"
        )
        lines += _course(report.progress) if report.progress else []
    for job in report.running:
        expected = "?" if job.expected is None else f"{job.expected:,}"
        lines.append(
            f"at work: {names.get(job.user_id, f'user {job.user_id}')}, page {job.page}, "
            f"{job.imported:,} of {expected} check-ins, since {moment(job.started_at)} UTC"
        )
    return [*lines, *_coming(progress, names, report.running)]


def _clock(text: str) -> str:
    return moment(datetime.fromisoformat(text))[11:]


def _course(progress: Mapping[str, Any]) -> Iterator[str]:
    """The end of the run, and what is paused."""
    waiting = many(progress["waiting"], "user")
    yield f"it ends at {_clock(progress['until'])} UTC at the latest; {waiting} still to come"
    if pause := progress["paused"]:
        asked = f"; asked again at {_clock(pause['asked_at'])}" if pause["asked_at"] else ""
        since = f" since {_clock(pause['since'])}" if pause["since"] else ""
        yield f"paused{since}: {pause['service']} does not answer{asked}"


def _coming(
    progress: Mapping[str, Any], names: Mapping[int, str], running: Sequence[Job]
) -> Iterator[str]:
    """Who is next, and who is tried again and why."""

    def at(each: Mapping[str, Any]) -> str:
        user_id = each["user_id"]
        return f"{names.get(user_id, f'user {user_id}')} at {_clock(each['at'])}"

    told = {each["user_id"] for each in progress["again"]} | {job.user_id for job in running}
    for each in progress["next"]:
        if each["user_id"] not in told:
            yield f"next: {at(each)}"
    for each in progress["again"]:
        yield f"again: {at(each)}: {one_line(each['reason'] or 'the last attempt failed')}"


def _runs(report: Report, view: View) -> str:
    if not report.runs:
        return "no run yet"
    counts = ("due", "synced", "failed", "skipped", "new", "gone", "requests")
    head = ("run", "started (UTC)", *counts, "outcome")
    rows = [
        (r.id, r.started_at, r.due, r.synced, r.failed, r.skipped, r.new, r.gone, r.requests,
         r.outcome)
        for r in report.runs
    ]  # fmt: skip
    if view.width is None or view.width >= ROOMY:
        return table(head, rows, states=len(head) - 1 if view.colours else None)
    narrow = [(row[0], moment(row[1])[5:16], *row[2:7], row[-1]) for row in rows]
    return table((*head[:7], head[-1]), narrow, states=7 if view.colours else None)


def _users(report: Report, shown: Sequence[int], view: View) -> Iterator[str]:
    """A line per user; a narrow terminal gets fewer columns, and cuts what is too long.

    `shown`: their places in the report.
    """
    users = ((report.users[place], report.groups[place]) for place in shown)
    if not shown:
        yield "no user is in this state"
    elif view.width is None:
        yield from users_lines(users, colours=view.colours)
    else:
        head = ("user", "name", "state", "check-ins", "last checked", "next")
        rows = [
            (u.id, u.name, group, u.checkins, ago(u.last_checked_at, at=report.at),
             u.next_action if view.width >= ROOMY else _next(u, group))
            for u, group in users
        ]  # fmt: skip
        states = 2 if view.colours else None
        yield fitted(head, rows, width=view.width, flexible=(1, 5), states=states)


def _next(user: Status, group: str) -> str:
    return "being imported" if user.importing else NEXT[group].format(id=user.id)


def users_lines(users: Iterable[tuple[Status, str]], *, colours: bool = False) -> Iterator[str]:
    """A line per user with all that is known; with them, what to call their states."""
    head = (
        "user", "name", "state", "check-ins", "missing", "gone", "last checked (UTC)",
        "oldest comparison", "quarantined", "next",
    )  # fmt: skip
    rows = (
        (u.id, u.name, state, u.checkins, u.missing, u.gone, u.last_checked_at, _stretch(u),
         u.quarantined, u.next_action)
        for u, state in users
    )  # fmt: skip
    return table_lines(head, rows, states=2 if colours else None)


def why(user: Status, job: Job | None) -> str:
    """One line: why they were or were not imported, and what happens next."""
    kept = ""
    if user.quarantined:
        kept = (
            f"; {many(user.quarantined, 'check-in')} in quarantine, since they can't be read or "
            f"stored (`checkinsync quarantine {user.id}`)"
        )
    return one_line(f"{user}: {_what_was(user, job)}{kept}. Next: {user.next_action}")


def why_json(user: Status, job: Job | None, *, fresh: bool) -> dict[str, Any]:
    """The user, their last import, and the line of `why`."""
    last = None if job is None else job_json(job)
    return user_json(user, fresh=fresh) | {"why": why(user, job), "last_import": last}


def _what_was(user: Status, job: Job | None) -> str:
    last = "" if user.last_checked_at is None else f" (last at {moment(user.last_checked_at)} UTC)"
    match user.state:
        case "paused":
            return f"not imported: paused by an operator{last}"
        case "needs_reauth":
            return f"not imported: {str(user.reason).partition(';')[0]}{last}"
        case "rate_limited" | "failing":
            return f"not imported: {user.reason}{last}"
    if not user.active:
        return f"not imported: inactive{last}"
    if job is not None and job.status == "failed":
        return f"not imported in the last attempt: {job.message}{last}"
    if user.last_checked_at is None:
        return "not imported yet"
    return f"imported at {moment(user.last_checked_at)} UTC, {user.checkins} check-ins stored"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return cell(value)


def user_text(user: Status) -> str:
    """All that is known about a user except secrets, a line each."""
    values = asdict(user)
    width = max(map(len, values))
    return "\n".join(
        f"{name.replace('_', ' '):<{width}}  {_plain(value)}" for name, value in values.items()
    )
