"""The key that is made for the embedded database and kept in a file of its folder."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from checkinsync.errors import SettingsError
from checkinsync.keys.keyring import RAW_KEY, make_key

KEY_FILE = "encryption.key"
"""In CHECKINSYNC_HOME: the key that was made for the embedded database; old ones may follow."""


def keys_of_home(home: Path) -> tuple[str, ...]:
    """Return the keys in `home`; makes a missing one, the same for processes that ask at once.

    Raises SettingsError if it can't be read or made, is not a key, or is accessible to others.
    """
    path = home / KEY_FILE
    try:
        if not path.exists():
            _make(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise SettingsError(f"{path} is accessible to others; run: chmod 600 {path}")
        keys = tuple(path.read_text(encoding="utf-8-sig").replace(",", " ").split())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a text in UTF-8"
        raise SettingsError(f"the key {path} can't be read or made ({why})") from None
    if not keys or not all(map(RAW_KEY.fullmatch, keys)):
        raise SettingsError(
            f"{path} does not hold a key of 64 hex digits; restore it from a backup"
        )
    return keys


def _make(path: Path) -> None:
    """Write a key under another name first, so that no process reads half of it."""
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # whatever the umask is: as root, the database's account has to pass
        path.parent.chmod(0o711)
    number, draft = tempfile.mkstemp(prefix=f"{KEY_FILE}.", dir=path.parent)  # with mode 0600
    try:
        with os.fdopen(number, "w", encoding="ascii") as file:
            file.write(make_key() + "\n")
            file.flush()
            os.fsync(file.fileno())
            if os.geteuid() == 0:  # the owner of the folder runs the program at night
                owner = path.parent.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        os.link(draft, path)  # never replaces the key of a process that was quicker
    except FileExistsError:
        pass
    finally:
        Path(draft).unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # tokens encrypted with a key that a power cut takes away are lost
    finally:
        os.close(folder)
