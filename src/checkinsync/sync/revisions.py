"""Edits at Foursquare: the parts of a check-in that were changed, before and after; pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from checkinsync.model.changes import Former, Revision, Rewrite
from checkinsync.model.checkin import Checkin, Item


def revisions(
    rewrites: Iterable[Rewrite], before: Iterable[Former], known: Mapping[int, Item]
) -> list[Revision]:
    """Return the edits among rows that are written over, in the rows' order.

    `known`: the stored items, by row; of the application's rows only the venue is known. A row
    that is written anew though nothing was edited (by a new version of this program, say) gives no
    revision.
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
        what = edited(old, new)
        if what:
            before_, after = ({part: side.get(part) for part in what} for side in (old, new))
            found.append(Revision(rewrite.row, what, before_, after))
    return found


def edited(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the parts that differ; one may be missing on either side."""
    return tuple(part for part in {**old, **new} if old.get(part) != new.get(part))


def parts(checkin: Checkin) -> dict[str, Any]:
    """Return the parts of a check-in that people edit, fit for JSON, without counters.

    Those without a column (`with`, `event`, `sticker`, …) go by Foursquare's names.
    """
    extras: dict[str, Any] = json.loads(checkin.extras)
    return extras | {
        "shout": checkin.shout,
        "time": {
            "created_at": checkin.created_at.isoformat(),
            "time_zone": checkin.time_zone,
            "time_zone_offset": checkin.time_zone_offset,
        },
        "photos": sorted([photo.id, photo.visibility or ""] for photo in checkin.photos),
        "private": checkin.is_private,
        "visibility": checkin.visibility,
        "venue": {
            "id": checkin.venue_id,
            "name": checkin.venue_name,
            "category": checkin.venue_category,
            "latitude": _number(checkin.latitude),
            "longitude": _number(checkin.longitude),
            "city": checkin.city,
            "country": checkin.country,
        },
        "kind": checkin.kind,
    }


def _number(degrees: Decimal | None) -> float | None:
    return None if degrees is None else float(degrees)


def _venue_only(row: Former, checkin: Checkin) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return both venues if they differ: the application's was merged into another one since."""
    if row.venue_id == checkin.venue_id:
        return {}, {}
    old = {"id": row.venue_id, "name": row.venue_name}
    return {"venue": old}, {"venue": {"id": checkin.venue_id, "name": checkin.venue_name}}
