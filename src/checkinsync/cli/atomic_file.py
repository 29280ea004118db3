"""Writes files that only their owner can read: completely, or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from checkinsync.errors import FileInTheWay, FileNotWritten


@contextmanager
def write_atomically(path: Path, *, replace: bool) -> Iterator[BinaryIO]:
    """Open a file that appears, complete, at the block's end; on an error it does not.

    Raises as `draft_of` does.
    """
    with draft_of(path, replace=replace) as draft, draft.open("wb") as file:
        yield file


def write_settings(path: Path, text: str, *, group: int | None = None) -> None:
    """Write a settings file, or one with a secret, and the folder that it is in.

    A file that was there keeps its owner and mode. A new one is its owner's alone; root's can also
    be read by this group, or by that of its folder. Raises FileInTheWay, FileNotWritten.
    """
    try:
        _make_folder(path.parent, group)
        there = path.stat() if path.exists() else None
        if group is None:
            group = path.parent.stat().st_gid
    except OSError as error:
        raise _not_written(path, error) from None
    with write_atomically(path, replace=True) as file:
        file.write(text.encode())
        if os.geteuid() == 0:
            os.fchown(file.fileno(), there.st_uid if there else 0, there.st_gid if there else group)
            os.fchmod(file.fileno(), 0o640)
        if there:
            os.fchmod(file.fileno(), stat.S_IMODE(there.st_mode))


def _make_folder(folder: Path, group: int | None) -> None:
    if folder.is_dir():
        return
    folder.mkdir(parents=True, mode=0o700 if group is None else 0o750)
    if group is not None and os.geteuid() == 0:
        os.chown(folder, 0, group)


@contextmanager
def draft_of(path: Path, *, replace: bool) -> Iterator[Path]:
    """Make a file beside `path` (mode 0600), renamed at the block's end; on an error, removed.

    Replaces regular files only, and follows no link. Raises FileInTheWay if there is a file and
    `replace` is False, FileNotWritten.
    """
    _check(path, replace=replace)
    try:
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    except OSError as error:
        raise _not_written(path, error) from None
    draft = Path(name)
    try:
        yield draft
        os.fsync(number)
        _check(path, replace=replace)
        draft.replace(path)
    except OSError as error:
        raise _not_written(path, error) from None
    finally:
        os.close(number)
        draft.unlink(missing_ok=True)


def _check(path: Path, *, replace: bool) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError:  # no such file; or no such folder: making the draft will fail
        return
    if not stat.S_ISREG(mode):
        kind = "folder" if stat.S_ISDIR(mode) else "symbolic link or special file"
        raise FileInTheWay(f"{path} is a {kind}; name a file")
    if not replace:
        raise FileInTheWay(f"{path} already exists; name another file, or use --force")


def _not_written(path: Path, error: OSError) -> FileNotWritten:
    return FileNotWritten(f"{path} can't be written ({error.strerror})")
