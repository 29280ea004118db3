"""The steps of `checkinsync setup`; each does only what is asked for."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import click

from checkinsync.cli.schedule import usual_kind
from checkinsync.cli.setup.asking import Asking
from checkinsync.cli.setup.database import Database
from checkinsync.cli.setup.own_commands import OwnCommands
from checkinsync.cli.setup.settings import SettingsFile, content
from checkinsync.config import validators
from checkinsync.config.sources import read_text
from checkinsync.errors import SettingsError, SetupStopped
from checkinsync.users.loopback import PORT, redirect

FEW = 3
"""With more users the first import is left to the night, unless it is asked for."""

REGISTER = (
    "A login needs an application that is registered in Foursquare's developer console,\n"
    f"with the redirect address {redirect(PORT)}."
)
USERS = {
    "token": "add the user of a Foursquare token that you have",
    "login": "add the user who logs in at Foursquare, in a browser",
    "none": "nobody now; the web application's users are there by themselves",
}
SCHEDULES = {
    "cron": "lines in the crontab",
    "systemd": "a timer of the machine's systemd",
    "user": "a timer of your own systemd",
    "print": "print the lines for the crontab, and install nothing",
}


@dataclass(frozen=True, slots=True)
class Given:
    """The answers that options gave."""

    private: bool
    database_url_file: Path | None
    make_key: bool
    encryption_key_file: Path | None
    token_file: Path | None
    login: bool
    client_id: str | None
    client_secret_file: Path | None
    schedule: str | None
    first_import: bool | None


@dataclass(frozen=True, slots=True)
class Setup:
    """One set-up: who is asked, what options gave, and the commands that do it."""

    commands: OwnCommands
    ask: Asking
    given: Given

    def go(self) -> int:
        """Do it all; returns the exit code. Raises SetupStopped, SettingsError, …"""
        file, given = SettingsFile(self.commands), self.given
        problems = file.examined().problems
        if problems:
            raise SettingsError("; ".join(problems))
        self.ask.tell(
            f"The settings are in {file.path}; {self.commands.account.pw_name} runs the nights. "
            "Ctrl-C stops; what is done stays."
        )
        database = Database(file, self.ask)
        database.choose(private=given.private, url_file=given.database_url_file)
        file.set({})
        database.choose_key(make=given.make_key, key_file=given.encryption_key_file)
        self._do("migrate")
        self._users(file)
        self._schedule()
        imported = self._import()
        code = self.commands.run("doctor") or imported
        if not code:
            self.ask.tell("checkinsync is set up. `checkinsync status` shows how it is doing.")
        return code

    def _do(self, *words: str, given: str | None = None) -> None:
        """Run a command. Raises SetupStopped if it fails."""
        code = self.commands.run(*words, given=given)
        if code:
            raise SetupStopped(
                f"`checkinsync {' '.join(words)}` failed, so the set-up stops here; what is done "
                "stays. Run `checkinsync setup` again when the cause is removed",
                exit_code=code,
            )

    # --- the users --------------------------------------------------------------------------------

    def _users(self, file: SettingsFile) -> None:
        """Add the user that options name; else ask whom."""
        if self.given.token_file:
            self._do("users", "add", "--renew", given=read_text(self.given.token_file))
        if self.given.login:
            self._login(file)
        if self.given.token_file or self.given.login or not self.ask.attended:
            return
        count = self._count()
        question = f"Whose check-ins? Users so far: {count}."
        answer = self.ask.choose(question, USERS, given=None, usual="none" if count else "token")
        if answer == "login":
            self._login(file)
        elif answer == "token":
            while self.commands.run("users", "add", "--renew"):
                if not self.ask.confirm("Try another token?", given=None, usual=True):
                    break

    def _count(self) -> int:
        told = self.commands.answer("users", "list", "--json")
        return len(json.loads(told.stdout)) if told.returncode == 0 else 0

    def _login(self, file: SettingsFile) -> None:
        """Log a user in; the application at Foursquare has to be known."""
        settings, given = file.examined().settings, self.given
        click.echo(f"\n{REGISTER}", err=True)
        if given.client_id or settings.client_id is None:
            client = given.client_id or click.prompt("The application's client id", err=True)
            file.set({"client_id": validators.word(client)})
        if given.client_secret_file or settings.client_secret is None:
            secret = (
                content(given.client_secret_file, validators.word)
                if given.client_secret_file
                else self.ask.secret("Its client secret", validators.word)
            )
            file.set_secret("client_secret", "client.secret", secret)
        self._do("login", *([] if _has_browser() else ["--no-browser"]))

    # --- the nights -------------------------------------------------------------------------------

    def _schedule(self) -> None:
        """Install the schedule, as the one who runs this: root's is for the account."""
        mine = pwd.getpwuid(os.geteuid())
        here, account = replace(self.commands, account=mine), self.commands.account
        whose = () if account.pw_uid == mine.pw_uid else ("--account", account.pw_name)
        told = here.answer("schedule", "show", "--json", *whose)
        installed = json.loads(told.stdout)["installed"] if told.returncode == 0 else []
        answer = self.ask.choose(
            "What starts the nightly run, at 02:00 UTC?",
            _schedules(installed),
            given=self.given.schedule,
            usual="none" if installed or not self.ask.attended else _usual_schedule(),
        )
        if answer == "print":
            here.run("schedule", "show", "--cron", *whose)
        elif answer != "none":
            code = here.run("schedule", "install", f"--{answer}", *whose)
            if code and not self.ask.attended:
                raise SetupStopped("the schedule is not installed", exit_code=code)

    def _import(self) -> int:
        """Import everyone now; returns the exit code."""
        wanted = self.given.first_import
        count = self._count() if wanted is None and self.ask.attended else None
        question = f"Import now? Users: {count}."
        if count == 0 or not self.ask.confirm(question, given=wanted, usual=(count or 0) <= FEW):
            return 0
        return self.commands.run("orchestrate")


def _schedules(installed: list[str]) -> dict[str, str]:
    """Return what can be chosen: the machine's timer is root's."""
    known = {**SCHEDULES, "none": f"leave it as it is: {', '.join(installed) or 'not installed'}"}
    del known["user" if os.geteuid() == 0 else "systemd"]
    return known


def _usual_schedule() -> str:
    kind = usual_kind()
    return kind if shutil.which("crontab" if kind == "cron" else "systemctl") else "print"


def _has_browser() -> bool:
    shown = sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & {*os.environ}
    return bool(shown) and "SSH_CONNECTION" not in os.environ
