"""Where an embedded database lives, looked at without starting it or making anything."""

from __future__ import annotations

import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

from checkinsync.errors import (
    EmbeddedDatabaseError,
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an embedded database lives."""

    folder: Path
    account: str
    """Who runs it."""
    free: int
    """Bytes left on its disk."""


def look(home: Path) -> Place | None:
    """What there is below `home`; None where no database was made yet.

    Raises EmbeddedDatabaseError where the folder is closed to us.
    """
    folder = home / "postgres"
    try:
        owner = (folder / "data").stat().st_uid
        free = shutil.disk_usage(folder).free
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise EmbeddedDatabaseError(
            f"the embedded database in {folder} can't be looked at ({error.strerror}); run as the "
            "user that runs checkinsync at night"
        ) from None
    return Place(folder, _name(owner), free)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"
