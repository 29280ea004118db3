"""A PostgreSQL of our own for when no database is named; it never listens on the network.

The data lie in `postgres/data` below CHECKINSYNC_HOME and are found again next night. Commands
that run at once share the server; the last one out stops it. Nothing outside `postgres/` changes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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

__all__ = ["Running", "serving"]

log = logging.getLogger(__name__)

UNSPEAKABLE = frozenset('"$`\\\n')
"""What pg_ctl can't have in a path: it hands paths to a shell between double quotes."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server at work, as its users see it."""

    socket_dir: Path
    bindir: Path
    """Where psql, pg_dump and pg_restore of the server's version are."""

    @property
    def url(self) -> str:
        """Address of our database; it holds no secret."""
        return self.url_for(DATABASE)

    def url_for(self, dbname: str) -> str:
        """Address of another database of the same server."""
        host = os.fsencode(self.socket_dir)
        where = urlencode({"host": host, "port": PORT, "user": ROLE}, quote_via=quote)
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
    """Start or join the server whose data are below `home`; leave it, and stop it if we are last.

    `bindir` and `account` are CHECKINSYNC_PG_BINDIR and CHECKINSYNC_PG_ACCOUNT. `allow_nobody` is
    for data that are worth nothing. `for_tests` trades safety after a power cut for speed.
    Raises EmbeddedDatabaseError, and SettingsError where a setting or an installation is missing.
    """
    base = _base(home)
    with _explained(base):
        cluster, clients = _checked(base, bindir=bindir, account=account, nobody=allow_nobody)
        cluster.make_folders()
        server, member = _joined(cluster, clients, for_tests=for_tests)
    try:
        yield Running(cluster.socket_dir, clients.bindir)
    finally:
        _leave(server, member)


def _base(home: Path) -> Path:
    base = home.absolute().resolve() / "postgres"
    if UNSPEAKABLE & set(str(base)):
        raise SettingsError(
            f"CHECKINSYNC_HOME: PostgreSQL can't work in {base}: choose a path"
            " without quotation marks, dollar signs, backslashes and line breaks."
        )
    return base


@contextmanager
def _explained(base: Path) -> Iterator[None]:
    """Tell an error of the system (a full disk, a closed folder) as one of ours."""
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
    """What can be refused is refused here, before anything is made."""
    data = base / "data"
    cluster = Cluster(base, accounts.choose(account, data=data, allow_nobody=nobody))
    cluster.check()
    made_by = clusters.made_by(data)
    clients = binaries.find(bindir, data=data, major=made_by, places=binaries.everywhere())
    return cluster, clients


def _joined(cluster: Cluster, clients: Programs, *, for_tests: bool) -> tuple[Server, SharedUse]:
    """Be a user of the server before it is looked for, so that nobody stops it meanwhile."""
    with exclusive(cluster.base / "turn.lock"):
        service = binaries.within_reach(clients, cluster.account, base=cluster.base)
        server = Server(cluster, clients, service)
        member = SharedUse(cluster.base / "users.lock")
        with ExitStack() as undo:
            undo.callback(_go, server, member)
            if not cluster.exists:
                cluster.make(service, for_tests=for_tests)
                log.info("made a database in %s, served by %s", cluster.data, cluster.account.name)
            server.bring_up(for_tests=for_tests)
            server.make_database()
            undo.pop_all()
    return server, member


def _leave(server: Server, member: SharedUse) -> None:
    with exclusive(server.cluster.base / "turn.lock"):
        _go(server, member)


def _go(server: Server, member: SharedUse) -> None:
    """A server that does not stop is told, not raised: the work is done and stored."""
    if member.leave() and (complaint := server.stop()):
        log.warning("the embedded database does not stop: %s", complaint)
