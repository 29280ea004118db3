"""`checkinsync completion`, and the completion of users from the database."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from checkinsync.errors import CheckinsyncError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PROGRAM = "checkinsync"
VARIABLE = "_CHECKINSYNC_COMPLETE"
"""Set by the shell's function when it asks what may follow."""

MOST = 50
"""Users that are offered."""

PATIENCE = 2
"""Seconds after which a shell is not kept waiting any longer."""

WORD = re.compile(r"[\w.@+-]+")
"""A name that needs no quotes in any shell."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="SHELL")
def completion(*, shell: str) -> None:
    """Print what lets a shell complete commands, options and users.

    To install it, add one line to the shell's own file and open a new shell:

    \b
    ~/.bashrc                    eval "$(checkinsync completion bash)"
    ~/.zshrc (after compinit)    eval "$(checkinsync completion zsh)"
    ~/.config/fish/config.fish   checkinsync completion fish | source
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, "click knows all three"
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, PROGRAM, VARIABLE).source())


class UserName(click.ParamType[str]):
    """An id, `fsq:12345`, or a display name; completed from the database."""

    name = "user"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text as it is: the database knows who is meant."""
        del param, ctx
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Return the users that may be meant; none where the database does not answer soon."""
        import logging

        del ctx, param
        logging.disable()
        with suppress(CheckinsyncError, OSError):
            return list(_users(incomplete))
        return []


def _users(incomplete: str) -> Iterator[CompletionItem[str]]:
    """Yield each user by their id, or by the name that was begun."""
    import signal

    from click.shell_completion import CompletionItem

    from checkinsync.cli.context import listening, shield
    from checkinsync.config.settings import read_settings
    from checkinsync.resources import open_pooled
    from checkinsync.store import users
    from checkinsync.store.pool import transaction

    settings = read_settings(os.environ)
    shield(settings)
    listening()  # also to the alarm
    signal.alarm(PATIENCE)
    with open_pooled(settings) as pool, transaction(pool, read_only=True) as conn:
        found = users.beginning_with(conn, incomplete, most=MOST)
    for number, name, unique in found:
        if str(number).startswith(incomplete):
            yield CompletionItem(str(number), help=name)
        elif name and unique and name.startswith(incomplete) and WORD.fullmatch(name):
            yield CompletionItem(name, help=f"user {number}")
        else:
            yield CompletionItem(str(number), help=name)
