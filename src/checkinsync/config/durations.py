"""Durations as people write them: `90s`, `2m`, `1h30m`, `14d`, or plain seconds."""

from __future__ import annotations

import re
from datetime import timedelta

UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_BARE = re.compile(_NUMBER)
_PART = re.compile(rf"({_NUMBER})\s*([dhms])\s*")
_PARTS = re.compile("".join(rf"(?:{_NUMBER}\s*{unit}\s*)?" for unit in UNITS))


def parse_duration(text: str) -> timedelta:
    """Return the time span. Raises ValueError, which says how a duration is written."""
    text = text.strip()
    parts = _PART.findall(text) if _PARTS.fullmatch(text) else []
    if is_bare(text):
        parts = [(text, "s")]
    if not parts:
        raise ValueError(f"{text!r} is not a duration; write 90s, 2m, 1h30m, 14d, or plain seconds")
    try:
        return timedelta(**{UNITS[unit]: float(number) for number, unit in parts})
    except OverflowError:
        raise ValueError(f"{text!r} is longer than a duration can be") from None


def is_bare(text: str) -> bool:
    """Return True for a number without a unit."""
    return _BARE.fullmatch(text.strip()) is not None


def written(span: timedelta) -> str:
    """Return the span as `parse_duration` reads it, in the largest unit that leaves no rest."""
    seconds = span.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"
