"""The schedule as text and as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkinsync.schedule.cron import Cron
from checkinsync.schedule.parts import OWN
from checkinsync.schedule.systemd import Systemd

Kind = Cron | Systemd


def parts_text(kind: Kind, notices: Sequence[str]) -> str:
    """Each part below a line that says where it goes and what is there."""
    texts = [f"# === {part.place} ({part.state.value}) ===\n\n{part.text}" for part in kind.parts()]
    return "\n".join([*texts, *(f"# note: {notice}" for notice in notices)]).rstrip("\n")


def parts_json(kind: Kind, others: Sequence[Kind], notices: Sequence[str]) -> dict[str, Any]:
    """The same for programs, and which kinds are installed."""
    return {
        "kind": kind.name,
        "account": kind.installation.account,
        "installed": [
            each.name for each in (kind, *others) if any(part.state in OWN for part in each.parts())
        ],
        "parts": [
            {"place": part.place, "state": part.state.name.lower(), "text": part.text}
            for part in kind.parts()
        ],
        "notices": list(notices),
    }
