"""Signals that ask to stop: the page in hand is finished, the lease released, nothing is lost."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from checkinsync import shutdown
from checkinsync.simulator.faults import Fault
from support.stories import QUIET

CHECKINS = "users/self/checkins"
SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
OTHERS = [number for number in shutdown.ASKING if number not in dict(SIGNALS)]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_run_that_is_asked_to_stop_finishes_its_page(story, number, code):
    [ada, ben] = story.people(900, 10)
    story.simulator.fail(Fault("slow", path=CHECKINS, token=ada.token, nth=2, seconds=0.7))
    run = story.start("orchestrate", "--workers", "1")
    story.until(lambda: len(pages(story, ada)) == 2)

    run.signal(number)
    ended = run.ended()

    assert ended.code == code
    assert ended.out == ""
    assert signal.Signals(number).name in ended.err
    assert "Traceback" not in ended.err
    assert "cause: the run was asked to stop" in ended.err
    assert all(f"user {person.id} ({person.name})" in ended.err for person in (ada, ben))
    assert len(pages(story, ada)) == 2
    assert len(story.stored(ada)) == 495  # both pages, which overlap by a few
    assert nothing_held(story)
    assert story.rows("SELECT outcome FROM sync_runs") == [("interrupted",)]
    assert story.run("orchestrate") == QUIET
    assert story.complete(ada, ben)
    offsets = [seen.offset for seen in pages(story, ada)[2:]]
    assert min(offset for offset in offsets if offset) > 250  # it went on, not anew


@pytest.mark.parametrize(("number", "code"), SIGNALS[:1])
def test_an_import_that_is_asked_to_stop_finishes_its_page(story, number, code):
    ada = story.person("Ada", 900)
    story.simulator.fail(Fault("slow", path=CHECKINS, nth=2, seconds=0.7))
    by_hand = story.start("import-user", "Ada")
    story.until(lambda: len(pages(story, ada)) == 2)

    by_hand.signal(number)
    ended = by_hand.ended()

    assert ended.code == code
    assert ended.out == ""
    assert len(ended.err.splitlines()) == 1
    assert len(story.stored(ada)) == 495
    assert nothing_held(story)
    assert story.run("import-user", "Ada").code == 0
    assert story.complete(ada)


@pytest.mark.parametrize("number", OTHERS)
def test_every_signal_that_asks_to_stop_is_heard_as_sigterm_is(story, number):
    ada = story.person("Ada", 900)
    story.simulator.fail(Fault("slow", path=CHECKINS, nth=2, seconds=0.7))
    by_hand = story.start("import-user", "Ada")
    story.until(lambda: len(pages(story, ada)) == 2)

    by_hand.signal(number)
    ended = by_hand.ended()

    assert ended.code == 128 + number
    assert number.name in ended.err
    assert len(ended.err.splitlines()) == 1
    assert len(story.stored(ada)) == 495
    assert nothing_held(story)


def test_under_nohup_a_closed_terminal_does_not_stop_it(story):
    ada = story.person("Ada", 900)
    story.simulator.fail(Fault("slow", path=CHECKINS, nth=2, seconds=0.7))
    command = ["nohup", sys.executable, "-m", "checkinsync", "import-user", "Ada"]
    by_hand = story.start_program(command)
    story.until(lambda: len(pages(story, ada)) == 2)

    by_hand.signal(signal.SIGHUP)

    assert by_hand.ended().code == 0
    assert story.complete(ada)


ON_ITS_TERMINAL = """
import fcntl, runpy, sys, termios

fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.argv[1:] = ["orchestrate"]
runpy.run_module("checkinsync", run_name="__main__", alter_sys=True)
"""


def test_a_terminal_that_closes_stops_the_run_after_its_page(story):
    """Nothing can be printed any more: that is not another error."""
    ada = story.person("Ada", 900)
    story.simulator.fail(Fault("slow", path=CHECKINS, nth=2, seconds=0.7))
    ours, theirs = pty.openpty()
    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    command = [sys.executable, "-c", ON_ITS_TERMINAL]
    with subprocess.Popen(command, **terminal, env=story.environ, start_new_session=True) as run:
        os.close(theirs)
        story.until(lambda: len(pages(story, ada)) == 2)

        os.close(ours)

        assert run.wait(60) == 128 + signal.SIGHUP
    assert len(story.stored(ada)) == 495
    assert nothing_held(story)
    assert story.rows("SELECT outcome FROM sync_runs") == [("interrupted",)]


def test_asked_twice_it_ends_at_once(story):
    story.person("Ada", 900)
    story.simulator.fail(Fault("slow", path=CHECKINS, nth=2, seconds=25))
    by_hand = story.start("import-user", "Ada")
    story.until(lambda: len(story.requests()) == 2)

    by_hand.signal(signal.SIGINT)
    time.sleep(0.2)
    by_hand.signal(signal.SIGINT)

    assert by_hand.ended(within=15).code == 130
    assert nothing_held(story)


def test_a_run_that_waits_for_the_next_slot_ends_at_once(story):
    ada, ben = story.people(10, 10)
    run = story.start("orchestrate", "--stagger", "1h")
    story.until(lambda: story.rows("SELECT FROM import_jobs WHERE status = 'completed'"))
    story.until(lambda: story.complete(ada))

    run.signal(signal.SIGTERM)
    ended = run.ended()

    assert ended.code == 143
    assert f"user {ben.id} ({ben.name}): interrupted by SIG" in ended.err
    assert not story.stored(ben)
    assert nothing_held(story)
    assert story.run("orchestrate") == QUIET


def test_an_import_that_waits_for_a_reset_ends_at_once(story):
    story.person("Ada", 10)
    story.simulator.fail(Fault("rate_limit_exceeded", path=CHECKINS, seconds=600))
    by_hand = story.start("import-user", "Ada", "--wait")
    story.until(lambda: story.rows("SELECT FROM import_jobs WHERE status = 'rate_limited'"))

    by_hand.signal(signal.SIGINT)

    assert by_hand.ended(within=15).code == 130
    assert nothing_held(story)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_at_any_moment_it_ends_with_a_sentence_and_no_traceback(story, number):
    """Also while it loads what it works with, which a forked command has loaded already."""
    story.person("Ada", 900)
    for hundredths in range(0, 45, 15):
        process = story.start_program([sys.executable, "-m", "checkinsync", "orchestrate"])
        story.until(partial(has_loaded, "psycopg", process.pid))
        time.sleep(hundredths / 100)
        process.signal(number)

        ended = process.ended()

        assert ended.code in {0, 128 + number, -number}
        assert "Traceback" not in ended.err
        assert nothing_held(story)


def has_loaded(library: str, pid: int) -> bool:
    return library in Path(f"/proc/{pid}/maps").read_text()


def pages(story, person) -> list:
    return [seen for seen in story.requests(person) if seen.path == CHECKINS and seen.status == 200]


def nothing_held(story) -> bool:
    return not story.rows("SELECT FROM import_leases WHERE expires_at > now()") and not story.rows(
        "SELECT FROM import_jobs WHERE status IN ('pending', 'running')"
    )
