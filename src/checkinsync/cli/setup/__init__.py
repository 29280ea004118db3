"""`checkinsync setup`: from nothing to a working night, by commands that one could type."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from checkinsync.cli.context import Context
from checkinsync.cli.terminal import is_terminal

SECRET = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--yes", is_flag=True, help="Ask nothing: do what the options say, keep the rest.")
@click.option("--private", is_flag=True, help="Use a private database, which is made.")
@click.option(
    "--database-url-file",
    type=SECRET,
    metavar="FILE",
    help="Use this database; FILE holds its URL.",
)
@click.option("--make-key", is_flag=True, help="Make an encryption key, if there is none.")
@click.option(
    "--encryption-key-file", type=SECRET, metavar="FILE", help="Use the key that FILE holds."
)
@click.option("--token-file", type=SECRET, metavar="FILE", help="Add the user of this token.")
@click.option("--login", is_flag=True, help="Add a user by a login at Foursquare in a browser.")
@click.option("--client-id", metavar="ID", help="For the login: the application's id.")
@click.option(
    "--client-secret-file", type=SECRET, metavar="FILE", help="For the login: its secret."
)
@click.option(
    "--schedule",
    type=click.Choice(["cron", "systemd", "user", "print", "none"]),
    help="Start the nightly run by cron, by the machine's systemd (as root) or your own; or only "
    "print the schedule.",
)
@click.option("--import/--no-import", "first_import", default=None, help="Import at once, or not.")
@click.option(
    "--account", metavar="NAME", help="As root: who runs it.  [default: checkinsync, if it exists]"
)
@click.pass_context
def setup(ctx: click.Context, /, *, yes: bool, account: str | None, **given: object) -> None:
    """From nothing to a working night: database, key, users, schedule, first import.

    Asks; each answer can also be given by an option. Run again, it changes only what is asked for.
    Secrets go into files of their own beside the settings file. Exit codes: those of the command
    that failed, else of `doctor`.
    """

    from checkinsync.cli.night_account import night_account
    from checkinsync.cli.setup.asking import Asking
    from checkinsync.cli.setup.own_commands import OwnCommands
    from checkinsync.cli.setup.steps import Given, Setup
    from checkinsync.config import file as settings_file

    if not yes and not is_terminal(sys.stdin):
        raise click.UsageError("no terminal to ask: answer by options, and use --yes")
    if given["private"] and given["database_url_file"]:
        raise click.UsageError("--private and --database-url-file exclude each other")
    answers = Given(**given)  # type: ignore[arg-type]
    context: Context = ctx.obj
    place = settings_file.place(os.environ)
    commands = OwnCommands(night_account(account), place, context.words)
    ctx.exit(Setup(commands, Asking(attended=not yes), answers).go())
