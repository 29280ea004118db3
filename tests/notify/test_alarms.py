"""Notices as they arrive: a check's pings, ntfy, a webhook, apprise; over real HTTP."""

from __future__ import annotations

import logging
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from checkinsync.config.settings import Settings
from checkinsync.errors import AtWork, DatabaseAway, Interrupted, NotSent
from checkinsync.nightly.summary import Alerts
from checkinsync.notify import digest
from checkinsync.notify.alarms import Alarms, alarms, send
from checkinsync.simulator.faults import Fault
from support.receiver import Receiver, receiving
from support.stories import QUIET, WRONG_KEY, Story
from support.summaries import FINE, ODD, summary, user

SECRET = "a-secret-path"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def addresses(receiver: Receiver) -> dict[str, str]:
    """The settings of all targets but apprise's, which lead to the receiver."""
    return {
        "ping_url": f"{receiver.url}/ping/{SECRET}?create=1",
        "webhook_url": f"{receiver.url}/hook/{SECRET}",
        "ntfy_url": f"{receiver.url}/ntfy/{SECRET}",
    }


@pytest.fixture
def settings(addresses: dict[str, str], receiver: Receiver) -> Settings:
    addresses["notify"] = f"json://{receiver.host}/apprise/{SECRET}"
    return Settings.from_mapping({f"CHECKINSYNC_{n.upper()}": v for n, v in addresses.items()})


def breaks_off(told: Callable[[], None], error: Exception) -> None:
    told()
    raise error


GOOD = summary(FINE)
BAD = summary(FINE, ODD, ODD, outcome="partial", exit_code=3)


def test_a_run_pings_its_start_and_its_end_with_the_same_id(settings, receiver):
    with alarms(settings) as hooks:
        hooks.started()
        hooks.ended(GOOD)

    start, end = [taken for taken in receiver.taken if taken.path.startswith("/ping")]
    assert start.path == f"/ping/{SECRET}/start"
    assert end.path == f"/ping/{SECRET}"
    assert start.query == end.query
    assert uuid.UUID(end.query["rid"]).version == 4
    assert end.query["create"] == "1"
    assert end.body.startswith("1 due, 1 synced")


def test_another_run_has_another_id(settings, receiver):
    for _ in range(2):
        with alarms(settings) as hooks:
            hooks.started()

    one, two = [taken.query["rid"] for taken in receiver.taken]
    assert one != two


def test_a_bad_run_pings_its_exit_code_and_tells_everyone(settings, receiver):
    with alarms(settings) as hooks:
        hooks.ended(BAD)

    by_path = {taken.path: taken for taken in receiver.taken}
    assert set(by_path) == {
        f"/ping/{SECRET}/3", f"/hook/{SECRET}", f"/ntfy/{SECRET}", f"/apprise/{SECRET}",
    }  # fmt: skip
    assert by_path[f"/hook/{SECRET}"].json["exit_code"] == 3
    ntfy = by_path[f"/ntfy/{SECRET}"]
    assert ntfy.query["title"] == "checkinsync on web1: run 7: partial"
    assert ntfy.query["priority"] == "high"
    assert "2 users: unsteady list" in ntfy.body
    assert "2 users: unsteady list" in by_path[f"/apprise/{SECRET}"].json["message"]


def test_a_good_run_is_told_to_machines_only(settings, receiver):
    with alarms(settings) as hooks:
        hooks.ended(GOOD)

    assert sorted(receiver.paths()) == [f"/hook/{SECRET}", f"/ping/{SECRET}"]


def test_users_are_named_where_that_is_asked_for(settings, receiver):
    for names in (False, True):
        with alarms(replace(settings, notify_names=names)) as hooks:
            hooks.ended(replace(BAD, alerts=Alerts(failing=((user(2), 3),))))

    numbered, named = [taken.body for taken in receiver.taken if taken.path.startswith("/ntfy")]
    assert "user 2 has failed 3 nights in a row" in numbered
    assert "user 2 (Ben) has failed 3 nights in a row" in named


def test_a_run_that_breaks_off_is_told_once_and_the_error_goes_on(settings, receiver):
    error = DatabaseAway("cannot reach the database")
    with pytest.raises(DatabaseAway), alarms(settings) as hooks:
        breaks_off(hooks.started, error)

    assert receiver.paths("/ping") == [f"/ping/{SECRET}/start", f"/ping/{SECRET}/fail"]
    assert receiver.paths("/ntfy") == [f"/ntfy/{SECRET}"]
    hook = next(taken.json for taken in receiver.taken if taken.path.startswith("/hook"))
    assert (hook["event"], hook["exit_code"]) == ("run_failed", 69)


def test_an_error_after_the_end_was_told_is_not_told_as_well(settings, receiver):
    with pytest.raises(BrokenPipeError), alarms(settings) as hooks:
        breaks_off(lambda: hooks.ended(GOOD), BrokenPipeError())

    assert receiver.paths("/ping") == [f"/ping/{SECRET}"]


def test_a_run_that_finds_another_one_at_work_says_nothing(settings, receiver):
    with pytest.raises(AtWork), alarms(settings):
        raise AtWork("another run is at work")

    assert receiver.taken == []


# --- targets that fail ----------------------------------------------------------------------------


def test_each_target_is_tried_twice_and_what_failed_is_logged_without_the_address(
    settings, receiver, caplog
):
    receiver.status = 503

    with alarms(settings) as hooks:
        hooks.ended(BAD)

    assert len(receiver.paths("/hook")) == len(receiver.paths("/ping")) == 2
    reasons = {record.target: record.reason for record in ours(caplog)}
    assert reasons == {
        "ping": "HTTP 503",
        "webhook": "HTTP 503",
        "ntfy": "HTTP 503",
        "apprise 1": "the service did not take it",
    }
    assert SECRET not in repr([vars(record) for record in caplog.records])
    assert SECRET not in repr(settings)


def ours(caplog) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name.startswith("checkinsync")]


def answer_all(receiver: Receiver) -> None:
    """Let the threads that still wait for an answer come to their end."""
    receiver.answers.set()
    for thread in threading.enumerate():
        if thread.name.startswith("notify"):
            thread.join(60)


def test_an_error_that_nobody_foresaw_is_named_and_not_shown():
    class Broken:
        def send(self, _: digest.Digest) -> None:
            raise LookupError(SECRET)

    with pytest.raises(NotSent, match=r"unexpected error \(LookupError\)") as found:
        send(Broken(), digest.of_test("web1"))

    assert found.value.__cause__ is None


def test_an_address_that_apprise_does_not_know_is_told(receiver, caplog):
    settings = Settings.from_mapping({"CHECKINSYNC_NOTIFY": f"nonsense://{SECRET}"})

    with alarms(settings) as hooks:
        hooks.ended(BAD)

    assert [record.reason for record in ours(caplog)] == [
        "apprise does not know an address like this"
    ]


def test_a_target_that_hangs_is_given_up_and_the_others_are_told(settings, receiver, caplog):
    receiver.answers.clear()
    hooks = Alarms(settings, patience=0.3)

    hooks.ended(GOOD)
    hooks.finish()

    given_up = {record.target for record in caplog.records if "given up" in record.reason}
    assert given_up == {"ping", "webhook"}
    answer_all(receiver)
    assert len(receiver.taken) == 2


def test_a_signal_ends_the_wait_and_not_the_exit_code(settings, receiver, monkeypatch):
    receiver.answers.clear()
    hooks = Alarms(settings)
    hooks.ended(GOOD)

    def interrupted(*_: object) -> None:
        raise Interrupted("interrupted by SIGTERM")

    monkeypatch.setattr("threading.Thread.join", interrupted)
    hooks.finish()
    monkeypatch.undo()

    assert not receiver.answers.is_set()
    answer_all(receiver)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x", "http://no-such-host.invalid/x", "http://a..b/x"]
)
def test_an_address_where_nothing_answers_is_one_line_of_the_log(url, caplog):
    settings = Settings.from_mapping({"CHECKINSYNC_WEBHOOK_URL": url})

    with alarms(settings) as hooks:
        hooks.ended(GOOD)

    assert [(r.message, r.reason) for r in caplog.records] == [
        ("notice_not_sent", "no connection")
    ]  # fmt: skip


# --- in real processes ----------------------------------------------------------------------------


def test_a_night_is_told_by_a_real_process_and_prints_nothing(story: Story, receiver, addresses):
    story.people(3, 2)
    story.secrets.add(SECRET)

    night = story.run("orchestrate", **addresses)

    assert night == QUIET
    assert receiver.paths("/ping") == [f"/ping/{SECRET}/start", f"/ping/{SECRET}"]
    [hook] = [taken for taken in receiver.taken if taken.path.startswith("/hook")]
    assert (hook.json["run"]["new"], hook.json["alert"]) == (5, False)
    assert not [name for name in ("Ada", "Ben") if name in hook.body]
    assert receiver.paths("/ntfy") == []


def test_targets_that_fail_change_neither_the_night_nor_its_exit_code(
    story: Story, receiver, addresses
):
    ada, ben = story.people(3, 2)
    story.secrets.add(SECRET)
    story.simulator.fail(Fault("html", token=ben.token, path="users/self/checkins", times=None))
    receiver.status = 500

    night = story.run("orchestrate", retries="0", **addresses)

    assert night.code == 3
    assert story.complete(ada)
    assert 'WARNING notice_not_sent target=ping reason="HTTP 500"' in night.err


def test_a_night_that_cannot_begin_is_told(story: Story, receiver, addresses):
    story.people(1)

    wrong_key = story.run("orchestrate", encryption_key=WRONG_KEY, **addresses)
    broken = story.run("orchestrate", workers="none", **addresses)

    assert (wrong_key.code, broken.code) == (78, 78)
    assert receiver.paths("/ping") == [f"/ping/{SECRET}/fail"] * 2
    told = [taken.body for taken in receiver.taken if taken.path.startswith("/ntfy")]
    assert "the encryption key decrypts none of the stored tokens" in told[0]
    assert "CHECKINSYNC_WORKERS" in told[1]


def test_a_dry_run_tells_nothing(story: Story, receiver, addresses):
    story.people(3)

    assert story.run("orchestrate", "--dry-run", **addresses).code == 0
    assert receiver.taken == []


def test_notify_test_says_of_each_target_whether_it_took_the_notice(
    story: Story, receiver, addresses
):
    story.secrets.add(SECRET)
    good = story.run("notify", "test", **addresses)
    assert (good.code, good.err) == (0, "")
    assert good.out == "ping: sent\nwebhook: sent\nntfy: sent\n"
    assert len(receiver.taken) == 3
    assert all(socket.gethostname() in f"{taken.query}{taken.body}" for taken in receiver.taken[1:])

    receiver.status = 404
    bad = story.run("notify", "test", ntfy_url=addresses["ntfy_url"])
    assert (bad.code, bad.out) == (69, "ntfy: not sent: HTTP 404\n")

    unset = story.run("notify", "test")
    assert unset.code == 78
    assert "CHECKINSYNC_PING_URL" in unset.err


def test_an_address_that_is_none_is_refused_without_being_shown(story: Story):
    story.secrets.add(SECRET)

    night = story.run("orchestrate", ping_url=f"ftp://{SECRET}", webhook_url=SECRET)

    assert night.code == 78
    assert "CHECKINSYNC_PING_URL: must be an address that begins with https:// or" in night.err
    assert "CHECKINSYNC_WEBHOOK_URL" in night.err


def test_a_user_who_fails_is_told_in_the_third_night_and_when_it_is_over(
    story: Story, receiver, addresses
):
    _, ben, _ = story.people(1, 1, 1)
    told = []
    for fails in (False, True, True, True, False):
        if fails:
            story.simulator.fail(Fault("user_suspended", token=ben.token, times=1))
        receiver.taken.clear()
        night = story.run("orchestrate", retries="0", ntfy_url=addresses["ntfy_url"])
        assert night.code == (3 if fails else 0)
        told.append([taken.body.partition("\n")[2] for taken in receiver.taken])
        story.conn.execute(A_DAY_PASSES)

    third, over = f"user {ben.id} has failed 3 nights in a row: ", "imported again after failing"
    assert [len(bodies) for bodies in told] == [0, 0, 0, 1, 1]
    assert told[3][0].startswith(third)
    assert told[4][0] == f"{over} for several nights: user {ben.id}"


A_DAY_PASSES = """
WITH runs AS (UPDATE sync_runs SET started_at = started_at - interval '1 day')
UPDATE sync_state SET last_checked_at = last_checked_at - interval '1 day'
"""
