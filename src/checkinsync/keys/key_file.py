"""The key that the embedded database makes for itself, kept in a file of its home."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from checkinsync.errors import SettingsError
from checkinsync.keys.keyring import RAW_KEY, make_key

KEY_FILE = "encryption.key"
"""In the embedded database's folder: the key that was made for it; old ones may follow it."""


def keys_of_home(home: Path) -> tuple[str, ...]:
    """The keys in `home`; a missing one is made first, the same for processes at the same time.

    Raises SettingsError where it can't be read or made, is no key, or is open to others.
    """
    path = home / KEY_FILE
    try:
        if not path.exists():
            _make(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise SettingsError(f"{path} is open to others; close it: chmod 600 {path}")
        keys = tuple(path.read_text(encoding="ascii").replace(",", " ").split())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no text"
        raise SettingsError(f"the key {path} can't be read or made ({why})") from None
    if not keys or not all(map(RAW_KEY.fullmatch, keys)):
        raise SettingsError(f"{path} holds no key of 64 hex digits; restore it from a backup")
    return keys


def _make(path: Path) -> None:
    """Written whole under another name first: whoever sees the file sees all of it."""
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o711)  # as root, the database's account has to pass, whatever the umask
    number, draft = tempfile.mkstemp(prefix=f"{KEY_FILE}.", dir=path.parent)  # with mode 0600
    try:
        with os.fdopen(number, "w", encoding="ascii") as file:
            file.write(make_key() + "\n")
            file.flush()
            os.fsync(file.fileno())
            if os.geteuid() == 0:  # whoever owns the folder runs the program at night
                owner = path.parent.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        os.link(draft, path)  # never replaces the key of a process that was quicker
    except FileExistsError:
        pass
    finally:
        Path(draft).unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # tokens sealed with a key that a power cut took away are lost
    finally:
        os.close(folder)
