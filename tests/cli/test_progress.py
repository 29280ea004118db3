"""Progress on a terminal: who is next, people by name, and one console with the log."""

from __future__ import annotations

import io
import logging
import re
from datetime import timedelta

from rich.console import Console
from rich.progress import Progress

from checkinsync.cli.progress import _RunWatcher
from checkinsync.simulator.faults import Fault
from support.factories import NOW
from support.stories import Story
from support.terminal import on_terminal, shown

CHECKINS = "users/self/checkins"
TIME = r"\d{2}:\d{2}:\d{2}"


# --- on a terminal --------------------------------------------------------------------------------


def test_a_waiting_run_shows_who_is_next_and_when_and_names_people(story: Story):
    story.person("Ada", 3)
    story.person("Hiro Sato", 3)

    with shown(story, "orchestrate", "--stagger", "4s") as screen:
        code = screen.ended()

    assert code == 0
    assert re.search(rf"next: user 2 \(Hiro Sato\) at {TIME}, in [1-4] s", screen.text)
    assert re.search(rf"{TIME}  user 1 \(Ada\)  started", screen.text)
    assert re.search(rf"{TIME}  user 2 \(Hiro Sato\)  done: 3 new", screen.text)
    assert "2/2" in screen.text


LOGGED = re.compile(r"\d{4}-\d{2}-\d{2}T\S+Z INFO \w+ .*user_id=\d.*")


def test_the_log_and_the_bars_share_one_console(story: Story):
    story.people(600, 300)

    run = on_terminal(story, "-v", "orchestrate", "--stagger", "1s")
    by_hand = on_terminal(story, "-v", "import-user", "1", "--full")
    proof = on_terminal(story, "-v", "verify", "2")

    for screen in (run, by_hand, proof):
        logged = LOGGED.findall(screen.text)
        assert logged
        assert "━" in screen.text, "there is a bar"
        assert [line for line in screen.left if LOGGED.fullmatch(line)] == logged, "none is torn"
        assert not [line for line in screen.left if "━" in line], "the bars are gone"
    assert "INFO page_stored" in run.text
    assert not re.search(rf"{TIME}  user 1", run.text), "each event is shown once"


def test_quiet_shows_no_bars(story: Story):
    story.people(3)

    assert "━" not in on_terminal(story, "-q", "orchestrate").text
    assert "━" not in on_terminal(story, "-q", "import-user", "1").text


def test_a_warning_of_an_import_that_waits_stands_above_its_bar(story: Story):
    story.person("Ada", 600)
    story.simulator.fail(Fault("rate_limit_exceeded", path=CHECKINS, nth=2, seconds=2))

    screen = on_terminal(story, "import-user", "--wait")

    assert screen.ended() == 0
    assert re.search(r"(\n|\x1b\[2K)\d{4}-\S+Z WARNING this user's requests", screen.raw)


# --- the events of a run --------------------------------------------------------------------------


def watching(*, lines: bool = False) -> _RunWatcher:
    watcher = _RunWatcher({3: "user 3 (Hiro Sato)"})
    bars = Progress(console=Console(file=io.StringIO()))
    watcher.begin(bars, lines=lines)
    return watcher


def tell(watcher: _RunWatcher, event: str, **fields: object) -> None:
    watcher.handle(logging.makeLogRecord({"msg": event, **fields}))


def scheduled(watcher: _RunWatcher, **at: int) -> None:
    for user, seconds in at.items():
        start = NOW + timedelta(seconds=seconds)
        tell(watcher, "user_scheduled", user_id=int(user[1:]), start=start.isoformat())


def ended(watcher: _RunWatcher) -> int:
    return int(watcher._bars.tasks[0].completed)


def test_the_next_is_whoever_comes_first_a_retry_too():
    watcher = watching()
    scheduled(watcher, u1=0, u3=40, u4=80)
    tell(watcher, "import_started", user_id=1)

    assert watcher.next_line(NOW) == "next: user 3 (Hiro Sato) at 02:00:40, in 40 s"
    assert watcher.next_line(NOW + timedelta(seconds=50)) == (
        "next: user 3 (Hiro Sato), as soon as a worker is free"
    )
    retry = (NOW + timedelta(seconds=20)).isoformat()
    tell(watcher, "retry_scheduled", user_id=1, at=retry, reason="x")
    assert watcher.next_line(NOW) == "next: user 1 at 02:00:20, in 20 s"
    tell(watcher, "import_started", user_id=1)
    tell(watcher, "import_started", user_id=3)
    assert watcher.next_line(NOW) == "next: user 4 at 02:01:20, in 80 s"
    tell(watcher, "import_started", user_id=4)
    assert watcher.next_line(NOW) == ""


def test_a_long_wait_is_told_in_minutes_or_hours():
    watcher = watching()
    scheduled(watcher, u1=240)
    assert watcher.next_line(NOW).endswith("in 4 min")
    assert watcher.next_line(NOW - timedelta(hours=3)).endswith("in 3 h")


def test_a_pause_is_told_and_moves_the_starts_that_wait():
    watcher = watching()
    scheduled(watcher, u3=40)
    retry = (NOW + timedelta(seconds=60)).isoformat()
    tell(watcher, "retry_scheduled", user_id=1, at=retry)
    tell(watcher, "run_paused", service="Foursquare")

    assert watcher.next_line(NOW) == "paused, 2 users wait: Foursquare does not answer"
    tell(watcher, "run_resumed", paused_seconds=120)
    assert watcher.next_line(NOW).startswith("next: user 1 at 02:01:00")
    tell(watcher, "import_started", user_id=1)
    assert watcher.next_line(NOW).startswith("next: user 3 (Hiro Sato) at 02:02:40")


def test_the_bar_counts_whoever_has_ended_however():
    watcher = watching()
    tell(watcher, "users_found", due=4)
    scheduled(watcher, u1=0, u2=0, u3=0, u4=0)
    for user in (1, 2, 3):
        tell(watcher, "import_started", user_id=user)
    tell(watcher, "import_finished", user_id=1)
    tell(watcher, "import_failed", user_id=2, reason="x")
    tell(watcher, "import_failed", user_id=3, reason="x")
    assert ended(watcher) == 3
    tell(watcher, "retry_scheduled", user_id=2, at=NOW.isoformat(), reason="x")
    assert ended(watcher) == 2
    tell(watcher, "user_skipped", user_id=4, reason="the deadline came")
    tell(watcher, "user_skipped", user_id=9, reason="paused")
    assert ended(watcher) == 3
    assert watcher._bars.tasks[0].total == 4
