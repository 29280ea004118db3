"""A private PostgreSQL for when no database is named; it never listens on the network.

The data lie in `postgres/data` below CHECKINSYNC_HOME and are found again next night. Commands
that run at once share the server; the last one stops it. Nothing outside `postgres/` changes.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

from checkinsync.embedded import account as accounts
from checkinsync.embedded import binaries
from checkinsync.embedded import cluster as clusters
from checkinsync.embedded.binaries import Programs
from checkinsync.embedded.cluster import PORT, ROLE, Cluster
from checkinsync.embedded.server import DATABASE, Server
from checkinsync.embedded.sharing import SharedUse, exclusive
from checkinsync.errors import EmbeddedDatabaseError, SettingsError

__all__ = ["DATABASE", "Running", "base_of", "explained", "serving"]

log = logging.getLogger(__name__)

UNUSABLE = frozenset('"$`\\\n')
"""Characters that pg_ctl can't have in a path: it hands paths to a shell in double quotes."""


@dataclass(frozen=True, slots=True)
class Running:
    """A running server, as its users see it."""

    socket_dir: Path
    bindir: Path
    """Where psql, pg_dump and pg_restore of the server's version are."""
    made: bool = field(default=False, compare=False)
    """True: the data were made just now."""

    @property
    def socket(self) -> Path:
        """The socket that the server listens on."""
        return self.socket_dir / f".s.PGSQL.{PORT}"

    def answers(self) -> bool:
        """Return True if the server takes connections."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(3)
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
            return True

    @property
    def url(self) -> str:
        """The address of our database; it holds no secret."""
        return self.url_for(DATABASE)

    def url_for(self, dbname: str) -> str:
        """Return the address of another database of the same server.

        It names a file of passwords that does not exist, or libpq would look into `~/.pgpass`.
        """
        host = os.fsencode(self.socket_dir)
        passwords = os.fsencode(self.socket_dir / "no-passwords")
        where = urlencode(
            {"host": host, "port": PORT, "user": ROLE, "passfile": passwords}, quote_via=quote
        )
        return f"postgresql:///{quote(dbname, safe='')}?{where}"


@contextmanager
def serving(
    home: Path,
    *,
    bindir: Path | None = None,
    account: str | None = None,
    allow_nobody: bool = False,
    for_tests: bool = False,
) -> Iterator[Running]:
    """Start or join the server whose data are below `home`; afterwards the last user stops it.

    `bindir` and `account` are CHECKINSYNC_PG_BINDIR and CHECKINSYNC_PG_ACCOUNT. `allow_nobody` is
    for data that are worth nothing. `for_tests` trades safety after a power cut for speed.
    Raises EmbeddedDatabaseError, and SettingsError where a setting or an installation is missing.
    """
    base = base_of(home)
    with explained(base):
        cluster, clients = _checked(base, bindir=bindir, account=account, nobody=allow_nobody)
        cluster.make_folders()
        server, use, made = _joined(cluster, clients, for_tests=for_tests)
    try:
        yield Running(cluster.socket_dir, clients.bindir, made)
    finally:
        _leave(server, use)


def base_of(home: Path) -> Path:
    """Return the folder that holds everything. Raises SettingsError where it can't work."""
    base = home.absolute().resolve() / "postgres"
    if UNUSABLE & set(str(base)):
        raise SettingsError(
            f"CHECKINSYNC_HOME: PostgreSQL can't work in {base}: choose a path"
            " without quotation marks, dollar signs, backslashes and line breaks."
        )
    return base


@contextmanager
def explained(base: Path) -> Iterator[None]:
    """Raise an error of the system (a full disk, a closed folder) as EmbeddedDatabaseError."""
    try:
        yield
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise EmbeddedDatabaseError(
            f"the embedded database in {base} can't be used: {error.strerror}{where}"
        ) from error


def _checked(
    base: Path, *, bindir: Path | None, account: str | None, nobody: bool
) -> tuple[Cluster, Programs]:
    """Refuse what can be refused before anything is made."""
    data = base / "data"
    cluster = Cluster(base, accounts.choose(account, data=data, allow_nobody=nobody))
    cluster.check()
    made_by = clusters.made_by(data)
    clients = binaries.find(bindir, data=data, major=made_by, places=binaries.everywhere())
    return cluster, clients


def _joined(
    cluster: Cluster, clients: Programs, *, for_tests: bool
) -> tuple[Server, SharedUse, bool]:
    """Use the server from before it is looked for, so that no other process stops it meanwhile."""
    with exclusive(cluster.base / "turn.lock"):
        service = binaries.within_reach(clients, cluster.account, base=cluster.base)
        server = Server(cluster, clients, service)
        use = SharedUse(cluster.base / "users.lock")
        with ExitStack() as undo:
            undo.callback(_end, server, use)
            made = not cluster.exists
            if made:
                cluster.make(service, for_tests=for_tests)
                log.info("made a database in %s, served by %s", cluster.data, cluster.account.name)
            server.bring_up(for_tests=for_tests)
            server.make_database()
            undo.pop_all()
    return server, use, made


def _leave(server: Server, use: SharedUse) -> None:
    with exclusive(server.cluster.base / "turn.lock"):
        _end(server, use)


def _end(server: Server, use: SharedUse) -> None:
    """End the use, and the server if it was the last. One that does not stop is only logged: the
    work is done and stored."""
    if use.leave() and (complaint := server.stop()):
        log.warning("the embedded database does not stop: %s", complaint)
