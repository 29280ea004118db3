"""Nights on which Foursquare fails, or a setting is wrong."""

from __future__ import annotations

import json
import time

import pytest

from checkinsync.simulator.faults import Fault
from support.stories import QUIET, WRONG_KEY

CHECKINS = "users/self/checkins"


# --- a token that is no longer accepted ---------------------------------------------------------


def test_a_revoked_user_is_told_once_asked_once_and_comes_back_by_himself(story):
    ada, ben, emi = story.people(300, 20, 10)
    assert story.run("orchestrate") == QUIET
    story.simulator.revoke(ben.token)
    asked = len(story.requests(ben))

    night = story.run("orchestrate")

    assert night.code == 3
    assert night.out == ""
    summary, _, failed, *_ = night.err.splitlines()
    assert failed.startswith(f"user {ben.id} (Ben): ")
    assert "log in again" in failed
    assert summary.startswith("checkinsync: ")
    assert "3 due, 2 synced, 1 failed" in summary
    assert len(story.requests(ben)) == asked + 1
    assert states(story) == {ada.id: "ok", ben.id: "needs_reauth", emi.id: "ok"}
    assert "log in again" in user_status(story, ben)["next_action"]

    assert story.run("orchestrate") == QUIET
    assert len(story.requests(ben)) == asked + 1

    token = story.simulator.world.grant(story.simulator.world.accounts[ben.token])
    story.secrets.add(token)
    story.simulator.world.add(token, created_at=int(time.time()))
    story.conn.execute(
        "UPDATE users SET access_token_encrypted = %s WHERE id = %s",
        [story.keyring.encrypt(token), ben.id],
    )
    assert story.run("orchestrate") == QUIET
    assert story.stored(ben) == sorted(story.simulator.shown_ids(token))
    assert states(story) == {ada.id: "ok", ben.id: "ok", emi.id: "ok"}


def test_if_everybody_is_rejected_nobody_is_sent_to_log_in(story):
    people = story.people(10, 20, 30)
    for person in people:
        story.simulator.revoke(person.token)

    night = story.run("orchestrate")

    assert night.code == 69
    assert set(states(story).values()) == {"new"}


def test_one_rejected_user_imported_by_hand_exits_with_4(story):
    [ada] = story.people(10)
    story.simulator.revoke(ada.token, "not_authorized")

    told = story.run("import-user", "Ada")

    assert (told.code, told.out) == (4, "")
    assert len(told.err.splitlines()) == 1
    assert states(story) == {ada.id: "needs_reauth"}


# --- passing faults, and limits -----------------------------------------------------------------


def test_whatever_stumbles_in_mid_walk_costs_nothing(story):
    people = story.people(620, 510, 260)
    ada, ben, emi = (person.token for person in people)
    for token, kinds in (
        (ada, ("server_error", "html", "cut_json")),
        (ben, ("reset", "bad_gateway", "cut_transfer")),
        (emi, ("empty", "items_missing", "error_in_200")),
    ):
        for nth, kind in zip((1, 3, 6), kinds, strict=True):
            story.simulator.fail(Fault(kind, path=CHECKINS, token=token, nth=nth))

    night = story.run("orchestrate")

    assert night == QUIET
    assert story.complete(*people)


def test_a_user_whose_pages_stay_away_for_a_while_is_retried_and_logged(story):
    ada, ben = story.people(620, 10)
    story.simulator.fail(Fault("server_error", token=ada.token, offset=245, times=4))
    log = story.folder / "night.log"

    night = story.run("--log-format", "json", "--log-file", str(log), "orchestrate")

    assert night == QUIET
    assert story.complete(ada, ben)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    [retry] = [line for line in lines if line["event"] == "retry_scheduled"]
    assert {"run_id", "user_id", "at", "reason"} <= retry.keys()
    [failed] = [line for line in lines if line["event"] == "import_failed"]
    assert failed["user_id"] == ada.id


def test_a_rate_limit_makes_one_user_wait_and_nobody_else(story):
    ada, ben, emi = story.people(620, 300, 20)
    story.simulator.fail(
        Fault("rate_limit_exceeded", path=CHECKINS, token=ada.token, nth=2, seconds=3)
    )

    night = story.run("orchestrate", "--workers", "1")

    assert night == QUIET
    assert story.complete(ada, ben, emi)
    mine = story.requests(ada)
    limited = next(n for n, seen in enumerate(mine) if seen.status == 403)
    assert mine[limited + 1].at - mine[limited].at >= 3
    for other in (ben, emi):
        assert all(mine[limited].at < x.at < mine[limited + 1].at for x in story.requests(other))
    assert jobs(story, ada) == ["rate_limited", "completed"]


def test_the_daily_quota_ends_the_night_for_everybody(story):
    people = story.people(20, 10, 10)
    story.simulator.fail(Fault("quota_exceeded", times=None))

    night = story.run("orchestrate", "--workers", "1")

    assert night.code == 5
    assert len(story.requests()) == 1
    assert f"{len(people)} due, 0 synced" in night.err
    assert "cause: the application's daily quota at Foursquare is used up" in night.err
    assert "failing" not in states(story).values()
    story.simulator.faults.clear()
    assert story.run("orchestrate") == QUIET
    assert story.complete(*people)


def test_the_quota_ends_an_import_by_hand_with_5(story):
    story.people(20)
    story.simulator.fail(Fault("quota_exceeded", times=None))

    told = story.run("import-user", "1", "--wait")

    assert told.code == 5
    assert len(story.requests()) == 1


# --- a wrong key --------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("orchestrate",), ("import-user", "1")])
def test_a_wrong_key_changes_nothing_and_the_right_one_goes_on(story, words):
    people = story.people(20, 10)
    before = story.contents("import_leases")

    night = story.run(*words, encryption_key=WRONG_KEY)

    assert night.code == 78
    assert "CHECKINSYNC_ENCRYPTION_KEY" in night.err
    assert len(night.err.splitlines()) == (2 if words == ("orchestrate",) else 1)
    assert story.contents("import_leases") == before
    assert not story.requests()
    assert story.run("orchestrate") == QUIET
    assert story.complete(*people)


# --- Foursquare away ----------------------------------------------------------------------------


def test_with_foursquare_down_the_run_waits_until_its_deadline_and_blames_nobody(story):
    people = story.people(20, 10, 10, 30)
    story.unplug()

    night = story.run("orchestrate", "--deadline", "6s")

    assert night.code == 69
    assert night.err.startswith("checkinsync: run 1: away; 4 due, 0 synced")
    assert all(f"user {person.id} ({person.name})" in night.err for person in people)
    assert set(states(story).values()) == {"new"}
    assert all(user["consecutive_failures"] == 0 for user in status(story)["users"])


def test_with_foursquare_down_an_import_by_hand_says_so(story):
    story.people(20)
    story.unplug()

    told = story.run("import-user", "Ada")

    assert told.code == 69
    assert "Foursquare" in told.err
    assert len(told.err.splitlines()) == 1


def status(story) -> dict:
    return json.loads(story.run("status", "--json").out)


def user_status(story, person) -> dict:
    return next(user for user in status(story)["users"] if user["id"] == person.id)


def states(story) -> dict[int, str]:
    return {user["id"]: user["state"] for user in status(story)["users"]}


def jobs(story, person) -> list[str]:
    rows = story.rows("SELECT status FROM import_jobs WHERE user_id = %s ORDER BY id", person.id)
    return [row[0] for row in rows]
