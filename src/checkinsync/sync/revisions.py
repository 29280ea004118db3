"""Revisions: the parts of a check-in that were edited at Foursquare, before and after; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from checkinsync.model.changes import Former, Revision, Rewrite
from checkinsync.model.checkin import Checkin, Item


def revisions(
    rewrites: Iterable[Rewrite], before: Iterable[Former], known: Mapping[int, Item]
) -> list[Revision]:
    """Return the edits among rows that are overwritten, in the rows' order.

    `known`: the stored items by row; of the application's rows only the venue is known. A row that
    is overwritten without an edit (by a new version of this program, say) is not a revision.
    """
    rows = {row.row: row for row in before}
    found = []
    for rewrite in rewrites:
        former = known.get(rewrite.row)
        if isinstance(former, Checkin):
            old, new = parts(former), parts(rewrite.checkin)
        elif rewrite.row in rows and rows[rewrite.row].raw is None:
            old, new = _venue_only(rows[rewrite.row], rewrite.checkin)
        else:
            continue
        what = tuple(part for part in old if old[part] != new[part])
        if what:
            before_, after = ({part: side[part] for part in what} for side in (old, new))
            found.append(Revision(rewrite.row, what, before_, after))
    return found


def parts(checkin: Checkin) -> dict[str, Any]:
    """Return the parts of a check-in that users edit, JSON-serialisable; no counters."""
    return {
        "shout": checkin.shout,
        "time": {
            "created_at": checkin.created_at.isoformat(),
            "time_zone": checkin.time_zone,
            "time_zone_offset": checkin.time_zone_offset,
        },
        "photos": sorted(photo.id for photo in checkin.photos),
        "private": checkin.is_private,
        "venue": {
            "id": checkin.venue_id,
            "name": checkin.venue_name,
            "category": checkin.venue_category,
            "latitude": checkin.latitude,
            "longitude": checkin.longitude,
            "city": checkin.city,
            "country": checkin.country,
        },
        "kind": checkin.kind,
    }


def _venue_only(row: Former, checkin: Checkin) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return both venues if they differ: the application's was merged into another one since."""
    if row.venue_id == checkin.venue_id:
        return {}, {}
    old = {"id": row.venue_id, "name": row.venue_name}
    return {"venue": old}, {"venue": {"id": checkin.venue_id, "name": checkin.venue_name}}
