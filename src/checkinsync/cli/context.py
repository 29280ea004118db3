"""Shared by all commands: settings read once, the log, signals, the opened App."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from checkinsync.cli.terminal import on_terminal
from checkinsync.errors import SettingsError
from checkinsync.shutdown import Shutdown, signals_deferred

if TYPE_CHECKING:
    from checkinsync.app import App
    from checkinsync.config.settings import Examined, Settings
    from checkinsync.store.pool import Pool

MAKERS = frozenset({"migrate", "users add", "login", "setup", "db restore"})
"""Commands that make a private database where there is none; any other would be shown, or fill,
the wrong one without a word."""

LOOKING = ("plan", "status", "check", "baseline")
"""Options with which such a command looks at the database that there is."""

OF_LIBPQ = "PG"
"""The beginning of the variables that PostgreSQL's library listens to."""


class Duration(click.ParamType[timedelta]):
    """`90s`, `2m`, `1h30m`, `14d`, or plain seconds."""

    name = "duration"

    def __init__(self, parse: Callable[[str], timedelta]) -> None:
        self._parse = parse

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Return the text as a time span; a usage error where it is not one."""
        if isinstance(value, timedelta):
            return value
        try:
            return self._parse(value)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


def duration_of(setting: str) -> Duration:
    """Return the type of an option that is a setting, too."""

    def parse(text: str) -> timedelta:
        from checkinsync.config.settings import parser_of

        span: timedelta = parser_of(setting)(text)
        return span

    return Duration(parse)


@dataclass(frozen=True, slots=True)
class Context:
    """The global options, and what is opened with them."""

    verbosity: int
    log_format: str | None
    log_file: str | None

    @property
    def words(self) -> tuple[str, ...]:
        """The global options as they are typed, for another command."""
        loudness = ("-q",) if self.verbosity < 0 else ("-v",) * self.verbosity
        log_format = ("--log-format", self.log_format) if self.log_format else ()
        return (*loudness, *log_format, *(("--log-file", self.log_file) if self.log_file else ()))

    def settings(self, **options: Any) -> Settings:
        """Return the settings, options that were given first. Sets up the log."""
        import logging

        from checkinsync.config.settings import read_settings

        settings = read_settings(os.environ)
        given = {name: value for name, value in options.items() if value is not None}
        settings = replace(settings, **given, may_make_database=_may_make_database())
        shield(settings)
        self._log(settings)
        heard = logging.WARNING if on_terminal() else logging.INFO  # a good night prints nothing
        for notice in settings.notices:
            logging.getLogger("checkinsync").log(heard, notice)
        return settings

    def examined(self) -> Examined:
        """Return the settings as far as they can be used, and their problems. Sets up the log."""
        from checkinsync.config.settings import examine_settings

        examined = examine_settings(os.environ)
        shield(examined.settings)
        try:
            self._log(examined.settings)
        except SettingsError as error:
            return replace(examined, problems=(*examined.problems, str(error)))
        return examined

    def _log(self, settings: Settings) -> None:
        from checkinsync.cli import log

        path = self.log_file or settings.log_file
        log.configure(
            verbosity=self.verbosity,
            style=self.log_format or settings.log_format,
            path=None if path is None else str(path),
        )

    @contextmanager
    def app(self, **options: Any) -> Iterator[App]:
        """Open the App with these options."""
        with self.opened(self.settings(**options)) as app:
            yield app

    @contextmanager
    def opened(self, settings: Settings) -> Iterator[App]:
        """Open the App with these settings."""
        with signals_deferred():
            from checkinsync.app import open_app

        with open_app(settings, listening()) as app:
            yield app

    @contextmanager
    def pool(self) -> Iterator[tuple[Settings, Pool]]:
        """Open the database alone, for commands that need no key and no Foursquare."""
        with signals_deferred():
            from checkinsync.resources import open_pooled

        settings = self.settings()
        listening()
        with open_pooled(settings) as pool:
            yield settings, pool


def listening() -> Shutdown:
    """Hear signals from now on; everything is loaded."""
    gc.freeze()  # what was loaded stays
    gc.enable()
    shutdown = Shutdown()
    shutdown.listen()
    return shutdown


def shield(settings: Settings) -> None:
    """Remove libpq's variables where the embedded database is used, which listens to none."""
    if settings.database_url is None:
        for name in [name for name in os.environ if name.startswith(OF_LIBPQ)]:
            del os.environ[name]


def _may_make_database() -> bool:
    """Return True if the command that is being run makes a private database where there is none."""
    ctx = click.get_current_context(silent=True)
    if ctx is None or any(ctx.params.get(name) for name in LOOKING):
        return False
    names: list[str] = []
    while ctx is not None and ctx.parent is not None:
        names.insert(0, ctx.info_name or "")
        ctx = ctx.parent
    return " ".join(names) in MAKERS
