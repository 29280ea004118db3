"""The embedded database: found again, shared, recovered; what it refuses is in the other file."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from checkinsync.embedded import Running, account, binaries, serving
from support.concurrent import another, as_ordinary, kill_server, server_of, start

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")
pytestmark = pytest.mark.db

WHEEL = next(binaries.everywhere())
FAST = {"allow_nobody": True, "for_tests": True}
SAFE = {"allow_nobody": True}


def rows(running: Running) -> list[int]:
    with psycopg.connect(running.url) as conn:
        return [n for (n,) in conn.execute("SELECT n FROM notes ORDER BY n")]


def note(url: str, n: int = 1) -> None:
    with psycopg.connect(url) as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS notes (n integer)")
        conn.execute("INSERT INTO notes VALUES (%s)", [n])


def test_the_same_data_are_found_again_next_night(home):
    with serving(home, **SAFE) as tonight:
        note(tonight.url)

    with serving(home, **SAFE) as next_night:
        assert rows(next_night) == [1]
    assert server_of(home) is None


def test_the_database_is_what_was_promised(home):
    with serving(home, **SAFE) as running, psycopg.connect(running.url) as conn:
        shown = {
            name: conn.execute("SELECT current_setting(%s)", [name]).fetchone()[0]
            for name in ("data_checksums", "server_encoding", "listen_addresses", "fsync")
        }
        order = conn.execute("SELECT datlocale FROM pg_database WHERE datname = 'checkinsync'")
        upper = conn.execute("SELECT upper('é')").fetchone()

        assert list(shown.values()) == ["on", "UTF8", "", "on"]
        assert order.fetchone() == ("C.UTF-8",)
        assert upper == ("É",)
        assert stat.S_IMODE(running.socket_dir.stat().st_mode) == 0o700
        assert conn.info.host == str(running.socket_dir)


def test_another_database_of_the_same_server_has_an_address(used_home):
    with (
        serving(used_home, **FAST) as running,
        psycopg.connect(running.url, autocommit=True) as conn,
    ):
        conn.execute('CREATE DATABASE "odd name?/%"')
        with psycopg.connect(running.url_for("odd name?/%")) as other:
            assert other.info.dbname == "odd name?/%"


@pytest.mark.parametrize("name", ["with spaces, and commas", "it's ünusual", "x" * 120])
def test_any_ordinary_path_will_do(home, name):
    for _ in ("made", "found again"):
        with serving(home / name, **FAST) as running:
            note(running.url)
            assert stat.S_IMODE(running.socket_dir.stat().st_mode) == 0o700
    with serving(home / name, **FAST) as running:
        assert rows(running) == [1, 1]
    assert running.socket_dir.is_relative_to(home) or not running.socket_dir.exists()


@pytest.mark.parametrize("bindir", dict.fromkeys(binaries.everywhere()), ids=str)
def test_whichever_programs_are_there_will_do(home, bindir):
    with serving(home, bindir=bindir, **SAFE) as running:
        note(running.url)
    with serving(home, **SAFE) as running:  # found by what made the data
        assert rows(running) == [1]
        assert running.bindir == bindir


def test_data_that_were_moved_are_found_at_the_new_place(used_home):
    with serving(used_home, **FAST) as running:
        note(running.url)
    (used_home / "new").mkdir(mode=0o711)
    (used_home / "postgres").rename(used_home / "new/postgres")

    with serving(used_home / "new", **FAST) as running:
        assert rows(running) == [1]


def test_a_link_and_its_folder_are_one_place(home):
    (home / "folder").mkdir(mode=0o711)
    (home / "link").symlink_to("folder")

    with serving(home / "folder", **FAST) as one, serving(home / "link", **FAST) as other:
        assert one == other


# --- together -----------------------------------------------------------------------------------


def test_two_at_once_share_one_server_and_the_last_one_out_stops_it(used_home):
    with another(used_home) as first:
        server = server_of(used_home)
        with serving(used_home, **FAST) as second:
            assert second.url == first.url
            assert server_of(used_home) == server
        assert server_of(used_home) == server
    assert server_of(used_home) is None


def test_the_one_who_started_it_may_leave_first(used_home):
    with serving(used_home, **FAST) as first:
        context = another(used_home)
        second = context.__enter__()
        note(first.url)
    assert server_of(used_home) is not None
    with psycopg.connect(second.url) as conn:
        assert conn.execute("SELECT n FROM notes").fetchall() == [(1,)]
    context.__exit__(None, None, None)
    assert server_of(used_home) is None


def test_many_that_come_at_once_to_an_empty_place_make_one_database(home):
    crowd = [start(home, "") for _ in range(4)]

    said = [process.communicate(timeout=60) for process in crowd]

    assert len({url for url, _ in said}) == 1
    assert [trouble for _, trouble in said] == [""] * 4
    assert server_of(home) is None
    assert not list((home / "postgres").glob("data.new-*"))


def test_a_forked_child_of_a_killed_user_does_not_keep_the_server(used_home):
    orphaned = """
if os.fork(): os.kill(os.getpid(), signal.SIGKILL)
else: time.sleep(60)
"""
    with start(used_home, orphaned, start_new_session=True) as parent:
        parent.wait(timeout=30)
        with serving(used_home, **FAST):
            pass
        stopped = server_of(used_home) is None
        os.killpg(parent.pid, signal.SIGKILL)

    assert stopped


def test_a_forked_child_that_leaves_does_not_stop_its_parents_server(used_home):
    leaving = """
if os.fork(): print(os.wait()[1], flush=True); sys.stdin.read()
"""
    with another(used_home, leaving) as parent:
        assert parent.process.stdout.readline() == "0\n"
        note(parent.url)
    assert server_of(used_home) is None


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(used_home):
    patient = "signal.signal(signal.SIGINT, signal.SIG_IGN); print('ready', flush=True)"
    with another(used_home, f"{patient}; sys.stdin.read()", start_new_session=True) as other:
        other.process.stdout.readline()

        os.killpg(other.process.pid, signal.SIGINT)

        note(other.url)


def test_a_server_left_behind_does_not_hold_its_starters_output_open(used_home):
    with start(used_home, "os.kill(os.getpid(), signal.SIGKILL)") as process:
        process.communicate(timeout=30)  # until the end of the output
    assert server_of(used_home) is not None

    with serving(used_home, **FAST):
        pass
    assert server_of(used_home) is None


# --- after a crash ------------------------------------------------------------------------------


def test_kill_9_of_everything_loses_nothing_that_was_committed(used_home):
    insert = """
import psycopg
with psycopg.connect(running.url, autocommit=True) as conn:
    conn.execute("CREATE TABLE notes (n integer)")
    for n in range(1_000_000):
        conn.execute("INSERT INTO notes VALUES (%s)", [n])
        print(n, flush=True)
"""
    acknowledged = -1
    with another(used_home, insert, careless=False) as writer:
        for line in writer.process.stdout:
            acknowledged = int(line)
            if acknowledged == 2000:
                kill_server(used_home)
                writer.kill()
                break

    with serving(used_home, **SAFE) as running:
        assert rows(running)[: acknowledged + 1] == list(range(acknowledged + 1))
    assert server_of(used_home) is None


def test_a_killed_user_of_the_server_is_not_waited_for(used_home):
    with another(used_home) as killed:
        server = server_of(used_home)
        killed.kill()

        with serving(used_home, **FAST):
            assert server_of(used_home) == server
        assert server_of(used_home) is None


def test_a_server_killed_under_its_users_comes_back_with_the_next_one(used_home):
    with serving(used_home, **SAFE) as running:
        note(running.url)
        os.kill(server_of(used_home), signal.SIGKILL)  # the postmaster alone: its children notice

        with another(used_home, careless=False):
            assert rows(running) == [1]


@pytest.fixture(params=["living", "zombie"])
def stranger(used_home, request) -> Iterator[int]:
    """Process number of a program that has nothing to do with the server, under its account."""
    with serving(used_home, **FAST) as running:
        note(running.url)
    whose = {"user": (used_home / "postgres/data").stat().st_uid} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "60"], cwd="/", **whose) as process:
        if request.param == "zombie":
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        yield process.pid
        process.kill()


def test_lock_files_that_name_a_stranger_are_seen_through(used_home, stranger):
    with another(used_home) as killed:
        kill_server(used_home)
        killed.kill()
    left = (
        used_home / "postgres/data/postmaster.pid",
        used_home / "postgres/run/.s.PGSQL.5432.lock",
    )
    for path in left:
        path.write_text(f"{stranger}\n{path.read_text().partition(chr(10))[2]}")

    with serving(used_home, **FAST) as running:
        assert rows(running) == [1]
    assert Path(f"/proc/{stranger}").exists()


@pytest.mark.parametrize("left", ["", "\0\0\0\0"])
def test_lock_files_that_a_power_failure_cut_off_are_seen_through(used_home, left):
    with serving(used_home, **FAST) as running:
        note(running.url)
    (used_home / "postgres/data/postmaster.pid").write_text(left)
    (used_home / "postgres/run/.s.PGSQL.5432.lock").write_text(left)

    with serving(used_home, **FAST) as running:
        assert rows(running) == [1]


def test_what_a_killed_initdb_left_is_cleared_away(home):
    half = home / "postgres/data.new-half"
    half.mkdir(parents=True, mode=0o755)
    half.joinpath("PG_VERSION").write_text("18\n")

    with serving(home, **FAST):
        pass
    assert not half.exists()


# --- whose it is --------------------------------------------------------------------------------


@as_root
def test_roots_server_runs_under_an_account_that_is_there(home):
    before = pwd.getpwall()
    with serving(home, **FAST) as running, psycopg.connect(running.url) as conn:
        server = Path(f"/proc/{server_of(home)}").stat()
        told = conn.execute("SELECT current_user").fetchone()

        assert server.st_uid != 0
        assert told == ("checkinsync",)
    assert pwd.getpwall() == before
    assert {path.name for path in (home / "postgres").iterdir() if path.stat().st_uid} == {
        "data",
        "log",
        "run",
    }


def test_no_mode_and_no_owner_outside_changes(home):
    outside = [home, *home.parents, WHEEL, *WHEEL.parents, *WHEEL.parent.rglob("*")]
    before = {path: (path.lstat().st_mode, path.lstat().st_uid) for path in outside}

    with serving(home, **FAST):
        pass

    assert before == {path: (path.lstat().st_mode, path.lstat().st_uid) for path in outside}
    assert [path.name for path in home.iterdir()] == ["postgres"]


@as_root
def test_an_ordinary_user_needs_no_root(home):
    nobody = account.choose("nobody", data=home, allow_nobody=True)
    os.chown(home, nobody.uid, nobody.gid)

    with start(home, "", **as_ordinary(nobody)) as process:
        _, trouble = process.communicate(timeout=60)

    assert trouble == ""
    assert {path.stat().st_uid for path in home.rglob("*")} == {nobody.uid}
    with serving(home, **FAST) as running:  # root, for once: the owner goes on being the owner
        note(running.url)
    assert {path.stat().st_uid for path in home.rglob("*.lock")} == {nobody.uid}


def test_modes_below_a_closed_folder_are_not_an_alarm(home):
    """A copy has them that went through `cp -r`; nobody but the owner can have been there."""
    whose = {}
    if os.geteuid() == 0:
        nobody = account.choose("nobody", data=home, allow_nobody=True)
        os.chown(home, nobody.uid, nobody.gid)
        whose = as_ordinary(nobody)
    home.chmod(0o700)
    with start(home, "", **whose) as process:
        assert process.communicate(timeout=60)[1] == ""
    for name in ("data", "run", "log"):
        (home / "postgres" / name).chmod(0o755)

    with start(home, "", **whose) as process:
        _, trouble = process.communicate(timeout=60)

    assert trouble == ""
    home.chmod(0o711)


@as_root
def test_programs_that_the_account_cannot_reach_are_copied_for_it(home):
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    package = WHEEL.parents[1]
    leave_out = shutil.ignore_patterns("include", "*.a")
    shutil.copytree(package, closed / package.name, ignore=leave_out, symlinks=True)
    shutil.copytree(f"{package}.libs", closed / f"{package.name}.libs")
    bindir = closed / WHEEL.relative_to(package.parent)

    for _ in ("made", "found again"):
        with serving(home, bindir=bindir, **FAST) as running:
            serves = os.readlink(f"/proc/{server_of(home)}/exe")

    assert running.bindir == bindir
    assert Path(serves).is_relative_to(home / "postgres/programs")
    copied = list((home / "postgres/programs").rglob("*"))
    assert {path.stat().st_uid for path in copied} == {0}
    assert not [path for path in copied if path.stat().st_mode & 0o022]
    assert len(list((home / "postgres/programs").iterdir())) == 1
