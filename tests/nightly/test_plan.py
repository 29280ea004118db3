"""The plan of a run that is not started: of any number of users, and as a run would have it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from checkinsync.cli.render import orchestrate as render
from checkinsync.cli.terminal import say_json
from checkinsync.errors import FileNotWritten, WrongEncryptionKey
from checkinsync.keys.keyring import Keyring
from checkinsync.model.listing import Window
from checkinsync.nightly import queries
from checkinsync.nightly.plan import RunPlan, plan_run
from checkinsync.nightly.spool import BLOCK, Spool
from checkinsync.store import checkins
from checkinsync.store.pool import transaction
from support.environment import add_users
from support.factories import NOW
from support.nightly import OPTIONS

DAY = timedelta(days=1)


@pytest.fixture
def plan(env) -> Callable[..., RunPlan]:
    def plan(keyring=env.keyring, **options) -> RunPlan:
        services = replace(env.services, keyring=keyring)
        return plan_run(services, options=replace(OPTIONS, **options))

    return plan


@pytest.fixture
def statements(monkeypatch) -> list[str]:
    """The statements that were sent so far."""
    sent: list[str] = []
    for name in ("execute", "stream"):
        method = getattr(psycopg.Cursor, name)

        def noting(self, query, *args, _method=method, **more):
            sent.append(query)
            return _method(self, query, *args, **more)

        monkeypatch.setattr(psycopg.Cursor, name, noting)
    return sent


def test_a_plan_of_more_users_takes_no_more_statements(conn, plan, statements):
    add_users(conn, 2)
    plan()
    statements.clear()

    assert len(plan().due) == 2
    few = list(statements)
    conn.execute("DELETE FROM users")
    add_users(conn, 2 * BLOCK)
    statements.clear()

    assert len(plan().due) == 2 * BLOCK
    assert statements == few


def test_what_a_plan_expects_is_what_an_import_expects(env):
    """Check-ins entered late count by the instants of their ids; deleted ones do not count."""
    newest = int(NOW.timestamp()) - 3600
    for token, late in (("ada", 0.3), ("ben", 0.0)):
        env.simulator.world.add_account(token, count=300, newest=newest, late=late)
        env.import_(env.add(token))
    env.simulator.world.add_account("new", count=3, newest=newest)
    env.add("new")
    env.conn.execute("UPDATE checkins SET deleted_at = now() WHERE id % 7 = 0")

    with transaction(env.pool, read_only=True) as own:
        known = {
            candidate.user.id: history
            for candidate, history in queries.candidates(own, at=env.at, days=30, overlap=100 * DAY)
        }
        for user_id, history in known.items():
            window = Window.after(history.cursor, overlap=100 * DAY)
            assert history.stored == checkins.count(own, user_id)
            assert (history.expected if window.start else None) == checkins.expected_in(
                own, user_id, window
            )
    assert [history.stored > history.expected > 0 for history in known.values()] == [
        True,
        True,
        False,
    ]


def test_each_starts_in_their_slot_and_after_their_rate_limit(conn, env, plan):
    first, limited, paused, last = add_users(conn, 4)
    reset = NOW + timedelta(hours=1)
    conn.execute(
        "INSERT INTO sync_state (user_id, state, retry_at) VALUES (%s, 'rate_limited', %s)",
        [limited, reset],
    )
    conn.execute("INSERT INTO sync_state (user_id, paused_at) VALUES (%s, now())", [paused])

    planned = plan(stagger=timedelta(seconds=90))

    assert [(user.id, at) for user, at in planned.starts] == [
        (first, NOW),
        (limited, reset),
        (last, NOW + timedelta(seconds=180)),
    ]
    assert planned.end == NOW + timedelta(seconds=180)
    assert [(user.id, reason) for user, reason in planned.skipped] == [
        (paused, "paused by an operator")
    ]


def test_a_plan_with_the_wrong_key_is_refused_and_one_lost_token_is_named(conn, plan):
    [ada] = add_users(conn, 1)
    with pytest.raises(WrongEncryptionKey):
        plan(keyring=Keyring(["11" * 32]))

    [lost] = conn.execute(
        """
        INSERT INTO users (foursquare_user_id, access_token_encrypted, secret_token, last_login_at)
        VALUES ('lost', 'aa', 's', %s) RETURNING id
        """,
        [NOW.replace(tzinfo=None)],
    ).fetchone()

    planned = plan()
    assert [user.id for user in planned.due] == [ada]
    assert [(user.id, reason) for user, reason in planned.skipped] == [
        (lost, "no key decrypts the stored token")
    ]


@pytest.mark.parametrize("count", [0, 2])
def test_a_plan_as_json_is_what_a_list_would_be(conn, plan, count, capsys):
    add_users(conn, count)

    say_json(render.plan_json(plan()))

    printed = json.loads(capsys.readouterr().out)
    assert [user["expected_requests"] for user in printed["users"]] == [None] * count
    assert (printed["skipped"], printed["end"] is None) == ([], count == 0)


def test_a_spool_gives_back_what_was_added_in_any_order():
    spool = Spool(complex)
    for number in range(2 * BLOCK + 1):
        spool.add(number, -number)

    assert list(spool) == [complex(n, -n) for n in range(2 * BLOCK + 1)]
    assert spool[BLOCK] == spool[-BLOCK - 1] == complex(BLOCK, -BLOCK)
    assert spool[-2:] == [complex(n, -n) for n in (2 * BLOCK - 1, 2 * BLOCK)]
    assert [(a, b) for a in spool[:2] for b in spool[:2]] == [
        (0, 0),
        (0, 1 - 1j),
        (1 - 1j, 0),
        (1 - 1j, 1 - 1j),
    ]
    with pytest.raises(IndexError):
        spool[len(spool)]


def test_few_values_need_no_file_and_many_say_where_it_was_to_be(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/proc/1/no/such/folder")
    spool = Spool(complex)
    for number in range(BLOCK - 1):
        spool.add(number)

    assert len(list(spool)) == BLOCK - 1
    with pytest.raises(FileNotWritten, match=r"temporary file can't be written .* TMPDIR"):
        spool.add(0)
