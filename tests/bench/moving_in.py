"""Moving in with the application: the waits of its readers and writers, and the first import."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from bench.table import Table
from checkinsync.embedded import Running
from checkinsync.migrations import migrate
from support.stories import Story, telling
from support.webapp import years as webapp_years
from support.webapp.at_work import a_long_transaction, at_work
from support.webapp.database import WebApp
from support.webapp.years import Years

USERS, CHECKINS = 50, 4_444
"""The application has stored nine in ten of their check-ins: 200,000."""

REPORT = "SELECT count(*) FROM checkins"


def moving(running: Running) -> Table:
    """Migrate the application's database, with rows of years, beside it, and import everyone."""
    folder = Path(tempfile.mkdtemp(prefix="checkinsync-bench-"))
    try:
        with telling(folder, _copy(running, "application", of="template0")) as story:
            everyone = webapp_years.lived(story, WebApp(), users=USERS, checkins=CHECKINS)
            story.conn.execute("VACUUM ANALYZE")
            story.conn.close()
            quiet, busy = _copy(running, "quiet"), _copy(running, "busy")
            report = a_long_transaction(busy, REPORT, seconds=5)
            rows = [
                _beside(quiet, "undisturbed", nullcontext()),
                _beside(busy, "behind a transaction of 5 s", report),
            ]
            story.conn = psycopg.connect(quiet, autocommit=True)
            story.environ["CHECKINSYNC_DATABASE_URL"] = quiet
            rows += _imported(story, everyone)
    finally:
        shutil.rmtree(folder)
    return Table(
        "Moving in",
        f"The application's database with {USERS} users and 200,000 check-ins without ids, one in "
        f"{webapp_years.GONE} of them deleted at Foursquare since, one in {webapp_years.LOST} "
        "never stored. `migrate`, while a reader and a writer of the application repeat a "
        "statement on each of its tables: the longest that one of them took. The transaction is a "
        "report that holds the table of check-ins. Then one `orchestrate` of all users, without "
        "stagger, with four workers, against a simulated Foursquare on the same machine.",
        ("what", "took", "longest wait of a reader", "of a writer"),
        rows,
    )


def _beside(url: str, what: str, meanwhile: AbstractContextManager[None]) -> tuple[str, ...]:
    with at_work(url) as waits, meanwhile:
        start = time.perf_counter()
        migrate.up(url)
        seconds = time.perf_counter() - start
    with psycopg.connect(url) as conn:
        conn.execute("DELETE FROM checkins WHERE venue_id = 'beside'")
        conn.execute("DELETE FROM import_jobs")
    assert not any(one.errors for one in waits.values())
    longest = (f"{waits[who].longest * 1000:.0f} ms" for who in ("reader", "writer"))
    return (f"`migrate`, {what}", f"{seconds:.1f} s", *longest)


def _imported(story: Story, everyone: list[Years]) -> list[tuple[str, ...]]:
    start = time.perf_counter()
    done = story.start("orchestrate", "--deadline", "1h").ended(within=3600)
    seconds = time.perf_counter() - start
    assert (done.code, done.err) == (0, ""), done
    for years in everyone:
        webapp_years.check(story, years)
    kept, gone, lost = (
        sum(len(getattr(years, name)) for years in everyone) for name in ("kept", "gone", "lost")
    )
    took = f"{seconds:.0f} s"
    return [
        (f"the first import: {len(story.requests()):,} requests", took, "-", "-"),
        (f"{kept:,} rows have their ids, {lost:,} that were lost are there", "-", "-", "-"),
        (f"{gone:,} that only the application has are left, none is doubled", "-", "-", "-"),
    ]


def _copy(running: Running, name: str, *, of: str = "application") -> str:
    """Copy a database; return the address of the copy."""
    with psycopg.connect(running.url_for("postgres"), autocommit=True) as conn:
        conn.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(of)))
    return running.url_for(name)
