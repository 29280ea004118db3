"""The settings: read once, from a mapping and a file, complaining about everything at once.

Nothing here reads `os.environ`: the doors hand it in. No message shows a secret, nor an address
that may hold one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from checkinsync.config import validators
from checkinsync.config.sources import PREFIX, Parser, Sources
from checkinsync.errors import SettingsError

MOST_CONNECTIONS = 10
"""What the pool takes at most unless told otherwise: pages are short, and others want the server's
connections, too."""

_PARSERS: Mapping[str, Parser] = {
    "home": validators.path,
    "database_url": validators.postgres_address,
    "migrate_url": validators.postgres_address,
    "encryption_key": validators.keys,
    "pg_bindir": validators.path,
    "pg_account": str.strip,
    "log_file": validators.path,
    "api_url": validators.web_address,
    "oauth_url": validators.web_address,
    "client_id": validators.word,
    "client_secret": validators.word,
    "token_in": validators.one_of("auto", "header", "query"),
    "proxy": validators.one_of("none", "environment"),
    "active_days": validators.whole(1, 36500),
    "stagger": validators.duration("0s", "1d"),
    "window": validators.duration("0s", "1d"),
    "workers": validators.whole(1, 64),
    "deadline": validators.duration("1s", "7d"),
    "max_age": validators.duration("1s", "3650d"),
    "overlap": validators.duration("0s", "3650d"),
    "retries": validators.whole(0, 10),
    "retry_delay": validators.duration("0s", "1h"),
    "pool_size": validators.whole(1, 100),
}
"""Every setting by its name in lower case without the prefix, and what it may be."""

_SECRETS = ("database_url", "migrate_url", "encryption_key", "client_secret")


def parser_of(setting: str) -> Parser:
    """How the text of a setting is read; an option of the same name is read alike."""
    return _PARSERS[setting]


@dataclass(frozen=True)
class Settings:
    """What an operator can set; `dataclasses.replace` lets the options of a command win."""

    home: Path
    """Where the embedded database lives, and its key."""
    database_url: str | None = field(default=None, repr=False)
    """A PostgreSQL URL or DSN; None: the embedded database."""
    migrate_url: str | None = field(default=None, repr=False)
    """A direct address for migrations; None: the same as `database_url`."""
    encryption_keys: tuple[str, ...] = field(default=(), repr=False)
    """The first seals, all open; see `vault`."""
    application_key: str | None = field(default=None, repr=False)
    """The application's ENCRYPTION_KEY, taken whole, where the environment names it; only to be
    compared with ours, unless ours is not set."""
    pg_bindir: Path | None = None
    pg_account: str | None = None
    log_file: Path | None = None
    api_url: str = "https://api.foursquare.com/v2"
    oauth_url: str = "https://foursquare.com/oauth2"
    client_id: str | None = None
    """The application, as Foursquare knows it: for `login` only, like the secret."""
    client_secret: str | None = field(default=None, repr=False)
    token_in: str = "auto"  # noqa: S105 - no token, the place of one
    """`auto`, `header` or `query`."""
    proxy: str = "none"
    """`environment`: go through the proxy that HTTPS_PROXY names; the tokens pass through it."""
    active_days: int = 30
    stagger: timedelta = timedelta(minutes=2)
    window: timedelta = timedelta(hours=4)
    workers: int = 4
    deadline: timedelta = timedelta(hours=6)
    max_age: timedelta | None = None
    """None: users are due whatever the age of their last finished walk."""
    overlap: timedelta = timedelta(days=14)
    retries: int = 3
    """After the first attempt."""
    retry_delay: timedelta = timedelta(seconds=60)
    """Before the first retry; it doubles."""
    connections: int | None = None
    """As given; use `pool_size`."""
    disposable: bool = False
    """Whether the embedded database holds nothing of worth (a demo): never set from outside."""
    notices: tuple[str, ...] = ()
    """Worth telling, and no reason to stop."""

    @property
    def pool_size(self) -> int:
        """Connections at most, for everything: one per worker and one for the run itself."""
        return self.connections or min(self.workers + 1, MOST_CONNECTIONS)

    @classmethod
    def from_mapping(
        cls, environ: Mapping[str, str], file: Mapping[str, Any] | None = None
    ) -> Settings:
        """From the environment, else from the file, else as is usual.

        Raises SettingsError, which tells all problems together, by name.
        """
        settings, given = _taken(environ, file or {})
        if given.problems:
            raise SettingsError("; ".join(given.problems))
        return settings


@dataclass(frozen=True, slots=True)
class Examined:
    """The settings as far as they can be used, for whoever has to say what is wrong with them."""

    settings: Settings
    problems: tuple[str, ...]
    broken: frozenset[str]
    """Settings that were given, but not so that they can be used: what they would be is unknown."""
    config: Path | None
    """The settings file, where there is one."""
    secret_files: tuple[Path, ...]
    """Files that hold a secret, the settings file among them if it does."""


def _taken(environ: Mapping[str, str], file: Mapping[str, Any]) -> tuple[Settings, Sources]:
    """What can be used, and how it was given."""
    given = Sources(environ, file)
    values = given.read(_PARSERS, secrets=_SECRETS)
    for name, variable, parser in _STAND_INS:
        if name not in given.broken:
            given.fall_back(values, name, variable, parser)
    names = {*_PARSERS, *(f"{name}_file" for name in _SECRETS)}
    given.refuse_unknown_keys(names)
    for name, field_name in (
        ("encryption_key", "encryption_keys"),
        ("pool_size", "connections"),
    ):
        if name in values:
            values[field_name] = values.pop(name)
    values["application_key"] = as_the_application_has_it(environ, "ENCRYPTION_KEY")
    notices = given.unknown_variables({*names, "config"})
    return Settings(**{"home": _usual_home(), **values}, notices=tuple(notices)), given


_STAND_INS: tuple[tuple[str, str, Parser], ...] = (
    ("database_url", "DATABASE_URL", validators.postgres_address),
    ("encryption_key", "ENCRYPTION_KEY", lambda whole: (whole,)),
)
"""The application's variables that stand in for settings of ours."""


def as_the_application_has_it(environ: Mapping[str, str], variable: str) -> str | None:
    """A variable of the application (or the file that `variable_FILE` names), unchanged.

    None where it is not there, or can't be read: that is a problem only for whoever needs it.
    """
    values: dict[str, str] = {}
    Sources(environ, {}).fall_back(values, variable, variable, str)
    return values.get(variable)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings, from the environment and the file it leads to. Raises SettingsError."""
    path = config_path(environ)
    return Settings.from_mapping(environ, None if path is None else read_file(path))


def examine_settings(environ: Mapping[str, str]) -> Examined:
    """The same, without complaint: what is wrong is told beside what can be used."""
    file, unread, path = {}, [], None
    try:
        path = config_path(environ)
        file = {} if path is None else read_file(path)
    except SettingsError as error:
        unread = [str(error)]
    settings, given = _taken(environ, file)
    of_environ = {name for name in _PARSERS if _by_environment(environ, name)}
    broken = given.broken | ({*_PARSERS} - of_environ if unread else set())
    holds_secret = path is not None and any(file.get(name) for name in _SECRETS)
    files = [*given.secret_files, *([path] if path and holds_secret else [])]
    problems = (*unread, *given.problems)
    return Examined(settings, problems, frozenset(broken), path, tuple(dict.fromkeys(files)))


def _by_environment(environ: Mapping[str, str], name: str) -> bool:
    """Whether the file has no say, since the environment names the setting."""
    variable = PREFIX + name.upper()
    return bool(environ.get(variable) or environ.get(f"{variable}_FILE"))


def config_path(environ: Mapping[str, str]) -> Path | None:
    """Where the file is; None where there is none. Raises SettingsError if a named one is not."""
    named = environ.get(f"{PREFIX}CONFIG")
    path = Path(named) if named else _usual_config()
    if path.is_file():
        return path
    if named:
        raise SettingsError(f"{PREFIX}CONFIG names {named}, which is no file")
    return None


def read_file(path: Path) -> dict[str, Any]:
    """The file's keys and values. Raises SettingsError."""
    import tomllib  # noqa: PLC0415 - only where there is a file

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is no text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is no TOML: {error}") from None


def _usual_home() -> Path:
    import platformdirs  # noqa: PLC0415 - root needs none of it

    if os.geteuid() == 0:
        return Path("/var/lib/checkinsync")
    return platformdirs.user_data_path("checkinsync", appauthor=False)


def _usual_config() -> Path:
    import platformdirs  # noqa: PLC0415

    if os.geteuid() == 0:
        return Path("/etc/checkinsync.toml")
    return platformdirs.user_config_path("checkinsync", appauthor=False) / "checkinsync.toml"
