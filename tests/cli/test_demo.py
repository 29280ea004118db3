"""`checkinsync demo`: a whole run in a private database, whatever is set around it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.db

SURROUNDINGS = {
    "CHECKINSYNC_DATABASE_URL": "postgresql://u@127.0.0.1:1/none",
    "CHECKINSYNC_WORKERS": "nonsense",
    "PGHOST": "db.example.org",
    "PGSERVICE": "elsewhere",
    "PGOPTIONS": "-c search_path=elsewhere",
}


def test_the_demo_needs_no_settings_and_listens_to_none(home: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(sys.path), "HOME": str(home)}
    keep = home / "kept"

    shown = subprocess.run(
        [sys.executable, "-m", "checkinsync", "demo", "--keep", str(keep)],
        env=environ | SURROUNDINGS,
        capture_output=True,
        text=True,
        check=False,
    )

    made = f"checkinsync: made a new private database in {keep}"
    assert shown.returncode == 0, shown.stderr
    assert made in shown.stderr.splitlines()
    assert shown.stdout.endswith("\nEvery check-in that Foursquare shows is stored, once.\n")
    assert f"CHECKINSYNC_HOME={keep} checkinsync db shell" in shown.stdout
    assert "5 due, 4 synced, 1 failed" in shown.stdout
