"""Killed at any moment: the next start resumes at once, and nothing is stored twice."""

from __future__ import annotations

import random
import signal
import threading
from dataclasses import dataclass, field

import pytest

from support.stories import QUIET, Story

LATER = 0.12
"""Seconds within which a page is received, stored and committed."""


@dataclass
class Killing:
    """Kills a process after some requests, or a moment later; the same each time."""

    story: Story
    chance: random.Random
    timers: list[threading.Timer] = field(default_factory=list)

    def soon(self, *words: str, most: int) -> int:
        """Start a command and kill it; return its exit code."""
        nth = self.chance.randint(1, most)
        later = self.chance.choice([0.0, self.chance.uniform(0, LATER)])
        dead = threading.Event()

        def kill() -> None:
            process.signal(signal.SIGKILL)
            dead.set()

        def strike() -> None:
            self.timers.append(threading.Timer(later, kill))
            self.timers[-1].start()
            if not later:
                dead.wait()  # the answer never reaches it

        with self.story.simulator.lock:
            process = self.story.start(*words)
            self.story.at_request(nth, strike)
        code = process.ended().code
        self.story.simulator.on_request = None
        for timer in self.timers:
            timer.join()
        return code


@pytest.fixture
def killing(story):
    return Killing(story, random.Random(7))


def test_an_import_killed_at_any_moment_is_gone_on_with_at_once(story, killing):
    killed = 0
    for number in range(8):
        person = story.person(f"Person {number}", 700)
        killed += killing.soon("import-user", str(person.id), most=4) == -signal.SIGKILL

        again = story.run("import-user", str(person.id))

        assert (again.code, again.err) == (0, ""), number
        assert story.complete(person), number
        assert not unfinished(story)
    assert killed > 4


def test_an_import_killed_again_and_again_comes_to_its_end(story, killing):
    person = story.person("Ada", 2600)
    for _ in range(4):
        assert killing.soon("import-user", "Ada", most=3) == -signal.SIGKILL

    last = story.run("import-user", "Ada", "--full")

    assert last.code == 0
    assert story.complete(person)
    assert not unfinished(story)


def test_a_run_killed_in_its_middle_is_gone_on_with_at_once(story, killing):
    for number in range(2):
        people = [story.person(f"Person {number}{n}", 1500) for n in range(4)]
        assert killing.soon("orchestrate", "--workers", "3", most=8) == -signal.SIGKILL

        assert story.run("orchestrate") == QUIET

        assert story.complete(*people)
        assert not unfinished(story)
    outcomes = [row[0] for row in story.rows("SELECT outcome FROM sync_runs ORDER BY id")]
    assert outcomes == ["killed", "ok"] * 2


def unfinished(story) -> list[tuple]:
    """Return a row for each job that seems to be running, and each lease that was not released."""
    return story.rows(
        """
        SELECT user_id FROM import_jobs WHERE status IN ('pending', 'running')
        UNION ALL SELECT user_id FROM import_leases WHERE expires_at > now()
        """
    )
