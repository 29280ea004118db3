"""A file for its owner's eyes that is there whole or not at all, and replaces none by surprise."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from checkinsync.errors import FileInTheWay, FileNotWritten


@contextmanager
def write_atomically(path: Path, *, replace: bool) -> Iterator[BinaryIO]:
    """Written beside `path` (mode 0600) and put there at the block's end; on an error, nowhere.

    Raises FileInTheWay where there is one and `replace` was not said, FileNotWritten.
    """
    _refuse(path, replace=replace)
    try:
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    except OSError as error:
        raise _not_written(path, error) from None
    draft = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _refuse(path, replace=replace)
        draft.replace(path)
    except OSError as error:
        raise _not_written(path, error) from None
    finally:
        draft.unlink(missing_ok=True)


def _refuse(path: Path, *, replace: bool) -> None:
    if path.is_dir():
        raise FileInTheWay(f"{path} is a folder; name a file")
    if not replace and os.path.lexists(path):
        raise FileInTheWay(f"{path} is there already; name another file, or say --force")


def _not_written(path: Path, error: OSError) -> FileNotWritten:
    return FileNotWritten(f"{path} can't be written ({error.strerror})")
