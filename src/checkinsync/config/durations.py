"""Durations as people write them: `90s`, `2m`, `4h`, `14d`, or plain seconds."""

from __future__ import annotations

import re
from datetime import timedelta

UNITS = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_WRITTEN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd]?)")


def parse_duration(text: str) -> timedelta:
    """The time span; ValueError with a sentence where the text is none."""
    written = _WRITTEN.fullmatch(text.strip())
    if written is None:
        raise ValueError(f"{text!r} is no duration; write 90s, 2m, 4h, 14d, or plain seconds")
    try:
        return timedelta(**{UNITS[written[2]]: float(written[1])})
    except OverflowError:
        raise ValueError(f"{text!r} is longer than a duration can be") from None


def written(span: timedelta) -> str:
    """As `parse_duration` reads it, in the largest unit that leaves no rest."""
    seconds = span.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"
