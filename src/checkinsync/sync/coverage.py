"""Which stretches of a history were compared with Foursquare, and when; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from checkinsync.model.span import Verified

BEGINNING = datetime.min.replace(tzinfo=UTC)


def covered(known: Iterable[Verified], new: Verified) -> list[Verified]:
    """All stretches once `new` has been compared, newest first: it takes the place of what was
    known of its time, and the others keep what reaches beyond it."""
    if _start(new) >= new.newest:
        return list(known)  # a moment is no stretch
    kept = [part for span in known for part in _outside(span, new)]
    return sorted([*kept, new], key=lambda span: span.newest, reverse=True)


def _outside(span: Verified, new: Verified) -> Iterator[Verified]:
    """The parts of a stretch above and below another one."""
    if span.newest > new.newest:
        yield replace(span, oldest=max(new.newest, _start(span)))
    if _start(span) < _start(new):
        yield replace(span, newest=min(_start(new), span.newest))


def _start(span: Verified) -> datetime:
    return span.oldest or BEGINNING
