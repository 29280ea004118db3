"""The settings: read once, from a mapping and a file, reporting all problems together.

Nothing here reads `os.environ`: `cli` hands it in. No message shows a secret, nor an address that
may hold one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from checkinsync.config import file as settings_file
from checkinsync.config import validators
from checkinsync.config.addresses import postgres_address
from checkinsync.config.sources import PREFIX, Parser, Sources
from checkinsync.errors import SettingsError

MOST_CONNECTIONS = 10
"""The largest pool unless told otherwise: pages are short, and others need the server's
connections, too."""

LATELY = 30
"""Days for which a login counts on a database that an application shares, unless told otherwise."""

EVERYONE = 2_000_000
"""As many days as `all`: to the beginning of PostgreSQL's calendar, near enough."""

_PARSERS: Mapping[str, Parser] = {
    "home": validators.path,
    "database_url": postgres_address,
    "migrate_url": postgres_address,
    "encryption_key": validators.keys,
    "pg_bindir": validators.path,
    "pg_account": str.strip,
    "log_file": validators.path,
    "log_format": validators.one_of("text", "json"),
    "api_url": validators.web_address,
    "oauth_url": validators.web_address,
    "client_id": validators.word,
    "client_secret": validators.word,
    "token_in": validators.one_of("auto", "header", "query"),
    "proxy": validators.one_of("none", "environment"),
    "ca_file": validators.certificates,
    "active_days": validators.whole(1, 36500, words={"all": EVERYONE}),
    "stagger": validators.duration("0s", "1d"),
    "window": validators.duration("0s", "1d", bare=False),
    "workers": validators.whole(1, 64),
    "deadline": validators.duration("1s", "7d", bare=False),
    "max_age": validators.duration("1s", "3650d", bare=False),
    "overlap": validators.duration("0s", "3650d", bare=False),
    "retries": validators.whole(0, 10),
    "retry_delay": validators.duration("0s", "1h"),
    "pool_size": validators.whole(1, 100),
    "prune": validators.one_of("nightly", "never"),
    "dumps": validators.whole(0, 1000),
    "ping_url": validators.hook,
    "webhook_url": validators.hook,
    "ntfy_url": validators.hook,
    "notify": validators.addresses,
    "notify_names": validators.yes_or_no,
    "metrics_file": validators.path,
    "report_file": validators.path,
}
"""Every setting by its name in lower case without the prefix, and its parser."""

_SECRETS = (
    *("database_url", "migrate_url", "encryption_key", "client_secret"),
    *("ping_url", "webhook_url", "ntfy_url", "notify"),
)

CERTIFICATES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
"""Variables by which many programs are given certificates."""

ELSEWHERE = ("PGHOST", "PGHOSTADDR", "PGSERVICE")
"""Variables that name a server to PostgreSQL's own programs."""


SETTINGS = tuple(_PARSERS)
"""The names of all settings, as the file has them."""

SECRETS = _SECRETS
"""Settings that may also be given as the path of a file, and are shown to nobody."""


def parser_of(setting: str) -> Parser:
    """Return the parser of a setting; an option of the same name is read alike."""
    return _PARSERS[setting]


@dataclass(frozen=True)
class Settings:
    """Everything an operator can set; `dataclasses.replace` lets the options of a command win."""

    home: Path
    """The folder of the embedded database, and of its key."""
    database_url: str | None = field(default=None, repr=False)
    """A PostgreSQL URL or DSN; None: the embedded database."""
    database_source: str = "CHECKINSYNC_DATABASE_URL"
    """The origin of `database_url`, for messages: a variable, a key of which file, …"""
    migrate_url: str | None = field(default=None, repr=False)
    """A direct address for migrations; None: the same as `database_url`."""
    migrate_source: str = "CHECKINSYNC_MIGRATE_URL"
    """The origin of `migrate_url`."""
    encryption_keys: tuple[str, ...] = field(default=(), repr=False)
    """The first encrypts, all decrypt; see `keyring`."""
    application_key: str | None = field(default=None, repr=False)
    """The application's ENCRYPTION_KEY, taken whole, where the environment names it; only to be
    compared with ours, unless ours is not set."""
    pg_bindir: Path | None = None
    pg_account: str | None = None
    log_file: Path | None = None
    log_format: str = "text"
    """`text` or `json`."""
    api_url: str = "https://api.foursquare.com/v2"
    oauth_url: str = "https://foursquare.com/oauth2"
    client_id: str | None = None
    """The application, as Foursquare knows it: for `login` only, like the secret."""
    client_secret: str | None = field(default=None, repr=False)
    token_in: str = "auto"  # noqa: S105 - not a token, but where one is sent
    """`auto`, `header` or `query`."""
    proxy: str = "none"
    """`environment`: go through the proxy that HTTPS_PROXY names; the tokens pass through it."""
    ca_file: Path | None = None
    """Certificates to trust, in PEM; None: those that come with the HTTP library."""
    given_active_days: int | None = None
    """As given; use `active_days`."""
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
    prune: str = "nightly"
    """`nightly` or `never`: whether a good night deletes old records; see `nightly.prune`."""
    dumps: int = 7
    """Dumps of the embedded database that are kept, one a night; 0: none is made."""
    connections: int | None = None
    """As given; use `pool_size`."""
    ping_url: str | None = field(default=None, repr=False)
    """Where each run reports its start and its end, in the manner of healthchecks."""
    webhook_url: str | None = field(default=None, repr=False)
    """Where each run's digest is sent as JSON."""
    ntfy_url: str | None = field(default=None, repr=False)
    """A topic of ntfy, for what an operator should know."""
    notify: tuple[str, ...] = field(default=(), repr=False)
    """The same for other services, as addresses of apprise."""
    notify_names: bool = False
    """True: users are named in what is sent, not only numbered."""
    metrics_file: Path | None = None
    """Written anew after each run, for Prometheus."""
    report_file: Path | None = None
    """The operator's page, written anew after each run."""
    disposable: bool = False
    """True: the embedded database holds nothing of worth (a demo). Never set from outside."""
    may_make_database: bool = False
    """True: a missing embedded database is made. Set by the command, never from outside."""
    looked_for: str = ""
    """The settings file that was read, or those that were looked for, as a sentence."""
    notices: tuple[str, ...] = ()
    """Worth telling, and not a reason to stop."""

    @property
    def pool_size(self) -> int:
        """Connections at most, for everything: one per worker and one for the run itself."""
        return self.connections or min(self.workers + 1, MOST_CONNECTIONS)

    @property
    def active_days(self) -> int:
        """Days for which a login makes a user active; EVERYONE for all who are connected.

        Without an application the last login is never renewed, so there everyone counts.
        """
        usual = EVERYONE if self.database_url is None else LATELY
        return self.given_active_days or usual

    @classmethod
    def from_mapping(
        cls,
        environ: Mapping[str, str],
        file: Mapping[str, Any] | None = None,
        *,
        path: Path | None = None,
    ) -> Settings:
        """Read them from the environment, else from the file (at `path`), else as is usual.

        Raises SettingsError, which reports all problems together, by name.
        """
        settings, given = _taken(environ, file or {}, path)
        if given.problems:
            raise SettingsError("; ".join(given.problems))
        return settings


@dataclass(frozen=True, slots=True)
class Examined:
    """The settings as far as they can be used, and what is wrong with them."""

    settings: Settings
    problems: tuple[str, ...]
    broken: frozenset[str]
    """Settings that were given, but can't be used: what they would be is unknown."""
    config: Path | None
    """The settings file, where there is one."""
    secret_files: tuple[Path, ...]
    """Files that hold a secret, the settings file among them if it does."""
    origins: Mapping[str, str]
    """The origin of each setting that was given: a variable, a key of which file, …"""


def _taken(
    environ: Mapping[str, str], file: Mapping[str, Any], path: Path | None
) -> tuple[Settings, Sources]:
    """Return what can be used, and how it was given."""
    given = Sources(environ, file, path=path)
    values = given.read(_PARSERS, secrets=_SECRETS)
    for name, variable, parser in _STAND_INS:
        if name not in given.broken:
            given.fall_back(values, name, variable, parser)
    given.borrow(values, "ca_file", CERTIFICATES, validators.certificates)
    names = {*_PARSERS, *(f"{name}_file" for name in _SECRETS)}
    given.refuse_unknown_keys(names)
    if "migrate_url" in values and "database_url" not in {*values, *given.broken}:
        given.refuse("migrate_url", "goes with CHECKINSYNC_DATABASE_URL, which is not set")
        del values["migrate_url"]
    for name, field_name in _FIELDS.items():
        if name in values:
            values[field_name] = values.pop(name)
    values |= {
        field_name: given.labels[name]
        for name, field_name in _LABELS.items()
        if name in given.labels
    }
    values["application_key"] = as_the_application_has_it(environ, "ENCRYPTION_KEY")
    notices = [*given.unknown_variables({*names, "config"}), *given.notes]
    notices += [] if "database_url" in {*values, *given.broken} else _ignored(environ)
    return Settings(**{"home": _usual_home(), **values}, notices=tuple(notices)), given


_FIELDS = {
    "encryption_key": "encryption_keys",
    "pool_size": "connections",
    "active_days": "given_active_days",
}
"""Settings whose field has another name."""

_LABELS = {"database_url": "database_source", "migrate_url": "migrate_source"}
"""Fields that say where a setting came from."""

_STAND_INS: tuple[tuple[str, str, Parser], ...] = (
    ("database_url", "DATABASE_URL", postgres_address),
    ("encryption_key", "ENCRYPTION_KEY", validators.whole_key),
)
"""The application's variables that stand in for settings of ours."""


def _ignored(environ: Mapping[str, str]) -> list[str]:
    """Return a notice where a server is named to PostgreSQL's programs, and not to us."""
    named = [variable for variable in ELSEWHERE if environ.get(variable)]
    if not named:
        return []
    return [
        f"{', '.join(named)}: ignored, since no database is named to checkinsync; to use that "
        "server, set CHECKINSYNC_DATABASE_URL"
    ]


def as_the_application_has_it(environ: Mapping[str, str], variable: str) -> str | None:
    """Return a variable of the application (or the file that `variable_FILE` names), unchanged.

    None where it is missing or can't be read: that is a problem only for a command that needs it.
    """
    values: dict[str, str] = {}
    Sources(environ, {}).fall_back(values, variable, variable, str)
    return values.get(variable)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings, from the environment and the file it leads to. Raises SettingsError."""
    path = settings_file.find(environ)
    values = {} if path is None else settings_file.read(path)
    settings = Settings.from_mapping(environ, values, path=path)
    return replace(settings, looked_for=_looked_for(path))


def examine_settings(environ: Mapping[str, str]) -> Examined:
    """Return the same without raising: what is wrong beside what can be used."""
    file, unread, path = {}, [], None
    try:
        path = settings_file.find(environ)
        file = {} if path is None else settings_file.read(path)
    except SettingsError as error:
        unread = [str(error)]
    settings, given = _taken(environ, file, path)
    of_environ = {name for name in _PARSERS if _by_environment(environ, name)}
    broken = given.broken | ({*_PARSERS} - of_environ if unread else set())
    holds_secret = path is not None and any(file.get(name) for name in _SECRETS)
    files = [*given.secret_files, *([path] if path and holds_secret else [])]
    problems = (*unread, *given.problems)
    settings = replace(settings, looked_for=_looked_for(path))
    return Examined(
        settings, problems, frozenset(broken), path, tuple(dict.fromkeys(files)), given.labels
    )


def _looked_for(path: Path | None) -> str:
    if path is not None:
        return f"the settings file {path} names none"
    places = ", ".join(map(str, settings_file.usual_places()))
    return f"there is no settings file ({places})"


def _by_environment(environ: Mapping[str, str], name: str) -> bool:
    """Return True if the file has no say, since the environment names the setting."""
    variable = PREFIX + name.upper()
    return bool(environ.get(variable) or environ.get(f"{variable}_FILE"))


SYSTEM_HOME = Path("/var/lib/checkinsync")


def _usual_home() -> Path:
    """Return a folder of this user; where they have none, or are root, that of servers."""
    return SYSTEM_HOME if os.geteuid() == 0 else settings_file.own_folder("data") or SYSTEM_HOME
