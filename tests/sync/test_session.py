"""Sessions: nothing is written without the lease, or after the user was removed."""

from __future__ import annotations

import pytest

from checkinsync.errors import AtWork, LeaseLost, NoToken, UserRemoved
from checkinsync.store import leases
from checkinsync.store.pool import transaction

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


def test_the_first_transaction_acquires_the_lease_and_the_end_gives_it_back(env, ada, conn):
    with env.services.session(ada) as session:
        assert conn.execute("SELECT count(*) FROM import_leases").fetchone() == (0,)
        with session.transaction():
            pass
        assert env.lease_renewer.tokens() == {session.lease.token}
        with transaction(env.pool) as own:
            assert leases.held_users(own) == {ada.id}

    with transaction(env.pool) as own:
        assert leases.held_users(own) == set()
    assert env.lease_renewer.tokens() == set()


def test_an_error_in_the_first_transaction_leaves_no_lease(env, ada):
    with env.services.session(ada) as session:
        with pytest.raises(ZeroDivisionError), session.transaction():
            raise ZeroDivisionError
        assert env.lease_renewer.tokens() == set()

    with env.services.session(ada) as session, session.transaction() as own:
        write(own, ada)
    assert name(env, ada) == "written"


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

    with env.services.session(ada) as one:
        with one.transaction():
            pass
        with pytest.raises(AtWork), env.services.session(ada) as other, other.transaction():
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
