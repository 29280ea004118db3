"""The cost of saving a page: an unchanged one, and a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from bench.measure import Table, Way, in_turns, ms, times
from bench.places import NOW, PAGE, add_user, database, pages, wal_meter
from checkinsync.embedded import Running
from checkinsync.model.checkin import Checkin
from checkinsync.model.span import Span
from checkinsync.store import checkins
from checkinsync.store.pool import Connection
from checkinsync.sync.save_page import save_page

USERS = 10
PAGES_EACH = 20
ROUNDS = 30

COLUMNS = (
    "id", "kind", "venue_id", "venue_name", "venue_category", "latitude", "longitude", "moment",
    "city", "country", "time_zone", "time_zone_offset", "shout", "is_private", "raw", "fingerprint",
)  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """A database with 50,000 check-ins of ten users, as a nightly run finds it."""

    conn: Connection
    user: int
    wal: Callable[[], float]
    unseen: Iterator[tuple[Checkin, ...]]
    """Pages that are not stored yet."""

    def checkpoint(self) -> None:
        """Make a checkpoint: the next change of each block writes the whole block to the WAL."""
        self.conn.execute("CHECKPOINT")


@contextmanager
def _bench(running: Running) -> Iterator[Bench]:
    url = database(running)
    plain: dict[str, Any] = {"autocommit": True, "prepare_threshold": None}
    with psycopg.connect(url, **plain) as conn, psycopg.connect(url, **plain) as aside:
        users = [add_user(conn, number) for number in range(USERS)]
        unseen = pages()
        for page in (next(unseen) for _ in range(PAGES_EACH)):
            for user in users:
                with conn.transaction():
                    save_page(conn, user, page, now=NOW)
        conn.execute("VACUUM ANALYZE")
        conn.execute("CHECKPOINT")
        yield Bench(conn, users[0], wal_meter(aside), unseen)


def unchanged(running: Running) -> Table:
    """Measure a page that is stored already, as nearly every page of a night is."""
    with _bench(running) as bench:
        page = next(pages())
        span = Span.of(page, top=False, now=NOW)
        taken = in_turns(
            Way("compare fingerprints, write what differs (`save_page`)",
                lambda _: _save(bench, page), bench.checkpoint),
            Way("the same, and look for what the page does not show",
                lambda _: _save(bench, page, span), bench.checkpoint),
            Way("`ON CONFLICT DO UPDATE … WHERE … IS DISTINCT FROM`",
                lambda _: _upsert(bench, page), bench.checkpoint),
            rounds=ROUNDS,
            meter=bench.wal,
        )  # fmt: skip
    return Table(
        "An unchanged page of 250",
        "A page whose check-ins are all stored, among 50,000 of ten users. Baseline: one "
        "`INSERT … SELECT FROM unnest(…) ON CONFLICT (user_id, foursquare_id) DO UPDATE … WHERE "
        "fingerprint IS DISTINCT FROM …` of the same values over the same binary arrays. WAL is "
        "`pg_current_wal_insert_lsn` after less before. Each time just after a checkpoint, since a "
        "night comes by each page once: what it locks is written to the WAL as whole blocks.",
        ("way", "time", "of the baseline", "WAL per check-in"),
        [
            (way.name, ms(way.seconds), times(way.seconds, taken[-1].seconds),
             f"{way.amount / PAGE:.1f} bytes")
            for way in taken
        ],
    )  # fmt: skip


def new(running: Running) -> Table:
    """Measure a page that is not stored yet, as on a first import."""
    with _bench(running) as bench:
        taken = in_turns(
            Way("the whole of `save_page`: compare, write, photos",
                lambda page: _save(bench, page), lambda: next(bench.unseen)),
            Way("one statement over binary arrays (`checkins.add`)",
                lambda page: _add(bench, page), lambda: next(bench.unseen)),
            Way("`executemany`, a row each, pipelined by psycopg",
                lambda page: _executemany(bench, page), lambda: next(bench.unseen)),
            Way("`execute`, a row each", lambda page: _execute(bench, page),
                lambda: next(bench.unseen)),
            rounds=ROUNDS,
            meter=bench.wal,
        )  # fmt: skip
        assert _stored(bench) == (PAGES_EACH + len(taken) * (ROUNDS + 1)) * PAGE
    baseline = taken[2]
    return Table(
        "A new page of 250",
        "The same rows, into a table of 50,000; one transaction per page, over a Unix socket, "
        "where a row's round trip costs least. Baseline: `executemany`.",
        ("way", "time", "of the baseline", "WAL per check-in"),
        [
            (way.name, ms(way.seconds), times(way.seconds, baseline.seconds),
             f"{way.amount / PAGE:.0f} bytes")
            for way in taken
        ],
    )  # fmt: skip


def _save(bench: Bench, page: Sequence[Checkin], span: Span | None = None) -> None:
    with bench.conn.transaction():
        save_page(bench.conn, bench.user, page, now=NOW, span=span)


def _add(bench: Bench, page: Sequence[Checkin]) -> None:
    with bench.conn.transaction():
        checkins.add(bench.conn, bench.user, page, moments=_moments(page), now=NOW)


def _upsert(bench: Bench, page: Sequence[Checkin]) -> None:
    with bench.conn.transaction():
        bench.conn.execute(
            """
            INSERT INTO checkins AS old (
                foursquare_id, kind, venue_id, venue_name, venue_category, latitude, longitude,
                checkin_date, city, country, timezone, time_zone_offset, shout, is_private, raw,
                fingerprint, user_id, first_seen_at)
            SELECT c.id, c.kind, c.venue_id, c.venue_name, c.venue_category, c.latitude,
                   c.longitude, c.moment AT TIME ZONE 'UTC', c.city, c.country, c.time_zone,
                   c.time_zone_offset, c.shout, c.is_private, c.raw::json, c.fingerprint,
                   %(user)s, %(now)s
              FROM unnest(
                   %(id)b::text[], %(kind)b::text[], %(venue_id)b::text[], %(venue_name)b::text[],
                   %(venue_category)b::text[], %(latitude)b::float8[], %(longitude)b::float8[],
                   %(moment)b::timestamptz[], %(city)b::text[], %(country)b::text[],
                   %(time_zone)b::text[], %(time_zone_offset)b::int4[], %(shout)b::text[],
                   %(is_private)b::bool[], %(raw)b::text[], %(fingerprint)b::bytea[])
                AS c (id, kind, venue_id, venue_name, venue_category, latitude, longitude, moment,
                      city, country, time_zone, time_zone_offset, shout, is_private, raw,
                      fingerprint)
            ON CONFLICT (user_id, foursquare_id) DO UPDATE
               SET kind = excluded.kind, venue_id = excluded.venue_id,
                   venue_name = excluded.venue_name, venue_category = excluded.venue_category,
                   latitude = excluded.latitude, longitude = excluded.longitude,
                   checkin_date = excluded.checkin_date, city = excluded.city,
                   country = excluded.country, timezone = excluded.timezone,
                   time_zone_offset = excluded.time_zone_offset, shout = excluded.shout,
                   is_private = excluded.is_private, raw = excluded.raw,
                   fingerprint = excluded.fingerprint
             WHERE old.fingerprint IS DISTINCT FROM excluded.fingerprint
            """,
            {"user": bench.user, "now": NOW, **_columns(page)},
        )


ROW = """
    INSERT INTO checkins (
        foursquare_id, kind, venue_id, venue_name, venue_category, latitude, longitude,
        checkin_date, city, country, timezone, time_zone_offset, shout, is_private, raw,
        fingerprint, user_id, first_seen_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s AT TIME ZONE 'UTC', %s, %s, %s, %s, %s, %s, %s, %s, %s,
            %s)
    ON CONFLICT DO NOTHING
"""


def _executemany(bench: Bench, page: Sequence[Checkin]) -> None:
    with bench.conn.transaction(), bench.conn.cursor() as cursor:
        cursor.executemany(ROW, _rows(bench, page))


def _execute(bench: Bench, page: Sequence[Checkin]) -> None:
    with bench.conn.transaction(), bench.conn.cursor() as cursor:
        for row in _rows(bench, page):
            cursor.execute(ROW, row)


def _rows(bench: Bench, page: Sequence[Checkin]) -> list[tuple[Any, ...]]:
    columns = _columns(page)
    rows = zip(*(columns[name] for name in COLUMNS), strict=True)
    return [(*row, bench.user, NOW) for row in rows]


def _columns(page: Sequence[Checkin]) -> dict[str, list[Any]]:
    columns = {n: [getattr(c, n) for c in page] for n in COLUMNS if n != "moment"}
    return {**columns, "moment": [checkin.created_at for checkin in page]}


def _moments(page: Sequence[Checkin]) -> dict[str, Any]:
    return {checkin.id: checkin.created_at for checkin in page}


def _stored(bench: Bench) -> int:
    return checkins.count(bench.conn, bench.user)
