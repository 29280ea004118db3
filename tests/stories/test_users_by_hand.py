"""Commands for single users, as an operator gives them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from checkinsync.simulator.faults import Fault
from support.stories import QUIET, Done

CHECKINS = "users/self/checkins"


# --- users … --------------------------------------------------------------------------------------


def test_nobody_is_added_twice(story):
    token = story.account("Ada", 3)
    assert story.run("users", "add", given=token) == Done(0, "1\n")

    again = story.run("users", "add", given=token)

    assert (again.code, again.out) == (2, "")
    assert "user 1 (Ada Lovelace) already" in again.err
    assert "users set-token 1" in again.err
    assert story.rows("SELECT count(*) FROM users") == [(1,)]


def test_at_a_terminal_the_user_is_told_by_name(story):
    token = story.account("Zoë", 3, last_name="Ünit")
    screen, terminal = os.openpty()
    command = [sys.executable, "-m", "checkinsync", "users", "add"]

    subprocess.run(
        command, input=token.encode(), stdout=terminal, env=story.environ, timeout=60, check=True
    )

    os.close(terminal)
    assert os.read(screen, 1000).decode() == "user 1 (Zoë Ünit) added\r\n"
    os.close(screen)


def test_the_secret_link_is_told_only_on_demand(story):
    added = story.run("users", "add", "--show-secret", given=story.account("Ada", 3))

    number, secret = added.out.split()
    assert story.rows("SELECT id, secret_token FROM users") == [(int(number), secret)]


def test_another_person_s_token_is_refused(story):
    ada, ben = story.people(3, 3)
    before = story.contents()

    refused = story.run("users", "set-token", str(ada.id), given=ben.token)

    assert refused.code == 2
    assert "belongs to Foursquare user" in refused.err
    assert story.contents() == before


def test_a_token_that_foursquare_rejects_is_not_stored(story):
    story.secrets.add("NO-SUCH-TOKEN-1")

    refused = story.run("users", "add", given="NO-SUCH-TOKEN-1\n")

    assert refused.code == 4
    assert "Foursquare does not accept this token" in refused.err
    assert "the user must log in again" not in refused.err
    assert story.rows("SELECT FROM users") == []


def test_a_token_that_foursquare_rejects_replaces_none(story):
    ada = story.person("Ada", 3)
    before = story.contents()
    story.secrets.add("NO-SUCH-TOKEN-1")

    refused = story.run("users", "set-token", str(ada.id), given="NO-SUCH-TOKEN-1\n")

    assert refused.code == 4
    assert "Foursquare does not accept this token" in refused.err
    assert story.contents() == before


def test_without_a_token_each_command_says_how_it_is_given(story):
    added = story.run("users", "add", given="")
    renewed = story.run("users", "set-token", "Ada Lovelace", given="two words\n")

    assert (added.code, renewed.code) == (2, 2)
    assert "`checkinsync users add < token.txt`" in added.err
    assert "`checkinsync users set-token 'Ada Lovelace' < token.txt`" in renewed.err


def test_a_new_token_by_hand_makes_a_rejected_user_due_again(story):
    ada = story.person("Ada", 10)
    story.simulator.revoke(ada.token)
    assert story.run("import-user", "Ada").code == 4
    assert "not imported" in why(story, ada)
    token = story.simulator.world.grant(story.simulator.world.accounts[ada.token])
    story.secrets.add(token)

    assert story.run("users", "set-token", str(ada.id), given=token).code == 0

    assert story.run("orchestrate") == QUIET
    assert story.stored(ada) == sorted(story.simulator.shown_ids(token))


def test_a_removed_user_is_gone_with_everything(story):
    ada, ben = story.people(30, 20)
    assert story.run("orchestrate") == QUIET

    refused = story.run("users", "remove", str(ada.id), given="")
    removed = story.run("users", "remove", str(ada.id), "--yes")

    assert refused.code != 0
    assert "30 check-ins" in refused.err
    assert removed.code == 0
    assert "30 check-ins" in removed.out
    left = story.rows(
        """
        SELECT user_id FROM checkins UNION SELECT user_id FROM import_jobs
        UNION SELECT user_id FROM sync_state UNION SELECT user_id FROM import_leases
         WHERE user_id <> 0
        """
    )
    assert left == [(ben.id,)]
    assert story.rows("SELECT id FROM users") == [(ben.id,)]
    assert story.complete(ben)


def test_a_paused_user_is_left_out_until_resumed(story):
    ada, ben = story.people(10, 10)
    assert story.run("users", "pause", "Ada").code == 0

    assert story.run("orchestrate") == QUIET

    assert not story.requests(ada)
    assert story.complete(ben)
    assert story.run("status", "--max-age", "1h").code == 0
    assert "paused" in why(story, ada)
    assert story.run("users", "resume", "Ada").code == 0
    assert story.run("orchestrate") == QUIET
    assert story.complete(ada)


def test_a_listing_and_a_look_at_one_show_no_secret(story):
    ada = story.person("Ada", 2)

    assert "Ada" in story.run("users", "list").out
    assert json.loads(story.run("users", "list", "--json").out)[0]["id"] == ada.id
    assert "foursquare user id" in story.run("users", "show", f"fsq:{foursquare_id(story)}").out


@pytest.mark.parametrize("encoding", ["iso-8859-2", "ascii"])
def test_a_name_that_the_locale_lacks_is_escaped(story, encoding):
    name = "Ñ 🦊 Чебурашка"
    ada = story.person(name, 2)
    story.environ["PYTHONIOENCODING"] = encoding

    printed = [story.run("users", *words) for words in (("list",), ("show", "1"), ("pause", "1"))]
    refused = story.run("import-user", "Чебурашка")
    listed = json.loads(story.run("users", "list", "--json").out)

    assert [done.code for done in printed] == [0, 0, 0]
    assert [done.err for done in printed] == ["", "", ""]
    for done in printed:
        assert name in done.out or r"\u0427" in done.out
    assert refused.code == 2
    assert "Traceback" not in refused.err
    assert [(user["id"], user["name"]) for user in listed] == [(ada.id, name)]


def foursquare_id(story) -> str:
    return story.rows("SELECT foursquare_user_id FROM users")[0][0]


# --- why ------------------------------------------------------------------------------------------


def test_why_is_one_line_in_every_state(story):
    new, fine, paused, rejected, limited, failing, idle = [
        story.person(name, 5)
        for name in ("New", "Fine\nand odd", "Paused", "Rejected", "Limited", "Failing", "Idle")
    ]
    story.simulator.revoke(rejected.token)
    story.simulator.fail(Fault("rate_limit_exceeded", token=limited.token, seconds=900))
    story.simulator.fail(Fault("html", token=failing.token, times=None))
    by_hand = [("import-user", str(p.id)) for p in (fine, rejected, limited, failing)]
    for process in [story.start(*x) for x in (*by_hand, ("users", "pause", str(paused.id)))]:
        process.ended()
    story.conn.execute("UPDATE users SET last_login_at = '2020-01-01' WHERE id = %s", [idle.id])

    everyone = (new, fine, paused, rejected, limited, failing, idle)
    asked = {person.name: story.start("why", str(person.id)) for person in everyone}
    told = {name: one_line(process.ended()) for name, process in asked.items()}

    assert "next run" in told["New"]
    assert "users resume" in told["Paused"]
    assert "log in again" in told["Rejected"]
    assert "in the first run after" in told["Limited"]
    assert "tried again" in told["Failing"]
    assert "no login" in told["Idle"]
    assert "5 check-ins stored" in told["Fine\nand odd"]


def why(story, person) -> str:
    return one_line(story.run("why", str(person.id)))


def one_line(told: Done) -> str:
    assert (told.code, told.err) == (0, "")
    assert len(told.out.splitlines()) == 1
    return told.out


# --- import-user ----------------------------------------------------------------------------------


def test_an_import_tells_in_one_line_what_it_did(story):
    story.person("Ada", 10)

    assert story.run("import-user", "Ada") == Done(
        0, "user 1 (Ada): 10 new, 0 changed, 3 requests\n"
    )


def test_an_import_tells_programs_what_it_did(story):
    ada = story.person("Ada", 10)

    told = json.loads(story.run("import-user", "Ada", "--json").out)

    promised = {"id", "name", "outcome", "new", "changed", "gone", "requests", "quarantined"}
    assert promised <= told.keys()
    assert (told["id"], told["outcome"], told["new"]) == (ada.id, "imported", 10)


def test_since_reads_back_to_a_day_and_the_night_reads_the_rest(story):
    ada = story.person("Ada", 900)
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 60 * 86400))

    assert story.run("import-user", "Ada", "--since", day).code == 0

    assert 0 < len(story.stored(ada)) < 900
    assert story.rows("SELECT last_sync_at FROM users") == [(None,)]
    assert story.run("orchestrate") == QUIET
    assert story.complete(ada)


def test_full_reads_everything_again_and_finds_what_was_lost(story):
    ada = story.person("Ada", 600)
    assert story.run("orchestrate") == QUIET
    story.conn.execute("DELETE FROM checkins WHERE id % 7 = 0")
    assert not story.complete(ada)

    assert story.run("import-user", "Ada", "--full").code == 0

    assert story.complete(ada)


def test_wait_waits_for_the_reset(story):
    ada = story.person("Ada", 600)
    story.simulator.fail(Fault("rate_limit_exceeded", path=CHECKINS, nth=2, seconds=2))

    told = story.run("import-user", "Ada", "--wait")

    assert told.code == 0
    assert "waiting" in told.err
    assert story.complete(ada)


def test_without_wait_it_says_until_when(story):
    story.person("Ada", 600)
    story.simulator.fail(Fault("rate_limit_exceeded", path=CHECKINS, nth=2, seconds=600))

    told = story.run("import-user", "Ada")

    assert told.code == 5
    assert "UTC" in told.err
    assert len(told.err.splitlines()) == 1


# --- migrate, status ------------------------------------------------------------------------------


def test_on_a_schema_that_lacks_something_commands_say_what_to_do(story):
    story.conn.execute("DELETE FROM checkinsync_migrations WHERE name LIKE '010%'")
    before = story.contents()

    for words in (("orchestrate",), ("import-user", "1"), ("status",), ("migrate", "--check")):
        told = story.run(*words)

        assert (told.code, told.out) == (6, "")
        said, *more = told.err.splitlines()
        assert said == "checkinsync: 1 migration is pending (010); run `checkinsync migrate`"
        assert more == ['help: docs/runbook.md, "Exit code 6"'] * (words == ("orchestrate",))
    assert story.contents() == before


def test_status_tells_a_monitor_who_is_stale(story):
    story.people(10, 10)
    assert story.run("orchestrate") == QUIET
    assert story.run("status", "--max-age", "1h").code == 0
    story.until(
        lambda: story.rows("SELECT max(last_checked_at) + '1 s' < now() FROM sync_state")[0][0]
    )

    told = story.run("status", "--max-age", "1s")

    assert told.code == 7
    assert len(told.err.splitlines()) == 3  # the last one names the runbook
    assert "stale" in told.err


WRONG = {
    "CHECKINSYNC_WORKERS": "many",
    "CHECKINSYNC_STAGGER": "-2m",
    "CHECKINSYNC_API_URL": "http://api.foursquare.com/v2",
    "CHECKINSYNC_DATABASE_URL": "mysql://x",
    "CHECKINSYNC_ENCRYPTION_KEY": ",",
    "CHECKINSYNC_LOG_FILE": "/nonexistent/x.log",
}


def test_a_wrong_setting_is_named(story):
    started = {
        name: story.start("orchestrate", **{name.removeprefix("CHECKINSYNC_").lower(): value})
        for name, value in WRONG.items()
    }

    for name, process in started.items():
        told = process.ended()

        assert (told.code, told.out) == (78, "")
        assert name in told.err
        assert len(told.err.splitlines()) == 1 + ("help: docs/runbook.md" in told.err)


def test_all_wrong_settings_are_named_at_once(story):
    wrong = {name: value for name, value in WRONG.items() if name != "CHECKINSYNC_LOG_FILE"}
    story.environ |= wrong

    told = story.run("orchestrate")

    assert told.code == 78
    assert all(name in told.err for name in wrong)
