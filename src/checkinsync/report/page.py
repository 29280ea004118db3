"""The operator's page, put together: values from the database, drawn by a template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from itertools import pairwise
from typing import Any

from checkinsync import __version__
from checkinsync.errors import MissingExtra
from checkinsync.nightly import queries as runs
from checkinsync.nightly import status
from checkinsync.nightly.alerts import troubled
from checkinsync.nightly.status import Report
from checkinsync.report import queries
from checkinsync.report.charts import Chart, of_nights
from checkinsync.report.nights import Night, nights
from checkinsync.store.pool import Connection, Pool, transaction
from checkinsync.store.users import Status

NIGHTS = 30
"""Nights that are shown, unless another beginning is asked for."""

BUDGET = 500
"""Requests that Foursquare allows each user in an hour (documented)."""

MOST_LISTED = 1000
"""Users of one group that are listed: a page of more is read by nobody."""

AGES = (7, 14, 21, 30, 60)
"""Borders between the groups of users by the age of their oldest comparison, in days."""

STATES = {
    "failing": "Failing",
    "needs_reauth": "Must log in again",
    "stale": "Not imported for more than a day",
    "rate_limited": "Rate-limited",
    "new": "New",
    "ok": "In order",
    "paused": "Paused",
    "inactive": "Not active",
}
"""Groups of users in the order of the page: trouble first."""

TROUBLE = ("failing", "needs_reauth", "stale")

RESULTS = (
    ("done", "imported"),
    ("failed", "failed"),
    ("left", "not finished"),
    ("idle", "not due"),
)


@dataclass(frozen=True, slots=True)
class Group:
    """Users in one state."""

    state: str
    title: str
    count: int
    users: tuple[Status, ...]
    """Those that are listed."""

    @property
    def is_trouble(self) -> bool:
        """Return True if somebody has to do something."""
        return self.state in TROUBLE


def page(*, pool: Pool, now: datetime, active_days: int, since: date | None = None) -> str:
    """Return the page as HTML. `since`: the first night to show. Raises MissingExtra."""
    template = _template()
    report = status.report(pool=pool, now=now, active_days=active_days)
    with transaction(pool, read_only=True) as conn:
        shown = _nights(conn, report, since)
    text: str = template.render(
        report=report,
        verdict=verdict(report),
        version=__version__,
        charts=charts(shown),
        nights=shown[::-1],
        groups=groups(report),
        ages=ages(report),
    )
    return text


def _template() -> Any:
    try:
        import jinja2  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise MissingExtra("the operator's page", "report") from None
    text = resources.files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"moment": _moment, "number": lambda value: f"{value:,.0f}"}
    return environment.from_string(text)


def _moment(at: datetime | None) -> str:
    return "never" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _nights(conn: Connection, report: Report, since: date | None) -> list[Night]:
    """Return the nights that are shown: none before there were runs, nor tonight before its own."""
    today = report.at.astimezone(UTC).date()
    first = since or today - timedelta(days=NIGHTS)
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    found = [status.as_it_is(run, at_work=report.run_at_work) for run in runs.since(conn, begin)]
    if not found:
        return []
    days = [run.started_at.astimezone(UTC).date() for run in found]
    last = max(*days, today - timedelta(days=1))
    first = max(min(days), first if since else last - timedelta(days=NIGHTS - 1))
    busiest = queries.busiest_imports(conn, since=begin)
    return nights(found, first=first, last=last, busiest=busiest)


def verdict(report: Report) -> list[str]:
    """Return what is wrong, a sentence each; nothing where all is well."""
    counts = report.counts
    ended = next((run for run in report.runs if run.outcome != "running"), None)
    found = []
    if ended is None:
        found.append("no run has ended yet")
    elif troubled(ended):
        found.append(f"the last run ({ended.id}, {_moment(ended.started_at)}): {ended.outcome}")
    if report.nobody_served:
        found.append(report.nobody_served)
    found += [f"{counts[s]:,} {STATES[s].lower()}" for s in TROUBLE if s in counts]
    if report.quarantined:
        found.append(f"{report.quarantined:,} items in quarantine: `checkinsync quarantine`")
    return found


def groups(report: Report) -> list[Group]:
    """Return the users by state, each group with those listed first who wait longest."""
    members: dict[str, list[Status]] = {state: [] for state in STATES}
    for user, group in zip(report.users, report.groups, strict=True):
        members[group].append(user)
    return [
        Group(state, STATES[state], len(users), tuple(sorted(users, key=_waiting)[:MOST_LISTED]))
        for state, users in members.items()
        if users
    ]


def _waiting(user: Status) -> tuple[bool, datetime | None, int]:
    return user.last_checked_at is not None, user.last_checked_at, user.id


def ages(report: Report) -> list[tuple[str, int]]:
    """Return how many active users' oldest comparison is how old."""
    days = [
        None if user.unverified_since is None else (report.at - user.unverified_since).days
        for user in report.users
        if user.active and user.state not in {"paused", "needs_reauth", "new"}
    ]
    known = [each for each in days if each is not None]
    borders = (-1, *AGES)
    counted = [
        (f"{above + 1} to {to} days", sum(above < each <= to for each in known))
        for above, to in pairwise(borders)
    ]
    older = (f"more than {AGES[-1]} days", sum(each > AGES[-1] for each in known))
    return [*counted, older, ("never compared", len(days) - len(known))]


def charts(shown: Sequence[Night]) -> list[Chart]:
    """Return the pictures of the nights."""
    total = {
        name: sum(getattr(night, name) for night in shown)
        for name in ("done", "failed", "left", "new", "requests")
    }
    silent = sum(not night.runs for night in shown)
    longest = max((night.minutes for night in shown), default=0)
    busiest = max((night.busiest for night in shown), default=0)
    return [
        of_nights(
            shown,
            lambda n: (
                ("done", n.done),
                ("failed", n.failed),
                ("left", n.left),
                ("idle", n.not_due),
            ),
            title="Users each night",
            text=f"{_many(len(shown), 'night')}, {silent} without a run: {total['done']:,} "
            f"imported, {total['failed']:,} failed, {total['left']:,} not finished.",
            legend=RESULTS,
        ),
        of_nights(
            shown,
            lambda n: (("new", n.new),),
            title="New check-ins each day",
            text=f"{_many(total['new'], 'new check-in')} in {_many(len(shown), 'day')}.",
        ),
        of_nights(
            shown,
            lambda n: (("requests", n.requests),),
            title="Requests to Foursquare each night",
            text=f"{_many(total['requests'], 'request')} in all.",
        ),
        of_nights(
            shown,
            lambda n: (("requests", n.busiest),),
            title="The busiest import, and the budget",
            text=f"The line is what Foursquare allows each user in an hour: {BUDGET} requests. "
            f"No import made more than {busiest:,}.",
            limit=BUDGET,
        ),
        of_nights(
            shown,
            lambda n: (("minutes", n.minutes),),
            title="Minutes that the runs took",
            text=f"The longest night took {_many(round(longest), 'minute')}.",
        ),
    ]


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
