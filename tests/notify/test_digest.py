"""The digest of a run: what is said, what is an alert, and that nobody is named."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from checkinsync.errors import (
    DatabaseAway,
    FoursquareAway,
    SettingsError,
    ValueRefused,
)
from checkinsync.nightly.summary import Alerts, RunSummary
from checkinsync.notify import digest
from checkinsync.sync.outcome import Failed, RetryAt, Skipped
from support.factories import NOW
from support.summaries import BEFORE, FINE, ODD, REJECTED, summary, user


def said(run: RunSummary, *, names: bool = False) -> tuple[str, ...]:
    return digest.of_run(run, names=names).lines[1:]


def test_a_good_night_is_no_alert_and_tells_its_figures():
    found = digest.of_run(summary(FINE, FINE), names=False)

    assert (found.signal, found.alert) == ("", False)
    assert found.title == "checkinsync on web1: run 7: ok"
    assert found.text == (
        "2 due, 2 synced, 0 failed, 0 skipped; 2 new, 0 changed, 0 gone; 9 requests in 60 minutes; "
        "exit code 0"
    )
    assert found.json["run"]["synced"] == 2
    json.dumps(found.json)


def test_one_user_who_fails_is_no_alert_before_it_lasts():
    run = summary(FINE, ODD, outcome="partial", exit_code=3)
    lasting = replace(run, alerts=Alerts(failing=((user(2), 3),)))

    assert not digest.of_run(run, names=False).alert
    assert digest.of_run(run, names=False).signal == "3"
    assert digest.of_run(lasting, names=False).alert
    assert said(lasting) == ("user 2 has failed 3 nights in a row: unsteady list",)


def test_users_who_recover_are_told_in_one_line():
    [line] = said(summary(FINE, FINE, alerts=Alerts(recovered=(user(1), user(2)))))

    assert line == "imported again after failing for several nights: user 1, user 2"


def test_trouble_of_the_run_is_told_by_reason_and_so_is_its_end():
    away = summary(
        *[Failed(FoursquareAway("x"))] * 2, RetryAt(NOW, "x"), Skipped("x"),
        outcome="away", exit_code=69,
    )  # fmt: skip

    assert said(away) == (
        "2 users: foursquare away",
        "1 user: rate limited",
        "1 user: not imported",
    )
    over = summary(FINE, alerts=Alerts(before=replace(BEFORE, outcome="away")))
    assert said(over) == ("the trouble of run 6 (away) is over",)
    killed = summary(FINE, alerts=Alerts(before=replace(BEFORE, outcome="killed")))
    assert said(killed) == ("run 6 was killed: it did not come to its end",)


def test_rejected_tokens_are_told_unless_checkinsync_is_suspected():
    run = summary(FINE, REJECTED, outcome="partial", exit_code=3)

    assert said(run) == ("must log in to Foursquare again: user 2",)
    assert not [line for line in said(replace(run, outcome="suspect")) if "log in" in line]


def test_nobody_is_named_and_no_words_from_outside_are_sent_unless_names_are_asked_for():
    run = summary(
        FINE, REJECTED, ODD, ODD, outcome="partial", exit_code=3,
        notices=("2 users must log in: user 1 (Ada), user 4 (user 1 (Ada))", "user 3 (Chloé) too"),
    )  # fmt: skip
    run = replace(run, alerts=Alerts(failing=((user(3), 3),), recovered=(user(1),)))

    without, by_name = digest.of_run(run, names=False), digest.of_run(run, names=True)

    told = f"{without.title}{without.text}{json.dumps(without.json, ensure_ascii=False)}"
    assert not [word for word in ("Ada", "Ben", "Chloé", "Zoo") if word in told]
    assert "2 users must log in: user 1, user 4" in without.lines
    assert {"id": 3, "nights": 3} in without.json["failing"]
    assert "user 3 (Chloé) has failed 3 nights in a row: unsteady list" in by_name.lines
    assert {"id": 2, "name": "Ben"} in by_name.json["must_log_in"]
    assert "Zoo" not in by_name.text


def test_many_users_make_no_long_digest():
    run = summary(FINE, alerts=Alerts(recovered=tuple(user(1) for _ in range(2000))))

    [line] = said(run)

    assert line.endswith(" and 1,980 more")
    assert len(line) < 300


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DatabaseAway("cannot reach the database"), "cannot reach the database (exit code 69)"),
        (SettingsError("CHECKINSYNC_WORKERS: wrong"), "CHECKINSYNC_WORKERS: wrong (exit code 78)"),
        (ValueRefused("of Ada"), "value refused (exit code 3)"),
        (KeyError("Ada"), "unexpected error (exit code 1)"),
    ],
)
def test_a_run_that_could_not_begin_is_told_with_its_reason(error, reason):
    found = digest.of_error(error, "web1")

    assert (found.signal, found.alert) == ("fail", True)
    assert found.text.startswith(reason)
    assert found.json["event"] == "run_failed"
