"""Items that can't be read or stored are said wherever an operator looks."""

from __future__ import annotations

import json
import time

import pytest

from support.stories import QUIET, Person, Story


@pytest.fixture
def odd(story: Story) -> Person:
    """Somebody one of whose check-ins the database refuses, by a constraint of the application."""
    ada = story.person("Ada", 20)
    bad = story.shown(ada)[7]
    story.conn.execute(
        f"ALTER TABLE checkins ADD CONSTRAINT picky CHECK (foursquare_id <> '{bad}')".encode()
    )
    return ada


def test_an_import_says_how_many_there_are_and_how_to_list_them(story: Story, odd: Person):
    done = story.run("import-user", "Ada")
    told = json.loads(story.run("import-user", "Ada", "--json").out)

    assert done.code == 0
    assert done.out == (
        "user 1 (Ada): 19 new, 0 changed, 3 requests; 1 check-in in quarantine, since they can't "
        "be read or stored: `checkinsync quarantine 1` lists them\n"
    )
    assert told["in_quarantine"] == 1


def test_the_list_has_user_id_reason_and_since_when(story: Story, odd: Person):
    assert story.run("orchestrate").code == 0
    story.person("Ben", 1)
    bad = story.shown(odd)[7]

    done = story.run("quarantine")
    mine, of_ben = story.run("quarantine", "Ada", "--json"), story.run("quarantine", "Ben")

    head, line = done.out.splitlines()
    assert head.split() == ["user", "name", "check-in", "since", "(UTC)", "reason"]
    assert line.split()[:3] == ["1", "Ada", bad]
    assert "picky" in line
    [item] = json.loads(mine.out)["items"]
    assert (item["user_id"], item["id"]) == (1, bad)
    assert "picky" in item["reason"]
    assert item["since"].endswith("+00:00")
    assert of_ben.out == "nothing is in quarantine\n"
    assert (done.code, mine.code, of_ben.code) == (0, 0, 0)
    assert story.run("quarantine", "nobody").code == 2


def test_why_status_and_the_run_s_table_say_it(story: Story, odd: Person):
    night = story.run("orchestrate", "--json")

    why, status = story.run("why", "Ada").out, story.run("status").out

    assert night.code == 0
    assert "; 1 check-in in quarantine, since they can't be read or stored " in why
    assert "(`checkinsync quarantine 1`)" in why
    assert len(why.splitlines()) == 1
    assert "\nin quarantine: 1 check-in (`checkinsync quarantine`)\n" in status
    told = json.loads(story.run("status", "--json").out)
    assert told["quarantined"] == told["users"][0]["quarantined"] == 1


def test_verify_never_says_that_each_of_them_is_here(story: Story, odd: Person):
    assert story.run("orchestrate").code == 0

    refused = story.run("verify", "Ada")
    story.conn.execute("ALTER TABLE checkins DROP CONSTRAINT picky")
    assert story.run("orchestrate") == QUIET
    whole = story.run("verify", "Ada")

    assert refused.code == 0
    assert "each of them is here" not in refused.out
    assert "Complete but for 1 check-in that can't be read or stored" in refused.out
    assert "`checkinsync quarantine 1`" in refused.out
    assert "Complete: each of them is here, once." in whole.out
    assert story.run("quarantine").out == "nothing is in quarantine\n"


def test_what_can_not_be_read_is_told_before_any_import_has_met_it(story: Story):
    ada = story.person("Ada", 20)
    with story.simulator.lock:
        story.simulator.world.add_variants(ada.token, newest=int(time.time()) - 7200)

    told = story.run("verify", "Ada")
    assert story.run("import-user", "Ada").code == 0
    whole = story.run("verify", "Ada")

    assert "check-ins that can't be read or stored" in told.out
    assert "each of them is here" not in told.out + whole.out
    assert "Complete but for " in whole.out
