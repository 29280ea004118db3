"""Checks after each night, and after everything has had the time to settle."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from checkinsync.store import lease_owner
from drill.codes import CODES, FULL, REFUSED, WRONG, allowed_codes, outcome_of, traces, unseen_codes
from drill.database import Database
from drill.foursquare import (
    BRAKES,
    UNNAMED,
    Foursquare,
    Person,
    Place,
    content,
)
from drill.observe import Look, Stored
from drill.play import KEY, Ended, Played
from drill.script import DISK

KINDS = (
    "lost", "doubled", "wrongly gone", "blocked", "told", "unseen", "costly", "exit code",
    "left open", "bug", "woke up and wrote",
)  # fmt: skip
"""The kinds of violations."""

GAP = 8
OVERLAP = timedelta(days=14)
SKEWED = timedelta(minutes=15)
"""More than the clocks of two hosts differ by."""
TWENTY_HOURS = timedelta(hours=20)
A_WEEK = timedelta(days=6.5)
"""After so long, what follows the end of the list is asked for, too: of a missing check-in, or
where Foursquare's count is too high to tell that this is the end."""

LOOKED_FOR = timedelta(days=3)
"""Time for which a check-in that exists may be marked as missing: below a short page that looked
like the end of the list."""

LATE_AFTER = timedelta(days=24)
"""Age of a comparison that shows that slices were missed."""


NOTICES = (
    "this machine's clock and the database's",  # the drill's clock is handed in
    "now in quarantine",
    "must log in to Foursquare again",
    "no user was imported",
    "has not been compared for more than 30",
)
"""Notices, which a good night may print; tests of their own hold when it has to."""


def unexpected(said: str) -> str:
    """Return the lines that are no notice."""
    return "\n".join(
        line for line in said.splitlines() if not any(notice in line for notice in NOTICES)
    )


@dataclass(frozen=True, slots=True)
class Violation:
    """A violated rule."""

    kind: str
    night: int
    text: str


@dataclass(frozen=True)
class Checks:
    """Checks one world after its nights."""

    foursquare: Foursquare
    database: Database
    whole: bool = True
    """There are enough calm nights for the promises about caught-up users to hold."""
    ordered: set[str] = field(default_factory=set)
    """Check-ins marked as deleted by an operator, whatever was held back."""

    def after(self, played: Played, at: datetime, before: Look, after: Look) -> Iterator[Violation]:
        """Yield the violations of one night; `at`: when it began."""
        found = [
            *self._lost(at, before, after),
            *self._doubled(at, before, after),
            *self._wrongly_gone(before, after),
            *self._blocked(played, at, after),
            *self._told(played),
            *self._codes(played, at, after),
            *self._left_open(played),
            *self._bugs(played),
            *self._woke_up(played),
            *self._costly(played, at, before),
        ]
        for kind, text in found:
            yield Violation(kind, played.night.number, text + self._known(text))

    def _known(self, text: str) -> str:
        """Return what both sides know of the first check-in that a text names."""
        named = re.search(r"[0-9a-f]{24}", text)
        if named is None:
            return ""
        rows = self.database.rows(
            """
            SELECT to_jsonb(c) - 'raw' - 'fingerprint' - 'venue_name' - 'city' - 'country'
              FROM checkins AS c WHERE foursquare_id = %s
            """,
            named[0],
        )
        told = [str({k: v for k, v in row[0].items() if v is not None}) for row in rows]
        for person in self.foursquare.people:
            entry = person.account.entry(named[0])
            if entry is not None:
                times = (entry.created_at, entry.entered_at)
                told.append(f"there: {[str(datetime.fromtimestamp(t, UTC)) for t in times]}")
            if named[0] in person.deleted:
                told.append(str(person.deleted[named[0]]))
        return "; ".join(["", *told])

    # --- nothing lost, nothing doubled ------------------------------------------------------------

    def _lost(self, at: datetime, before: Look, after: Look) -> Iterator[tuple[str, str]]:
        for person in self.foursquare.people:
            was, now = before.stored[person.id], after.stored[person.id]
            vanished = was.rows.keys() - now.rows.keys()
            if vanished:
                yield "lost", f"user {person.id}: rows vanished: {some(vanished)}"
            if not well(now, at):
                continue
            shown = before.listed[person.id].items() & after.listed[person.id].items()
            expected = {i for i, place in shown if self._due(person, i, place, was, at)}
            missing = {i for i in expected - UNNAMED if not _kept(i, now)}
            if missing:
                yield "lost", f"user {person.id}: not stored: {some(missing)} of {len(expected)}"
            nameless = sum(i in UNNAMED for i in expected)
            if nameless > sum(i.startswith("sha256:") for i in now.quarantined):
                yield "lost", f"user {person.id}: items without an id are not in quarantine"

    def _due(self, person: Person, item_id: str, place: Place, was: Stored, at: datetime) -> bool:
        """Return True if a walk that ended this night must have seen the check-in."""
        by_id = self.foursquare.server.switches.order == "id"
        key = place.entered_at if by_id else place.created_at
        placed = person.placed.get(item_id, 0.0)
        if placed >= at.timestamp():
            return False
        if was.started_at is None:
            return was.cursor is None or key >= (was.cursor - OVERLAP).timestamp()
        if key >= (was.started_at - OVERLAP).timestamp():
            return True
        inside = was.since is None or key >= was.since.timestamp()
        return inside and placed < (was.started_at - SKEWED).timestamp()

    def _doubled(self, at: datetime, before: Look, after: Look) -> Iterator[tuple[str, str]]:
        for person in self.foursquare.people:
            twice = {i for i, row in after.stored[person.id].rows.items() if row.times > 1}
            if twice:
                yield "doubled", f"user {person.id}: {some(twice)}"
            if well(after.stored[person.id], at):
                twins = self._twins(person.id, at) & before.listed[person.id].keys()
                due = {
                    i
                    for i in twins & after.listed[person.id].keys()
                    if self._due(
                        person, i, after.listed[person.id][i], before.stored[person.id], at
                    )
                }
                if due:
                    yield "doubled", f"user {person.id}: rows without an id beside {some(due)}"

    def _twins(self, user: int, at: datetime) -> set[str]:
        """Return the check-ins that the application has stored, too, in a row without an id."""
        rows = self.database.rows(
            """
            SELECT c.foursquare_id
              FROM checkins AS a
              JOIN checkins AS c ON c.user_id = a.user_id AND c.venue_id = a.venue_id
                   AND date_trunc('second', c.checkin_date) = date_trunc('second', a.checkin_date)
             WHERE a.user_id = %s AND a.foursquare_id IS NULL AND c.foursquare_id IS NOT NULL
            """,
            user,
        )
        del at
        return {row[0] for row in rows}

    # --- deleted ----------------------------------------------------------------------------------

    def _wrongly_gone(self, before: Look, after: Look) -> Iterator[tuple[str, str]]:
        for person in self.foursquare.people:
            was, now = before.stored[person.id], after.stored[person.id]
            there = before.listed[person.id].keys() | before.there[person.id]
            for item_id, row in now.rows.items():
                old = was.rows.get(item_id)
                if row.deleted_at is None or (old and old.deleted_at == row.deleted_at):
                    continue
                name = f"user {person.id}: {item_id}"
                if item_id in there and not self._beyond_finding(person, item_id):
                    yield "wrongly gone", f"{name} is there"
                since = row.missing_since or (old.missing_since if old else None)
                if since is None or row.deleted_at - since < TWENTY_HOURS:
                    yield "wrongly gone", f"{name} after less than 20 hours (missing since {since})"
            yield from self._brake(person, now, but=self.ordered)

    def _beyond_finding(self, person: Person, item_id: str) -> bool:
        """Return True if only a slice can show that a check-in exists: its time was edited by
        years, and there is no endpoint for single check-ins."""
        return item_id in person.moved and not self.foursquare.server.switches.checkin_by_id

    def _brake(self, person: Person, now: Stored, *, but: set[str]) -> Iterator[tuple[str, str]]:
        believed = (row.deleted_at for item_id, row in now.rows.items() if item_id not in but)
        gone = sorted(at for at in believed if at)
        share, floor = BRAKES[self.foursquare.server.switches.checkin_by_id]
        most = max(floor, int(share * len(now.rows)))
        for first, last in zip(gone, gone[most:], strict=False):
            if last - first < timedelta(days=30):
                yield "wrongly gone", f"user {person.id}: more than {most} within 30 days"
                return

    # --- blocked, leaked, left open ---------------------------------------------------------------

    def _blocked(self, played: Played, at: datetime, after: Look) -> Iterator[tuple[str, str]]:
        for user, owner in self.database.rows(
            """
            SELECT user_id, owner FROM import_leases
             WHERE expires_at BETWEEN now() AND now() + interval '10 minutes'
            """
        ):
            if not lease_owner.is_dead(owner):
                yield "blocked", f"user {user}: a living lease of {owner}"
        if "hung" in played.deeds:
            yield "blocked", "a process did not come to its end"
        if not played.undisturbed:
            return
        words = played.ended[-1].words
        since = at - TWENTY_HOURS if "--max-age" in words else at
        for person in self.foursquare.people:
            meant = words[0] == "orchestrate" or words[1] == str(person.id)
            stored = after.stored[person.id]
            if meant and stored.state != "needs_reauth" and not well(stored, since):
                yield "blocked", f"user {person.id} was not imported: {stored.state}"

    def _left_open(self, played: Played) -> Iterator[tuple[str, str]]:
        if not played.undisturbed or played.ended[-1].words[0] != "orchestrate":
            return
        for (run,) in self.database.rows("SELECT id FROM sync_runs WHERE outcome = 'running'"):
            yield "left open", f"run {run}"
        for job, user in self.database.rows(
            """
            SELECT j.id, j.user_id FROM import_jobs AS j JOIN sync_state AS s USING (user_id)
             WHERE j.status IN ('pending', 'running') AND s.state <> 'needs_reauth'
            """
        ):
            yield "left open", f"job {job} of user {user}"
        if self.database.has("checkinsync_queue.procrastinate_jobs"):
            for job in self.database.rows(
                """
                SELECT id, args::text FROM checkinsync_queue.procrastinate_jobs
                 WHERE status <> 'doing'
                """
            ):
                yield "left open", f"in the queue: {job}"

    def _told(self, played: Played) -> Iterator[tuple[str, str]]:
        secrets = {KEY, *self.foursquare.world.accounts, *self.foursquare.world.revoked}
        texts = {" ".join(e.words): e.said + e.log for e in played.ended}
        texts |= {
            table: "\n".join(row[0] for row in self.database.rows(query))
            for table, query in TEXTS.items()
            if self.database.has(table)
        }
        for where, text in texts.items():
            if any(secret in text for secret in secrets):
                yield "told", f"a secret stands in {where}"

    # --- how it ended -----------------------------------------------------------------------------

    def _codes(self, played: Played, at: datetime, after: Look) -> Iterator[tuple[str, str]]:
        people = self.foursquare.people
        for ended in played.ended:
            allowed = allowed_codes(played, ended)
            if any(person.token in self.foursquare.world.revoked for person in people):
                allowed |= REFUSED
            if ended.code not in allowed:
                yield (
                    "exit code",
                    f"{' '.join(ended.words)}: {ended.code}, not one of {sorted(allowed)}: "
                    f"{ended.said[-400:]}",
                )
            outcome = outcome_of(played, ended)
            if outcome in CODES and ended.code not in (CODES[outcome], *unseen_codes(ended)):
                yield "exit code", f"{ended.code} after the outcome {outcome}"
            said = unexpected(ended.said)
            if ended.code == 0 and ended.words[0] in {"orchestrate", "worker"} and said:
                yield "told", f"a good night says {said[:200]!r}"
        if all(ended.code == 0 for ended in played.ended) and not played.night.beside:
            runs = [ended for ended in played.ended if ended.words[0] == "orchestrate"]
            for person in people if runs else ():
                stored = after.stored[person.id]
                if stored.state != "needs_reauth" and not well(stored, at - TWENTY_HOURS):
                    yield "exit code", f"0, but user {person.id} is not done: {stored.state}"

    @staticmethod
    def _bugs(played: Played) -> Iterator[tuple[str, str]]:
        for ended in played.ended:
            for trace in traces(ended):
                if not (FULL in trace and any(deed in DISK for deed in played.deeds)):
                    yield "bug", f"{' '.join(ended.words)}: {ended.said}{trace[-1500:]}"
            refused = any(fault.kind in WRONG for fault in played.night.faults)
            if ended.code == 1 and not refused and not traces(ended):
                yield "bug", f"{' '.join(ended.words)}: {ended.said}"

    @staticmethod
    def _woke_up(played: Played) -> Iterator[tuple[str, str]]:
        for told in played.slept:
            changed = set(told.after) ^ set(told.before)
            if changed:
                yield "woke up and wrote", some(sorted(map(str, changed)))

    def _costly(self, played: Played, at: datetime, before: Look) -> Iterator[tuple[str, str]]:
        switches = self.foursquare.server.switches
        if not (played.night.calm and self.whole) or switches.page_cap or switches.hide_every:
            return
        for person in self.foursquare.people:
            was = before.stored[person.id]
            if was.cursor is None or was.started_at is not None or was.state != "ok":
                continue
            looked_for = [r for r in was.rows.values() if r.missing_since and not r.deleted_at]
            late = was.verified_at is not None and was.verified_at < at - LATE_AFTER
            old = any(at - row.missing_since > A_WEEK for row in looked_for)
            doubted = any(row.held_back for row in looked_for)
            most = 2 + len(looked_for) + old + doubted + late + _missed(played, person.id)
            most += bool(switches.count_excess) and _end_is_old(was, at)
            asked = [r for r in self.foursquare.server.requests if r.token == person.token]
            if len(asked) > most:
                paths = [f"{r.path}?{r.params.get('offset')}" for r in asked]
                yield "costly", f"user {person.id}: {len(asked)} requests, not {most}: {paths[:8]}"

    # --- once all has settled ---------------------------------------------------------------------

    def settled(self, number: int, at: datetime, after: Look) -> Iterator[Violation]:
        """Yield what is not stored as it is at Foursquare, though slices have covered all of it."""
        for person in self.foursquare.people:
            stored = after.stored[person.id]
            if stored.state == "needs_reauth":
                continue
            rows = self._contents(person.id)
            for kind, text in self._unsettled(person, at, stored, rows):
                yield Violation(kind, number, f"user {person.id}: {text}{self._known(text)}")

    def verified(self, number: int, after: Look, ended: Ended) -> Iterator[Violation]:
        """Yield where `verify` finds gaps, or deletions are wrong, once deletions are accepted."""
        if any(stored.state == "needs_reauth" for stored in after.stored.values()):
            return
        refused = {p.id for p in self.foursquare.people if self._may_be_refused(p)}
        if ended.code != 0 and not (refused and ended.code == GAP):
            text = f"{' '.join(ended.words)}: {ended.code}: {ended.said[-1500:]}"
            yield Violation("exit code", number, text)
        for person in self.foursquare.people:
            rows = after.stored[person.id].rows
            gone = {i for i, row in rows.items() if row.deleted_at}
            unseen = (person.deleted.keys() & rows.keys()) - gone
            if unseen and person.id not in refused:
                yield Violation("unseen", number, f"user {person.id}: deletions: {some(unseen)}")
            wrongly = gone & self.foursquare.listed(person).keys()
            if wrongly:
                yield Violation("wrongly gone", number, f"user {person.id}: {some(wrongly)}")

    def _may_be_refused(self, person: Person) -> bool:
        """Return True if an operator's confirmation is not enough: Foursquare answers no questions,
        and its list is empty, counts more than it shows, or shows items that may be anything."""
        switches = self.foursquare.server.switches
        unsure = switches.count_excess or switches.hide_every or person.odd
        return not switches.checkin_by_id and bool(unsure or not self.foursquare.listed(person))

    def _unsettled(
        self, person: Person, now: datetime, stored: Stored, rows: dict[str, tuple[object, ...]]
    ) -> Iterator[tuple[str, str]]:
        listed = self.foursquare.listed(person).keys() - UNNAMED
        absent = {i for i in listed if not _kept(i, stored)}
        if absent:
            yield "lost", f"in the end not stored: {some(absent)}"
        since = {i: stored.rows[i].missing_since for i in listed if i in stored.rows}
        marked = {i for i, at in since.items() if at and now - at > LOOKED_FOR}
        if marked:
            yield "wrongly gone", f"in the end still missed: {some(marked)}"
        gone = {i for i, row in stored.rows.items() if row.deleted_at}
        by_id = self.foursquare.server.switches.checkin_by_id
        sure = {i for i, d in person.deleted.items() if not d.held and (by_id or d.dated)}
        unseen = (sure & stored.rows.keys()) - gone
        if (
            unseen and not person.doubted and not person.odd
        ):  # beside items without ids no deletion is certain
            yield "unseen", f"deletions: {some(unseen)}"
        entries = {entry.id: entry for entry in person.account.entries}
        other = {
            i: (rows[i], content(entries[i].item))
            for i in listed & rows.keys() - person.odd
            if rows[i] != content(entries[i].item)
        }
        if other:
            yield "unseen", f"edits of {len(other)}, such as {next(iter(other.items()))}"

    def _contents(self, user: int) -> dict[str, tuple[object, ...]]:
        rows = self.database.rows(
            """
            SELECT c.foursquare_id,
                   extract(epoch FROM date_trunc('second', c.checkin_date))::bigint, c.shout,
                   c.is_private,
                   (SELECT count(*) FROM checkin_photos AS p
                     WHERE p.checkin_id = c.id AND p.foursquare_photo_id IS NOT NULL)
              FROM checkins AS c WHERE c.user_id = %s AND c.foursquare_id IS NOT NULL
            """,
            user,
        )
        return {row[0]: row[1:] for row in rows}


TEXTS = {
    "import_jobs": "SELECT t::text FROM import_jobs AS t ORDER BY id DESC LIMIT 40",
    "sync_state": "SELECT t::text FROM sync_state AS t",
    "sync_runs": "SELECT t::text FROM sync_runs AS t ORDER BY id DESC LIMIT 4",
    "import_leases": "SELECT t::text FROM import_leases AS t",
    "quarantined_checkins": "SELECT problem FROM quarantined_checkins",
    "verified_spans": "SELECT t::text FROM verified_spans AS t",
    "checkinsync_queue.runs": "SELECT t::text FROM checkinsync_queue.runs AS t",
    "checkinsync_queue.users": "SELECT t::text FROM checkinsync_queue.users AS t",
}
"""Queries for the texts of the program's own tables, the latest rows of the large ones."""


def well(stored: Stored, at: datetime) -> bool:
    """Return True if a walk of this user has finished since then."""
    return stored.checked_at is not None and stored.checked_at >= at - SKEWED


def _end_is_old(stored: Stored, at: datetime) -> bool:
    """Return True if it was long ago that it was seen where the list ends."""
    return stored.ended_at is None or at - stored.ended_at > A_WEEK


def _kept(item_id: str, stored: Stored) -> bool:
    row = stored.rows.get(item_id)
    return (row is not None and row.deleted_at is None) or item_id in stored.quarantined


def some(names: set[str] | list[str]) -> str:
    """Return the number of names, and a few of them."""
    few = sorted(names)[:3]
    return f"{len(names)}: {', '.join(few)}{' …' if len(names) > len(few) else ''}"


def _missed(played: Played, user: int) -> int:
    """Return the number of requests that the list itself made necessary.

    A window whose first page ends with a check-in that was entered late needs a second page; a
    slice misses its place if more has changed than its margin allows for.
    """
    lines = [line for ended in played.ended for line in ended.log.splitlines()]
    found = [json.loads(line) for line in lines if '"slice_missed"' in line or '"page": 2' in line]
    events = {event["event"] for event in found if event["user_id"] == user}
    return len(events)
