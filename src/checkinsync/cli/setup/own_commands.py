"""Our own commands, run by another one: on the same terminal, as the account of the nights."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from checkinsync.errors import SettingsError


@dataclass(frozen=True, slots=True)
class OwnCommands:
    """Runs commands with this settings file."""

    account: pwd.struct_passwd
    config: Path
    options: tuple[str, ...] = ()
    """Global options."""

    def run(self, *words: str, given: str | None = None, **more: str) -> int:
        """Say what is run, and run it on our terminal; `given` is on its standard input.

        Ctrl-C is for the command. Returns its exit code.
        """
        click.echo(f"\n$ checkinsync {' '.join(words)}", err=True)
        before = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            return self._run(words, more, input=given).returncode
        finally:
            signal.signal(signal.SIGINT, before)

    def answer(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command apart from the terminal, with more settings by their short names."""
        return self._run(words, settings, capture_output=True, stdin=subprocess.DEVNULL)

    def _run(
        self, words: tuple[str, ...], settings: Mapping[str, str], **more: Any
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "checkinsync", *self.options, *words]
        try:
            return subprocess.run(  # noqa: S603 - our own program
                command, env=self.environment(settings), text=True, check=False,
                **self._identity(), **more,
            )  # fmt: skip
        except PermissionError:
            raise SettingsError(
                f"the account {self.account.pw_name} can't run {sys.executable}: install "
                "checkinsync where every account can read it, such as /opt, or name another "
                "account by --account"
            ) from None

    def environment(self, settings: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return our environment, with these settings in place of others of the same names."""
        env = {name: value for name, value in os.environ.items() if name != "CHECKINSYNC_CONFIG"}
        if self.config.exists():
            env["CHECKINSYNC_CONFIG"] = str(self.config)
        for name, value in (settings or {}).items():
            variable = f"CHECKINSYNC_{name.upper()}"
            env.pop(f"{variable}_FILE", None)
            env[variable] = value
        return env | self._home()

    def _home(self) -> dict[str, str]:
        if self.account.pw_uid == os.geteuid():
            return {}
        name = self.account.pw_name
        return {"HOME": self.account.pw_dir, "USER": name, "LOGNAME": name}

    def _identity(self) -> dict[str, Any]:
        """Return who runs it; another account's commands start where that account may be."""
        account = self.account
        if account.pw_uid == os.geteuid():
            return {}
        groups = os.getgrouplist(account.pw_name, account.pw_gid)
        return {
            "user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups, "cwd": "/"
        }  # fmt: skip
