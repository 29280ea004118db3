"""The mail of a bad night: the run and its cause, users by reason, what to do; a page at most."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from checkinsync.cli.render.orchestrate import in_one_line
from checkinsync.cli.render.table import moment
from checkinsync.errors import (
    CheckinsyncError,
    DatabaseAway,
    DatabaseError,
    FoursquareAway,
    NoToken,
    TokenRejected,
    TokenUnreadable,
    sentence,
)
from checkinsync.model.user import User, one_line
from checkinsync.nightly.outages import DATABASE_NAME
from checkinsync.nightly.summary import RunRecord, RunSummary
from checkinsync.shutdown import EXIT_BASE
from checkinsync.sync.outcome import Failed, Imported, Outcome, RetryAt, Skipped

MOST_GROUPS = 8
MOST_NAMED = 20
"""Users who are named, in all groups together."""

LONGEST_NAME = 40
LONGEST_REASON = 300
"""Characters."""

VARIABLE = re.compile(r"[^\s(),;]*\d[^\s(),;]*(?: UTC)?")
"""A word with a digit in it: a number, an id, a time."""

CAUSES = {
    "suspect": "Foursquare rejected more than half of the tokens, so checkinsync itself may be "
    "sending them wrongly; no user is asked to log in again",
    "quota": "the application's daily quota at Foursquare is used up",
    "rate_limited": "the hourly rate limit of some users is used up",
    "interrupted": "the run was asked to stop",
}
"""By the outcome of the run; of other outcomes the users' reasons tell it."""

EXPLAINED = (TokenRejected, NoToken, TokenUnreadable, DatabaseError, FoursquareAway)
"""Errors that have an action of their own."""


@dataclass(frozen=True, slots=True)
class Group:
    """Users who were not imported for the same reason."""

    reason: str
    """Without what differs from user to user."""
    text: str
    """As it was said, if it was the same for all; else the reason."""
    users: tuple[User, ...]

    @property
    def size(self) -> int:
        """The number of users."""
        return len(self.users)


def groups(summary: RunSummary) -> list[Group]:
    """Return the users who were due and are not done, by reason; the largest group first."""
    users: defaultdict[str, list[User]] = defaultdict(list)
    texts: defaultdict[str, set[str]] = defaultdict(set)
    for report in summary.reports:
        if not isinstance(report.outcome, Imported):
            text = one_line(_reason(report.outcome))[:LONGEST_REASON]
            reason = _without_details(text, report.user)
            users[reason].append(report.user)
            texts[reason].add(text)
    found = [
        Group(reason, reason if len(texts[reason]) > 1 else min(texts[reason]), tuple(members))
        for reason, members in users.items()
    ]
    return sorted(found, key=lambda group: group.size, reverse=True)


def _reason(outcome: Outcome) -> str:
    match outcome:
        case Failed(error):
            return sentence(error)
        case Skipped(reason) | RetryAt(_, reason):
            return reason
    return ""


def _without_details(text: str, user: User) -> str:
    """Replace the user, numbers, ids and times, so that equal reasons read the same."""
    text = VARIABLE.sub("…", text.replace(str(user), "…"))
    return re.sub(r"…(?:[ ,]+…)+", "…", text)


def digest(found: Sequence[Group]) -> dict[str, int]:
    """Return what the next run compares its own trouble with: the users of each reason."""
    return {group.reason: group.size for group in found}


def is_known(summary: RunSummary, before: tuple[RunRecord, dict[str, int]] | None) -> bool:
    """Return True if the run before met the same trouble, so that its mail says all there is.

    That is the same outcome, no other reason, and no reason with more users. A rejected token is
    always news, since its user is not tried again; unless it is checkinsync that is suspected.
    """
    if before is None or before[0].outcome != summary.outcome:
        return False
    if summary.outcome != "suspect" and _failed(summary, TokenRejected):
        return False
    now = digest(groups(summary))
    return all(count <= before[1].get(reason, 0) for reason, count in now.items())


def again(summary: RunSummary, before: RunRecord) -> str:
    """The whole mail of a run that met the same trouble as the run before."""
    found = groups(summary)
    line = (
        f"run {summary.run_id} on {summary.host}: {summary.outcome}, the same trouble as in run "
        f"{before.id} ({moment(before.started_at)} UTC)"
    )
    if found:
        line += f": {_who(found[0])}: {found[0].text}"
    if len(found) > 1:
        line += f"; {len(found) - 1} more reasons"
    return f"{line}; help: {runbook(summary.exit_code)}"


def mail(summary: RunSummary, *, log_file: str | None) -> list[str]:
    """The lines of a bad night: at most 40, whatever the number of users and reasons."""
    found = groups(summary)
    lines = [in_one_line(summary)]
    if found:
        lines += [f"cause: {_cause(summary, found)}", *_by_reason(found), "what to do:"]
        lines += [f"  {action}" for action in _actions(summary)]
    log = f"log: {log_file}" if log_file else "no log file (set CHECKINSYNC_LOG_FILE)"
    return [*lines, f"host: {summary.host}; {log}; help: {runbook(summary.exit_code)}"]


def runbook(exit_code: int) -> str:
    """Return the page and the section that say what to do about an exit code."""
    code = exit_code if exit_code < EXIT_BASE else f"above {EXIT_BASE}"
    return f'docs/runbook.md, "Exit code {code}"'


def _cause(summary: RunSummary, found: Sequence[Group]) -> str:
    if summary.outcome in CAUSES:
        return CAUSES[summary.outcome]
    if summary.outcome != "away":
        most = 2 * found[0].size > sum(group.size for group in found)
        return found[0].text if most else f"{len(found)} different reasons"
    silent = _failed(summary, DatabaseAway) or any(
        group.reason.startswith(DATABASE_NAME) for group in found
    )
    return "the database could not be reached" if silent else "Foursquare did not answer"


def _by_reason(found: Sequence[Group]) -> Iterator[str]:
    """A line or two per group. Small groups are named first: they are the ones to look into."""
    named: dict[str, int] = {}
    for group in sorted(found, key=lambda group: group.size):
        named[group.reason] = min(group.size, MOST_NAMED - sum(named.values()))
    for group in found[:MOST_GROUPS]:
        yield f"{_who(group)}: {group.text}"
        names = [_name(user) for user in group.users[: named[group.reason]]]
        if names and group.size > 1:
            more = group.size - len(names)
            yield f"  {', '.join(names)}{f' and {more:,} more' if more else ''}"
    others = found[MOST_GROUPS:]
    if others:
        yield f"{sum(group.size for group in others):,} users: {len(others):,} other reasons"


def _who(group: Group) -> str:
    return _name(group.users[0]) if group.size == 1 else f"{group.size:,} users"


def _name(user: User) -> str:
    text = str(user)
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"


def _actions(summary: RunSummary) -> Iterator[str]:
    """Actions for the operator, a line for each kind of trouble."""
    if summary.outcome == "suspect":
        yield "check CHECKINSYNC_API_URL and CHECKINSYNC_TOKEN_IN: `checkinsync doctor --online`"
    elif rejected := _failed(summary, TokenRejected, NoToken):
        yield from _log_in(rejected)
    if _failed(summary, TokenUnreadable):
        yield "add the key that encrypted the tokens: `checkinsync doctor` says what is missing"
    if _failed(summary, DatabaseError):
        yield "look at the database: `checkinsync doctor`"
    if _failed(summary, FoursquareAway):
        yield "ask whether Foursquare answers now: `checkinsync doctor --online`"
    if any(isinstance(report.outcome, Skipped | RetryAt) for report in summary.reports):
        yield (
            "the next run goes on where this one stopped; to start one now: "
            "`checkinsync orchestrate --max-age 20h`"
        )
    if others := _failed(summary, Exception, but=EXPLAINED):
        user = others[0].id
        yield f"`checkinsync why {user}`; `checkinsync -v import-user {user}` tries again"
    if any(_is_bug(report.outcome) for report in summary.reports):
        yield "report the unexpected error, with its traceback from the log"


def _log_in(users: Sequence[User]) -> Iterator[str]:
    first = users[0].id
    commands = f"`checkinsync login {first}` or `checkinsync users set-token {first}`"
    if len(users) == 1:
        yield f"{_name(users[0])} must log in again: in the application, by {commands}"
    else:
        yield (
            f"{len(users):,} users must log in again: in the application, or each by a command "
            f"like {commands}; `checkinsync status --state needs_reauth` lists them"
        )


def _failed(
    summary: RunSummary, *kinds: type[Exception], but: tuple[type[Exception], ...] = ()
) -> list[User]:
    return [
        report.user
        for report in summary.reports
        if isinstance(report.outcome, Failed)
        and isinstance(report.outcome.error, kinds)
        and not isinstance(report.outcome.error, but)
    ]


def _is_bug(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and not isinstance(outcome.error, CheckinsyncError)
