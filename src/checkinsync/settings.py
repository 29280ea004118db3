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

from checkinsync import allowed
from checkinsync.errors import SettingsError
from checkinsync.given import PREFIX, Given, Parser

MOST_CONNECTIONS = 10
"""What the pool takes at most unless told otherwise: pages are short, and others want the server's
connections, too."""

_PARSERS: Mapping[str, Parser] = {
    "home": allowed.path,
    "database_url": allowed.postgres_address,
    "migrate_url": allowed.postgres_address,
    "encryption_key": allowed.keys,
    "pg_bindir": allowed.path,
    "pg_account": str.strip,
    "log_file": allowed.path,
    "api_url": allowed.web_address,
    "oauth_url": allowed.web_address,
    "client_id": allowed.word,
    "client_secret": allowed.word,
    "token_in": allowed.one_of("auto", "header", "query"),
    "proxy": allowed.one_of("none", "environment"),
    "active_days": allowed.whole(1, 36500),
    "stagger": allowed.duration("0s", "1d"),
    "window": allowed.duration("0s", "1d"),
    "workers": allowed.whole(1, 64),
    "deadline": allowed.duration("1s", "7d"),
    "max_age": allowed.duration("1s", "3650d"),
    "overlap": allowed.duration("0s", "3650d"),
    "retries": allowed.whole(0, 10),
    "retry_delay": allowed.duration("0s", "1h"),
    "pool_size": allowed.whole(1, 100),
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
        given = Given(environ, file or {})
        values = given.read(_PARSERS, secrets=_SECRETS)
        given.fall_back(values, "database_url", "DATABASE_URL", allowed.postgres_address)
        given.fall_back(values, "encryption_key", "ENCRYPTION_KEY", lambda whole: (whole,))
        names = {*_PARSERS, *(f"{name}_file" for name in _SECRETS)}
        given.refuse_unknown_keys(names)
        if given.problems:
            raise SettingsError("; ".join(given.problems))
        for name, field_name in (
            ("encryption_key", "encryption_keys"),
            ("pool_size", "connections"),
        ):
            if name in values:
                values[field_name] = values.pop(name)
        notices = given.unknown_variables({*names, "config"})
        return cls(**{"home": _usual_home(), **values}, notices=tuple(notices))


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings, from the environment and the file it leads to. Raises SettingsError."""
    path = config_path(environ)
    return Settings.from_mapping(environ, None if path is None else read_file(path))


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
