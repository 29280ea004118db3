"""What all commands share: settings read once, the log, signals, the opened App."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from checkinsync.cli.terminal import on_terminal
from checkinsync.config.durations import parse_duration
from checkinsync.config.settings import (
    Examined,
    Settings,
    examine_settings,
    parser_of,
    read_settings,
)
from checkinsync.errors import SettingsError

if TYPE_CHECKING:
    from checkinsync.app import App
    from checkinsync.shutdown import Shutdown
    from checkinsync.store.pool import Pool


class Duration(click.ParamType[timedelta]):
    """`90s`, `2m`, `4h`, `14d`, or plain seconds."""

    name = "duration"

    def __init__(self, parse: Callable[[str], timedelta] = parse_duration) -> None:
        self._parse = parse

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """The text as a time span; a usage error where it is none."""
        if isinstance(value, timedelta):
            return value
        try:
            return self._parse(value)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


DURATION = Duration()


def duration_of(setting: str) -> Duration:
    """What the setting of this name may be."""
    return Duration(parser_of(setting))


@dataclass(frozen=True, slots=True)
class Context:
    """The global options, and what is opened with them."""

    verbosity: int
    log_format: str
    log_file: str | None

    def settings(self, **options: Any) -> Settings:
        """From the environment and the file; options that were given win. Sets up the log."""
        settings = read_settings(os.environ)
        given = {name: value for name, value in options.items() if value is not None}
        settings = replace(settings, **given)
        self._log(settings)
        heard = logging.WARNING if on_terminal() else logging.INFO  # a good night prints nothing
        for notice in settings.notices:
            logging.getLogger("checkinsync").log(heard, notice)
        return settings

    def examined(self) -> Examined:
        """The settings as far as they can be used, and what is wrong with them. Sets up the log."""
        examined = examine_settings(os.environ)
        try:
            self._log(examined.settings)
        except SettingsError as error:
            return replace(examined, problems=(*examined.problems, str(error)))
        return examined

    def _log(self, settings: Settings) -> None:
        from checkinsync.cli import log  # noqa: PLC0415 - the overview needs no log

        path = self.log_file or settings.log_file
        try:
            log.configure(
                verbosity=self.verbosity,
                style=self.log_format,
                path=None if path is None else str(path),
            )
        except OSError as error:
            raise SettingsError(
                f"the log file {path} can't be written ({error.strerror}); "
                "name another by --log-file or CHECKINSYNC_LOG_FILE"
            ) from None

    @contextmanager
    def app(self, **options: Any) -> Iterator[App]:
        """The App, opened with these options."""
        from checkinsync.app import open_app  # noqa: PLC0415 - loads the database and HTTP

        settings = self.settings(**options)
        with open_app(settings, listening()) as app:
            yield app

    @contextmanager
    def pool(self) -> Iterator[tuple[Settings, Pool]]:
        """The database alone, for commands that need no key and no Foursquare."""
        from checkinsync.resources import open_pooled  # noqa: PLC0415

        settings = self.settings()
        listening()
        with open_pooled(settings) as pool:
            yield settings, pool


def listening() -> Shutdown:
    """Signals are heard from now on."""
    from checkinsync.shutdown import Shutdown  # noqa: PLC0415

    stop = Shutdown()
    stop.listen()
    return stop
