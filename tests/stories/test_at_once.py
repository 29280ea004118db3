"""Several processes at once: one works, the others say so and exit."""

from __future__ import annotations

import os
import signal

from support.stories import QUIET


def test_of_four_imports_of_one_user_one_works_and_three_leave(story):
    person = story.person("Ada", 300)
    story.at_request(1, lambda: os.kill(owner_of_a_lease(story), signal.SIGSTOP))

    processes = [story.start("import-user", "Ada") for _ in range(4)]
    story.until(lambda: sum(process.popen.poll() == 75 for process in processes) == 3)
    os.kill(owner_of_a_lease(story), signal.SIGCONT)

    ends = [process.ended() for process in processes]
    assert sorted(end.code for end in ends) == [0, 75, 75, 75]
    assert all("at work" in end.err for end in ends if end.code == 75)
    assert story.complete(person)
    assert story.rows("SELECT count(*) FROM import_jobs") == [(1,)]


def owner_of_a_lease(story) -> int:
    [(owner,)] = story.rows("SELECT owner FROM import_leases WHERE expires_at > now()")
    return int(owner.split()[1])


def test_two_runs_at_once_are_one(story):
    people = story.people(20, 20)
    first = story.asleep("orchestrate")

    second = story.run("orchestrate")

    assert second.code == 75
    assert "another run is at work" in second.err
    first.signal(signal.SIGCONT)
    assert first.ended() == QUIET
    assert story.complete(*people)


def test_a_run_leaves_a_user_alone_whom_somebody_imports_by_hand(story):
    ada, ben = story.people(20, 20)
    by_hand = story.asleep("import-user", str(ada.id))

    assert story.run("orchestrate") == QUIET

    assert story.complete(ben)
    assert len(story.requests(ada)) == 1
    by_hand.signal(signal.SIGCONT)
    assert by_hand.ended().code == 0
    assert story.complete(ada)


def test_an_import_that_slept_through_its_lease_writes_nothing_more(story):
    person = story.person("Ada", 1200)
    sleeper = story.asleep("import-user", "Ada", at_request=2)
    story.conn.execute(
        """
        UPDATE import_leases
           SET owner = 'elsewhere/0/0 1 1', expires_at = now() - interval '1 second'
        """
    )
    assert story.run("import-user", "Ada").code == 0
    assert story.complete(person)
    before = story.contents()

    sleeper.signal(signal.SIGCONT)
    woken = sleeper.ended()

    assert woken.code == 75
    assert "took over while this one slept" in woken.err
    assert story.contents() == before


def test_a_run_that_slept_through_a_user_s_lease_leaves_him_to_the_other(story):
    person = story.person("Ada", 1200)
    sleeper = story.asleep("orchestrate", at_request=4)
    story.conn.execute(
        """
        UPDATE import_leases
           SET owner = 'elsewhere/0/0 1 1', expires_at = now() - interval '1 second'
         WHERE user_id <> 0
        """
    )
    assert story.run("import-user", "Ada").code == 0
    rows = story.rows("SELECT c::text FROM checkins AS c ORDER BY id")

    sleeper.signal(signal.SIGCONT)

    assert sleeper.ended() == QUIET
    assert story.complete(person)
    assert story.rows("SELECT c::text FROM checkins AS c ORDER BY id") == rows


def test_an_import_that_slept_and_was_missed_by_nobody_goes_on(story):
    person = story.person("Ada", 1200)
    sleeper = story.asleep("import-user", "Ada", at_request=2)
    story.conn.execute("UPDATE import_leases SET expires_at = now() - interval '1 hour'")

    sleeper.signal(signal.SIGCONT)

    assert sleeper.ended().code == 0
    assert story.complete(person)
    assert story.rows("SELECT status FROM import_jobs") == [("completed",)]
