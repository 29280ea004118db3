"""The metrics of a run, and that rules and dashboard name no others."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from checkinsync.model.changes import Saved
from checkinsync.notify import queries
from checkinsync.notify.metrics import exposition
from checkinsync.store.pool import transaction
from checkinsync.sync.outcome import UserReport
from support.environment import add_users
from support.factories import NOW
from support.stories import QUIET, Story
from support.summaries import FINE, ODD, summary, user

CONTRIB = Path(__file__).parents[2] / "contrib"
RULES = CONTRIB / "alerts.yml"
TABLE = CONTRIB.parent / "docs" / "monitoring.md"
DASHBOARD = CONTRIB / "grafana-dashboard.json"


def values(text: str) -> dict[str, float]:
    """Each sample by its name and labels: `checkinsync_users{state=ok}`."""
    return {
        sample.name + "".join(f"{{{k}={v}}}" for k, v in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def state(pool):
    def state() -> queries.State:
        with transaction(pool) as conn:
            return queries.state(conn, at=NOW, days=30)

    return state


def test_the_metrics_say_what_a_run_did():
    imported = UserReport(user(1), FINE, 1, Saved(new=4, gone=1))
    failed = UserReport(user(2), ODD, 4, Saved())
    run = summary(outcome="partial", exit_code=3, reports=(imported, failed))

    found = values(exposition(run, None).decode())

    assert found["checkinsync_last_run_timestamp_seconds"] == (
        NOW + timedelta(hours=1)
    ).timestamp()  # fmt: skip
    assert found["checkinsync_last_run_exit_code"] == 3
    assert found["checkinsync_last_run_duration_seconds"] == 3600
    assert found["checkinsync_last_run_users{result=failed}"] == 1
    assert found["checkinsync_last_run_checkins{change=new}"] == 4
    assert found["checkinsync_last_run_checkins{change=deleted}"] == 1
    assert found["checkinsync_last_run_requests"] == 9
    assert found["checkinsync_last_run_retries"] == 3
    assert "checkinsync_quarantined_checkins" not in found


def test_the_metrics_say_how_the_users_are(conn, run, state):
    one, two, three = add_users(conn, 3)
    summary = run()
    conn.execute(
        "INSERT INTO sync_state (user_id, last_checked_at) VALUES (%s, %s), (%s, %s)",
        [one, NOW, two, NOW - timedelta(days=3)],
    )
    conn.execute("UPDATE users SET access_token_encrypted = NULL WHERE id = %s", [three])
    conn.execute(
        """
        INSERT INTO verified_spans (user_id, newest, verified_at)
        VALUES (%s, 'infinity', %s), (%s, 'infinity', %s), (%s, 'infinity', %s)
        """,
        [one, NOW, two, NOW - timedelta(days=9), three, NOW - timedelta(days=99)],
    )

    found = values(exposition(summary, state()).decode())

    assert found["checkinsync_users{state=ok}"] == 1
    assert found["checkinsync_users{state=stale}"] == 1
    assert found["checkinsync_users{state=paused}"] == 0
    assert found["checkinsync_tokens_to_renew"] == 1
    assert found["checkinsync_oldest_comparison_timestamp_seconds"] == (
        NOW - timedelta(days=9)
    ).timestamp()  # fmt: skip
    assert found["checkinsync_last_success_timestamp_seconds"] == summary.finished_at.timestamp()
    assert 1 <= found["checkinsync_server_sessions"] < found["checkinsync_server_sessions_max"]


def test_the_last_success_is_the_last_run_that_was_not_in_trouble(conn, run, state, clock):
    add_users(conn, 1)
    good = run()
    clock.at += timedelta(days=1)
    run()
    conn.execute("UPDATE sync_runs SET outcome = 'away' WHERE id = 2")

    assert state().last_success == good.finished_at


# --- written by a night ---------------------------------------------------------------------------


def test_a_night_replaces_the_file_with_every_metric_that_is_used_anywhere(
    story: Story, tmp_path: Path
):
    story.people(3, 2)
    story.conn.execute("UPDATE users SET last_login_at = now() AT TIME ZONE 'UTC'")
    path = tmp_path / "checkinsync.prom"
    path.write_text("old")

    assert story.run("orchestrate", metrics_file=str(path)) == QUIET

    text = path.read_text()
    names = {re.sub(r"\{.*", "", name) for name in values(text)}
    used = {name for file in (RULES, DASHBOARD) for name in named(file.read_text())}
    assert used <= names
    assert named(TABLE.read_text()) == names
    assert values(text)["checkinsync_last_run_checkins{change=new}"] == 5
    assert not [word for word in ("Ada", "Ben") if word in text]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [file.name for file in tmp_path.glob("*prom*")] == ["checkinsync.prom"]
    check(["check", "metrics"], given=text)


def named(text: str) -> set[str]:
    """The metrics that rules or a dashboard name."""
    return set(re.findall(r"checkinsync_[a-z_]+", text))


def test_a_file_that_cannot_be_written_is_said_and_changes_no_exit_code(
    story: Story, tmp_path: Path
):
    story.people(3)

    night = story.run("orchestrate", metrics_file=str(tmp_path / "none" / "checkinsync.prom"))

    assert night.code == 0
    assert "WARNING file_not_written" in night.err
    assert "can't be written (No such file or directory)" in night.err


# --- rules and dashboard --------------------------------------------------------------------------


def check(words: list[str], given: str | None = None) -> None:
    """Let Prometheus' own tool look at it, where there is one."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is missing (on Debian: apt-get install prometheus)")
    done = subprocess.run([tool, *words], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr.strip(), done.stderr


def test_promtool_accepts_the_rules():
    check(["check", "rules", str(RULES)])


def test_promtool_accepts_every_question_of_the_dashboard(tmp_path: Path):
    dashboard = json.loads(DASHBOARD.read_text())
    asked = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    rules = [{"record": f"question:{n}", "expr": expr} for n, expr in enumerate(asked)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))

    assert len(asked) > 12
    check(["check", "rules", str(file)])


def test_the_panels_of_the_dashboard_do_not_overlap():
    panels = [panel["gridPos"] for panel in json.loads(DASHBOARD.read_text())["panels"]]
    cells = [
        (x, y)
        for p in panels
        for x in range(p["x"], p["x"] + p["w"])
        for y in range(p["y"], p["y"] + p["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
