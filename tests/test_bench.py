"""The parts of the benchmarks that a wrong figure could come from."""

from __future__ import annotations

import json
import sys

import psycopg
import pytest

from bench import goals, report
from bench.pages import History
from bench.process import run
from bench.round_trips import Messages, counting
from bench.scale import QUICK


@pytest.fixture(scope="module")
def history() -> History:
    return History(600, 3600)


def shown(history: History, query: str) -> list[int]:
    answer = history.answer(f"/v2/users/self/checkins?{query}".encode())
    body = json.loads(answer.partition(b"\r\n\r\n")[2])["response"]["checkins"]
    assert body["count"] == 600
    return [item["createdAt"] for item in body["items"]]


def test_the_pages_of_both_ways_of_paging_are_the_whole_history_once(history):
    by_offset = [at for n in (0, 250, 500, 600) for at in shown(history, f"limit=250&offset={n}")]
    by_time, page = [], shown(history, "limit=250")
    while page:
        by_time += page
        page = shown(history, f"limit=250&beforeTimestamp={page[-1]}")

    assert by_offset == by_time == sorted(by_offset, reverse=True)
    assert len(set(by_offset)) == 600
    assert shown(history, f"limit=250&afterTimestamp={by_offset[100]}") == by_offset[:100]


def test_items_have_the_size_and_the_photos_that_are_promised(history):
    photos = sum(b'"width":1440' in item for item in history.items)

    assert photos / len(history.items) == 0.2
    assert 1800 < sum(map(len, history.items)) / len(history.items) < 2300


def test_round_trips_are_counted_however_the_answers_are_cut():
    answers = b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05IZ\0\0\0\x05I"
    messages = Messages()
    for byte in answers:
        messages.take(bytes([byte]))

    assert messages.answers == 2


def test_a_statement_is_a_round_trip(db):
    with counting(db) as (proxy, count), psycopg.connect(proxy, autocommit=True) as conn:
        before = count()
        for _ in range(3):
            conn.execute("SELECT 1")

        assert count() - before == 3


def test_the_most_memory_of_a_process_is_seen():
    held = run(sys.executable, "-c", "import time; held = b'x' * 200_000_000; time.sleep(0.3)")

    assert 200_000_000 < held.peak < 300_000_000


def test_what_falls_short_is_named_and_what_was_not_measured_is_left_out():
    figures = {"night users/s": 10.0, "wal bytes": 3.0}
    found = report.Report(QUICK, figures, "18", "make bench", 60.0)

    assert {result.goal.what: result.verdict for result in found.results} == {
        "WAL of an unchanged check-in": "must",
        f"a night of {QUICK.users} caught-up users, no latency, one process": "falls short",
    }
    assert found.short == [
        f"a night of {QUICK.users} caught-up users, no latency, one process: 10.0 users/s, must be "
        "at least 800 users/s"
    ]
    assert "| WAL of an unchanged check-in | **3.00 B** | ≤ 5.00 B | ≤ 1.00 B | must |" in (
        found.page()
    )


def test_the_cost_of_one_more_leaves_out_the_start():
    figures = {"nobody due seconds": 1.0, "night 10 seconds": 2.0, "night 100 seconds": 11.0}

    assert goals.costs(figures, "night") == [(10, 0.1), (100, 0.1)]
    assert "<circle" in report.plot(figures)
