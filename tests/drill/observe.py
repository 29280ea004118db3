"""Snapshots of both sides: Foursquare's lists and the tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drill.database import Database
from drill.foursquare import Foursquare, Person, Place


@dataclass(frozen=True, slots=True)
class Row:
    """A check-in stored with its id."""

    times: int
    """Number of rows."""
    missing_since: datetime | None
    deleted_at: datetime | None
    held_back: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """The content of the tables for one user."""

    rows: dict[str, Row]
    quarantined: frozenset[str]
    state: str = "ok"
    cursor: datetime | None = None
    started_at: datetime | None = None
    """Of an unfinished walk."""
    since: datetime | None = None
    checked_at: datetime | None = None
    verified_at: datetime | None = None
    """Time of the oldest comparison of any span."""
    ended_at: datetime | None = None
    """Time at which it was last seen where the list ends."""


@dataclass(frozen=True, slots=True)
class Look:
    """Both sides, by user id."""

    listed: dict[int, dict[str, Place]]
    there: dict[int, set[str]]
    stored: dict[int, Stored]

    @property
    def gone(self) -> set[str]:
        """The ids of all rows marked as deleted."""
        all_of_them = (stored.rows.items() for stored in self.stored.values())
        return {item_id for rows in all_of_them for item_id, row in rows if row.deleted_at}


def look(foursquare: Foursquare, database: Database) -> Look:
    """Return both sides as they are now."""
    people = foursquare.people
    return Look(
        {person.id: foursquare.listed(person) for person in people},
        {person.id: foursquare.there(person) for person in people},
        stored(database, people),
    )


def stored(database: Database, people: list[Person]) -> dict[int, Stored]:
    """Return the tables' side, by user id."""
    rows: dict[int, dict[str, Row]] = {person.id: {} for person in people}
    quarantined: dict[int, set[str]] = {person.id: set() for person in people}
    states: dict[int, tuple[Any, ...]] = {}
    for user, item_id, *row in database.rows(
        """
        SELECT user_id, foursquare_id, count(*), max(missing_since), max(deleted_at),
               bool_or(withheld_since IS NOT NULL)
          FROM checkins WHERE foursquare_id IS NOT NULL GROUP BY 1, 2
        """
    ):
        rows[user][item_id] = Row(*row)
    for user, item_id in database.rows("SELECT user_id, foursquare_id FROM quarantined_checkins"):
        quarantined[user].add(item_id)
    for user, *state in database.rows(
        """
        SELECT user_id, state, cursor, walk_started_at, walk_since, last_checked_at,
               (SELECT min(verified_at) FROM verified_spans AS v WHERE v.user_id = s.user_id),
               (SELECT verified_at FROM verified_spans AS v
                 WHERE v.user_id = s.user_id AND v.oldest IS NULL)
          FROM sync_state AS s
        """
    ):
        states[user] = tuple(state)
    return {
        person.id: Stored(
            rows[person.id], frozenset(quarantined[person.id]), *states.get(person.id, ())
        )
        for person in people
    }
