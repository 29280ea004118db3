"""The queue's schema: made, and brought up to date with the Procrastinate that is installed."""

from __future__ import annotations

from importlib import resources

from checkinsync.errors import SchemaBehind
from checkinsync.migrations import runner
from checkinsync.migrations.runner import Sleep
from checkinsync.store.pool import Connection, Pool, pin, transaction
from checkinsync.workers import queries


def pending(url: str) -> list[str]:
    """Return the names of the files that `up` would run; writes nothing."""
    with runner.connected(url) as conn:
        return _pending(conn)


def up(url: str, *, sleep: Sleep) -> list[str]:
    """Make the schema, or run the files that it lacks; return their names.

    Raises MigrationFailed, DatabaseAway, AtWork.
    """
    with runner.connected(url) as conn:
        names = _pending(conn)
        if not names:
            return []
        with runner.only_runner(conn, sleep=sleep):
            names = _pending(conn)
            for name in names:
                with conn.transaction():
                    pin(conn)
                    if name == SCHEMA_FILE:
                        queries.create_schema(conn)
                    queries.run_sql(conn, _text(name), applied=_applied(name))
        return names


def check(pool: Pool) -> None:
    """Raise SchemaBehind where the schema is not there, or lacks what Procrastinate needs."""
    with transaction(pool, read_only=True) as conn:
        names = _pending(conn)
    if names:
        raise SchemaBehind("the queue's tables are not up to date: run `checkinsync migrate`")


SCHEMA_FILE = "schema.sql"


def _pending(conn: Connection) -> list[str]:
    applied = queries.version(conn)
    if applied is None:
        return [SCHEMA_FILE]
    return [name for name in _migrations() if name > applied]


def _applied(name: str) -> str:
    """Return the last migration that a file includes: a new schema includes all."""
    return _migrations()[-1] if name == SCHEMA_FILE else name


def _migrations() -> list[str]:
    folder = resources.files("procrastinate.sql") / "migrations"
    return sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))


def _text(name: str) -> bytes:
    folder = resources.files("procrastinate.sql")
    return (folder / name if name == SCHEMA_FILE else folder / "migrations" / name).read_bytes()
