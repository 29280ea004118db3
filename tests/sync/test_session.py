"""Sessions: nothing is written without the lease, or after the user was removed."""

from __future__ import annotations

import pytest

from checkinsync.errors import AtWork, LeaseLost, NoToken, UserRemoved
from checkinsync.store import leases
from checkinsync.store.pool import transaction
from checkinsync.sync.session import Session

ADA = "token-ada"


@pytest.fixture
def ada(env):
    env.simulator.world.add_account(ADA, count=3)
    return env.add(ADA)


def write(conn, user) -> None:
    conn.execute("UPDATE users SET display_name = 'written' WHERE id = %s", [user.id])


def fail_after(action, *arguments) -> None:
    action(*arguments)
    raise ZeroDivisionError


def name(env, user) -> str:
    return env.user(user.id).name


def test_a_session_begins_with_the_lease_and_its_end_gives_it_back(env, ada):
    with env.services.session(ada) as session:
        assert env.lease_renewer.tokens() == {session.lease.token}
        with transaction(env.pool) as own:
            assert leases.held_users(own) == {ada.id}

    with transaction(env.pool) as own:
        assert leases.held_users(own) == set()
    assert env.lease_renewer.tokens() == set()


def test_an_error_in_a_transaction_leaves_the_lease_to_the_next(env, ada):
    with env.services.session(ada) as session:
        with pytest.raises(ZeroDivisionError), session.transaction():
            raise ZeroDivisionError
        with session.transaction() as own:
            write(own, ada)
    assert name(env, ada) == "written"


def test_of_many_each_has_a_session_or_a_reason(env, ada, conn):
    """Their leases are taken in one transaction, and those that are of no use given back."""
    for token in (names := ["ben", "kim", "lou", "mia"]):
        env.simulator.world.add_account(token)
    ben, kim, lou, mia = map(env.add, names)
    conn.execute("UPDATE users SET access_token_encrypted = NULL WHERE id = %s", [kim.id])
    conn.execute("DELETE FROM users WHERE id = %s", [lou.id])
    with env.services.session(mia):
        opened = env.services.open([ada, ben, kim, lou, mia], for_import=True)

        kinds = [type(each) for each in opened]
        assert kinds == [Session, Session, NoToken, UserRemoved, AtWork]
        with transaction(env.pool) as own:
            assert leases.held_users(own) == {ada.id, ben.id, mia.id}
        jobs = conn.execute("SELECT user_id, id FROM import_jobs WHERE status = 'running'")
        assert dict(jobs.fetchall()) == {each.user.id: each.job for each in opened[:2]}
    for session in opened[:2]:
        session.close()
    assert env.lease_renewer.tokens() == set()


def test_who_lost_the_lease_writes_nothing_more(env, ada, conn):
    with env.services.session(ada) as session:
        with session.transaction():
            pass
        conn.execute("UPDATE import_leases SET token = token + 1")
        with pytest.raises(LeaseLost), session.transaction() as own:
            write(own, ada)

    assert name(env, ada) == ADA


def test_who_lost_the_lease_does_not_give_back_the_new_owner_s(env, ada, conn):
    with env.services.session(ada) as session:
        with session.transaction():
            pass
        conn.execute("UPDATE import_leases SET token = token + 1")

    assert conn.execute("SELECT expires_at > now() FROM import_leases").fetchone() == (True,)


def test_a_user_who_was_removed_meanwhile_is_not_written_to(env, ada, conn):
    with env.services.session(ada) as session:
        with session.transaction():
            pass
        conn.execute("DELETE FROM users WHERE id = %s", [ada.id])
        with pytest.raises(UserRemoved), session.transaction():
            pytest.fail("the transaction began")


def test_two_sessions_of_one_user_exclude_each_other(env, ada):
    with env.services.session(ada) as session, session.transaction():
        pass
    with env.services.session(ada) as one, one.transaction():
        pass

    with env.services.session(ada), pytest.raises(AtWork), env.services.session(ada):
        pytest.fail("both are at work")


def test_a_lease_given_back_in_a_transaction_that_fails_is_still_held(env, ada, conn):
    with env.services.session(ada) as session:
        with session.transaction():
            pass
        with pytest.raises(ZeroDivisionError), session.transaction() as own:
            fail_after(session.release, own)

        with session.transaction() as own:
            write(own, ada)
        assert env.lease_renewer.tokens() == {session.lease.token}
    assert name(env, ada) == "written"


def test_a_lease_given_back_in_the_last_transaction_is_not_asked_for_again(env, ada, conn):
    with env.services.session(ada) as session:
        with session.transaction():
            pass
        with session.transaction() as own:
            session.release(own)
        assert env.lease_renewer.tokens() == set()
        session.close(lambda own: write(own, ada))

    assert name(env, ada) == ADA
    assert (
        conn.execute("SELECT expires_at FROM import_leases WHERE expires_at > now()").rowcount == 0
    )


def test_the_end_is_written_once_and_the_lease_given_back_with_it(env, ada, conn):
    with env.services.session(ada) as session:
        with session.transaction():
            pass
        session.close(lambda own: write(own, ada))
        assert env.lease_renewer.tokens() == set()
        session.close(lambda own: pytest.fail("it has ended already"))

    assert name(env, ada) == "written"


def test_the_token_is_the_one_that_is_stored_now(env, ada, conn):
    env.simulator.world.add_account("token-new", count=1)
    conn.execute(
        "UPDATE users SET access_token_encrypted = %s WHERE id = %s",
        [env.keyring.encrypt("token-new"), ada.id],
    )

    with env.services.session(ada) as session:
        assert len(session.client.page(offset=0, limit=10).items) == 1

    conn.execute("UPDATE users SET access_token_encrypted = NULL WHERE id = %s", [ada.id])
    with pytest.raises(NoToken), env.services.session(ada):
        pytest.fail("there is no token")


def test_a_reading_transaction_can_not_write(env, ada):
    with pytest.raises(Exception, match="read-only"), env.services.reading() as conn:
        write(conn, ada)
