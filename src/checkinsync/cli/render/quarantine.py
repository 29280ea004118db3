"""The items in quarantine, as text and as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkinsync.cli.render.table import table
from checkinsync.cli.terminal import iso
from checkinsync.store.quarantine import Quarantined


def as_text(items: Sequence[Quarantined]) -> str:
    """A line per item; the reason comes last, since it may be long."""
    if not items:
        return "nothing is in quarantine"
    head = ("user", "name", "check-in", "since (UTC)", "reason")
    rows = [
        (item.user.id, item.user.name, item.foursquare_id, item.first_seen_at, item.problem)
        for item in items
    ]
    return table(head, rows)


def as_json(items: Sequence[Quarantined]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "items": [
            {
                "user_id": item.user.id,
                "foursquare_user_id": item.user.foursquare_user_id,
                "name": item.user.name,
                "id": item.foursquare_id,
                "reason": item.problem,
                "since": iso(item.first_seen_at),
                "last_tried_at": iso(item.last_tried_at),
            }
            for item in items
        ]
    }
