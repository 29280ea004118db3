"""Exit codes that the events of a night explain, and what the logs report."""

from __future__ import annotations

import json

from drill.play import Ended, Played

WRONG = ("no_endpoint",)
"""Faults that call our request wrong: they explain exit code 1, too."""
AUTHENTICATION = ("not_authorized", "invalid_auth")
REFUSED = {3, 4, 69}
"""Exit codes if tokens are refused; 69 if so many are that the program suspects itself."""
FULL = "psycopg.errors.DiskFull"
CODES = {"ok": 0, "partial": 3, "rate_limited": 5, "quota": 5, "away": 69, "suspect": 69}
KILLED = -9
TERMINATED = 143


def allowed_codes(played: Played, ended: Ended) -> set[int]:
    """Return the exit codes that the events of the night explain."""
    night = played.night
    allowed = {0}
    if any(fault.kind in AUTHENTICATION for fault in night.faults):
        allowed |= REFUSED
    if ended.clean:
        return allowed
    if night.faults or night.hourly_limit < 500 or night.daily_quota is not None:
        allowed |= {3, 5, 69}
    if any(fault.kind in WRONG for fault in night.faults):
        allowed |= {1}
    if night.amidst:
        allowed |= {3}  # a list that shifts too often
    deed = night.strike.deed
    if deed == "kill":
        allowed |= {KILLED}
    elif deed == "ask to stop":
        allowed |= {TERMINATED, -15}
    elif deed == "sleep beyond the lease":
        allowed |= {69, 75}  # of `import-user`; 69 if its session was ended, too
    elif deed != "none":
        allowed |= {3, 69}
    if night.beside:
        allowed |= {75}
    return allowed


def traces(ended: Ended) -> list[str]:
    """Return the lines about unexpected errors."""
    return [line for line in (ended.said + ended.log).splitlines() if "Traceback" in line]


def outcome_of(ended: Ended) -> str | None:
    """Return the outcome that a run has logged."""
    for line in reversed(ended.log.splitlines()):
        try:
            record = json.loads(line)
        except ValueError:  # a line cut off by a kill
            continue
        if record.get("event") == "run_finished":
            return str(record.get("outcome"))
    return None
