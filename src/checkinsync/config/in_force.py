"""The settings in force, and where each came from; secrets are masked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from checkinsync.config.addresses import postgres_address, without_secrets
from checkinsync.config.document import as_written
from checkinsync.config.settings import EVERYONE, SECRETS, SETTINGS, Examined, parser_of

MASK = "********"


@dataclass(frozen=True, slots=True)
class InForce:
    """One setting."""

    name: str
    value: str | int | None
    """As the file would have it; None: nothing, or what was given can't be used."""
    origin: str | None
    """A variable, a key of which file, a credential; None: the default."""
    secret: bool
    """True: the value is masked."""
    broken: bool
    """True: it was given, but can't be used."""


def in_force(examined: Examined) -> Iterator[InForce]:
    """Yield every setting, as far as it can be used."""
    for name in SETTINGS:
        secret, broken = name in SECRETS, name in examined.broken
        value = None if broken else (_masked if secret else _shown)(examined, name)
        yield InForce(name, value, examined.origins.get(name), secret, broken)


def _shown(examined: Examined, name: str) -> str | int | None:
    value = as_written(getattr(examined.settings, name))
    return "all" if name == "active_days" and value == EVERYONE else value


def _masked(examined: Examined, name: str) -> str | None:
    """Return a mask; of an address who connects to what, so that one can tell which it is."""
    if name not in examined.origins:
        return None
    if parser_of(name) is postgres_address:
        return without_secrets(getattr(examined.settings, name))
    return MASK
