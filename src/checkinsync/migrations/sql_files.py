"""The folder `sql/`: found where the package was installed, or in the checkout, and read."""

from __future__ import annotations

from pathlib import Path

from checkinsync.errors import MigrationRefused
from checkinsync.migrations.files import SqlFile, in_order


def directory() -> Path:
    """Inside an installed package, else beside the sources."""
    package = Path(__file__).parents[1]
    packaged = package / "sql"
    return packaged if packaged.is_dir() else package.parents[1] / "sql"


def read(folder: Path | None = None) -> list[SqlFile]:
    """All migrations, in order; `folder`: another one than ours. Raises MigrationRefused."""
    folder = folder or directory()
    found = in_order([_file(path) for path in folder.glob("*.sql")])
    if not found:
        raise MigrationRefused(f"{folder} holds no migrations; install checkinsync again")
    return found


def names() -> list[str]:
    """The names alone, in order: cheap enough for every command."""
    return sorted(path.name for path in directory().glob("*.sql"))


def _file(path: Path) -> SqlFile:
    try:
        return SqlFile(path.name, path.read_bytes().decode())
    except (OSError, UnicodeDecodeError):
        raise MigrationRefused(f"{path} can't be read as text in UTF-8") from None
