"""The settings file: where it is looked for, and its keys and values."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from checkinsync.config.sources import PREFIX, read_text
from checkinsync.errors import SettingsError

EVERYBODY = (Path("/etc/checkinsync/checkinsync.toml"), Path("/etc/checkinsync.toml"))
"""The places where every user looks, root among them, after their own folder."""


def usual_places() -> tuple[Path, ...]:
    """Return where the file is looked for, in order, where CHECKINSYNC_CONFIG names none."""
    own = own_folder("config")
    return EVERYBODY if own is None else (own / "checkinsync.toml", *EVERYBODY)


def own_folder(kind: Literal["config", "data", "log"]) -> Path | None:
    """Return this user's folder for us; None where they have no home, nor a line in passwd."""
    import platformdirs  # noqa: PLC0415 - not needed where everything is named

    dirs = platformdirs.PlatformDirs("checkinsync", appauthor=False)
    try:
        path = Path(getattr(dirs, f"user_{kind}_dir"))
    except RuntimeError:
        return None
    return path if path.is_absolute() else None  # as older platformdirs leave the ~


def find(environ: Mapping[str, str], *, places: Sequence[Path] | None = None) -> Path | None:
    """Return the file to read; None where there is none.

    Raises SettingsError where the one that counts is not a file, or can't be looked at: what it
    would set is unknown then, and the next one would be the wrong one.
    """
    named = environ.get(f"{PREFIX}CONFIG")
    if named:
        path = Path(named)
        if _is_there(path, f"{PREFIX}CONFIG names {path}, which"):
            return path
        raise SettingsError(f"{PREFIX}CONFIG names {path}, which does not exist")
    places = usual_places() if places is None else places
    return next((path for path in places if _is_there(path, f"the settings file {path}")), None)


def place(environ: Mapping[str, str]) -> Path:
    """Return the file that is read; where there is none, the one to make. Raises SettingsError."""
    named = environ.get(f"{PREFIX}CONFIG")
    if named:
        return Path(named).absolute()
    own = None if os.geteuid() == 0 else own_folder("config")
    return find(environ) or (EVERYBODY[0] if own is None else own / "checkinsync.toml")


def _is_there(path: Path, which: str) -> bool:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if not os.path.islink(path):
            return False
        raise SettingsError(f"{which} is a link to a file that does not exist") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a path"
        raise SettingsError(f"{which} can't be read ({why}){_whose(error)}") from None
    if not stat.S_ISREG(mode):
        raise SettingsError(f"{which} is not a file")
    return True


def read(path: Path) -> dict[str, Any]:
    """Return the file's keys and values. Raises SettingsError."""
    import tomllib  # noqa: PLC0415 - only where there is a file

    try:
        return tomllib.loads(read_text(path))
    except OSError as error:
        raise SettingsError(f"{path} can't be read ({error.strerror}){_whose(error)}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None
    except ValueError:
        raise SettingsError(f"{path} is not text in UTF-8") from None


def _whose(error: Exception) -> str:
    """Return advice about a file that another user may read."""
    denied = isinstance(error, PermissionError)
    return "; run as the user that checkinsync runs as at night" if denied else ""
