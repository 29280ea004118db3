"""How much is measured: all of it in about ten minutes, or the same in small in about one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Sizes and rounds."""

    name: str
    checkins: int
    """Of a first import beside its peers."""
    rounds: int
    """Of whatever is measured in turns; the medians count."""
    slowest: int
    """Check-ins for swarm-to-sqlite, which takes longest by far; its time is scaled up."""
    latency_checkins: int
    users: int
    """Of a night."""
    slice_users: int
    planned: int
    """Users of `--dry-run`."""
    shown: int
    """Users of `status`."""
    starts: int
    """Rounds of what only starts and ends."""
    histories: tuple[int, ...]
    nights: tuple[int, ...]
    """Sizes along which time and memory are drawn."""


FULL = Scale(
    "full", checkins=50_000, rounds=3, slowest=1_000, latency_checkins=10_000, users=10_000,
    slice_users=2_000, planned=1_000_000, shown=100_000, starts=9,
    histories=(10_000, 100_000, 500_000), nights=(1_000, 10_000, 100_000),
)  # fmt: skip
QUICK = Scale(
    "quick", checkins=5_000, rounds=1, slowest=100, latency_checkins=10_000, users=500,
    slice_users=500, planned=20_000, shown=5_000, starts=5,
    histories=(2_500, 10_000), nights=(100, 400),
)  # fmt: skip

LONGEST = 150.0
"""Seconds that a point of a curve may take; one that would take longer is left out, and named."""
