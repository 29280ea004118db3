"""Saves a page in the caller's transaction: one bad check-in stops itself, not its page.

It decides nothing (that is `reconcile`) and commits nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Container, Sequence
from contextlib import nullcontext, suppress
from datetime import datetime

from checkinsync.errors import Duplicate, ValueRefused
from checkinsync.foursquare import parse
from checkinsync.model.changes import Changes, Saved, Stored
from checkinsync.model.checkin import Checkin, Item, Unreadable
from checkinsync.model.span import Borders, Span
from checkinsync.store import checkins, deletions, photos, quarantine
from checkinsync.store import revisions as revised
from checkinsync.store.checkins import Facing, Shown
from checkinsync.store.pool import Connection, savepoint
from checkinsync.sync.deletions import LATELY, judge, unseen
from checkinsync.sync.reconcile import moments, reconcile
from checkinsync.sync.revisions import revisions

ROUNDS = 5
"""Rounds of comparing and writing while rows of the application come in the way of ours."""

log = logging.getLogger(__name__)


def save_page(
    conn: Connection,
    user_id: int,
    items: Sequence[Item],
    *,
    now: datetime,
    span: Span | None = None,
    known: Container[str] = (),
) -> Saved:
    """Store what a page shows, whatever its age; quarantine what can't be stored.

    `span`: the stretch that the page shows completely; what is stored inside and not shown is
    marked as missing. `known`: keys that pages above have shown already; of several items with one
    id the first counts, which stands highest in the list.
    """
    shown = {item.key for item in items}
    readable = [i for i in items if isinstance(i, Checkin) and i.key not in known]
    bad = [i for i in items if isinstance(i, Unreadable) and i.key not in known]
    met = _facing(conn, user_id, readable, span.borders(now=now) if span else None, shown)
    before = _in_span(conn, user_id, span, now=now) if span and met.others else []
    saved, refused = _save(conn, user_id, readable, met.rows, now=now)
    saved += _quarantine(conn, user_id, [*bad, *refused], now=now)
    if met.quarantined:
        fine = {checkin.id for checkin in readable} - {item.key for item in refused}
        quarantine.free(conn, user_id, sorted(fine))
    if span:
        _note_unseen(conn, user_id, shown, before, span, now=now)
    return saved


def mark_unshown(
    conn: Connection, user_id: int, shown: Collection[str], span: Span, *, now: datetime
) -> None:
    """Mark what a stretch does not show, given the keys of all that it shows: the end of a list,
    or pages that join."""
    if _facing(conn, user_id, (), span.borders(now=now), shown).others:
        before = _in_span(conn, user_id, span, now=now)
        _note_unseen(conn, user_id, shown, before, span, now=now)


def _in_span(conn: Connection, user_id: int, span: Span, *, now: datetime) -> list[Stored]:
    return deletions.in_span(conn, user_id, span.borders(now=now))


def as_shown(
    conn: Connection,
    user_id: int,
    items: Sequence[Item],
    span: Span | None,
    *,
    now: datetime,
    known: Container[str],
) -> Saved | None:
    """Return what `save_page` would, if there is nothing to be written: the page is stored exactly
    as it is shown. None: it is not, or that is not sure."""
    page = shown_as(user_id, items, span, now=now)
    if page is None or not checkins.as_stored(conn, [page]):
        return None
    return Saved(unchanged=sum(item.key not in known for item in items))


def shown_as(
    user_id: int, items: Sequence[Item], span: Span | None, *, now: datetime
) -> Shown | None:
    """Return a page to be compared with what is stored; None where that has to be done item by
    item."""
    page = [item for item in items if isinstance(item, Checkin)]
    if span is None or len({checkin.id for checkin in page}) < len(items) or not _is_ascii(page):
        return None
    return Shown(user_id, page, span.borders(now=now))


def _note_unseen(
    conn: Connection,
    user_id: int,
    shown: Collection[str],
    before: Sequence[Stored],
    span: Span,
    *,
    now: datetime,
) -> None:
    """Mark what was stored and not shown; nothing is asked of the database where all was."""
    missed = unseen(shown, before, span, now=now)
    if missed.rows:
        recent = deletions.recent(conn, user_id, since=now - LATELY, now=now)
        deletions.note(conn, judge(missed, recent, now=now), now=now)


def _quarantine(
    conn: Connection, user_id: int, items: Sequence[Unreadable], *, now: datetime
) -> Saved:
    newly = quarantine.put(conn, user_id, items, now=now)
    for item in items:
        fields = {"user_id": user_id, "id": item.key, "reason": item.problem}
        log.info("checkin_quarantined", extra=fields)
    return Saved(quarantined=len(items), newly_quarantined=newly)


def _save(
    conn: Connection,
    user_id: int,
    shown: Sequence[Checkin],
    near: Sequence[Stored] | None,
    *,
    now: datetime,
) -> tuple[Saved, list[Unreadable]]:
    """Store all at once; one by one where the database refuses a value: only that one stays out.

    Raises ValueRefused where it refuses each of several: then the values are not to blame.
    """
    if not shown:
        return Saved(), []
    with suppress(ValueRefused):
        return _store(conn, user_id, shown, near, now=now), []
    saved = Saved()
    refused: list[Unreadable] = []
    for checkin in shown:
        try:
            saved += _store(conn, user_id, [checkin], None, now=now)
        except ValueRefused as error:
            refused.append(Unreadable(checkin.id, checkin.raw, str(error)))
            if len(refused) == len(shown) > 1:
                raise
    return saved, refused


def _store(
    conn: Connection,
    user_id: int,
    shown: Sequence[Checkin],
    near: Sequence[Stored] | None,
    *,
    now: datetime,
) -> Saved:
    """Compare and write, and look again where another row has come in the way; all of it is undone
    if the database refuses a value. `near`: the rows facing these check-ins, if they were read."""
    for _ in range(ROUNDS):
        near = _near(conn, user_id, shown) if near is None else near
        changes = _changes(shown, near)
        if not changes.writes:
            return Saved(unchanged=changes.unchanged)
        with suppress(Duplicate), savepoint(conn):
            _write(conn, user_id, changes, near, now=now)
            rewritten, returned = len(changes.rewrites), changes.returned
            return Saved(len(changes.add), rewritten + returned, changes.unchanged - returned)
        near = None
    raise ValueRefused(
        f"check-in {shown[0].id} can't be stored: another row takes its place each time; "
        "is another program writing this user's check-ins?"
    )


def compare(conn: Connection, user_id: int, shown: Sequence[Checkin]) -> Changes:
    """Return the changes that these check-ins mean; writes nothing."""
    return _changes(shown, _near(conn, user_id, shown))


def _changes(shown: Sequence[Checkin], near: Sequence[Stored]) -> Changes:
    return reconcile(shown, near, [row for row in near if row.foursquare_id is None])


def _near(conn: Connection, user_id: int, shown: Sequence[Checkin]) -> list[Stored]:
    """Return the rows of these check-ins and of their seconds. Raises ValueRefused."""
    with nullcontext() if _is_ascii(shown) else savepoint(conn):
        return checkins.facing(conn, user_id, shown).rows


def _facing(
    conn: Connection,
    user_id: int,
    readable: Sequence[Checkin],
    borders: Borders | None,
    shown: Collection[str],
) -> Facing:
    """Return what is stored where a page goes. Where the database refuses an id, it will refuse the
    page, too, and each check-in is looked for by itself."""
    sure = [key for key in shown if key.isascii()]
    try:
        with nullcontext() if _is_ascii(readable) else savepoint(conn):
            return checkins.facing(conn, user_id, readable, borders=borders, shown=sure)
    except ValueRefused:
        return Facing([], others=True, quarantined=True)


def _is_ascii(shown: Sequence[Checkin]) -> bool:
    """Return False if the database's encoding may lack a character of an id, and refuse it."""
    return all(checkin.id.isascii() for checkin in shown)


def _write(
    conn: Connection, user_id: int, changes: Changes, near: Sequence[Stored], *, now: datetime
) -> None:
    """Write the changes."""
    checkins.merge(conn, changes.merge)
    if changes.restore:
        deletions.clear(conn, [row.row for row in changes.restore])
    if changes.rewrites:
        _note_revisions(conn, user_id, changes, now=now)
    places = moments(changes, near)
    checkins.rewrite(conn, changes.rewrites, moments=places, now=now)
    checkins.add(conn, user_id, changes.add, moments=places, now=now)
    rewritten = [rewrite.checkin for rewrite in changes.rewrites]
    photos.adopt(conn, user_id, rewritten)
    photos.save(conn, user_id, [*changes.add, *rewritten])


def _note_revisions(conn: Connection, user_id: int, changes: Changes, *, now: datetime) -> None:
    """Store what the rows were before, where the check-in was edited at Foursquare."""
    before = checkins.former(conn, [rewrite.row for rewrite in changes.rewrites])
    known = {row.row: parse.checkin(row.raw.encode()) for row in before if row.raw is not None}
    found = revisions(changes.rewrites, before, known)
    if found:
        revised.add(conn, user_id, found, at=now)
