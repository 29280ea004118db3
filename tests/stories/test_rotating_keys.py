"""Rotating keys: killed at any moment, beside imports and the application."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from checkinsync.keys.keyring import Keyring
from support.stories import KEY, WRONG_KEY, Story
from support.webapp.crypto import node

NEW_KEY = "4e57" * 16
BOTH = f"{NEW_KEY},{KEY}"
SWITCHED = "--application-switched"
ADDRESS = "postgres://app:the-password-of-the-database@db.example/app?sslmode=require"

PRINT = {NEW_KEY: Keyring([NEW_KEY]).keys[0].fingerprint, KEY: Keyring([KEY]).keys[0].fingerprint}


@pytest.fixture(autouse=True)
def _keys(story: Story) -> None:
    """The new key in front of the old one, and traces of the application."""
    story.secrets |= {NEW_KEY}
    story.environ["CHECKINSYNC_ENCRYPTION_KEY"] = BOTH
    story.conn.execute("CREATE TABLE migrations (name TEXT)")


def crowd(story: Story, count: int, *, key: str = KEY) -> dict[int, str]:
    """Add so many users; returns their tokens by id."""
    keyring = Keyring([key])
    tokens = {number: f"A-TOKEN-NOBODY-MAY-SEE-{number}" for number in range(1, count + 1)}
    with (
        story.conn.cursor() as cursor,
        cursor.copy(
            """
            COPY users (id, foursquare_user_id, access_token_encrypted, secret_token) FROM STDIN
            """
        ) as rows,
    ):
        for number, token in tokens.items():
            rows.write_row((number, str(number), keyring.encrypt(token), str(number)))
    story.secrets.add("A-TOKEN-NOBODY-MAY-SEE")
    return tokens


def decrypted(story: Story, *keys: str) -> dict[int, str]:
    """Decrypt all stored tokens."""
    keyring = Keyring(keys)
    rows = story.rows("SELECT id, access_token_encrypted FROM users")
    return {number: keyring.decrypt(text) for number, text in rows}


def encrypted_with(story: Story, key: str) -> int:
    """Count the tokens that this key decrypts."""
    keyring = Keyring([key])
    rows = story.rows("SELECT access_token_encrypted FROM users")
    return sum(keyring.can_decrypt(text) for (text,) in rows)


def killed(story: Story) -> None:
    """Wait until the server has ended the session of a killed process."""
    story.until(
        lambda: (
            story.rows("SELECT 1 FROM pg_stat_activity WHERE application_name = 'checkinsync'")
            == []
        )
    )


# --- killed --------------------------------------------------------------------------------------


def test_killed_at_many_moments_every_token_stays_readable_and_it_is_finished_later(story: Story):
    tokens = crowd(story, 3000)
    moments = (1, 200, 400, 700, 1000)
    stood = []
    for moment in moments:
        process = story.start("rotate-keys", SWITCHED)
        story.until(lambda moment=moment: encrypted_with(story, NEW_KEY) >= moment)
        process.signal(signal.SIGKILL)
        assert process.ended().code == -signal.SIGKILL
        killed(story)
        assert decrypted(story, NEW_KEY, KEY) == tokens
        stood.append(encrypted_with(story, NEW_KEY))

    last = story.run("rotate-keys", SWITCHED)

    assert stood[-1] < len(tokens), "it was never interrupted half way"
    assert (last.code, last.err) == (0, "")
    assert f"{stood[-1]} tokens encrypted with it already" in last.out
    assert decrypted(story, NEW_KEY) == tokens


def test_killed_within_a_transaction_nothing_of_it_stays(story: Story):
    tokens = crowd(story, 500)
    story.conn.execute(
        """
        CREATE FUNCTION checkinsync_slow() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_sleep(CASE WHEN NEW.id > 250 THEN 0.02 ELSE 0 END); RETURN NEW; END';
        CREATE TRIGGER slow BEFORE UPDATE ON users
            FOR EACH ROW EXECUTE FUNCTION checkinsync_slow()
        """
    )
    process = story.start("rotate-keys", SWITCHED)
    story.until(lambda: encrypted_with(story, NEW_KEY))
    story.until(
        lambda: story.rows(
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%UPDATE users AS u%' "
            "AND application_name = 'checkinsync' AND wait_event = 'PgSleep'"
        )
    )
    process.signal(signal.SIGKILL)
    process.ended()
    killed(story)

    assert decrypted(story, NEW_KEY, KEY) == tokens
    assert encrypted_with(story, NEW_KEY) == 200
    story.conn.execute("DROP TRIGGER slow ON users")
    assert story.run("rotate-keys", SWITCHED).code == 0
    assert decrypted(story, NEW_KEY) == tokens


# --- beside others -------------------------------------------------------------------------------


def test_an_import_at_work_is_neither_disturbed_nor_waited_for(story: Story):
    ada, ben = story.person("Ada", 700), story.person("Ben", 3)
    asleep = story.asleep("import-user", "Ada", at_request=2)

    rotated = story.run("rotate-keys", SWITCHED)
    asleep.signal(signal.SIGCONT)
    imported = asleep.ended()

    assert rotated.code == 0
    assert imported.code == 0
    assert story.run("orchestrate", encryption_key=NEW_KEY).code == 0
    assert story.complete(ada, ben)


def test_what_the_application_stores_meanwhile_is_kept(story: Story):
    tokens = crowd(story, 60)
    done = threading.Event()

    def application() -> None:
        """Store new tokens of one user after another, encrypted with the new key."""
        keyring, number = Keyring([NEW_KEY]), 0
        with psycopg.connect(story.url, autocommit=True) as conn:
            while not done.is_set():
                user, number = 1 + number % 60, number + 1
                token = f"A-TOKEN-NOBODY-MAY-SEE-{user}-{number}"
                conn.execute(
                    "UPDATE users SET access_token_encrypted = %s WHERE id = %s",
                    [keyring.encrypt(token), user],
                )
                tokens[user] = token

    with ThreadPoolExecutor() as beside:
        at_work = beside.submit(application)
        try:
            codes = [story.run("rotate-keys", SWITCHED).code for _ in range(3)]
        finally:
            done.set()
        at_work.result()

    assert codes == [0, 0, 0]
    assert decrypted(story, NEW_KEY) == tokens


# --- what an operator sees -----------------------------------------------------------------------


def test_it_is_told_by_fingerprint_what_was_done_and_the_doctor_says_what_may_go(story: Story):
    crowd(story, 3)
    before = story.contents()

    dry = story.run("rotate-keys", SWITCHED, "--dry-run")
    unchanged = story.contents() == before
    looked = story.run("doctor")
    real = story.run("rotate-keys", SWITCHED, "--json")
    after = story.run("doctor")

    assert unchanged
    assert dry.out.splitlines() == [
        f"key {PRINT[NEW_KEY]}, the first: 0 tokens encrypted with it already",
        f"key {PRINT[KEY]}: 3 tokens to be re-encrypted",
        f"3 tokens would be re-encrypted with {PRINT[NEW_KEY]}; nothing was written",
    ]
    assert f"key {PRINT[KEY]} decrypts 3 of 3 tokens: it is needed" in looked.out
    assert json.loads(real.out) == {
        "first": PRINT[NEW_KEY],
        "written": True,
        "tokens": 3,
        "already": 0,
        "sealed_anew": 3,
        "keys": [
            {"fingerprint": PRINT[NEW_KEY], "opened": 0},
            {"fingerprint": PRINT[KEY], "opened": 3},
        ],
        "unreadable": [],
        "left": [],
    }
    assert f"key {PRINT[KEY]} decrypts 0 of 3 tokens: it can be removed" in after.out


def test_tokens_that_no_key_opens_are_listed_and_left(story: Story):
    crowd(story, 2, key=WRONG_KEY)

    done = story.run("rotate-keys", SWITCHED)

    assert done.code == 3
    assert "no key decrypts 2 tokens, left alone: user 1, user 2" in done.out
    assert encrypted_with(story, WRONG_KEY) == 2


def test_an_application_that_would_be_locked_out_is_told_of_before_anything_is_written(story):
    tokens = crowd(story, 2)
    story.environ["ENCRYPTION_KEY"] = KEY

    refused = story.run("rotate-keys")
    dry = story.run("rotate-keys", "--dry-run")
    story.environ["ENCRYPTION_KEY"] = NEW_KEY

    assert (refused.code, refused.out) == (78, "")
    assert "another key" in refused.err
    assert dry.code == 0
    assert "--application-switched" in dry.err
    assert decrypted(story, KEY) == tokens
    assert story.run("rotate-keys").code == 0


def test_a_key_that_was_given_in_quotes_is_told(story: Story):
    """In a file of variables that no shell reads, quotes become part of the key."""
    story.environ["CHECKINSYNC_ENCRYPTION_KEY"] = f'"{NEW_KEY}"'

    added = story.run("users", "add", "--foursquare-id", "7", given="A-TOKEN")
    looked = story.run("doctor")

    assert (added.code, added.out) == (0, "1\n")
    assert "WARNING encryption key 1 of 1 begins or ends with a quotation mark" in added.err
    assert "begins or ends with a quotation mark, so it counts as a pass phrase" in looked.out


# --- where keys come from ------------------------------------------------------------------------


def test_the_key_that_the_application_derived_from_its_address_opens_when_asked_for(story: Story):
    tokens = crowd(story, 2, key=ADDRESS)
    story.secrets.add(ADDRESS)
    (story.folder / "address").write_text(f"{ADDRESS}\n")

    unasked = story.run("rotate-keys", SWITCHED)
    by_argument = story.run("rotate-keys", SWITCHED, "--from-database-url", "postgres://u@h/x")
    missing = story.run("rotate-keys", SWITCHED, "--from-database-url")
    by_file = story.run(
        "rotate-keys", SWITCHED, "--dry-run", "--from-database-url", str(story.folder / "address")
    )
    by_input = story.run(
        "rotate-keys", SWITCHED, "--dry-run", "--from-database-url", "-", given=ADDRESS
    )
    story.environ["DATABASE_URL"] = ADDRESS
    by_environment = story.run("rotate-keys", "--from-database-url", SWITCHED)

    assert unasked.code == 3
    assert by_argument.code == 2
    assert missing.code == 78
    assert by_file.out == by_input.out
    assert "2 tokens would be re-encrypted" in by_file.out
    assert by_environment.code == 0
    assert decrypted(story, NEW_KEY) == tokens


def test_a_key_file_may_begin_with_a_byte_order_mark(story: Story):
    tokens = crowd(story, 2)
    file = story.folder / "keys"
    file.write_text(f"\ufeff{BOTH}\n", encoding="utf-8")
    del story.environ["CHECKINSYNC_ENCRYPTION_KEY"]
    story.environ["CHECKINSYNC_ENCRYPTION_KEY_FILE"] = str(file)

    done = story.run("rotate-keys", SWITCHED)

    assert (done.code, done.err) == (0, "")
    assert decrypted(story, NEW_KEY) == tokens


def test_keys_may_come_as_a_credential_of_systemd(story: Story):
    tokens = crowd(story, 2)
    folder = story.folder / "credentials"
    folder.mkdir()
    (folder / "encryption_key").write_text(f"{BOTH}\n")
    del story.environ["CHECKINSYNC_ENCRYPTION_KEY"]
    story.environ["CREDENTIALS_DIRECTORY"] = str(folder)

    assert story.run("rotate-keys", SWITCHED).code == 0
    assert decrypted(story, NEW_KEY) == tokens


def test_the_embedded_database_is_ours_alone_and_keeps_its_keys_in_a_file(
    story: Story, used_home: Path
):
    if (used_home / "postgres/data").owner() == "nobody":
        pytest.skip("no account of this machine may run a database that is worth something")
    for name in ("CHECKINSYNC_DATABASE_URL", "CHECKINSYNC_ENCRYPTION_KEY"):
        del story.environ[name]
    story.environ["CHECKINSYNC_HOME"] = str(used_home)
    assert story.run("migrate").code == 0
    story.run("users", "add", "--foursquare-id", "1", given="A-TOKEN-NOBODY-MAY-SEE")
    keys = used_home / "encryption.key"
    old = keys.read_text().strip()
    keys.write_text(f"{NEW_KEY}\n{old}\n")
    story.secrets.add(old)

    rotated = story.run("rotate-keys")
    looked = story.run("doctor")

    assert (rotated.code, rotated.err) == (0, "")
    assert rotated.out.endswith(f"1 token re-encrypted with {PRINT[NEW_KEY]}\n")
    assert f"take it out of {keys}" in looked.out
    keys.write_text(f"{NEW_KEY}\n")
    assert "decrypts 1 of 1 tokens" in story.run("doctor").out


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on this machine")
def test_the_application_s_platform_opens_what_was_sealed_anew(story: Story):
    story.conn.execute(
        """
        INSERT INTO users (foursquare_user_id, access_token_encrypted, secret_token)
        VALUES ('1', %s, '1')
        """,
        [node("seal", KEY, "TOKEN-BÊTA")],
    )
    story.secrets.add("TOKEN-BÊTA")
    new = Path(story.folder / "new")
    new.write_text(f"{NEW_KEY},{KEY}")

    done = story.run("rotate-keys", SWITCHED, encryption_key="", encryption_key_file=str(new))

    assert done.code == 0
    [(text,)] = story.rows("SELECT access_token_encrypted FROM users")
    assert node("open", NEW_KEY, text) == "TOKEN-BÊTA"
