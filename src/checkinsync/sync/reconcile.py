"""Compares a page of check-ins with the stored rows: what to add, adopt, change and merge; pure.

The only place that decides this. A row without an id is the application's: its check-in adopts it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from checkinsync.model.changes import Changes, Rewrite, Stored, Twin
from checkinsync.model.checkin import Checkin

MICROSECOND = timedelta(microseconds=1)


def reconcile(
    shown: Iterable[Checkin], stored: Iterable[Stored], without_id: Sequence[Stored]
) -> Changes:
    """Compare check-ins shown with the rows of their ids and with the application's rows.

    `without_id`: the rows without an id in the seconds of these check-ins.
    """
    checkins = once(shown)
    rows = {row.foursquare_id: row for row in stored}
    kept = [Rewrite(rows[c.id].row, c) for c in checkins if c.id in rows]
    missing = [c for c in checkins if c.id not in rows]

    adopt, spare = adopted(missing, without_id)
    taken_over = {rewrite.checkin.id for rewrite in adopt}
    change = [r for r in kept if rows[r.checkin.id].fingerprint != r.checkin.fingerprint]
    return Changes(
        add=tuple(c for c in missing if c.id not in taken_over),
        adopt=tuple(adopt),
        change=tuple(change),
        merge=tuple(twins([*kept, *adopt], spare)),
        restore=tuple(_restored(kept, rows)),
        unchanged=len(kept) - len(change),
    )


def once(shown: Iterable[Checkin]) -> list[Checkin]:
    """Return each check-in once: of several with one id the first, which stands highest in the
    list."""
    first: dict[str, Checkin] = {}
    for checkin in shown:
        first.setdefault(checkin.id, checkin)
    return list(first.values())


def _restored(kept: Iterable[Rewrite], rows: Mapping[str | None, Stored]) -> Iterator[Stored]:
    for known in kept:
        row = rows[known.checkin.id]
        if row.doubted and row.fingerprint == known.checkin.fingerprint:
            yield row


def adopted(
    missing: Sequence[Checkin], without_id: Sequence[Stored]
) -> tuple[list[Rewrite], list[Stored]]:
    """Pair check-ins with the application's rows: by venue and second, else the second's only row.

    Return the pairs and the remaining rows.
    """
    spare = list(without_id)
    pairs: list[Rewrite] = []
    for checkin in missing:
        exact = [row for row in spare if _same_venue_and_second(row, checkin)]
        if exact:
            pairs.append(Rewrite(exact[0].row, checkin))
            spare.remove(exact[0])
    paired = {pair.checkin.id for pair in pairs}
    for checkin in missing:
        then = [row for row in without_id if row.second == checkin.created_at]
        if checkin.id not in paired and len(then) == 1 and then[0] in spare:
            pairs.append(Rewrite(then[0].row, checkin))
            spare.remove(then[0])
    return pairs, spare


def twins(kept: Sequence[Rewrite], spare: Sequence[Stored]) -> list[Twin]:
    """Return the rows without an id that duplicate a check-in which has its own row."""
    found = []
    for row in spare:
        then = [r for r in kept if r.checkin.created_at == row.second]
        exact = [r for r in then if r.checkin.venue_id == row.venue_id]
        alone = sum(other.second == row.second for other in spare) == 1
        if exact:
            found.append(Twin(row.row, exact[0].row))
        elif len(then) == 1 and alone:
            found.append(Twin(row.row, then[0].row))
    return found


def _same_venue_and_second(row: Stored, checkin: Checkin) -> bool:
    return row.venue_id == checkin.venue_id and row.second == checkin.created_at


def moments(changes: Changes, stored: Iterable[Stored]) -> dict[str, datetime]:
    """Return the `checkin_date` of each check-in to be written, by id: unique per venue.

    `stored`: all rows in the seconds of these check-ins. The application's unique constraint on
    (user, venue, date) refuses two check-ins at one venue in one second: each further one gets
    another microsecond. A row whose second stays the same keeps its microseconds.
    """
    replaced = {rewrite.row: rewrite.checkin for rewrite in changes.rewrites}
    merged = {twin.row for twin in changes.merge}
    taken: dict[str | None, set[datetime]] = defaultdict(set)
    own: dict[int, Stored] = {}
    for row in stored:
        own[row.row] = row
        if row.row not in merged:
            taken[row.venue_id].add(row.checkin_date)

    chosen: dict[str, datetime] = {}
    for number, checkin in replaced.items():
        now = own.get(number)
        if now is not None and _same_venue_and_second(now, checkin):
            chosen[checkin.id] = now.checkin_date
    for checkin in [*replaced.values(), *changes.add]:
        if checkin.id not in chosen:
            chosen[checkin.id] = _first_free(checkin, taken[checkin.venue_id])
            taken[checkin.venue_id].add(chosen[checkin.id])
    return chosen


def _first_free(checkin: Checkin, taken: set[datetime]) -> datetime:
    moment = checkin.created_at
    while checkin.venue_id is not None and moment in taken:
        moment += MICROSECOND
    return moment
