"""All data of one user as a zip of JSON, to be handed to them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, BinaryIO

from checkinsync.errors import UserRemoved
from checkinsync.model.user import User
from checkinsync.store.pool import Pool, transaction
from checkinsync.users import queries
from checkinsync.users.queries import JsonText, Row

README = """\
What checkinsync keeps of {user}, as it was at {now:%Y-%m-%d %H:%M:%S} UTC.

profile.json      who they are; their tokens are left out
checkins.json     every check-in with all that is stored of it; "raw" is the item as Foursquare sent
                  it. "deleted" ones were deleted at Foursquare. Without a "foursquare_id": stored
                  by the web application, and not found at Foursquare since
photos.json       photos of check-ins, by their addresses
revisions.json    what changed in a check-in: the old values
quarantined.json  items from Foursquare that could not be stored as check-ins, as received
jobs.json         the imports
sync_state.json   how far they have come
verified.json     when each stretch of the history was last compared with Foursquare

Times are UTC. What the web application keeps of them in tables of its own is not in here.
"""


def export_user(user: User, out: BinaryIO, *, pool: Pool, now: datetime) -> dict[str, int]:
    """Write everything, as it is at one moment, into `out`; returns the rows of each kind.

    Raises UserRemoved, DatabaseAway; what was written by then is not a complete zip.
    """
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive,
        transaction(pool, snapshot=True) as conn,
    ):
        profile = queries.profile(conn, user.id)
        if profile is None:
            raise UserRemoved(f"{user} was removed meanwhile")
        about = README.format(user=user, now=now.astimezone(UTC))
        archive.writestr(_member("README.txt", now), about)
        archive.writestr(_member("profile.json", now), f"{_object(profile)}\n")
        return {
            kind: _write(archive, _member(f"{kind}.json", now), queries.export(conn, user.id, kind))
            for kind in queries.EXPORT
        }


def _member(name: str, now: datetime) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, now.astimezone(UTC).timetuple()[:6])
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o600 << 16
    return member


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, rows: Iterable[Row]) -> int:
    """Write a JSON list, a line per row, keeping none in memory; returns how many there were."""
    count = 0
    with archive.open(member, "w", force_zip64=True) as file:
        for count, row in enumerate(rows, start=1):
            file.write(f"{',' if count > 1 else '['}\n{_object(row)}".encode())
        file.write(b"\n]\n" if count else b"[]\n")
    return count


def _object(row: Row) -> str:
    return "{" + ", ".join(f"{json.dumps(k)}: {_value(v)}" for k, v in row.items()) + "}"


def _value(value: Any) -> str:
    if isinstance(value, JsonText):
        return value.text
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> object:
    """Return a value JSON can hold; one of a type the application brings along as its text."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return value.hex() if isinstance(value, bytes) else str(value)
