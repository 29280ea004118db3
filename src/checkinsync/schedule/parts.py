"""The parts of a schedule: the files and lines of ours, and nobody else's."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from pathlib import Path

from checkinsync.errors import FileInTheWay, ScheduleRefused

OURS = "# Written by `checkinsync schedule install`"
"""The beginning of each file of ours."""

BEGIN = "# BEGIN checkinsync: "
END = "# END checkinsync"
"""The marks around our lines of a crontab."""


class State(enum.Enum):
    """A part of the schedule, compared with what is on this machine."""

    ABSENT = "not installed"
    INSTALLED = "installed"
    DIFFERENT = "installed, but different"
    FOREIGN = "there is another one, which is not ours"


OWN = frozenset({State.INSTALLED, State.DIFFERENT})
"""States of what is ours."""


@dataclass(frozen=True, slots=True)
class Part:
    """A text of the schedule, the place that it goes to, and what is there now."""

    place: str
    text: str
    there: str | None

    @property
    def state(self) -> State:
        """Compare the text with what is there."""
        if self.there is None:
            return State.ABSENT
        if self.there == self.text:
            return State.INSTALLED
        return State.DIFFERENT if self.there.startswith((OURS, BEGIN)) else State.FOREIGN


def file(path: Path, text: str) -> Part:
    """Return the part that is this file. Raises ScheduleRefused if it can't be read."""
    try:
        there = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        there = None
    except OSError as error:
        raise ScheduleRefused(f"{path} can't be read ({error.strerror})") from None
    return Part(str(path), text, there)


def write(part: Part) -> bool:
    """Write a file, readable by everyone; return True if that changed it.

    Raises FileInTheWay if there is one that is not ours, ScheduleRefused.
    """
    if part.state is State.FOREIGN:
        raise FileInTheWay(
            f"{part.place} was not written by `checkinsync schedule install`; move it away"
        )
    if part.state is State.INSTALLED:
        return False
    path = Path(part.place)
    draft = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(part.text, encoding="utf-8")
        draft.chmod(0o644)
        draft.replace(path)
    except OSError as error:
        raise ScheduleRefused(f"{path} can't be written ({error.strerror})") from None
    return True


def remove(part: Part) -> bool:
    """Remove a file of ours; return True if there was one. Raises ScheduleRefused."""
    if part.state not in OWN:
        return False
    try:
        os.unlink(part.place)
    except OSError as error:
        raise ScheduleRefused(f"{part.place} can't be removed ({error.strerror})") from None
    return True
