"""`db serve` and `db url`: other programs look at the embedded database, and change nothing."""

from __future__ import annotations

import signal
import stat
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from checkinsync.embedded.gateway import startup
from support.stories import QUIET, Started, Story

NOT_FOR_READERS = (
    "SELECT secret_token FROM users",
    "SELECT access_token_encrypted FROM users",
    "SELECT * FROM users",
    "UPDATE users SET display_name = 'x'",
    "DELETE FROM checkins",
    "CREATE TABLE x ()",
    "CREATE TEMPORARY TABLE x ()",
    "SELECT * FROM pg_authid",
    "SET ROLE checkinsync",
    "SET SESSION AUTHORIZATION checkinsync",
    "COPY sync_runs TO PROGRAM 'cat'",
    "SELECT pg_read_file('PG_VERSION')",
)


def serving(own: Story, *words: str) -> tuple[Started, list[str]]:
    """A server that is kept up, and the addresses it prints."""
    served = own.start("db", "serve", *words)
    own.until(lambda: "serving until" in served.err.read_text())
    return served, served.out.read_text().splitlines()


def is_up(own: Story) -> bool:
    return (Path(own.environ["CHECKINSYNC_HOME"]) / "postgres/data/postmaster.pid").exists()


def test_a_reader_sees_everything_but_tokens_and_changes_nothing(own: Story):
    served, (_, address) = serving(own, "--readonly", "--port", "0")

    with psycopg.connect(address, autocommit=True) as conn:
        assert conn.execute("SELECT current_user").fetchone() == ("checkinsync_reader",)
        assert conn.execute("SELECT count(*), min(id) FROM users").fetchone() == (1, 1)
        for table in ("checkins", "sync_runs", "import_jobs", "verified_spans"):
            conn.execute(f"SELECT * FROM {table}".encode())
        conn.execute("SET default_transaction_read_only = off")
        for statement in NOT_FOR_READERS:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement.encode())

    assert own.run("users", "list", "--json").code == 0, "other commands work beside it"
    served.signal(signal.SIGTERM)
    ended = served.ended()
    assert (ended.code, len(ended.err.splitlines())) == (0, 1)
    assert not is_up(own)


def test_the_port_lets_nobody_in_without_the_password_nor_as_anyone_else(own: Story):
    served, (_, address) = serving(own, "--readonly", "--port", "0")
    file = Path(own.environ["CHECKINSYNC_HOME"]) / "reader.password"
    password = file.read_text().strip().rpartition(":")[2]
    without = address.partition("?")[0]

    for more in ({"password": "wrong"}, {"user": "checkinsync", "password": "wrong"}):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(without, **more)
    for more in ({"user": "checkinsync"}, {"options": "-c role=checkinsync"}):
        with psycopg.connect(without, password=password, **more) as conn:
            assert conn.execute("SELECT current_user").fetchone() == ("checkinsync_reader",)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().startswith("127.0.0.1:*:"), "it is kept, and the next port is another"
    assert password not in served.out.read_text() + served.err.read_text()
    served.signal(signal.SIGINT)
    assert served.ended().code == 0
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(address)


def test_the_first_message_is_written_anew_for_the_reader():
    asked = {"user": "checkinsync", "database": "postgres", "options": "-c role=x",
             "replication": "true", "application_name": "grafana"}  # fmt: skip

    words = startup(asked)[8:].split(b"\0")

    assert dict(zip(words[::2], words[1::2], strict=False)) == {
        b"user": b"checkinsync_reader", b"database": b"checkinsync",
        b"application_name": b"grafana", b"": b"",
    }  # fmt: skip


def test_a_password_is_kept_and_one_that_others_can_read_is_refused(own: Story):
    file = own.folder / "password"
    file.write_text("a-password\n")
    words = ("--readonly", "--port", "0", "--password-file", str(file))

    refused = own.run("db", "serve", *words)
    file.chmod(0o600)
    served, (_, address) = serving(own, *words)

    assert (refused.code, "chmod 0600" in refused.err) == (78, True)
    with psycopg.connect(address.partition("?")[0], password="a-password"):
        pass
    served.signal(signal.SIGTERM)
    assert served.ended().code == 0


def test_a_server_that_is_kept_up_outlives_other_commands_and_is_told_when_it_stops(own: Story):
    served, [address] = serving(own)
    assert own.run("db", "url") == type(QUIET)(0, f"{address}\n")
    assert own.run("status").code == 0
    with psycopg.connect(address) as conn:
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (1,)

    with suppress(psycopg.OperationalError):
        own.run("db", "shell", "-c", KILL)
    ended = served.ended()

    assert ended.code == 69
    assert "has stopped" in ended.err


KILL = "COPY (SELECT 1) TO PROGRAM 'kill -INT $(head -1 postmaster.pid)'"
"""As the server's account: it ends in good order, without anyone of ours."""


def test_a_server_of_ones_own_is_not_served(story: Story):
    assert story.run("db", "serve").code == 78
    assert story.run("db", "url").code == 78
    assert story.run("db", "serve", "--port", "1").code == 2
