"""Asks Foursquare about each check-in that was missed twice, before it is marked as deleted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus

from checkinsync.errors import FoursquareAway, RateLimited, RequestRefused, TokenRejected
from checkinsync.model.changes import Saved, Stored
from checkinsync.model.checkin import Checkin, Item
from checkinsync.model.span import Order
from checkinsync.store import deletions, sync_state, verified_spans
from checkinsync.sync.deletions import AGAIN_AFTER
from checkinsync.sync.save_page import save_page
from checkinsync.sync.session import Session

ASKED = 100
"""Check-ins that are asked for one by one, at most: the `checkins` endpoints have 500 an hour."""

UNANSWERED = 2
"""After so many check-ins without an answer the others are left for another night."""

NO_ENDPOINT = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
"""Statuses by which a server says, without an `errorType`, that it has no such endpoint."""

NO_ANSWER = (FoursquareAway, RateLimited, RequestRefused, TokenRejected)

log = logging.getLogger(__name__)


def confirm_missing(
    session: Session, *, unsure: Stored | None, check_stop: Callable[[], None]
) -> Saved:
    """Ask Foursquare about each check-in that was missed twice, and about `unsure`, if it is still
    missing. One without an answer stays marked, and is asked about again."""
    user_id = session.user.id
    with session.services.reading() as conn:
        asked = [(row, True) for row in deletions.missing_twice(conn, user_id, most=ASKED)]
        waiting = deletions.missing_before(conn, user_id, session.now - AGAIN_AFTER)
    asked += [(row, False) for row in waiting if unsure and row.row == unsure.row]
    saved, unanswered = Saved(), 0
    for row, sure in asked:
        check_stop()
        try:
            saved += confirm(session, row, sure=sure)
        except NO_ANSWER as reason:
            log.info("nothing_said", extra={"user_id": user_id, "reason": str(reason)})
            unanswered += 1
        if unanswered == UNANSWERED:
            break
    return saved


def confirm(session: Session, row: Stored, *, sure: bool) -> Saved:
    """Ask Foursquare about one check-in, and mark it as deleted or as there, as it says.

    `sure`: it was missed twice in stretches that had to show it. Where there is no such endpoint,
    it is deleted if it was not met anywhere else, either.
    """
    assert row.foursquare_id is not None
    item: Item | None = None
    try:
        item = session.client.checkin(row.foursquare_id)
        deleted = item is None
    except (RequestRefused, TokenRejected) as refusal:
        deleted = sure and _has_no_endpoint(refusal) and _was_met_nowhere(session, row)
        if sure and not deleted:
            raise
    return _settle(session, row, item, deleted=deleted)


def _was_met_nowhere(session: Session, row: Stored) -> bool:
    """Return True if the whole history was compared since it was first missed, or if the list is
    ordered by what never changes: its time may have been edited to anything, its place with it."""
    assert row.missing_since is not None
    with session.services.reading() as conn:
        if sync_state.slices(conn, session.user.id).order is Order.ENTERED:
            return True
        known = verified_spans.load(conn, session.user.id)
    return all(span.at > row.missing_since for span in known)


def _settle(session: Session, row: Stored, item: Item | None, *, deleted: bool) -> Saved:
    user_id, at = session.user.id, session.now
    with session.transaction() as conn:
        if deleted:
            log.info("checkin_gone", extra={"user_id": user_id, "id": row.foursquare_id})
            return Saved(gone=deletions.mark_deleted(conn, [row.row], at=at))
        deletions.clear(conn, [row.row])
        if isinstance(item, Checkin) and item.id == row.foursquare_id:
            return save_page(conn, user_id, [item], now=at)
        return Saved()


def _has_no_endpoint(refusal: RequestRefused | TokenRejected) -> bool:
    if isinstance(refusal, TokenRejected):
        return False
    if refusal.error_type is None:
        return refusal.status in NO_ENDPOINT
    return refusal.error_type == "endpoint_error" or refusal.status == HTTPStatus.METHOD_NOT_ALLOWED
