"""The schedule as text and as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkinsync.schedule.cron import Cron
from checkinsync.schedule.parts import Part
from checkinsync.schedule.systemd import Systemd


def parts_text(parts: Sequence[Part], notices: Sequence[str]) -> str:
    """Each part below a line that says where it goes and what is there."""
    texts = [f"# === {part.place} ({part.state.value}) ===\n\n{part.text}" for part in parts]
    return "\n".join([*texts, *(f"# note: {notice}" for notice in notices)]).rstrip("\n")


def parts_json(
    kind: Cron | Systemd, parts: Sequence[Part], notices: Sequence[str]
) -> dict[str, Any]:
    """The same for programs."""
    return {
        "kind": kind.name,
        "account": kind.installation.account,
        "parts": [
            {"place": part.place, "state": part.state.name.lower(), "text": part.text}
            for part in parts
        ],
        "notices": list(notices),
    }
