"""Exit codes that the events of a night explain, and what the logs report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

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
    if ended.words[0] == "worker":
        allowed |= {TERMINATED, -15}  # asked to stop before it had begun
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


def unseen_codes(ended: Ended) -> set[int]:
    """Return the codes of a process that did not see how its run ended: it was killed; or it only
    waited for workers, and was asked to stop, or could not reach the database."""
    waited = {TERMINATED, 69} if "--wait" in ended.words else set()
    return {KILLED, *waited}


def outcome_of(played: Played, ended: Ended) -> str | None:
    """Return the outcome of the run that a process began: its own log tells it, or a worker's."""
    runs = {e.get("run_id") for e in events(ended.log) if e.get("event") == "run_started"}
    found = [
        str(event.get("outcome"))
        for each in played.ended
        for event in events(each.log)
        if event.get("event") == "run_finished" and event.get("run_id") in runs
    ]
    return found[-1] if found else None


def events(log: str) -> Iterator[dict[str, object]]:
    """Yield the events of a log."""
    for line in log.splitlines():
        with suppress(ValueError):  # a line cut off by a kill
            yield json.loads(line)
