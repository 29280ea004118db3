"""Migrations on a real server: forward only, whole or not at all, one runner at a time."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from checkinsync.errors import (
    AtWork,
    DatabaseAway,
    MigrationFailed,
    MigrationRefused,
    SchemaBehind,
    SettingsError,
)
from checkinsync.migrations import files, migrate
from checkinsync.migrations import runner as migrations
from checkinsync.migrations.files import Migration, State

UP = (
    "import sys, pathlib; from checkinsync.migrations import migrate; "
    "print(*(a.name for a in migrate.up(sys.argv[1], directory=pathlib.Path(sys.argv[2]))))"
)


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name.removeprefix('m')}.sql").write_text(text)
    return folder


def ask(url: str, query: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as conn:
        cursor = conn.execute(query)
        return [row[0] for row in cursor] if cursor.description else []


def tables(url: str) -> list[str]:
    return ask(url, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")


def wait_until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def no_sleep(seconds: float) -> None:
    raise AssertionError(f"unexpected wait ({seconds} s)")


def test_an_empty_database_gets_everything_once(empty_url: str) -> None:
    first = migrate.up(empty_url, sleep=no_sleep)
    second = migrate.up(empty_url, sleep=no_sleep)

    names = [file.name for file in files.read()]
    assert [row.name for row in first] == names
    assert second == []
    assert {s.state for s in migrate.status(empty_url)} == {State.APPLIED}
    assert {"users", "checkins", "checkin_photos", "import_jobs"} <= set(tables(empty_url))
    migrate.check(empty_url)


def test_every_index_is_valid(empty_url: str) -> None:
    migrate.up(empty_url)

    assert (
        ask(empty_url, "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid") == []
    )


def test_plan_status_and_check_write_nothing(empty_url: str) -> None:
    names = [file.name for file in files.read()]

    assert [step.file.name for step in migrate.plan(empty_url).steps] == names
    assert {s.state for s in migrate.status(empty_url)} == {State.PENDING}
    with pytest.raises(SchemaBehind) as caught:
        migrate.check(empty_url)
    assert caught.value.exit_code == 6
    assert str(caught.value) == (
        f"{len(names)} migrations are pending (001 to {names[-1][:3]}); run `checkinsync migrate`"
    )
    with psycopg.connect(empty_url) as conn:
        assert migrate.pending(conn) == names
    assert tables(empty_url) == []


def test_a_file_and_its_row_in_the_ledger_come_together_or_not_at_all(
    empty_url: str, tmp_path: Path
) -> None:
    broken = "CREATE TABLE b (n int);\n\nINSERT INTO b\nVALUES (1, 2);\n"
    write(tmp_path, m001_a="CREATE TABLE a (n int)", m002_b=broken, m003_c="CREATE TABLE c (n int)")

    with pytest.raises(MigrationFailed, match=r"^002_b\.sql, line 4: INSERT has more") as caught:
        migrate.up(empty_url, directory=tmp_path)

    assert caught.value.exit_code == 1
    assert sorted(tables(empty_url)) == ["a", "checkinsync_migrations"]
    write(tmp_path, m002_b="CREATE TABLE b (n int)")
    again = migrate.up(empty_url, directory=tmp_path)
    assert [row.name for row in again] == ["002_b.sql", "003_c.sql"]


def test_an_error_in_a_block_tells_its_line(empty_url: str, tmp_path: Path) -> None:
    write(tmp_path, m001_a="DO $$\nBEGIN\n    PERFORM 1 / 0;\nEND\n$$;\n")

    with pytest.raises(MigrationFailed, match=r"001_a\.sql, line 3 of a block: division by zero"):
        migrate.up(empty_url, directory=tmp_path)


def test_drift_is_refused_by_name_and_changes_nothing(empty_url: str, tmp_path: Path) -> None:
    write(tmp_path, m001_a="CREATE TABLE a (n int)", m003_c="CREATE TABLE c (n int)")
    migrate.up(empty_url, directory=tmp_path)
    write(tmp_path, m001_a="CREATE TABLE a (n bigint)", m002_b="CREATE TABLE b (n int)")
    (tmp_path / "003_c.sql").unlink()

    for refused in (migrate.up, migrate.plan, migrate.check):
        with pytest.raises(MigrationRefused, match=r"001_a.*003_c.*002_b"):
            refused(empty_url, directory=tmp_path)

    states = [s.state for s in migrate.status(empty_url, directory=tmp_path)]
    assert states == [State.CHANGED, State.PENDING, State.MISSING]
    assert "b" not in tables(empty_url)


def test_a_baseline_notes_without_running(empty_url: str, tmp_path: Path) -> None:
    write(tmp_path, m001_a="CREATE TABLE a (n int)", m002_b="CREATE TABLE b (n int)")

    with pytest.raises(MigrationRefused, match="no migration 009"):
        migrate.baseline(empty_url, 9, directory=tmp_path)
    first = migrate.baseline(empty_url, 1, directory=tmp_path)
    second = migrate.baseline(empty_url, 1, directory=tmp_path)

    assert [row.name for row in first] == ["001_a.sql"]
    assert second == []
    assert [row.name for row in migrate.up(empty_url, directory=tmp_path)] == ["002_b.sql"]
    assert sorted(tables(empty_url)) == ["b", "checkinsync_migrations"]


def test_a_schema_newer_than_the_program_stops_migrations_alone(empty_url: str) -> None:
    migrate.up(empty_url)
    ask(empty_url, "INSERT INTO checkinsync_migrations (name, sha256) VALUES ('999_new.sql', '')")

    with psycopg.connect(empty_url) as conn:
        assert migrate.pending(conn) == []
    with pytest.raises(MigrationRefused, match=r"999_new\.sql was applied and is missing"):
        migrate.up(empty_url)


# --- others at work -----------------------------------------------------------------------------


def test_two_runners_at_once_both_succeed_and_one_applies(empty_url: str, tmp_path: Path) -> None:
    write(tmp_path, m001_a="CREATE TABLE a (n int); SELECT pg_sleep(0.3)")
    write(tmp_path, m002_b="-- no transaction\nCREATE INDEX CONCURRENTLY a_n ON a (n);\n")
    command = [sys.executable, "-c", UP, empty_url, str(tmp_path)]

    with ThreadPoolExecutor() as both:
        outputs = list(both.map(lambda _: subprocess.check_output(command, text=True), range(3)))

    assert sorted(out.strip() for out in outputs) == ["", "", "001_a.sql 002_b.sql"]


def test_a_runner_that_takes_too_long_is_told_of(empty_url: str) -> None:
    slept: list[float] = []

    with psycopg.connect(empty_url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [migrations.RUNNER_LOCK])
        with pytest.raises(AtWork) as caught:
            migrate.up(empty_url, sleep=slept.append)
        other.execute("SELECT pg_advisory_unlock_all()")

    assert caught.value.exit_code == 75
    assert sum(slept) == 300
    assert migrate.up(empty_url, sleep=no_sleep)


def test_a_table_in_use_is_waited_for_and_then_changed(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "50ms")
    write(tmp_path, m001_a="CREATE TABLE b (n int); ALTER TABLE a ADD COLUMN m int;")
    ask(empty_url, "CREATE TABLE a (n int)")
    slept: list[float] = []

    with psycopg.connect(empty_url) as reader:
        reader.execute("SELECT * FROM a")

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 2:
                reader.rollback()

        migrate.up(empty_url, directory=tmp_path, sleep=sleep)

    assert slept == [2.0, 2.0]


def test_a_table_in_use_for_too_long_ends_it_with_a_sentence(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "20ms")
    write(tmp_path, m001_a="ALTER TABLE a ADD COLUMN m int;")
    ask(empty_url, "CREATE TABLE a (n int)")
    slept: list[float] = []

    with psycopg.connect(empty_url) as reader:
        reader.execute("SELECT * FROM a")
        with pytest.raises(MigrationFailed, match=r"001_a\.sql: .*a table is in use by others"):
            migrate.up(empty_url, directory=tmp_path, sleep=slept.append)

    assert len(slept) == migrations.LOCK_ATTEMPTS - 1


def test_concurrently_waits_for_old_snapshots_longer_than_for_tables(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "20ms")
    write(tmp_path, m001_a="-- no transaction\nCREATE INDEX CONCURRENTLY a_n ON a (n);\n")
    ask(empty_url, "CREATE TABLE a (n int); CREATE TABLE other (n int)")

    with psycopg.connect(empty_url) as backup:
        backup.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        backup.execute("SELECT * FROM a")
        later = threading.Timer(0.4, backup.rollback)
        later.start()
        migrate.up(empty_url, directory=tmp_path, sleep=no_sleep)
        later.join()

    assert ask(empty_url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_n'::regclass") == [
        True
    ]


# --- kills --------------------------------------------------------------------------------------


def kill_while(url: str, folder: Path, doing: str) -> None:
    """Start a runner in a process of its own, and kill it while the server runs such a query."""
    runner = subprocess.Popen([sys.executable, "-c", UP, url, str(folder)])
    wait_until(
        lambda: ask(
            url,
            f"SELECT pid FROM pg_stat_activity WHERE query LIKE '%{doing}%' AND state = 'active' "
            "AND pid <> pg_backend_pid() AND datname = current_database()",
        )
    )
    runner.send_signal(signal.SIGKILL)
    assert runner.wait() == -signal.SIGKILL


def test_killed_in_a_transaction_a_runner_leaves_nothing_of_the_file(
    empty_url: str, tmp_path: Path
) -> None:
    write(tmp_path, m001_a="CREATE TABLE a (n int)")
    write(tmp_path, m002_b="CREATE TABLE b (n int);\nSELECT pg_sleep(1.5);")

    kill_while(empty_url, tmp_path, "pg_sleep(1")

    assert "b" not in tables(empty_url)
    again = migrate.up(empty_url, directory=tmp_path)
    assert [row.name for row in again] == ["002_b.sql"]
    assert "b" in tables(empty_url)


def test_killed_between_statements_without_transaction_a_file_is_run_again(
    empty_url: str, tmp_path: Path
) -> None:
    write(
        tmp_path,
        m001_a="CREATE TABLE a (n int)",
        m002_b="-- no transaction\nDROP INDEX CONCURRENTLY IF EXISTS a_n;\n"
        "CREATE INDEX CONCURRENTLY a_n ON a (n);\nSELECT pg_sleep(1);\n",
    )

    kill_while(empty_url, tmp_path, "pg_sleep(1")

    again = migrate.up(empty_url, directory=tmp_path)
    assert [row.name for row in again] == ["002_b.sql"]
    assert ask(empty_url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_n'::regclass") == [
        True
    ]


def test_an_index_half_built_by_a_killed_runner_is_built_anew(empty_url: str) -> None:
    """With our own files: the build waits for an old snapshot, and its session is ended there."""
    migrate.up(empty_url)
    ask(empty_url, "DELETE FROM checkinsync_migrations WHERE name LIKE '008%'")
    (indexes,) = (file for file in files.read() if file.number == 8)
    with psycopg.connect(empty_url) as backup, ThreadPoolExecutor() as aside:
        backup.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        backup.execute("SELECT 1 FROM checkins")
        build = aside.submit(apply_again, empty_url, indexes)
        wait_until(lambda: ask(empty_url, STUCK))
        ask(empty_url, f"SELECT pg_terminate_backend(pid) FROM ({STUCK}) AS stuck")
        assert isinstance(build.exception(), DatabaseAway)
        backup.rollback()

    apply_again(empty_url, indexes)

    assert (
        ask(empty_url, "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid") == []
    )


STUCK = """
    SELECT pid FROM pg_stat_activity
     WHERE query LIKE '%INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'
       AND datname = current_database() AND pid <> pg_backend_pid()
"""


def apply_again(url: str, file: Migration) -> None:
    with migrations.connected(url) as conn:
        migrations.apply(conn, file, sleep=no_sleep)


# --- the database away --------------------------------------------------------------------------


def test_a_database_that_is_away_is_told_of_without_its_password() -> None:
    with pytest.raises(DatabaseAway, match=r"cannot reach.*refused") as caught:
        migrate.up("postgresql://me:s3cret@127.0.0.1:1/none")

    assert caught.value.exit_code == 69
    assert "s3cret" not in str(caught.value)


def test_an_address_that_is_none_is_not_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        migrate.status("postgresql//me:s3cret@host")

    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_session_ended_in_the_middle_leaves_a_database_that_is_away(
    empty_url: str, tmp_path: Path
) -> None:
    write(
        tmp_path, m001_a="CREATE TABLE a (n int);\nSELECT pg_terminate_backend(pg_backend_pid());"
    )

    with pytest.raises(DatabaseAway):
        migrate.up(empty_url, directory=tmp_path)

    assert "a" not in tables(empty_url)


def test_a_roles_own_time_limits_and_isolation_make_no_difference(
    empty_url: str, tmp_path: Path
) -> None:
    write(
        tmp_path,
        m001_a="SELECT pg_sleep(0.2);\nCREATE TABLE seen AS SELECT current_setting(\n"
        "  'transaction_isolation') AS level;",
        m002_b="-- no transaction\nSELECT pg_sleep(0.2);\n",
    )
    limits = ["statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"]
    [number] = ask(empty_url, "SELECT current_setting('server_version_num')::int")
    options = [f"-c{name}%3D100" for name in limits[: 3 if number >= 170000 else 2]]
    options.append("-cdefault_transaction_isolation%3Dserializable")

    assert migrate.up(f"{empty_url}&options={'%20'.join(options)}", directory=tmp_path)

    assert ask(empty_url, "SELECT level FROM seen") == ["read committed"]
