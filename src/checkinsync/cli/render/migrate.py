"""The state of the migrations and the plan, as text and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC
from typing import Any

from checkinsync.cli.render.table import table
from checkinsync.cli.terminal import iso
from checkinsync.migrations.files import Applied, MigrationStatus
from checkinsync.migrations.locks import Footprint, Lock, Mode
from checkinsync.migrations.migrate import Plan, Step
from checkinsync.migrations.preflight import UNIQUE

NAMED = 5
"""Users named at most; the JSON has them all."""

INSTANT = 0.1
"""Seconds below which an estimate says nothing."""

WAITING = (
    "For a table that is in use it waits a quarter of a second, and tries again later, so that no",
    "query waits longer behind it. How long a file then takes is an estimate, by size.",
)


def status(standings: Sequence[MigrationStatus]) -> str:
    """Return a line per file: its name, its state, and when it was applied (UTC)."""
    rows = (
        (s.name, s.state.value, None if s.applied_at is None else s.applied_at.astimezone(UTC))
        for s in standings
    )
    return table(("migration", "state", "applied at (UTC)"), rows)


def status_json(standings: Sequence[MigrationStatus]) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "migrations": [
            {"name": s.name, "state": s.state.value, "applied_at": iso(s.applied_at)}
            for s in standings
        ]
    }


def plan(plan: Plan) -> str:
    """Return what is there, what is pending and who waits, then each file; all of it valid SQL."""
    head = [*_found(plan), *_refusals(plan), *_to_do(plan)]
    parts = ["\n".join(f"-- {line}".rstrip() for line in head)]
    if plan.steps:
        parts.append(f"SET search_path TO {plan.search_path};")
    parts += [f"-- {step.file.name}\n\n{step.file.text.rstrip()}" for step in plan.steps]
    return "\n\n".join(parts)


def _found(plan: Plan) -> list[str]:
    """Return the tables and what is wrong in them; nothing where none of them can be read."""
    found = plan.found
    if plan.refusals and not found.tables:
        return []
    if not found.tables:
        return [f"an empty database: everything goes into the schema {plan.schema}", ""]
    rows = ((t.name, t.rows, size(t.size)) for t in found.tables)
    lines = [
        f"Everything goes into the schema of the application's tables, {plan.schema}. It has:",
        "",
        *table(("table", "rows", "size"), rows).splitlines(),
        "",
        *(
            f"{name} is not the application's: it lacks its oldest columns"
            for name in found.strange
        ),
        f"absent of what the application should have: {', '.join(found.absent) or 'nothing'}",
    ]
    if UNIQUE in found.absent:
        lines += [f"  ({UNIQUE} is left to the application; all else is added)"]
    if not plan.refusals:
        lines += _counts_of(plan)
    return [
        *lines,
        f"checkins.location: {found.location or 'none'}; triggers on checkins: "
        f"{', '.join(found.triggers) or 'none'}",
        "",
    ]


def _counts_of(plan: Plan) -> list[str]:
    found = plan.found
    return [
        _by_user("imports that a crash left open for more than an hour", found.stale_jobs),
        _by_user("check-ins stored more than once (user, venue, second)", found.double_checkins),
        _by_user("photos stored more than once (check-in, address)", found.double_photos),
        _tokens(plan),
    ]


def _refusals(plan: Plan) -> list[str]:
    if not plan.refusals:
        return []
    reasons = (f"- {reason}" for reason in plan.refusals)
    return ["`checkinsync migrate` refuses to begin:", "", *reasons, ""]


def _by_user(what: str, rows: Mapping[int, int]) -> str:
    """Return a sum, and the users with the most."""
    most = sorted(rows, key=lambda user: (-rows[user], user))
    return f"{what}: {sum(rows.values())}{_named([f'{user} ({rows[user]})' for user in most])}"


def _named(users: Sequence[str]) -> str:
    more = f" and {len(users) - NAMED} more" if len(users) > NAMED else ""
    return f", of user {', '.join(users[:NAMED])}{more}" if users else ""


def _tokens(plan: Plan) -> str:
    stored = f"stored tokens: {len(plan.found.tokens)}"
    if plan.undecryptable is None:
        return f"{stored}, not tried: CHECKINSYNC_ENCRYPTION_KEY is not set"
    users = _named([str(user) for user in plan.undecryptable])
    return f"{stored}; that no key decrypts: {len(plan.undecryptable)}{users}"


def _to_do(plan: Plan) -> list[str]:
    if not plan.steps:
        return ["nothing is pending"]
    lines = ["Pending:", ""]
    lines += [line for step in plan.steps for line in _step(step, plan)]
    if any(step.footprint.locks for step in plan.steps):
        lines += ["", *WAITING]
    return lines


def _step(step: Step, plan: Plan) -> list[str]:
    """Return a file; below it each lock, on which tables, and who waits for it."""
    footprint = step.footprint
    if not footprint.locks:
        return [step.file.name]
    tables: dict[Mode, list[str]] = {}
    for lock in footprint.locks:
        tables.setdefault(lock.mode, []).append(lock.table)
    how = "one statement at a time, " if footprint.no_transaction else ""
    return [
        f"{step.file.name}: {how}{_long(footprint, plan)}",
        *(
            f"    locks {', '.join(names)} ({mode.value}): {_waits(mode)}"
            for mode, names in tables.items()
        ),
    ]


def _waits(mode: Mode) -> str:
    return "no query waits" if mode.waits == "nobody" else f"{mode.waits} wait"


def _long(footprint: Footprint, plan: Plan) -> str:
    seconds = footprint.seconds(plan.found.sizes)
    if seconds < INSTANT:
        return "an instant"
    return f"about {seconds:.1f} s"


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return the plan for programs; names are only ever added. What was not counted is null."""
    found = plan.found
    counts = {
        "stale_jobs": _counts(found.stale_jobs),
        "double_checkins": _counts(found.double_checkins),
        "double_photos": _counts(found.double_photos),
        "tokens": _tokens_json(plan),
    }
    return {
        "schema": plan.schema,
        "refusals": list(plan.refusals),
        "found": {
            "tables": [asdict(each) for each in found.tables],
            "strange": list(found.strange),
            "absent": list(found.absent),
            **(dict.fromkeys(counts) if plan.refusals else counts),
            "location": found.location,
            "triggers": list(found.triggers),
        },
        "pending": [_step_json(step, plan) for step in plan.steps],
    }


def _counts(rows: Mapping[int, int]) -> list[dict[str, int]]:
    return [{"user_id": user, "rows": count} for user, count in rows.items()]


def _tokens_json(plan: Plan) -> dict[str, Any]:
    unopened = None if plan.undecryptable is None else list(plan.undecryptable)
    return {"stored": len(plan.found.tokens), "unopened": unopened}


def _step_json(step: Step, plan: Plan) -> dict[str, Any]:
    footprint = step.footprint
    return {
        "name": step.file.name,
        "sha256": step.file.sha256,
        "transaction": not footprint.no_transaction,
        "locks": [_lock_json(lock) for lock in footprint.locks],
        "reads": list(footprint.reads),
        "seconds": round(footprint.seconds(plan.found.sizes), 3),
        "sql": step.file.text,
    }


def _lock_json(lock: Lock) -> dict[str, str]:
    return {"table": lock.table, "mode": lock.mode.value, "waits": lock.mode.waits}


def size(count: int) -> str:
    """Return a number of bytes as kB, MB or GB."""
    for unit, most in (("kB", 10**6), ("MB", 10**9)):
        if count < most:
            return f"{count / most * 1000:.0f} {unit}"
    return f"{count / 10**9:.1f} GB"


def applied(rows: Sequence[Applied]) -> str:
    """Return a line per file that was applied now."""
    if not rows:
        return "the schema is up to date"
    return "\n".join(f"{'recorded' if row.baseline else 'applied'} {row.name}" for row in rows)
