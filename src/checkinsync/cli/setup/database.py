"""The database that `setup` uses, and the key of its tokens; each is tried before it is kept."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from checkinsync.cli.setup.asking import Asking
from checkinsync.cli.setup.settings import SettingsFile, content
from checkinsync.config import validators
from checkinsync.config.addresses import postgres_address
from checkinsync.config.sources import read_text
from checkinsync.embedded.place import is_made
from checkinsync.errors import FileInTheWay, SettingsError, SetupStopped
from checkinsync.keys.keyring import make_key
from checkinsync.schedule.installation import VAR_LIB

ADDRESSES = ("database_url", "database_url_file", "migrate_url", "migrate_url_file")
"""The keys of the settings file that name a server."""

DATABASES = {
    "private": "one of its own, which is made now; it needs nothing else",
    "server": "a PostgreSQL server, the web application's for example",
}
KEYS = {
    "make": "a new one, for a new database",
    "application": "the web application's",
}


@dataclass(frozen=True, slots=True)
class Database:
    """Which database, and which key."""

    file: SettingsFile
    ask: Asking

    def choose(self, *, private: bool, url_file: Path | None) -> None:
        """Take a private database or an address; one that is in use is kept, unless asked for."""
        settings = self.file.examined().settings
        known = settings.database_url is not None or is_made(settings.home)
        answer = self.ask.choose(
            "Which database?",
            DATABASES | ({"keep": "as it is"} if known else {}),
            given="private" if private else "server" if url_file else None,
            usual="keep" if known else "private",
        )
        if answer == "private":
            self._use_private()
        elif url_file:
            self._use_server(content(url_file, postgres_address))
        elif answer == "server":
            self._ask_for_server()

    def _use_private(self) -> None:
        """Name no database; the folder is this account's, or that of servers."""
        examined, group = self.file.examined(), self.file.group
        origin = examined.origins.get("database_url", "")
        if origin.partition(" ")[0] in os.environ:
            raise SettingsError(f"{origin} names a database in this shell; unset it first")
        names = [
            f"{name}{end}" for name in ("database_url", "migrate_url") for end in ("", "_file")
        ]
        values: dict[str, str | int | None] = dict.fromkeys(names)
        if group is not None and "home" not in examined.origins:
            values["home"] = str(VAR_LIB)
        self.file.set(values)
        home, account = self.file.examined().settings.home, self.file.commands.account
        if group is not None and not home.exists():
            home.mkdir(parents=True, mode=0o750)
            shutil.chown(home, account.pw_uid, group)

    def _ask_for_server(self) -> None:
        """Ask until an address leads to a database."""
        while True:
            try:
                return self._use_server(
                    self.ask.secret("Its address, postgresql://user@host/name", _address)
                )
            except SetupStopped as problem:
                click.echo(str(problem), err=True)

    def _use_server(self, address: str) -> None:
        """Try an address, and write it down. Raises SetupStopped if it does not work."""
        self._tokens(database_url=address)
        self.file.set_secret("database_url", "database.url", address)

    def choose_key(self, *, make: bool, key_file: Path | None) -> None:
        """Take a key; one that is in use is kept. A private database makes its own."""
        if key_file:
            self._use_key(read_text(key_file).strip("\r\n"))
            return
        settings = self.file.examined().settings
        if settings.encryption_keys or settings.database_url is None:
            return
        stored = self._tokens()["stored"]
        if stored and not self.ask.attended:
            raise SettingsError(
                f"{stored} stored tokens are encrypted with a key that is not given; name its file "
                "by --encryption-key-file"
            )
        answer = self.ask.choose(
            "Which key encrypts the stored tokens?",
            KEYS,
            given="make" if make and not stored else None,
            usual="application" if stored else "make",
        )
        if answer == "application" or stored:
            self._use_key(self.ask.secret("The application's ENCRYPTION_KEY", _one_key))
        else:
            self._use_key(make_key())

    def _use_key(self, key: str) -> None:
        """Write the key down, unless another is there, or it is not that of the tokens."""
        path = self.file.path.with_name("encryption.key")
        if path.exists() and read_text(path).strip("\r\n") != key:
            raise FileInTheWay(f"{path} holds another key; move it away, and keep it")
        if self.file.examined().settings.database_url is not None:
            tokens = self._tokens(encryption_key=key)
            if tokens["stored"] and len(tokens["unopened"] or ()) == tokens["stored"]:
                raise SettingsError(f"this key decrypts none of the {tokens['stored']} tokens")
        self.file.set_secret("encryption_key", path.name, key)
        click.echo(
            f"Keep a copy of {path} in a safe place: without it the tokens are lost.", err=True
        )

    def _tokens(self, **settings: str) -> dict[str, Any]:
        """Return how many tokens are stored, and whose the key does not open.

        Raises SetupStopped where the database can't be used.
        """
        told = self.file.commands.answer("migrate", "--plan", "--json", **settings)
        if told.returncode:
            problem = told.stderr.strip().removeprefix("checkinsync: ")
            raise SetupStopped(problem, exit_code=told.returncode)
        tokens: dict[str, Any] = json.loads(told.stdout)["found"]["tokens"]
        return tokens


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
