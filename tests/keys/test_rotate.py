"""Re-encrypting tokens: the result, what is carried over, and what is left alone."""

from __future__ import annotations

import psycopg
import pytest

from checkinsync.errors import ApplicationNotSwitched, Interrupted
from checkinsync.keys import queries as tokens
from checkinsync.keys.keyring import Keyring
from checkinsync.keys.queries import Reencrypted
from checkinsync.keys.rotate import BATCH, check_application, rotate_keys
from checkinsync.keys.usage import RotationResult
from checkinsync.store import sync_state, users
from checkinsync.store.pool import transaction
from support.factories import NOW

NEW, OLD, OLDER, LOST = "a" * 64, "the old pass phrase", "b" * 64, "c" * 64
REASON = "Foursquare says no"


def rotate(pool, *keys: str, write: bool = True, **more) -> RotationResult:
    more = {"check_stop": lambda: None, "sleep": lambda _: None} | more
    return rotate_keys(pool=pool, keyring=Keyring(keys), write=write, **more)


def add(conn: psycopg.Connection, key: str, count: int = 1) -> list[int]:
    """Add users whose tokens are encrypted with this key."""
    keyring = Keyring([key])
    [start] = conn.execute("SELECT coalesce(max(id), 0) FROM users").fetchone()
    for number in range(start + 1, start + 1 + count):
        conn.execute(
            """
            INSERT INTO users (id, foursquare_user_id, access_token_encrypted, secret_token,
                               last_login_at)
            VALUES (%(id)s, %(id)s, %(encrypted)s, %(id)s, %(at)s::timestamptz AT TIME ZONE 'UTC')
            """,
            {"id": number, "encrypted": keyring.encrypt(f"token {number}"), "at": NOW},
        )
    return list(range(start + 1, start + 1 + count))


def stored(conn: psycopg.Connection) -> dict[int, str]:
    rows = conn.execute("SELECT id, access_token_encrypted FROM users ORDER BY id")
    return dict(rows.fetchall())


def reject(pool, number: int, *, unreadable: bool) -> None:
    """Mark the token as rejected or unreadable, as a run does."""
    with transaction(pool) as conn:
        user = users.find(conn, str(number))
        sync_state.record_needs_reauth(conn, user, reason=REASON, unreadable=unreadable)


def standing(pool, number: int) -> tuple[str, bool]:
    """Return the user's state as `status` shows it, and True if a run would try the token."""
    with transaction(pool) as conn:
        [status] = users.statuses(conn, at=NOW, days=30, user_id=number)
        [candidate] = [c for c in users.active(conn, at=NOW, days=30) if c.user.id == number]
    rejected = candidate.state == "needs_reauth" and candidate.rejected == candidate.user.token_hash
    return status.state, not rejected


# --- what is re-encrypted ------------------------------------------------------------------------


def test_every_token_is_sealed_with_the_first_key_and_told_by_the_key_that_opened_it(pool, conn):
    add(conn, NEW, 2), add(conn, OLD, BATCH + 3), add(conn, OLDER, 4)
    before = stored(conn)

    rotation = rotate(pool, NEW, OLD, OLDER)

    assert rotation.found.counts() == (2, BATCH + 3, 4)
    assert rotation.complete
    opened = {number: Keyring([NEW]).decrypt(text) for number, text in stored(conn).items()}
    assert opened == {number: f"token {number}" for number in before}
    assert [stored(conn)[number] for number in (1, 2)] == [before[1], before[2]]


def test_a_second_rotation_finds_nothing_to_do_and_writes_nothing(pool, conn):
    add(conn, OLD, 3)
    rotate(pool, NEW, OLD)
    after = conn.execute("SELECT id, xmin, access_token_encrypted FROM users").fetchall()

    assert rotate(pool, NEW, OLD).found.counts() == (3, 0)
    assert conn.execute("SELECT id, xmin, access_token_encrypted FROM users").fetchall() == after


def test_a_dry_run_tells_the_same_and_writes_nothing(pool, conn):
    add(conn, OLD, 3), add(conn, LOST)
    before = stored(conn)

    looked = rotate(pool, NEW, OLD, write=False)

    assert stored(conn) == before
    assert not looked.written
    assert rotate(pool, NEW, OLD).found == looked.found


def test_what_no_key_opens_and_who_has_no_token_is_left_alone(pool, conn):
    [old], [lost] = add(conn, OLD), add(conn, LOST)
    conn.execute("INSERT INTO users (id, foursquare_user_id, secret_token) VALUES (99, 'x', 'x')")
    before = stored(conn)

    rotation = rotate(pool, NEW, OLD)

    assert [user.id for user in rotation.found.unreadable] == [lost]
    assert not rotation.complete
    changed = {number for number, text in stored(conn).items() if text != before.get(number)}
    assert changed == {old}


def test_cut_off_between_two_batches_it_goes_on_where_it_was(pool, conn):
    add(conn, OLD, 2 * BATCH)
    calls = iter([None, Interrupted("stop")])

    def check_stop() -> None:
        if error := next(calls, None):
            raise error

    with pytest.raises(Interrupted):
        rotate(pool, NEW, OLD, check_stop=check_stop)

    assert rotate(pool, NEW, OLD).found.counts() == (BATCH, BATCH)


# --- what is carried over ------------------------------------------------------------------------


def test_who_must_log_in_again_still_must_after_a_rotation(pool, conn):
    [number] = add(conn, OLD)
    reject(pool, number, unreadable=False)

    rotate(pool, NEW, OLD)

    assert standing(pool, number) == ("needs_reauth", False)
    [reason] = conn.execute("SELECT reason FROM sync_state").fetchone()
    assert reason == REASON


def test_who_reconnected_before_is_not_rejected_again_by_a_rotation(pool, conn):
    [number] = add(conn, OLD)
    reject(pool, number, unreadable=False)
    with transaction(pool) as own:
        users.set_token(own, number, encrypted_token=Keyring([OLD]).encrypt("another"), at=NOW)

    rotate(pool, NEW, OLD)

    assert standing(pool, number) == ("ok", True)


def test_a_token_that_was_unreadable_is_due_once_a_key_opens_it(pool, conn):
    [number], [lost] = add(conn, OLD), add(conn, LOST)
    reject(pool, number, unreadable=True)
    reject(pool, lost, unreadable=True)

    rotate(pool, NEW, OLD)

    assert standing(pool, number) == ("ok", True)
    assert standing(pool, lost) == ("needs_reauth", False)
    rows = conn.execute(
        """
        SELECT user_id, token_unreadable, reason, rejected_token_sha256 IS NULL
          FROM sync_state ORDER BY user_id
        """
    )
    assert rows.fetchall() == [(number, False, None, True), (lost, True, REASON, False)]


# --- others at work ------------------------------------------------------------------------------


def test_a_token_renewed_meanwhile_is_not_overwritten(pool, conn):
    [number] = add(conn, OLD)
    with transaction(pool) as own:
        [read] = tokens.after(own, 0, most=1)
        users.set_token(own, number, encrypted_token="renewed", at=NOW)

    with transaction(pool) as own:
        done = tokens.reencrypt(own, [Reencrypted(read, "the new text")])

    assert done == set()
    assert stored(conn) == {number: "renewed"}


@pytest.mark.parametrize(
    "writing",
    [
        "UPDATE users SET last_login_at = now() WHERE id = 1",
        "UPDATE sync_state SET reason = 'busy' WHERE user_id = 1",
    ],
)
def test_a_row_that_somebody_writes_is_come_back_to_and_nobody_waits(pool, conn, db, writing):
    add(conn, OLD, 3)
    reject(pool, 1, unreadable=False)
    with psycopg.connect(db) as other:
        other.execute(writing)

        left = rotate(pool, NEW, OLD)
        rested = rotate(pool, NEW, OLD, sleep=lambda _: other.commit())

    assert [user.id for user in left.left] == [1]
    assert not left.complete
    assert left.found.counts() == (0, 2)
    assert rested.found.counts() == (2, 1)
    assert rested.complete
    assert standing(pool, 1)[0] == "needs_reauth"


def test_who_leaves_meanwhile_is_not_missed(pool, conn, db):
    add(conn, OLD, 2)
    with psycopg.connect(db) as other:
        other.execute("DELETE FROM users WHERE id = 1")

        rotation = rotate(pool, NEW, OLD, sleep=lambda _: other.commit())

    assert rotation.complete
    assert rotation.found.total == 1


# --- the application -----------------------------------------------------------------------------


def test_the_application_s_own_key_may_be_the_first_however_it_is_written(pool, conn):
    conn.execute("CREATE TABLE migrations (name TEXT)")

    check_application(Keyring([NEW, OLD]), application_key=NEW.upper(), pool=pool)
    for known in (None, OLD):
        with pytest.raises(ApplicationNotSwitched, match="--application-switched") as refused:
            check_application(Keyring([NEW, OLD]), application_key=known, pool=pool)
        assert refused.value.exit_code == 78
        assert OLD not in str(refused.value)
        assert NEW not in str(refused.value)


@pytest.mark.parametrize(
    "trace",
    [
        "CREATE TABLE schema_migrations (version INT)",
        "INSERT INTO import_jobs (user_id) SELECT id FROM users",
        """
        CREATE FUNCTION update_updated_at() RETURNS trigger LANGUAGE plpgsql
            AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER theirs BEFORE UPDATE ON users
            FOR EACH ROW EXECUTE FUNCTION update_updated_at()
        """,
    ],
)
def test_a_database_of_our_own_is_told_from_the_application_s(pool, conn, trace):
    add(conn, OLD)
    check_application(Keyring([NEW, OLD]), application_key=None, pool=pool)

    conn.execute(trace)

    with pytest.raises(ApplicationNotSwitched):
        check_application(Keyring([NEW, OLD]), application_key=None, pool=pool)
