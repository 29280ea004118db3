"""Checks of files, tables and rows; each yields what it finds."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from checkinsync import workers
from checkinsync.config.settings import Examined, Settings
from checkinsync.doctor import diagnosis, tables
from checkinsync.doctor import table_queries as queries
from checkinsync.doctor.findings import (
    SETTINGS,
    Finding,
    Pooling,
    SecretFile,
    ok,
    problem,
    warning,
)
from checkinsync.doctor.queries import reading, reading_tables
from checkinsync.errors import SettingsError
from checkinsync.keys import queries as tokens
from checkinsync.model.standing import Standing
from checkinsync.nightly.queries import without_slices
from checkinsync.store import quarantine, schema, users
from checkinsync.store.pool import Connection
from checkinsync.workers import queries as workers_queries

NAMED = 10
"""Instants named in a sentence."""


EXTRAS = {
    "notify": ("apprise", "notify"),
    "metrics_file": ("prometheus_client", "metrics"),
    "report_file": ("jinja2", "report"),
}
"""Settings that need a package which the plain installation lacks, and the extra that brings it."""


def extras(settings: Settings) -> Iterator[Finding]:
    """Check that what a setting needs is installed: a run only warns of it, and goes on."""
    for name, (package, extra) in EXTRAS.items():
        if getattr(settings, name) and find_spec(package) is None:
            says = f"CHECKINSYNC_{name.upper()} needs more packages than are installed"
            yield warning("settings", says, f"pip install 'checkinsync[{extra}]'")


def workers_queue(conn: Connection, pooling: Pooling) -> Iterator[Finding]:
    """Check the queue of workers, where the extra for it is installed."""
    if not workers.installed():
        return
    with reading(conn):
        version = workers_queries.version(conn)
    if version is not None:
        through = " through the pooler, where nobody could LISTEN"
        where = through if pooling is Pooling.TRANSACTION else ""
        yield ok("queue", f"its tables are there; workers look for jobs every 2 s{where}")


def files(examined: Examined) -> Iterator[Finding]:
    """Check who can read the secrets, and who can change the settings."""
    for path in dict.fromkeys((*examined.secret_files, examined.config)):
        if path is None:
            continue
        try:
            mode, closed = stat.S_IMODE(path.stat().st_mode), _closed(path)
        except OSError:  # it was there a moment ago
            continue
        yield diagnosis.of_file(SecretFile(path, mode, closed, path in examined.secret_files))


def _closed(path: Path) -> int:
    """Return the permission bits that the folders above take away from group and others."""
    closed = 0
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            closed |= 0o007
        if not mode & 0o011:
            closed |= 0o070
    return closed


def privileges(conn: Connection) -> Iterator[Finding]:
    """Check what the role may do with each table."""
    with reading(conn):
        with suppress(SettingsError):  # a schema that the role may not use is told below
            schema.use(conn)
        missing, filtered = queries.missing_privileges(conn), queries.filtered(conn)
        role = queries.role(conn)
    yield from tables.of_privileges(missing, role=role)
    yield from tables.of_policies(filtered, role=role)
    if not missing and not filtered:
        yield ok("privileges", f"the role {role} has all that it needs")


def shape(conn: Connection) -> Iterator[Finding]:
    """Check the types of columns, and the sequences."""
    with reading_tables(conn):
        columns = queries.columns(conn)
    yield from tables.of_columns(columns)
    with reading_tables(conn):
        sequences = queries.sequences(conn)
    yield from tables.of_sequences(sequences)


def future(conn: Connection) -> Iterator[Finding]:
    """Check that no instant lies in the future."""
    with reading_tables(conn):
        found, total = queries.in_the_future(conn, most=NAMED)
    yield from tables.of_future(found, total)


def standings(conn: Connection, *, now: datetime, days: int) -> list[Standing]:
    """Return each user's state."""
    with reading_tables(conn):
        return users.standings(conn, at=now, days=days)


def without_key(conn: Connection, key_file: Path) -> Iterator[Finding]:
    """Check that no token needs the embedded database's key, which is missing."""
    with reading_tables(conn):
        stored = tokens.after(conn, 0, most=1)
    if stored:
        yield problem(
            "keys",
            f"{key_file} is missing, and with it the key of the stored tokens",
            "restore it from a backup; the next command would make another one",
            exit_code=SETTINGS,
        )
    else:
        yield ok("keys", f"none yet: {key_file} is made for the first token")


def slices(conn: Connection, *, now: datetime) -> Iterator[Finding]:
    """Check that nights have time to compare the older history, too."""
    with reading_tables(conn):
        count = without_slices(conn, at=now)
    if count:
        yield warning(
            "history",
            f"the older history of {count:,} users has not been compared for more than 25 days",
            "the nights leave no time for it: a longer CHECKINSYNC_DEADLINE, or more "
            "CHECKINSYNC_WORKERS",
        )


def quarantined(conn: Connection) -> Iterator[Finding]:
    """Check that nothing is in quarantine."""
    with reading_tables(conn):
        counts = quarantine.counts(conn)
    if counts:
        yield warning(
            "quarantine",
            f"check-ins that can't be read or stored: {sum(counts.values()):,}",
            "`checkinsync quarantine` lists them with the reasons",
        )
