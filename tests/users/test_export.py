"""A user's export as a zip of JSON: complete, only theirs, without secrets, in little memory."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from checkinsync.cli.atomic_file import write_atomically
from checkinsync.errors import FileInTheWay, FileNotWritten, UserRemoved
from checkinsync.store.pool import Pool
from checkinsync.users import accounts, queries
from checkinsync.users.export import export_user
from support.environment import add_users
from support.factories import NOW
from support.stories import QUIET, Story

NAMES = {"README.txt", "profile.json", *(f"{kind}.json" for kind in queries.EXPORT)}


def opened(file: Path | io.BytesIO) -> dict[str, Any]:
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == NAMES
        return {
            name.removesuffix(".json"): json.loads(archive.read(name))
            for name in archive.namelist()
            if name.endswith(".json")
        }


def exported(pool: Pool, user: int) -> dict[str, Any]:
    file = io.BytesIO()
    export_user(accounts.find(str(user), pool=pool), file, pool=pool, now=NOW)
    return opened(file)


def test_he_gets_all_of_it_and_only_his(story: Story) -> None:
    ada, _ = story.people(300, 20)
    with story.simulator.lock:
        world = story.simulator.world
        account = world.accounts[ada.token]
        gone = account.ids[7]
        world.add_photo(ada.token, account.ids[3])
        world.add(ada.token, {"id": 12, "createdAt": "no time"})
    assert story.run("orchestrate").code == 0
    story.conn.execute("UPDATE checkins SET deleted_at = now() WHERE foursquare_id = %s", [gone])
    story.conn.execute(
        """
        INSERT INTO checkins (user_id, venue_name, checkin_date)
        VALUES (%s, 'only here', '2001-02-03')
        """,
        [ada.id],
    )  # fmt: skip
    path = story.folder / "ada.zip"

    done = story.run("users", "export", "Ada", "-o", str(path))

    assert (done.code, done.err) == (0, "")
    assert "301 checkins" in done.out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in story.folder.glob("*ada.zip*")] == ["ada.zip"]
    got = opened(path)
    assert got["profile"]["id"] == ada.id
    assert {row["foursquare_id"] for row in got["checkins"]} == {*story.shown(ada), None} - {"12"}
    assert {row["user_id"] for row in got["checkins"]} == {ada.id}
    assert [row["foursquare_id"] for row in got["checkins"] if row["deleted"]] == [gone]
    assert got["checkins"][0]["checkin_date"] == "2001-02-03T00:00:00+00:00"
    assert all(r["raw"]["id"] == r["foursquare_id"] for r in got["checkins"] if r["raw"])
    assert set(got["checkins"][0]) >= {
        column
        for (column,) in story.rows(
            """
            SELECT attname FROM pg_attribute
             WHERE attrelid = 'checkins'::regclass AND attnum > 0 AND NOT attisdropped
            """
        )
    }
    assert len(got["photos"]) == story.rows("SELECT count(*) FROM checkin_photos AS p JOIN "
        "checkins AS c ON c.id = p.checkin_id WHERE user_id = %s", ada.id)[0][0] > 0  # fmt: skip
    assert len(got["quarantined"]) == 1
    assert json.loads(got["quarantined"][0]["item"])["createdAt"] == "no time"
    assert [job["status"] for job in got["jobs"]] == ["completed"]
    assert got["sync_state"][0]["cursor"].endswith("+00:00")


def test_nothing_secret_is_in_it(story: Story) -> None:
    ada = story.person("Ada", 5)
    assert story.run("orchestrate") == QUIET
    [(encrypted, secret)] = story.rows("SELECT access_token_encrypted, secret_token FROM users")
    path = story.folder / "ada.zip"
    assert story.run("users", "export", "Ada", "-o", str(path)).code == 0

    with zipfile.ZipFile(path) as archive:
        texts = [archive.read(name).decode() for name in archive.namelist()]

    for hidden in (encrypted, secret, ada.token, "access_token", "secret_token", "lease_token"):
        assert not any(hidden in text for text in texts), hidden


def test_the_text_in_it_is_about_them(conn: psycopg.Connection, pool: Pool) -> None:
    [user] = add_users(conn, 1)
    file = io.BytesIO()

    export_user(accounts.find(str(user), pool=pool), file, pool=pool, now=NOW)

    with zipfile.ZipFile(file) as archive:
        text = archive.read("README.txt").decode()
    assert "who they are" in text
    assert not re.search(r"\b(he|him|his)\b", text)
    assert {name for name in NAMES if name not in text} == {"README.txt"}


def test_the_item_is_handed_on_as_it_was_received(conn: psycopg.Connection, pool: Pool) -> None:
    [user] = add_users(conn, 1)
    raw = '{"n" : 1.50, "n": 2,\n "long": 123456789012345678901234567890, "e": "\\u00e9"}'
    conn.execute(
        "INSERT INTO checkins (user_id, venue_name, checkin_date, raw) VALUES (%s, 'é', now(), %s)",
        [user, raw],
    )
    file = io.BytesIO()

    export_user(accounts.find(str(user), pool=pool), file, pool=pool, now=NOW)

    with zipfile.ZipFile(file) as archive:
        text = archive.read("checkins.json").decode()
    assert f'"raw": {raw}' in text
    assert '"venue_name": "é"' in text


def test_values_of_every_kind_find_their_json(conn: psycopg.Connection, pool: Pool) -> None:
    [user] = add_users(conn, 1)
    conn.execute(
        """
        ALTER TABLE checkins ADD COLUMN mood JSONB, ADD COLUMN path POINT, ADD COLUMN tags TEXT[],
                             ADD COLUMN day DATE
        """
    )
    conn.execute(
        """
        INSERT INTO checkins (user_id, venue_name, latitude, checkin_date, fingerprint, mood, path,
                              tags, day, first_seen_at)
        VALUES (%s, 'x', 52.52, '2020-01-01 10:00:00.5', '\\x00ff', '{"a": [1]}', '(1,2)',
                '{a,b}', '2020-01-02', '2020-01-01 10:00:00+09')
        """,
        [user],
    )
    conn.execute(
        "INSERT INTO quarantined_checkins VALUES (%s, 'k', '\\xff00', 'odd', now(), now())", [user]
    )

    got = exported(pool, user)

    [row] = got["checkins"]
    assert row["latitude"] == 52.52
    assert row["checkin_date"] == "2020-01-01T10:00:00.500000+00:00"
    assert row["first_seen_at"] == "2020-01-01T01:00:00+00:00"
    assert (row["fingerprint"], row["mood"], row["path"]) == ("00ff", {"a": [1]}, "(1,2)")
    assert (row["tags"], row["day"]) == (["a", "b"], "2020-01-02")
    assert got["quarantined"][0]["item_base64"] == "/wA="
    assert "item" not in got["quarantined"][0]


def test_revisions_come_along(conn: psycopg.Connection, pool: Pool) -> None:
    one, other = add_users(conn, 2)
    conn.execute(
        """
        WITH made AS (
             INSERT INTO checkins (user_id, foursquare_id, venue_name, checkin_date)
             SELECT id, 'id of ' || id, 'Somewhere', '2020-01-01' FROM users RETURNING id, user_id)
        INSERT INTO checkin_revisions (checkin_id, user_id, what, old_values, new_values, seen_at)
        SELECT id, user_id, '{shout}', jsonb_build_object('shout', user_id), '{"shout": "new"}',
               '2021-01-01Z'
          FROM made
        """
    )

    [got] = exported(pool, other)["revisions"]

    assert (got["what"], got["old_values"]) == (["shout"], {"shout": other})
    assert got["checkin_foursquare_id"] == f"id of {other}"
    assert len(exported(pool, one)["revisions"]) == 1


def test_a_user_with_nothing_gets_empty_lists(conn: psycopg.Connection, pool: Pool) -> None:
    [user] = add_users(conn, 1)

    got = exported(pool, user)

    assert {kind: got[kind] for kind in queries.EXPORT} == {kind: [] for kind in queries.EXPORT}


def test_who_was_removed_meanwhile_is_told_of(conn: psycopg.Connection, pool: Pool) -> None:
    [number] = add_users(conn, 1)
    user = accounts.find(str(number), pool=pool)
    conn.execute("DELETE FROM users")

    with pytest.raises(UserRemoved):
        export_user(user, io.BytesIO(), pool=pool, now=NOW)


class Meanwhile(io.BytesIO):
    """A file whose first write changes the database before it goes on."""

    def __init__(self, change: Callable[[], object]) -> None:
        super().__init__()
        self.change: Callable[[], object] | None = change

    def write(self, data: Any) -> int:
        change, self.change = self.change, None
        if change is not None:
            change()
        return super().write(data)


def test_all_rows_are_of_one_moment_whatever_changes_meanwhile(
    conn: psycopg.Connection, pool: Pool
) -> None:
    [number] = add_users(conn, 1)
    user = accounts.find(str(number), pool=pool)
    conn.execute(
        """
        WITH made AS (INSERT INTO checkins (user_id, venue_name, checkin_date)
                      SELECT id, 'before', now() FROM users RETURNING id)
        INSERT INTO checkin_photos (checkin_id, photo_url)
        SELECT id, 'https://example.org/before' FROM made
        """
    )

    def change() -> None:
        conn.execute(
            """
            DELETE FROM checkin_photos;
            UPDATE checkins SET venue_name = 'after';
            INSERT INTO import_jobs (user_id) SELECT id FROM users
            """
        )

    file = Meanwhile(change)

    export_user(user, file, pool=pool, now=NOW)

    got = opened(file)
    assert file.change is None
    assert [row["venue_name"] for row in got["checkins"]] == ["before"]
    assert [row["photo_url"] for row in got["photos"]] == ["https://example.org/before"]
    assert got["jobs"] == []


# --- memory ---------------------------------------------------------------------------------------

MEASURED = """
import datetime, pathlib, sys
from checkinsync.users import accounts as users
from checkinsync.users.export import export_user
from checkinsync.store.pool import open_pool

def peak():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])

pool = open_pool(sys.argv[1], size=1)
user, before = users.find(sys.argv[2], pool=pool), peak()
with open("/dev/null", "wb") as out:
    counts = export_user(user, out, pool=pool, now=datetime.datetime.now(datetime.UTC))
print(counts["checkins"], peak() - before)
pool.close()
"""


def test_memory_does_not_grow_with_the_history(conn: psycopg.Connection, db: str) -> None:
    few, many = add_users(conn, 2)
    for user, count in ((few, 500), (many, 20_000)):
        conn.execute(
            """
            INSERT INTO checkins (user_id, venue_name, checkin_date, raw)
            SELECT %s, 'x', timestamp '2000-01-01' + n * interval '1 hour',
                   json_build_object('text', repeat(md5(n::text), 60))
              FROM generate_series(1, %s) AS n
            """,
            [user, count],
        )

    def grown(user: int) -> tuple[int, int]:
        command = [sys.executable, "-c", MEASURED, db, str(user)]
        counts, kib = subprocess.check_output(command, text=True).split()
        return int(counts), int(kib)

    small, large = grown(few), grown(many)

    assert (small[0], large[0]) == (500, 20_000)
    assert large[1] < small[1] + 8 * 1024, "20,000 check-ins are 40 MB"


# --- files ----------------------------------------------------------------------------------------


def test_a_file_that_is_there_is_replaced_on_demand_only(story: Story) -> None:
    ada = story.person("Ada", 2)
    path = story.folder / f"checkinsync-user-{ada.id}.zip"
    path.write_text("precious")
    here = {**story.environ, "PWD": str(story.folder)}

    def export(*words: str) -> Any:
        command = [sys.executable, "-m", "checkinsync", "users", "export", str(ada.id), *words]
        return story.start_program(
            ["sh", "-c", 'cd "$0" && exec "$@"', str(story.folder), *command], env=here
        ).ended()

    refused = export()

    assert (refused.code, refused.out) == (2, "")
    assert "already exists" in refused.err
    assert path.read_text() == "precious"
    assert export("--force").code == 0
    assert opened(path)["profile"]["id"] == ada.id


def test_standard_output_gets_the_zip_and_the_numbers_go_elsewhere(story: Story) -> None:
    ada = story.person("Ada", 2)
    assert story.run("orchestrate") == QUIET

    process = story.start("users", "export", str(ada.id), "-o", "-")
    assert process.popen.wait(60) == 0

    assert len(opened(process.out)["checkins"]) == 2
    assert "2 checkins" in process.err.read_text()


def test_where_nothing_can_be_written_a_sentence_says_so(story: Story) -> None:
    story.person("Ada", 2)

    nowhere = story.run("users", "export", "Ada", "-o", "/nonexistent/x.zip")
    folder = story.run("users", "export", "Ada", "-o", str(story.folder), "--force")
    unknown = story.run("users", "export", "Eve", "-o", str(story.folder / "x.zip"))

    assert (nowhere.code, len(nowhere.err.splitlines())) == (1, 1)
    assert "No such file or directory" in nowhere.err
    assert (folder.code, unknown.code) == (2, 2)
    assert not (story.folder / "x.zip").exists()


def test_what_fails_half_way_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "x"

    def fill() -> None:
        with write_atomically(path, replace=False) as file:
            file.write(b"half of it")
            raise OSError(28, os.strerror(28))

    with pytest.raises(FileNotWritten, match="No space"):
        fill()

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x"

    def fill() -> None:
        with write_atomically(path, replace=False) as file:
            file.write(b"ours")
            path.write_text("theirs")

    with pytest.raises(FileInTheWay):
        fill()

    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_a_terminal_is_spared_the_zip(story: Story) -> None:
    story.person("Ada", 2)
    screen, terminal = os.openpty()

    told = subprocess.run(
        [sys.executable, "-m", "checkinsync", "users", "export", "Ada", "-o", "-"],
        stdout=terminal, stderr=subprocess.PIPE, env=story.environ, text=True, check=False,
    )  # fmt: skip

    os.close(terminal)
    os.close(screen)
    assert told.returncode == 2
    assert "a terminal can't show this" in told.stderr
