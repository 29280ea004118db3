"""The doctor: each look by itself, on a real server, in a process where it matters."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from checkinsync.app import examine
from checkinsync.config.settings import examine_settings
from checkinsync.doctor import checks
from checkinsync.doctor import queries as server
from checkinsync.doctor.findings import Finding, Level, Pooling
from checkinsync.embedded import serving
from checkinsync.errors import DatabaseRefused
from checkinsync.keys.keyring import Keyring
from checkinsync.migrations import migrate
from checkinsync.shutdown import Shutdown
from checkinsync.simulator.faults import Fault
from checkinsync.store.pool import direct
from support.pooler import pooled
from support.stories import KEY, PASSWORD, WRONG_KEY, Done, Story

OLD_KEY = "01d" * 21 + "0"
PHRASE = "a pass phrase of the application"


def report(url: str, *, chosen=None, now=None, **settings: str) -> checks.Report:
    """What the doctor finds; the settings by their short names, `ENCRYPTION_KEY` as it is."""
    environ = {"CHECKINSYNC_DATABASE_URL": url, "CHECKINSYNC_ENCRYPTION_KEY": KEY} | {
        name if name.isupper() else f"CHECKINSYNC_{name.upper()}": value
        for name, value in settings.items()
    }
    clock = {} if now is None else {"now": now}
    return examine(examine_settings(environ), Shutdown(), chosen=chosen, **clock)


def of(report: checks.Report, check: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.check == check]


def only(report: checks.Report, check: str) -> Finding:
    [finding] = of(report, check)
    return finding


def add(conn: psycopg.Connection, name: str, encrypted: str | None) -> int:
    [number] = conn.execute(
        """
        INSERT INTO users (foursquare_user_id, display_name, access_token_encrypted, secret_token)
        VALUES (%(name)s, %(name)s, %(sealed)s, %(name)s) RETURNING id
        """,
        {"name": name, "sealed": encrypted},
    ).fetchone()
    return number


# --- where all is well, and what is touched ------------------------------------------------------


def test_where_all_is_well_it_says_so_and_changes_nothing(story: Story):
    people = story.people(3, 3)
    story.run("orchestrate")
    before = story.contents()

    done = story.run("doctor", "--online", "--user", "Ada", "--user", str(people[1].id))

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("2 users: 2 ok\n")
    assert done.out.endswith("\nall is well\n")
    assert f"{people[0].name}): the token is accepted, and belongs to Foursquare user" in done.out
    assert f"{people[1].name}): the token is accepted" in done.out
    assert "agrees with Foursquare's clock" in done.out
    assert story.contents() == before


def test_without_an_embedded_database_none_is_made(story: Story):
    home = Path(story.environ["CHECKINSYNC_HOME"])
    del story.environ["CHECKINSYNC_DATABASE_URL"], story.environ["CHECKINSYNC_ENCRYPTION_KEY"]

    done = story.run("doctor")

    assert done.code == 69
    assert "no embedded one was made" in done.out
    assert not home.exists()


def embedded(home: Path) -> checks.Report:
    """What the doctor finds on an embedded database; root's server may run as nobody."""
    examined = examine_settings({"CHECKINSYNC_HOME": str(home)})
    worthless = replace(examined.settings, disposable=True)
    return examine(replace(examined, settings=worthless), Shutdown(), chosen=None)


@contextmanager
def at(home: Path) -> Iterator[psycopg.Connection]:
    """The embedded database with its schema."""
    with serving(home, allow_nobody=True, for_tests=True) as running:
        migrate.up(running.url)
        with psycopg.connect(running.url, autocommit=True) as conn:
            yield conn


def test_an_embedded_database_is_looked_at_and_its_lost_key_is_not_replaced(used_home: Path):
    with at(used_home) as conn:
        add(conn, "Ada", Keyring([KEY]).encrypt("a"))

    found = embedded(used_home)

    assert "encryption.key is missing" in only(found, "keys").says
    assert not (used_home / "encryption.key").exists()
    assert only(found, "embedded").says.startswith(str(used_home / "postgres"))
    assert only(found, "pooler").level is Level.OK
    assert found.exit_code == 78


def test_before_there_is_a_token_no_key_is_missing(used_home: Path):
    new = embedded(used_home)
    with at(used_home):
        pass
    migrated = embedded(used_home)

    assert of(new, "keys") == []
    assert only(migrated, "keys").level is Level.OK
    assert not (used_home / "encryption.key").exists()
    assert (new.exit_code, migrated.exit_code) == (6, 0)


# --- settings and files --------------------------------------------------------------------------


def test_a_broken_setting_does_not_keep_it_from_the_rest(db: str):
    found = report(db, workers="0", stagger="soon", api_url="http://example.org")

    told = [finding.says for finding in of(found, "settings")]
    assert len(told) == 3
    assert only(found, "schema").level is Level.OK
    assert only(found, "database").level is Level.OK
    assert found.exit_code == 78


def test_a_broken_address_is_not_taken_for_the_embedded_database(tmp_path: Path):
    secret = "s3cret"
    environ = {
        "CHECKINSYNC_DATABASE_URL": f"postgresql://u:{secret}@@h/x",
        "CHECKINSYNC_HOME": str(tmp_path / "home"),
        "CHECKINSYNC_ENCRYPTION_KEY": KEY,
    }

    found = examine(examine_settings(environ), Shutdown(), chosen=None)

    assert "not checked" in only(found, "database").says
    assert not (tmp_path / "home").exists()
    assert secret not in str(found)


def test_a_file_that_can_not_be_read_leaves_what_the_environment_says(db: str, tmp_path: Path):
    config = tmp_path / "our.toml"
    config.write_text("stagger: 2m\n")

    found = report(db, config=str(config))

    assert "is not valid TOML" in only(found, "settings").says
    assert only(found, "schema").level is Level.OK


def test_files_open_to_others_are_named_with_the_command_that_closes_them(db: str, home: Path):
    key, config = home / "key", home / "our.toml"
    key.write_text(KEY)
    config.write_text(f'encryption_key_file = "{key}"\n')
    key.chmod(0o644)
    config.chmod(0o664)

    found = report(db, encryption_key="", config=str(config))
    key.chmod(0o640)
    config.chmod(0o644)
    closed = report(db, encryption_key="", config=str(config))

    secret, settings = of(found, "files")
    assert secret.advice.startswith(f"chmod o-rwx {key};")
    assert settings.advice == f"chmod go-w {config}"
    assert found.exit_code == 78
    assert [finding.level for finding in of(closed, "files")] == [Level.OK, Level.OK]


def test_files_in_a_folder_that_others_can_not_enter_are_not_open_to_them(db: str, home: Path):
    key, config = home / "key", home / "our.toml"
    key.write_text(KEY)
    config.write_text(f'encryption_key_file = "{key}"\n')
    key.chmod(0o644)
    config.chmod(0o666)
    home.chmod(0o700)

    found = report(db, encryption_key="", config=str(config))
    home.chmod(0o750)
    for_a_group = report(db, encryption_key="", config=str(config))

    assert [finding.level for finding in of(found, "files")] == [Level.OK, Level.OK]
    assert [finding.level for finding in of(for_a_group, "files")] == [Level.OK, Level.PROBLEM]


def test_settings_that_hold_a_secret_are_a_secret(db: str, home: Path):
    config = home / "our.toml"
    config.write_text(f'encryption_key = "{KEY}"\n')
    config.chmod(0o644)

    found = report(db, encryption_key="", config=str(config))

    assert "holds a secret and can be read by every account" in only(found, "files").says


# --- the database --------------------------------------------------------------------------------


def test_a_database_that_is_away_is_told_with_the_server_s_words(story: Story):
    nowhere = f"postgresql://u:{PASSWORD}@127.0.0.1:1/x"

    done = story.run("doctor", database_url=nowhere)

    assert done.code == 69
    assert "problem  database: cannot reach the database" in done.out
    assert "ok       settings" in done.out


def test_an_empty_database_lacks_its_schema_and_nothing_else_is_called_broken(empty_url: str):
    found = report(empty_url)

    assert found.exit_code == 6
    schema = only(found, "schema")
    assert schema.says.endswith("migrations are pending (001 to 010)")
    assert schema.advice == "checkinsync migrate"
    assert [f.check for f in found.findings if f.level is not Level.OK] == ["schema"]
    assert only(found, "connections").level is Level.OK
    assert found.users is None


def test_a_changed_file_and_a_newer_schema_are_told_apart(db: str, conn):
    conn.execute("INSERT INTO checkinsync_migrations VALUES ('999_later.sql', 'x')")
    newer = only(report(db), "schema")
    conn.execute("UPDATE checkinsync_migrations SET sha256 = 'x' WHERE name LIKE '001%'")
    changed = only(report(db), "schema")

    assert newer.level is Level.WARNING
    assert "999_later.sql" in newer.says
    assert (changed.level, changed.exit_code) == (Level.PROBLEM, 6)
    assert "001_application_tables.sql was changed" in changed.says


def test_a_half_built_index_is_named(db: str, conn):
    conn.execute("CREATE INDEX half ON checkins (city)")
    conn.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'half'::regclass")

    assert "half" in of(report(db), "schema")[1].says


def test_a_server_that_takes_no_writes_is_a_problem(db: str, conn):
    [name] = conn.execute("SELECT current_database()").fetchone()
    conn.execute(
        sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(
            sql.Identifier(name)
        )
    )

    found = report(db)

    assert "it is read-only" in of(found, "database")[1].says
    assert found.exit_code == 69


def test_a_pool_larger_than_what_the_database_allows_is_a_problem(db: str, conn):
    [name] = conn.execute("SELECT current_database()").fetchone()
    conn.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 8").format(sql.Identifier(name)))

    found = only(report(db, pool_size="9"), "connections")

    assert found.level is Level.PROBLEM
    assert found.advice == "set CHECKINSYNC_POOL_SIZE to 7 or raise max_connections"
    assert only(report(db, pool_size="90"), "connections").exit_code == 69


def test_a_clock_that_is_off_is_a_problem_whichever_way(db: str):
    for minutes, side in ((30, "ahead of"), (-30, "behind")):
        off = timedelta(minutes=minutes)

        found = only(report(db, now=lambda off=off: datetime.now(UTC) + off), "clock")

        assert found.level is Level.PROBLEM
        assert side in found.says


@pytest.mark.parametrize(
    ("transactional", "pooling"), [(True, Pooling.TRANSACTION), (False, Pooling.SESSION)]
)
def test_a_pooler_and_its_mode_are_told(db: str, transactional: bool, pooling: Pooling):
    with pooled(db, transactional=transactional) as url, direct(url) as conn:
        assert server.pooling(conn, url) is pooling
    with direct(db) as conn:
        assert server.pooling(conn, db) is Pooling.NONE


def test_behind_a_transaction_s_pooler_migrations_want_the_server_s_own_address(
    db: str, empty_url: str
):
    with pooled(db, transactional=True) as url:
        without = only(report(url), "pooler")
        good = report(url, migrate_url=db)
        through = only(report(url, migrate_url=url), "migrate_url")
        elsewhere = only(report(url, migrate_url=empty_url), "migrate_url")

    assert without.level is Level.WARNING
    assert "set CHECKINSYNC_MIGRATE_URL" in without.advice
    assert only(good, "pooler").level is only(good, "migrate_url").level is Level.OK
    assert "in transaction mode itself" in through.says
    assert "another database" in elsewhere.says
    assert elsewhere.exit_code == 78


def test_what_is_read_can_not_be_written_by_a_slip(db: str):
    with (
        direct(db) as conn,
        pytest.raises(DatabaseRefused, match="read-only"),
        server.reading(conn),
    ):
        conn.execute("DELETE FROM users")


def test_the_last_run_s_age_is_told(db: str, conn):
    assert only(report(db), "runs").says == "none yet"
    conn.execute(
        """
        INSERT INTO sync_runs (started_at, finished_at, host, outcome)
        VALUES (now() - interval '3 days 1 hour', now(), 'here', 'ok')
        """
    )

    old = only(report(db), "runs")

    assert old.level is Level.WARNING
    assert "3 days ago" in old.says


# --- keys ----------------------------------------------------------------------------------------


def test_it_says_which_key_opens_what_and_which_may_go(db: str, conn):
    spare, keyring = "5" * 64, Keyring([KEY])
    for name, encrypted in (
        ("Ada", keyring.encrypt("a")),
        ("Ben", Keyring([OLD_KEY]).encrypt("b")),
        ("Chloé", None),
    ):
        add(conn, name, encrypted)

    found = report(db, encryption_key=f"{KEY},{OLD_KEY},{spare}")

    first, old, idle = of(found, "keys")
    assert first.says.endswith("encrypts, and decrypts 1 of 2 tokens")
    assert keyring.keys[0].fingerprint in first.says
    assert "it is needed" in old.says
    assert "rotate-keys" in old.advice
    assert "it can be removed" in idle.says
    assert found.usage.counts() == (1, 1, 0)
    assert not {KEY, OLD_KEY, spare} & set(str(found).split())


def test_a_key_that_the_application_still_uses_may_not_go(db: str, conn):
    add(conn, "Ada", Keyring([KEY]).encrypt("a"))

    found = report(db, encryption_key=f"{KEY},{PHRASE}", ENCRYPTION_KEY=PHRASE)

    assert "keep it" in of(found, "keys")[1].says
    assert "the application (ENCRYPTION_KEY) encrypts with" in of(found, "keys")[2].says


def test_an_application_s_key_that_is_none_of_ours_is_a_problem(db: str):
    found = report(db, ENCRYPTION_KEY=PHRASE)

    assert "which is none of ours" in of(found, "keys")[-1].says
    assert found.exit_code == 78
    assert PHRASE not in str(found)


def test_whose_token_no_key_opens_is_told_by_name(db: str, conn):
    add(conn, "Ada", Keyring([KEY]).encrypt("a"))
    ben = add(conn, "Ben", Keyring([WRONG_KEY]).encrypt("b"))

    found = report(db)

    assert f"user {ben} (Ben)" in of(found, "keys")[-1].says
    assert found.exit_code == 4
    assert [user.id for user in found.usage.unreadable] == [ben]


def test_keys_that_open_nothing_at_all_are_wrong_settings(db: str, conn):
    add(conn, "Ada", Keyring([WRONG_KEY]).encrypt("a"))

    found = report(db)

    assert "the keys are wrong, not the users" in of(found, "keys")[-1].says
    assert found.exit_code == 78


def test_a_key_with_a_digit_lost_or_named_twice_is_noticed(db: str):
    found = report(db, encryption_key=f"{KEY[:-1]},{KEY},{KEY.upper()}")

    advices = [finding.says for finding in of(found, "keys") if finding.level is Level.WARNING]
    assert "not 64 of them" in advices[0]
    assert "is given twice" in advices[1]


# --- Foursquare ----------------------------------------------------------------------------------


def test_a_token_of_somebody_else_is_found_out(story: Story):
    ada, ben = story.people(1, 1)
    story.conn.execute(
        "UPDATE users SET access_token_encrypted = %s WHERE id = %s",
        [story.keyring.encrypt(ben.token), ada.id],
    )

    done = story.run("doctor", "--online", "--user", "Ada", "--user", "Ben", "--json")

    told = json.loads(done.out)
    levels = [f["level"] for f in told["findings"] if f["check"] == "foursquare"]
    assert levels == ["problem", "ok"]
    assert done.code == told["exit_code"] == 4


def test_one_active_user_is_enough_unless_some_are_named(story: Story):
    story.people(1, 1, 1)

    assert story.run("doctor", "--online").code == 0
    assert {seen.token for seen in story.requests()} == {story.requests()[0].token}
    assert story.run("doctor").code == 0
    assert len(story.requests()) == 1


def test_whatever_is_wrong_with_one_user_the_next_is_asked_about(story: Story):
    ada, ben, _, dmitri = story.people(1, 1, 1, 1)
    story.conn.execute("UPDATE users SET access_token_encrypted = NULL WHERE id = %s", [dmitri.id])
    story.simulator.revoke(ada.token)
    story.simulator.fail(Fault("rate_limit_exceeded", token=ben.token))
    names = ("Ada", "Ben", "nobody", "Chloé", "Dmitri")
    named = [word for name in names for word in ("--user", name)]

    done = story.run("doctor", "--online", *named)

    assert done.code == 4
    lines = [line.split()[0] for line in done.out.splitlines() if "foursquare:" in line]
    assert lines == ["problem", "warning", "problem", "ok", "problem"]


def test_nothing_is_sent_where_it_is_not_known_where_to(story: Story):
    story.people(1)

    done = story.run("doctor", "--online", token_in="cookie")

    assert done.code == 78
    assert "foursquare: not asked" in done.out
    assert story.requests() == []


def test_asked_to_stop_it_stops(story: Story):
    story.people(1)
    asleep = story.asleep("doctor", "--online")
    asleep.signal(signal.SIGTERM)
    asleep.signal(signal.SIGCONT)

    assert asleep.ended().code == 143


def test_users_without_online_are_a_slip(story: Story):
    done = story.run("doctor", "--user", "Ada")

    assert (done.code, done.out) == (2, "")
    assert story.run("doctor", "--online", "--json") != Done(0)
