"""The settings file as `setup` reads and writes it, with a file of its own for each secret."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from checkinsync.cli.atomic_file import write_settings
from checkinsync.cli.night_account import reading_group
from checkinsync.cli.setup.own_commands import OwnCommands
from checkinsync.config import document
from checkinsync.config.settings import Examined, examine_settings
from checkinsync.config.sources import Parser, read_text
from checkinsync.errors import SettingsError


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The settings of the commands that are run."""

    commands: OwnCommands

    @property
    def path(self) -> Path:
        """Return the file, which may not be there yet."""
        return self.commands.config

    @property
    def group(self) -> int | None:
        """Return the group that may read root's files; None: they are the account's own."""
        return reading_group(self.commands.account)

    def examined(self) -> Examined:
        """Return the settings as they are now, whether there is a file or not."""
        return examine_settings(self.commands.environment())

    def set(self, values: document.Values) -> None:
        """Set values in the file, which is made if there is none. Raises SettingsError, …"""
        there = self.path.exists()
        before = read_text(self.path) if there else document.commented()
        after = document.with_values(before, values)
        if after != before or not there:
            write_settings(self.path, after, group=self.group)
            click.echo(f"wrote {self.path}", err=True)

    def set_secret(self, setting: str, name: str, text: str) -> Path:
        """Write a secret into a file of this name beside the settings file; return its path."""
        path = self.path.with_name(name)
        write_settings(path, f"{text}\n", group=self.group)
        click.echo(f"wrote {path}", err=True)
        self.set({setting: None, f"{setting}_file": str(path)})
        return path


def content(file: Path, parse: Parser) -> str:
    """Return what a file holds, if it can be used. Raises SettingsError."""
    try:
        text = read_text(file).strip()
        parse(text)
    except OSError as error:
        raise SettingsError(f"{file} can't be read ({error.strerror})") from None
    except ValueError as problem:
        raise SettingsError(f"{file}: {problem}") from None
    return text
