"""The place an embedded database lives in, looked at without starting or making anything."""

from __future__ import annotations

import pwd
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from checkinsync.errors import EmbeddedDatabaseError


@dataclass(frozen=True, slots=True)
class Place:
    """The place an embedded database lives in."""

    folder: Path
    account: str
    """The name of the user who runs it."""
    free: int
    """Bytes left on its disk."""
    newest_dump: datetime | None = None
    """The time of the newest dump that a run has made; None: there is none."""


DUMP = re.compile(r"checkinsync-\d{4}-\d\d-\d\d\.dump")
"""The name of a dump that a run has made; other files in the folder are left alone."""


def dumps(home: Path) -> list[Path]:
    """Return the dumps below `home` that runs have made, the oldest first."""
    return sorted(path for path in (home / "dumps").glob("*.dump") if DUMP.fullmatch(path.name))


def look(home: Path) -> Place | None:
    """Return the place below `home`; None where no database was made yet.

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
            "user that checkinsync runs as at night"
        ) from None
    times = [datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in dumps(home)[-1:]]
    return Place(folder, _name(owner), free, times[0] if times else None)


def is_made(home: Path) -> bool:
    """Return True if there are data below `home`, or if they can't be looked at."""
    base = home / "postgres"
    try:
        return any((base / "data").iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return (base / "upgrade" / "data").exists()  # interrupted: see `upgrade`
    except OSError:
        return True


def is_closed(path: Path) -> bool:
    """Return True if a folder above lets only its owner pass, whatever the modes below it are."""
    return any(folder.stat().st_mode & 0o011 == 0 for folder in path.absolute().parents)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"
