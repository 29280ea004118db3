"""The meaning of facts, without a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from checkinsync.doctor import diagnosis, nights
from checkinsync.doctor import findings as finding
from checkinsync.doctor.findings import Level, Pooling, SecretFile, Server
from checkinsync.embedded.place import Place
from checkinsync.errors import AtWork
from checkinsync.model.user import Profile, User
from checkinsync.nightly.summary import RunRecord
from support.factories import NOW

SERVER = Server(
    version=150004,
    version_text="15.4",
    database="app",
    role="checkinsync",
    encoding="UTF8",
    size=40 * 2**20,
    read_only=False,
    clock=NOW,
    max_connections=100,
    reserved=3,
    in_use=20,
    limit=None,
)
BLUR = timedelta(seconds=1)


def levels(findings) -> list[str]:
    return [found.level.value for found in findings]


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (SERVER, ["ok"]),
        (replace(SERVER, version=130012), ["problem"]),
        (replace(SERVER, encoding="SQL_ASCII"), ["problem"]),
        (replace(SERVER, version=130012, encoding="LATIN1"), ["problem", "problem"]),
        (replace(SERVER, read_only=True), ["ok", "problem"]),
    ],
)
def test_a_server_must_be_young_enough_speak_utf8_and_take_writes(server, expected):
    assert levels(diagnosis.of_server(server)) == expected


@pytest.mark.parametrize(
    ("seconds", "level"),
    [(0, "ok"), (-5.9, "ok"), (7, "warning"), (-299, "warning"), (302, "problem")],
)
def test_a_clock_is_judged_by_what_the_way_of_asking_does_not_explain(seconds, level):
    theirs = NOW + timedelta(seconds=seconds)

    found = diagnosis.of_clock("theirs", theirs=theirs, ours=NOW, blur=BLUR)

    assert found.level.value == level


@pytest.mark.parametrize(
    ("in_use", "limit", "level"),
    [(20, None, "ok"), (91, None, "ok"), (92, None, "warning"), (0, 6, "ok"), (0, 5, "problem")],
)
def test_the_pool_and_one_more_must_find_room(in_use, limit, level):
    server = replace(SERVER, in_use=in_use, limit=limit)

    found = diagnosis.of_connections(server, pool_size=5, pooling=Pooling.NONE)

    assert found.level.value == level
    pooled = diagnosis.of_connections(server, pool_size=5, pooling=Pooling.TRANSACTION)
    assert pooled.level is Level.OK


@pytest.mark.parametrize(
    ("mode", "secret", "level"),
    [
        (0o600, True, "ok"),
        (0o640, True, "ok"),
        (0o644, False, "ok"),
        (0o644, True, "problem"),
        (0o660, True, "problem"),
        (0o622, False, "problem"),
    ],
)
def test_a_secret_is_for_its_owner_and_group_and_settings_are_for_the_owner_to_change(
    mode, secret, level
):
    assert diagnosis.of_file(SecretFile(Path("/x"), mode, 0, secret)).level.value == level


@pytest.mark.parametrize(
    ("mode", "closed", "level"),
    [
        (0o644, 0o007, "ok"),
        (0o666, 0o007, "problem"),  # its group can get in and change it
        (0o666, 0o077, "ok"),
        (0o644, 0o070, "problem"),
    ],
)
def test_what_a_folder_keeps_from_others_is_no_matter_of_the_file_s_own_mode(mode, closed, level):
    assert diagnosis.of_file(SecretFile(Path("/x"), mode, closed, True)).level.value == level


@pytest.mark.parametrize(
    ("free", "level"), [(5 * 2**30, "ok"), (500 * 2**20, "warning"), (2**20, "problem")]
)
def test_a_disk_is_told_before_it_is_full(free, level):
    assert diagnosis.of_place(Place(Path("/x"), "checkinsync", free)).level.value == level


@pytest.mark.parametrize(("days", "level"), [(1, "ok"), (4, "warning"), (None, None)])
def test_a_dump_that_is_too_old_is_told(days, level):
    at = None if days is None else NOW - timedelta(days=days)

    found = diagnosis.of_dumps(Place(Path("/x"), "checkinsync", 2**40, at), now=NOW)

    assert (found and found.level.value) == level


def last_run(hours: float, outcome: str, *, at_work: bool = False):
    started = NOW - timedelta(hours=hours)
    run = RunRecord(7, started, None, "host", 0, 0, 0, 0, 0, 0, 0, 0, outcome)
    return nights.of_last_run(run, now=NOW, at_work=at_work)


@pytest.mark.parametrize(
    ("hours", "outcome", "level", "age"),
    [
        (0.5, "ok", "ok", "less than 1 h"),
        (3, "partial", "warning", "3 h"),
        (30, "ok", "warning", "30 h"),
        (75, "ok", "warning", "3 days"),
    ],
)
def test_a_run_is_told_by_its_age_and_its_end(hours, outcome, level, age):
    found = last_run(hours, outcome)

    assert found.level.value == level
    assert f"{age} ago" in found.says


def test_a_run_whose_process_died_is_not_said_to_be_running():
    alive, dead = last_run(3, "running", at_work=True), last_run(3, "running")

    assert (alive.level, dead.level) == (Level.OK, Level.WARNING)
    assert alive.says.endswith("running")
    assert dead.says.endswith("killed")


def test_a_run_that_began_in_the_future_is_not_a_run_of_lately():
    found = last_run(-3, "ok")

    assert found.level is Level.WARNING
    assert found.says == "run 7 on host began at 2026-03-01 05:00 UTC, which is in the future"


def test_a_token_of_another_foursquare_user_is_a_problem():
    user = User(7, "123", "Ada", None)

    assert diagnosis.of_owner(user, Profile("123", "Ada L.", None)).level is Level.OK
    wrong = diagnosis.of_owner(user, Profile("9", None, None))
    assert "belongs to Foursquare user 9, not to Foursquare user 123" in wrong.says
    assert wrong.exit_code == 4


def test_the_worst_problem_says_how_to_exit():
    def code(*codes: int) -> int:
        return finding.worst([finding.problem("x", "", exit_code=each) for each in codes])

    assert finding.worst([finding.ok("x", ""), finding.warning("x", "")]) == 0
    assert code(4, 6, 69, 78) == 78
    assert code(4, 6, 69) == 69
    assert code(2, 4, 6) == 6
    assert code(5, 4) == 4
    assert code(5) == 5
    assert finding.of_error("x", AtWork("busy")).exit_code == 75
