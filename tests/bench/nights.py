"""Nights of many users who are caught up, plans of a million, and what only starts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import psycopg

from bench.imports import LATENCY, Figures, in_turns
from bench.places import (
    A_FORTNIGHT,
    EIGHTEEN_HOURS,
    MIGRATED,
    Places,
    clone,
    pages,
)
from bench.process import OURS, Ran, ours, run
from bench.round_trips import counting
from bench.scale import LONGEST, Scale
from checkinsync.cli import COMMANDS

RECENT = 20
"""Check-ins of a caught-up user, the last of them past the window: it takes one request."""

OLDER = 60
"""Those of one whose older history is looked back at in slices."""

WORKERS = 64

STARTS = 500
"""Starts a second of a night with slices, more than are done in one: no worker waits for a start,
and none of the starts is so late that a slice is put off for it."""


@contextmanager
def caught_up(places: Places, users: int, *, older: bool = False) -> Iterator[str]:
    """Yield a database of so many users who were imported a moment ago, and of whom nothing older
    is to be looked back at tonight, if `older` does not say so."""
    count, spacing = (OLDER, A_FORTNIGHT) if older else (RECENT, EIGHTEEN_HOURS)
    with places.database() as url:
        with pages(count, spacing=spacing) as api:
            for _ in range(2):
                ours("import-user", "1", url=url, api=api)
        with psycopg.connect(url) as conn:
            if not older:
                conn.execute("UPDATE sync_state SET sliced_at = now()")
            clone(conn, users)
        yield url


def night(url: str, api: str, users: int, *options: str) -> Ran:
    """Run a night without stagger, in which everyone is imported and nothing is new."""
    ran = ours("orchestrate", "--stagger", "0s", *options, url=url, api=api)
    with psycopg.connect(url) as conn:
        found = conn.execute("SELECT synced, new FROM sync_runs ORDER BY id DESC LIMIT 1")
        assert found.fetchone() == (users, 0)
    return ran


def nights(places: Places, scale: Scale) -> Figures:
    """Return users a second: without latency, with it, and with a slice for each."""
    figures: Figures = {}
    with caught_up(places, scale.users) as url:
        with pages(RECENT, spacing=EIGHTEEN_HOURS) as api:
            figures["night users/s"] = scale.users / night(url, api, scale.users).seconds
        workers = ("--workers", str(WORKERS))
        with pages(RECENT, spacing=EIGHTEEN_HOURS, latency=LATENCY) as api:
            ran = night(url, api, scale.users, *workers)
            figures["latency night users/s"] = scale.users / ran.seconds
            figures["latency night of the bound"] = scale.users / ran.seconds * LATENCY / WORKERS
    with (
        caught_up(places, scale.slice_users, older=True) as url,
        pages(OLDER, spacing=A_FORTNIGHT) as api,
    ):
        rates = [slices(url, api, scale.slice_users) for _ in range(scale.rounds)]
        figures["slice night users/s"] = median(rates)
    return figures


def slices(url: str, api: str, users: int) -> float:
    """Return how many users a second are imported and looked back at, in a night of all of them."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("UPDATE sync_state SET sliced_at = NULL")
        conn.execute("VACUUM ANALYZE sync_state")
    ran = night(url, api, users, "--stagger", f"{1 / STARTS}s")
    with psycopg.connect(url) as conn:
        found = conn.execute("SELECT count(sliced_at) FROM sync_state").fetchone()
    assert found is not None
    return float(found[0] / ran.seconds)


def round_trips(places: Places, scale: Scale) -> Figures:
    """Return the SQL round trips of one user more: of a user among many, and of one whose start is
    a second after those of others."""
    few, many = scale.users // 10, scale.users // 5
    counted: dict[int, int] = {}
    alone = []
    with pages(RECENT, spacing=EIGHTEEN_HOURS) as api:
        for users in (few, many):
            with caught_up(places, users) as url, counting(url) as (proxy, count):
                night(proxy, api, users)
                counted[users] = count()
        for users in (2, 3):
            with caught_up(places, users) as url, counting(url) as (proxy, count):
                night(proxy, api, users, "--stagger", "1s")
                alone.append(count())
    return {
        "round trips of one among many": (counted[many] - counted[few]) / (many - few),
        "round trips of one alone": alone[1] - alone[0],
    }


def growing(places: Places, scale: Scale) -> Figures:
    """Return seconds and peak memory of nights of more and more users."""
    figures: Figures = {}
    slowest = 0.0
    with pages(RECENT, spacing=EIGHTEEN_HOURS) as api:
        for users in scale.nights:
            if slowest * users > LONGEST:
                continue
            with caught_up(places, users) as url:
                ran = night(url, api, users)
            slowest = ran.seconds / users
            figures[f"night {users} seconds"] = ran.seconds
            figures[f"night {users} peak"] = ran.peak
    return figures


def everyone(places: Places, scale: Scale) -> Figures:
    """Return time and memory of a plan of a million users, and of the state of a hundred
    thousand."""
    figures: Figures = {}
    with places.database() as url:
        with psycopg.connect(url) as conn:
            stamp(conn, scale.shown)
        figures |= _taken("status", ours("status", url=url))
        figures |= _taken("status json", ours("status", "--json", url=url))
        with psycopg.connect(url) as conn:
            stamp(conn, scale.planned - scale.shown)
        figures |= _taken("dry run", ours("orchestrate", "--dry-run", url=url))
    return figures


def stamp(conn: psycopg.Connection, users: int) -> None:
    """Add users who were imported yesterday, by a few encrypted tokens; they have two check-ins
    each."""
    conn.execute(
        """
        WITH made AS (
            INSERT INTO users (foursquare_user_id, display_name, access_token_encrypted,
                               secret_token, last_login_at)
            SELECT 'n' || n, 'Somebody ' || n, t.access_token_encrypted, 'n' || n,
                   now() AT TIME ZONE 'UTC'
              FROM (SELECT max(id) AS most FROM users) AS m,
                   LATERAL generate_series(m.most + 1, m.most + %(users)s) AS n,
                   (SELECT access_token_encrypted FROM users WHERE id = 1) AS t
            RETURNING id),
        known AS (
            INSERT INTO sync_state (user_id, cursor, last_checked_at)
            SELECT id, now() - interval '1 day', now() - interval '1 day' FROM made)
        INSERT INTO checkins (user_id, foursquare_id, venue_name, checkin_date, first_seen_at)
        SELECT id, lpad(to_hex(extract(epoch FROM now())::bigint - n * 864000), 8, '0')
                   || lpad(id::text, 16, '0'),
               'Somewhere', now() AT TIME ZONE 'UTC' - n * interval '10 days', now()
          FROM made, generate_series(1, 2) AS n
        """,
        {"users": users},
    )
    conn.commit()
    conn.autocommit = True
    conn.execute("VACUUM ANALYZE")


def _taken(what: str, ran: Ran) -> Figures:
    return {f"{what} seconds": ran.seconds, f"{what} peak": ran.peak}


def starting(places: Places, scale: Scale) -> Figures:
    """Return what it takes to start, in times of Python doing nothing.

    In seconds of the processor, the least of all rounds: on a busy machine a longer process is
    interrupted more often than a short one, which the time on the clock would count.
    """
    with places.database(MIGRATED) as url:
        with psycopg.connect(url) as conn:
            conn.execute("DELETE FROM users")
        ways = {
            "bare": lambda: run(sys.executable, "-c", "pass").cpu,
            "overview": lambda: run(OURS, "--help").cpu,
            "nobody due": lambda: ours("orchestrate", url=url).cpu,
            **{name: (lambda name=name: run(OURS, name, "--help").cpu) for name in COMMANDS},
        }
        for way in ways.values():
            way()  # once, so that everything is compiled
        taken = {name: min(each) for name, each in in_turns(ways, scale.starts).items()}
    worst = max(COMMANDS, key=taken.__getitem__)
    return {
        "bare start seconds": taken["bare"],
        "nobody due seconds": taken["nobody due"],
        "overview of bare": taken["overview"] / taken["bare"],
        "nobody due of bare": taken["nobody due"] / taken["bare"],
        "help of bare": taken[worst] / taken["bare"],
        **{f"help {name} of bare": taken[name] / taken["bare"] for name in COMMANDS},
    }
