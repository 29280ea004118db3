"""The whole command line: a file per command, loaded when it is called."""

from __future__ import annotations

import importlib

import click

from checkinsync import __version__
from checkinsync.cli.context import Context

COMMANDS = {
    "migrate": "Bring the database's schema up to date.",
    "orchestrate": "The nightly run: import everyone who is due.",
    "import-user": "Import one user now.",
    "users": "Add, list, pause, resume and remove users.",
    "login": "Log in at Foursquare in a browser: adds or renews a user.",
    "status": "The last runs, and how each user is doing.",
    "why": "One line: why USER was or was not imported, and what happens next.",
    "quarantine": "List what could not be read or stored: check-in, reason, since when.",
    "verify": "Prove that a user's history is stored, id by id.",
    "doctor": "Check settings, database, schema, keys, clock; say what to do.",
    "rotate-keys": "Seal every stored token anew with the first key.",
    "db": "The embedded database: a shell, a dump, a restore.",
    "demo": "A whole run against a simulated Foursquare; needs nothing.",
    "simulate": "Serve a simulated Foursquare on a loopback port.",
}
"""Each command and what the overview says of it, so that the overview loads none of them."""


class LazyGroup(click.Group):
    """Commands are imported when they are called: the overview stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's own file."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        module = importlib.import_module(f"checkinsync.cli.{name}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without loading what it lists."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", count=True, help="Log each step (twice: everything).")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How log lines look.",
)
@click.option(
    "--log-file",
    type=click.Path(dir_okay=False),
    help="Send the whole log there (CHECKINSYNC_LOG_FILE); standard error stays quiet.",
)
@click.version_option(__version__, prog_name="checkinsync")
@click.pass_context
def checkinsync(
    ctx: click.Context,
    *,
    verbose: int,
    quiet: bool,
    log_format: str,
    log_file: str | None,
) -> None:
    """Import every active user's new Foursquare check-ins into PostgreSQL, and lose none.

    Settings come from the environment (CHECKINSYNC_…) or from a TOML file; see the README.
    """
    ctx.obj = Context(-1 if quiet else verbose, log_format, log_file)
