"""The command line: one file per command, imported when the command is called.

A command imports what it works with when it runs, not at the top of its file: `--help` and the
shell's completion load nothing but options.
"""

from __future__ import annotations

import codecs
import importlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TextIO

import click

from checkinsync import __version__
from checkinsync.cli.context import Context
from checkinsync.shutdown import signals_deferred

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "setup": "From nothing to a working night: database, key, users, schedule, first import.",
    "migrate": "Bring the database's schema up to date; run it at each deploy.",
    "orchestrate": "The nightly run: import everyone who is due, two minutes apart.",
    "worker": "Import users from the queue that `orchestrate --engine procrastinate` fills.",
    "import-user": "Import one user now.",
    "users": "Add, list, pause, export and remove users; renew their tokens.",
    "login": "Log in at Foursquare in a browser: add a user, or renew a token.",
    "status": "The last runs, what is at work, and how each user is doing.",
    "why": "One line: why USER was or was not imported, and what happens next.",
    "quarantine": "List what could not be read or stored: check-in, reason, since when.",
    "verify": "Walk USER's whole history and compare it with what is stored, id by id.",
    "report": "Write a page for the operator: the last nights, and how the users are.",
    "doctor": "Check everything that a night depends on, and say what to do. Changes nothing.",
    "notify": "Notices of each run: pings, ntfy, a webhook, mail and chats.",
    "rotate-keys": "Re-encrypt every stored token with the first key.",
    "prune": "Delete old records of runs and imports; each good night does that by itself.",
    "schedule": "Start the nightly run by cron or by a systemd timer, for this installation.",
    "config": "The settings: write the file, show what is in force and why, find mistakes.",
    "db": "The embedded database: a shell, dumps, upgrades, and a port to look at it.",
    "completion": "Print what lets a shell complete commands, options and users.",
    "demo": "Show a whole nightly run against a simulated Foursquare that misbehaves a little.",
    "simulate": "Serve a simulated Foursquare on a loopback port, until Ctrl-C.",
}
"""Each command and its line in the overview, so that the overview imports none of them."""


_GLOBAL: tuple[tuple[list[str], dict[str, Any]], ...] = (
    (["-v", "--verbose"], {"count": True, "help": "Log each step (twice: everything)."}),
    (["-q", "--quiet"], {"is_flag": True, "help": "Say nothing but errors."}),
    (
        ["--log-format"],
        {
            "type": click.Choice(["text", "json"]),
            "help": "How log lines look (CHECKINSYNC_LOG_FORMAT).  [default: text]",
        },
    ),
    (
        ["--log-file"],
        {
            "type": click.Path(dir_okay=False),
            "help": "Send the whole log there (CHECKINSYNC_LOG_FILE); standard error stays quiet.",
        },
    ),
)
"""The options that every command takes, before its name and after it."""


class LazyGroup(click.Group):
    """A group that imports a command when it is called, so that the overview is quick."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run it, with output that any locale can print."""
        _print_anywhere()
        return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the file of the command, and return it."""
        del ctx
        if cmd_name in HABITUAL:
            return HABITUAL[cmd_name]
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        with signals_deferred():
            module = importlib.import_module(f"checkinsync.cli.{name}")
        command: click.Command = getattr(module, name)
        _take_global_options(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; where there is none of that name, say which one may be meant."""
        name = args[0]
        if name not in {*COMMANDS, *HABITUAL} and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {name!r}.{meant}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Complete a command's name by the table, without loading what it lists."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=text)
            for name, text in COMMANDS.items()
            if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, without loading what it lists."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _take_global_options(command: click.Command) -> None:
    """Let a command, and those below it, take the global options as well; once."""
    if not any(option.callback is _merge for option in command.params):
        command.params += [
            click.Option(names, **about, hidden=True, expose_value=False, callback=_merge)
            for names, about in _GLOBAL
        ]
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _take_global_options(below)


def _merge(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    """Let a global option after the command's name win over one before it; -v and -v add up."""
    if not value or not isinstance(ctx.obj, Context):
        return
    match option.name:
        case "verbose":
            ctx.obj = replace(ctx.obj, verbosity=max(0, ctx.obj.verbosity) + value)
        case "quiet":
            ctx.obj = replace(ctx.obj, verbosity=-1)
        case name:
            ctx.obj = replace(ctx.obj, **{str(name): value})


@click.group(
    cls=LazyGroup,
    params=[click.Option(names, **about) for names, about in _GLOBAL],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="checkinsync")
@click.pass_context
def checkinsync(
    ctx: click.Context,
    *,
    verbose: int,
    quiet: bool,
    log_format: str | None,
    log_file: str | None,
) -> None:
    """Import every active user's new Foursquare check-ins into PostgreSQL, and lose none.

    Settings come from the environment (CHECKINSYNC_…) or from a TOML file:
    `checkinsync config init` writes one that explains each.
    """
    ctx.obj = Context(-1 if quiet else verbose, log_format, log_file)


@click.command(name="help")
@click.argument("words", nargs=-1)
@click.pass_context
def help_(ctx: click.Context, *, words: tuple[str, ...]) -> None:
    """Show what `--help` shows."""
    assert ctx.parent is not None
    checkinsync.main([*words, "--help"], prog_name=ctx.parent.info_name, standalone_mode=False)


@click.command()
def version() -> None:
    """Show what `--version` shows."""
    click.echo(f"checkinsync, version {__version__}")


HABITUAL = {"help": help_, "version": version}
"""Commands that other programs have; the overview does not list them."""


def _print_anywhere() -> None:
    """Let output be printed in a locale that lacks its letters, as JSON would escape them."""
    codecs.register_error("escaped", _escaped)
    stdout: TextIO | None = sys.stdout
    if stdout is not None and hasattr(stdout, "reconfigure"):  # it may be closed, or a test's
        stdout.reconfigure(errors="escaped")


def _escaped(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    utf16 = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    units = [utf16[start : start + 4] for start in range(0, len(utf16), 4)]
    return "".join(f"\\u{unit}" for unit in units), error.end
