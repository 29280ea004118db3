"""`checkinsync rotate-keys`."""

from __future__ import annotations

import os
import sys

import click

from checkinsync.cli.context import Context, listening
from checkinsync.cli.terminal import say_json
from checkinsync.errors import ApplicationNotSwitched, Exit, SettingsError
from checkinsync.shutdown import signals_deferred

ENVIRONMENT = " "
"""Stands for the option without a file; not the name of any file."""


@click.command(name="rotate-keys")
@click.option(
    "--application-switched",
    is_flag=True,
    help="The web application's ENCRYPTION_KEY is our first key by now, or it reads no tokens.",
)
@click.option(
    "--from-database-url",
    "address",
    is_flag=False,
    flag_value=ENVIRONMENT,
    metavar="[FILE]",
    help="Also decrypt with the key that the application derived from its DATABASE_URL, which is "
    "read from the environment, or from FILE (- is standard input).",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def rotate_keys(
    ctx: click.Context,
    *,
    application_switched: bool,
    address: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Re-encrypt every stored token with the first key.

    That is the first one in CHECKINSYNC_ENCRYPTION_KEY. May run beside imports and the
    application; if interrupted, run it again. Exit codes: 0 all tokens are encrypted with the
    first key, 3 some are not (no key decrypts them, or their rows stayed locked), 78 the
    application could not decrypt them any more.
    """
    with signals_deferred():
        from checkinsync.cli.render import rotate_keys as render
        from checkinsync.keys import rotate as verbs
        from checkinsync.resources import open_keyring

    context: Context = ctx.obj
    also = () if address is None else (_database_url(address),)
    with context.pool() as (settings, pool):
        stop = listening()
        keyring = open_keyring(settings, also=also)
        if settings.database_url is not None and not application_switched:
            try:
                verbs.check_application(
                    keyring, application_key=settings.application_key, pool=pool
                )
            except ApplicationNotSwitched as refusal:
                if not dry_run:
                    raise
                click.echo(f"checkinsync: without --dry-run: {refusal}", err=True)
        rotation = verbs.rotate_keys(
            pool=pool, keyring=keyring, write=not dry_run, check_stop=stop.check, sleep=stop.sleep
        )
    if as_json:
        say_json(render.rotation_json(rotation))
    else:
        click.echo(render.rotation_text(rotation))
    if not rotation.complete:
        ctx.exit(Exit.PARTIAL)


def _database_url(file: str) -> str:
    """Return the application's DATABASE_URL, unchanged: the old key was derived from this text.

    Never from the command line, where other users of the machine could read the password in it.
    """
    if "://" in file:
        raise click.UsageError(
            "--from-database-url does not take the address itself, since others can read a command "
            "line; put it into a file, or into DATABASE_URL"
        )
    text = _read(file)
    if not text:
        raise SettingsError(
            "--from-database-url needs the DATABASE_URL that the application had when it encrypted "
            "the tokens, character by character: in the environment, or in the file that you name"
        )
    return text


def _read(file: str) -> str | None:
    from pathlib import Path

    from checkinsync.config.settings import as_the_application_has_it

    if file == ENVIRONMENT:
        return as_the_application_has_it(os.environ, "DATABASE_URL")
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        raise SettingsError(f"--from-database-url: {file} can't be read as text") from None
    return text.removesuffix("\n").removesuffix("\r")
