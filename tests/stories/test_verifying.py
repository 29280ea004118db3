"""`verify` as an operator sees it: a verdict, a gap, a repair, or its progress."""

from __future__ import annotations

import json
import signal

import psycopg
import pytest

from checkinsync.simulator.faults import Fault
from support.stories import QUIET

CHECKINS = "users/self/checkins"


@pytest.fixture
def two(story):
    """Add two people whose histories are stored."""
    people = story.people(600, 40)
    assert story.run("orchestrate") == QUIET
    return people


def forget(story, person, number: int) -> str:
    item_id = story.shown(person)[number]
    story.conn.execute("DELETE FROM checkins WHERE foursquare_id = %s", [item_id])
    return item_id


def test_everybody_is_complete(story, two):
    done = story.run("verify", "all")

    assert (done.code, done.err) == (0, "")
    assert done.out.count("Complete: each of them is here, once.") == 2
    assert story.run("verify").out.count("Complete") == 2


def test_a_gap_is_told_and_closed(story, two):
    [ada, _] = two
    lost = forget(story, ada, 300)

    gap = story.run("verify", "Ada")

    assert gap.code == 8
    assert lost in gap.out
    assert "Not complete: 1 missing; `checkinsync verify 1 --repair` closes the gap." in gap.out
    assert story.run("verify", "all").code == 8
    assert lost not in story.stored(ada)
    repaired = story.run("verify", "1", "--repair")
    assert repaired.code == 0
    assert "repaired" in repaired.out
    assert story.complete(ada)
    assert story.run("verify", f"fsq:{story.simulator.world.accounts[ada.token].user_id}").code == 0


def test_it_can_be_read_by_programs(story, two):
    lost = forget(story, two[0], 5)

    told = json.loads(story.run("verify", "Ada", "--json").out)
    everybody = json.loads(story.run("verify", "--json").out)["users"]

    assert (told["verdict"], told["shown"], told["told"]) == ("gap", 600, 600)
    assert [item["foursquare_id"] for item in told["missing"]] == [lost]
    assert [month["missing"] for month in told["months"]] == [1]
    assert [user["verdict"] for user in everybody] == ["gap", "complete"]


def test_interrupted_it_says_how_far_it_got_and_goes_on(story, two):
    [ada, _] = two
    story.simulator.requests.clear()
    story.simulator.fail(Fault("slow", path=CHECKINS, nth=2, seconds=0.7))
    verifying = story.start("verify", "all")
    story.until(lambda: len(story.requests(ada)) == 2)

    verifying.signal(signal.SIGINT)
    ended = verifying.ended()

    assert ended.code == 130
    assert ended.out == ""
    [line] = ended.err.splitlines()
    assert "no verdict yet" in line
    assert "495 check-ins were compared, down to" in line
    again = story.run("verify", "Ada")
    assert again.code == 0
    assert "shows 600 check-ins" in again.out


@pytest.mark.parametrize(
    ("kind", "code", "of_all", "complete"),
    [
        ("rate_limit_exceeded", 5, 3, 1),
        ("quota_exceeded", 5, 5, 0),  # no further user is asked about
        ("invalid_auth", 4, 0, 1),  # reported; not a failure of `verify all`
        ("bad_gateway", 69, 3, 1),
    ],
)
def test_what_keeps_a_verdict_from_coming_is_told(story, two, kind, code, of_all, complete):
    story.simulator.fail(Fault(kind, token=two[0].token, path=CHECKINS, times=None, seconds=600))

    alone, everybody = story.run("verify", "Ada"), story.run("verify", "all")

    assert (alone.code, alone.out) == (code, "")
    assert "user 1 (Ada): not verified" in alone.err
    assert everybody.code == of_all
    assert everybody.out.count("Complete") == complete
    assert "user 1 (Ada): not verified" in everybody.err


def test_rows_that_somebody_holds_spoil_one_user_s_verification_alone(story, two):
    [ada, ben] = two
    for person in two:
        forget(story, person, 5)
    with psycopg.connect(story.url) as other:
        other.execute("SELECT FROM users WHERE id = %s FOR UPDATE", [ada.id])

        done = story.run("verify", "all", "--repair")

    assert done.code == 3
    assert "user 1 (Ada): not verified: the database is busy" in done.err
    assert story.complete(ben)


def test_nobody_to_verify_is_said(story):
    done = story.run("verify", "all")

    assert (done.code, done.out) == (0, "")
    assert "no user has connected yet" in done.err


def test_deletions_that_are_not_believed_are_said_and_can_be_ordered(story, two):
    [ada, _] = two
    for item_id in story.shown(ada)[100:300]:
        story.simulator.world.delete(ada.token, item_id)

    refused = story.run("verify", "Ada", "--repair")

    assert refused.code == 8
    assert "checkinsync verify 1 --repair --accept-deletions" in refused.out
    assert "Foursquare shows 200 check-ins no more" in story.run("status").out
    assert "Foursquare shows 200 check-ins no more" in story.run("why", "Ada").out
    [told, _] = json.loads(story.run("status", "--json").out)["users"]
    assert (told["withheld"], told["gone"], told["checkins"]) == (200, 0, 600)
    assert story.run("verify", "Ada", "--accept-deletions").code == 2
    assert story.run("verify", "Ada", "--repair", "--accept-deletions").code == 0
    [told, _] = json.loads(story.run("status", "--json").out)["users"]
    assert (told["withheld"], told["gone"], told["checkins"]) == (0, 200, 400)
    assert story.run("verify", "Ada").code == 0
    assert story.run("orchestrate") == QUIET


def test_the_stretch_that_waits_longest_is_shown(story, two):
    [ada, _] = json.loads(story.run("status", "--json").out)["users"]

    assert ada["oldest_unverified"]["oldest"] is None
    assert ada["oldest_unverified"]["verified_at"] is not None
