"""The steps of `checkinsync setup`; each does only what is asked for."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from checkinsync.cli.asking import Asking
from checkinsync.cli.atomic_file import write_settings
from checkinsync.cli.own_commands import OwnCommands
from checkinsync.cli.schedule import usual_kind
from checkinsync.config import document, validators
from checkinsync.config.addresses import postgres_address
from checkinsync.config.settings import Examined, examine_settings
from checkinsync.config.sources import read_text
from checkinsync.embedded.place import is_made
from checkinsync.errors import FileInTheWay, SettingsError, SetupStopped
from checkinsync.keys.keyring import make_key
from checkinsync.schedule.installation import VAR_LIB
from checkinsync.users.loopback import PORT, redirect

FEW = 3
"""With more users the first import is left to the night, unless it is asked for."""

REGISTER = (
    "A login needs an application that is registered in Foursquare's developer console,\n"
    f"with the redirect address {redirect(PORT)}."
)


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


@dataclass(frozen=True)
class Setup:
    """One set-up: who is asked, what was answered, and the commands that do it."""

    commands: OwnCommands
    ask: Asking
    given: Given

    def go(self) -> int:
        """Do it all; returns the exit code. Raises SetupStopped, SettingsError, …"""
        if self._examined.problems:
            raise SettingsError("; ".join(self._examined.problems))
        self._database()
        self._key()
        self._do("migrate")
        self._users()
        self._schedule()
        imported = self._import()
        return self.commands.run("doctor") or imported

    @property
    def _examined(self) -> Examined:
        """The settings as they are now, whether there is a file or not."""
        return examine_settings(self.commands.environment())

    def _do(self, *words: str, given: str | None = None) -> None:
        """Run a command. Raises SetupStopped if it fails."""
        code = self.commands.run(*words, given=given)
        if code:
            raise SetupStopped(
                f"`checkinsync {' '.join(words)}` failed, so the set-up stops here; what is done "
                "stays. Run `checkinsync setup` again when the cause is removed",
                exit_code=code,
            )

    # --- the settings file ------------------------------------------------------------------------

    def _set(self, values: document.Values) -> None:
        """Set values in the settings file, which is made if there is none."""
        path = self.commands.config
        before = read_text(path) if path.exists() else document.commented()
        after = document.with_values(before, values)
        if after != before or not path.exists():
            write_settings(path, after, group=self._group)
            click.echo(f"wrote {path}", err=True)

    def _set_secret(self, setting: str, name: str, text: str) -> None:
        """Write a secret into a file of its own beside the settings file, and name it there."""
        path = self.commands.config.with_name(name)
        write_settings(path, f"{text}\n", group=self._group)
        click.echo(f"wrote {path}", err=True)
        self._set({setting: None, f"{setting}_file": str(path)})

    @property
    def _group(self) -> int | None:
        """The group that may read root's files; None: these are the account's own."""
        account = self.commands.account
        return account.pw_gid if account.pw_uid != os.geteuid() else None

    # --- the database and its key -----------------------------------------------------------------

    def _database(self) -> None:
        settings = self._examined.settings
        known = settings.database_url is not None or is_made(settings.home)
        if self.given.private and self.given.database_url_file:
            raise click.UsageError("--private and --database-url-file exclude each other")
        given = "server" if self.given.database_url_file else None
        answers = {
            "private": "one of its own, which is made now; it needs nothing else",
            "server": "a PostgreSQL server, the web application's for example",
        }
        if known:
            answers["keep"] = "as it is"
        answer = self.ask.choose(
            "Which database?",
            answers,
            given="private" if self.given.private else given,
            usual="keep" if known else "private",
        )
        if answer == "private":
            self._use_private()
        elif answer == "server":
            self._use_server()

    @property
    def _home(self) -> Path:
        """The folder of a private database: root's account has none that it would look in."""
        examined = self._examined
        own = self._group is None or "home" in examined.origins
        return examined.settings.home if own else VAR_LIB

    def _use_private(self) -> None:
        origin = self._examined.origins.get("database_url", "")
        if origin.partition(" ")[0] in os.environ:
            raise SettingsError(f"{origin} names a database in this shell; unset it first")
        home, account = self._home, self.commands.account
        if self._group is not None and not home.exists():
            home.mkdir(parents=True, mode=0o750)
            shutil.chown(home, account.pw_uid, account.pw_gid)
        names = [
            f"{name}{end}" for name in ("database_url", "migrate_url") for end in ("", "_file")
        ]
        values: dict[str, str | int | None] = dict.fromkeys(names)
        self._set(values | ({} if self._group is None else {"home": str(home)}))

    def _use_server(self) -> None:
        """Take an address, and try it before it is written down."""
        file = self.given.database_url_file
        while True:
            address = (
                _content(file, postgres_address)
                if file
                else self.ask.secret("Its address, postgresql://user@host/name", _address)
            )
            told = self.commands.answer("migrate", "--plan", "--json", database_url=address)
            if told.returncode == 0:
                self._set_secret("database_url", "database.url", address)
                return
            problem = told.stderr.strip().removeprefix("checkinsync: ")
            if file:
                raise SetupStopped(problem, exit_code=told.returncode)
            click.echo(problem, err=True)

    def _key(self) -> None:
        """A server needs a key that is named; a private database makes its own."""
        examined = self._examined
        if self.given.encryption_key_file:
            self._use_key(read_text(self.given.encryption_key_file).strip("\r\n"))
            return
        if examined.settings.encryption_keys or examined.settings.database_url is None:
            return
        stored = self._tokens()["stored"]
        if stored and not self.ask.attended:
            raise SettingsError(
                f"{stored} stored tokens are encrypted with a key that is not given; name its file "
                "by --encryption-key-file"
            )
        answer = self.ask.choose(
            "Which key encrypts the stored tokens?",
            {"make": "a new one, for a new database", "application": "the web application's"},
            given="make" if self.given.make_key and not stored else None,
            usual="application" if stored else "make",
        )
        if answer == "application" or stored:
            self._use_key(self.ask.secret("The application's ENCRYPTION_KEY", _one_key))
        else:
            self._use_key(make_key())

    def _use_key(self, key: str) -> None:
        """Write the key down, unless it is there, or is not that of the stored tokens."""
        path = self.commands.config.with_name("encryption.key")
        if path.exists() and read_text(path).strip() != key:
            raise FileInTheWay(f"{path} holds another key; move it away, and keep it")
        if self._examined.settings.database_url is not None:
            tokens = self._tokens(encryption_key=key)
            if tokens["stored"] and len(tokens["unopened"] or ()) == tokens["stored"]:
                raise SettingsError(f"this key decrypts none of the {tokens['stored']} tokens")
        self._set_secret("encryption_key", path.name, key)
        click.echo(f"Keep a copy of {path} in a safe place: without it the tokens are lost.")

    def _tokens(self, **settings: str) -> dict[str, Any]:
        """Return how many tokens are stored, and whose the key does not open."""
        told = self.commands.answer("migrate", "--plan", "--json", **settings)
        if told.returncode:
            problem = told.stderr.strip().removeprefix("checkinsync: ")
            raise SetupStopped(problem, exit_code=told.returncode)
        tokens: dict[str, Any] = json.loads(told.stdout)["found"]["tokens"]
        return tokens

    # --- the users --------------------------------------------------------------------------------

    def _users(self) -> None:
        if self.given.token_file:
            self._do("users", "add", "--renew", given=read_text(self.given.token_file))
        if self.given.login:
            self._login()
        if self.given.token_file or self.given.login or not self.ask.attended:
            return
        count = self._count()
        answer = self.ask.choose(
            f"Whose check-ins? Users so far: {count}.",
            {
                "token": "add the user of a Foursquare token that you have",
                "login": "add the user who logs in at Foursquare, in a browser",
                "none": "nobody now; the web application's users are there by themselves",
            },
            given=None,
            usual="none" if count else "token",
        )
        if answer == "login":
            self._login()
        elif answer == "token":
            while self.commands.run("users", "add", "--renew"):
                if not self.ask.confirm("Try another token?", given=None, usual=True):
                    break

    def _count(self) -> int:
        told = self.commands.answer("users", "list", "--json")
        return len(json.loads(told.stdout)) if told.returncode == 0 else 0

    def _login(self) -> None:
        """Log a user in; the application at Foursquare has to be known."""
        settings, given = self._examined.settings, self.given
        click.echo(f"\n{REGISTER}", err=True)
        client = given.client_id
        if client is None and settings.client_id is None:
            client = str(click.prompt("The application's client id", err=True))
        if client is not None:
            self._set({"client_id": validators.word(client)})
        if given.client_secret_file:
            secret = _content(given.client_secret_file, validators.word)
            self._set_secret("client_secret", "client.secret", secret)
        elif settings.client_secret is None:
            secret = self.ask.secret("Its client secret", validators.word)
            self._set_secret("client_secret", "client.secret", secret)
        self._do("login", *([] if _has_browser() else ["--no-browser"]))

    # --- the nights -------------------------------------------------------------------------------

    @cached_property
    def _here(self) -> OwnCommands:
        """Commands of the one who runs this: root's schedule is for the account."""
        return replace(self.commands, account=pwd.getpwuid(os.geteuid()))

    def _schedule(self) -> None:
        account = () if self._group is None else ("--account", self.commands.account.pw_name)
        told = self._here.answer("schedule", "show", "--json", *account)
        installed = json.loads(told.stdout)["installed"] if told.returncode == 0 else []
        kind = usual_kind()
        answers = {
            "cron": "lines in the crontab",
            "systemd": "a timer of the machine's systemd",
            "user": "a timer of your own systemd",
            "print": "print the lines for the crontab, and install nothing",
            "none": f"leave it as it is: {', '.join(installed) or 'not installed'}",
        }
        del answers["user" if os.geteuid() == 0 else "systemd"]
        there = shutil.which("crontab" if kind == "cron" else "systemctl")
        usual = "none" if installed or not self.ask.attended else kind if there else "print"
        answer = self.ask.choose(
            "What starts the nightly run, at 02:00 UTC?",
            answers,
            given=self.given.schedule,
            usual=usual,
        )
        self._start_nights(answer, account)

    def _start_nights(self, answer: str, account: tuple[str, ...]) -> None:
        if answer == "print":
            self._here.run("schedule", "show", "--cron", *account)
        elif answer != "none":
            code = self._here.run("schedule", "install", f"--{answer}", *account)
            if code and not self.ask.attended:
                raise SetupStopped("the schedule is not installed", exit_code=code)

    def _import(self) -> int:
        """Import everyone now; returns the exit code."""
        count = self._count() if self.given.first_import is None else None
        if count == 0 or not self.ask.confirm(
            f"Import now? Users: {count}.", given=self.given.first_import, usual=(count or 0) <= FEW
        ):
            return 0
        return self.commands.run("orchestrate")


def _address(text: str) -> str:
    """Return an address that can be used, as it was typed. Raises ValueError."""
    postgres_address(text)
    return text.strip()


def _one_key(text: str) -> str:
    """Return the application's key. Raises ValueError where it would count as several."""
    if "," in text:
        raise ValueError("it holds a comma, at which keys are separated; set it as ENCRYPTION_KEY")
    validators.whole_key(text)
    return text


def _content(file: Path, parse: Any) -> str:
    """Return what a file holds, if it can be used. Raises SettingsError."""
    try:
        text = read_text(file).strip()
        parse(text)
    except ValueError as problem:
        raise SettingsError(f"{file}: {problem}") from None
    return text


def _has_browser() -> bool:
    shown = sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & {*os.environ}
    return bool(shown) and "SSH_CONNECTION" not in os.environ
