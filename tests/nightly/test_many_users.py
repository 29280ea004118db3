"""What is printed about each user takes hardly any memory, however many there are."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from checkinsync.cli.render import orchestrate as render_plan
from checkinsync.cli.render import status as render
from checkinsync.cli.terminal import say_json, say_lines
from checkinsync.nightly.plan import plan_run
from checkinsync.nightly.status import report
from support.environment import add_users
from support.nightly import OPTIONS

MANY = 10_000
LITTLE = 400
"""Bytes per user: one line of text, and a place in a list."""


def whole(env):
    return report(pool=env.pool, now=env.at, active_days=30)


PRINTED = {
    "status": lambda env: say_lines(render.status_lines(whole(env))),
    "status --json": lambda env: say_json(render.status_json(whole(env))),
    "dry run": lambda env: say_lines(
        render_plan.plan_lines(plan_run(env.services, options=OPTIONS))
    ),
    "dry run --json": lambda env: say_json(
        render_plan.plan_json(plan_run(env.services, options=OPTIONS))
    ),
}


@pytest.mark.parametrize("what", PRINTED)
def test_one_user_more_takes_little_memory(env, conn, capfdbinary, what):
    add_users(conn, MANY // 10)
    few = peak(lambda: PRINTED[what](env))
    conn.execute("DELETE FROM users")
    add_users(conn, MANY)

    many = peak(lambda: PRINTED[what](env))

    assert (many - few) / (MANY - MANY // 10) < LITTLE


def peak(work: Callable[[], None]) -> int:
    """Return the bytes that Python held at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
