"""Results of verifications, as text and as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from checkinsync.cli.render.table import many, moment, table
from checkinsync.cli.terminal import iso
from checkinsync.errors import sentence
from checkinsync.model.user import one_line
from checkinsync.verify.result import Deletions, Finding, Kind, Unfinished, VerificationResult

MOST = 50
"""Lines of one kind in text; JSON has them all."""

WIDEST = 40
"""Characters of a month's bar."""

HEADS = {
    Kind.MISSING: "missing: Foursquare shows them, and they are not stored",
    Kind.DIFFERENT: "different: stored otherwise than Foursquare shows them",
    Kind.EXTRA: "extra: stored, and Foursquare no longer shows them",
}


def as_text(proof: VerificationResult) -> str:
    """All differences, by kind and by month, and one sentence of verdict."""
    parts = [_kind(proof, kind) for kind in Kind]
    parts += [_nameless(proof), _months(proof), _asked(proof.deletions), verdict(proof)]
    return "\n\n".join(part for part in parts if part)


def in_one_line(result: VerificationResult | Unfinished) -> str:
    """The verdict, or the reason why there is none."""
    return verdict(result) if isinstance(result, VerificationResult) else unfinished(result)


def verdict(proof: VerificationResult) -> str:
    """One sentence: complete, or what is left to be done, and how."""
    facts = (
        f"{proof.user}: Foursquare shows {proof.shown} check-ins{_told(proof)}, "
        f"{proof.stored} are stored"
    )
    closed = [finding for finding in proof.findings if finding.closed]
    done = f" ({_counts(closed)}: repaired or on the way)" if closed else ""
    if proof.complete and proof.unreadable:
        return f"{facts}. Complete but for {_unreadable(proof)}{done}."
    if proof.complete:
        return f"{facts}. Complete: each of them is here, once{done}."
    but = f", besides {_unreadable(proof)}" if proof.unreadable else ""
    return f"{facts}. Not complete: {_counts(proof.open)}{but}{done}; {_what_to_do(proof)}."


def _unreadable(proof: VerificationResult) -> str:
    return (
        f"{many(proof.unreadable, 'check-in')} that can't be read or stored "
        f"(`checkinsync quarantine {proof.user.id}` lists what imports have met)"
    )


def _told(proof: VerificationResult) -> str:
    if proof.reported_total is None or proof.reported_total == proof.shown:
        return ""
    return f" (and counts {proof.reported_total}; not all that it counts can be fetched)"


def _counts(findings: Sequence[Finding]) -> str:
    counted = [(sum(f.kind is kind for f in findings), kind.value) for kind in Kind]
    return ", ".join(f"{count} {kind}" for count, kind in counted if count)


def _asked(deletions: Deletions | None) -> str:
    """The result of an operator's word on deletions; empty where there was nothing to ask about."""
    if deletions is None or not (deletions.deleted or deletions.there or deletions.waiting):
        return ""
    left = f", since {deletions.refusal}" if deletions.refusal else ""
    return (
        f"deletions: {deletions.deleted} confirmed, {deletions.there} refuted, "
        f"{deletions.waiting} wait{left}"
    )


def _what_to_do(proof: VerificationResult) -> str:
    command = f"`checkinsync verify {proof.user.id} --repair"
    if proof.deletions is not None:
        return f"{command} --accept-deletions` tries again"
    if all(finding.kind is Kind.EXTRA for finding in proof.open):
        return (
            f"if they were deleted there, {command} --accept-deletions` asks Foursquare about "
            f"each; {command}` looks for them again in the next nights"
        )
    return f"{command}` closes the gap"


def _kind(proof: VerificationResult, kind: Kind) -> str:
    found = [finding for finding in proof.findings if finding.kind is kind]
    if not found:
        return ""
    rows = [
        (moment(finding.created_at), finding.foursquare_id, _detail(finding))
        for finding in found[:MOST]
    ]
    return "\n".join([f"{HEADS[kind]} ({len(found)})", _lines(rows), *_more(len(found))])


def _detail(finding: Finding) -> str:
    repaired = finding.closed and finding.kind is not Kind.EXTRA
    return f"{finding.detail}; repaired" if repaired else finding.detail


def _nameless(proof: VerificationResult) -> str:
    found = proof.nameless
    if not found:
        return ""
    head = (
        "without an id: stored by the application, and Foursquare shows none that matches "
        f"({len(found)})"
    )
    rows = [(moment(row.created_at), f"row {row.row}", row.venue_name) for row in found[:MOST]]
    return "\n".join([head, _lines(rows), *_more(len(found))])


def _lines(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("  " + one_line("  ".join(row)) for row in rows)


def _more(count: int) -> list[str]:
    return [f"  … and {count - MOST} more; --json has them all"] if count > MOST else []


def _months(proof: VerificationResult) -> str:
    """A histogram of the differences."""
    months = proof.by_month
    if not months:
        return ""
    most = max(counted.total() for _, counted in months)
    head = ("month", *(kind.value for kind in Kind), "")
    rows = [
        (
            month,
            *(counted[kind] for kind in Kind),
            "#" * max(1, round(counted.total() / most * min(WIDEST, most))),
        )
        for month, counted in months
    ]
    return table(head, rows)


def unfinished(result: Unfinished) -> str:
    """The point that was reached; never a verdict."""
    if not result.seen:
        return f"{result.user}: not verified: {sentence(result.error)}"
    down_to = f", down to {moment(result.down_to)} UTC" if result.down_to else ""
    asked = f"; {_asked(result.deletions)}" if _asked(result.deletions) else ""
    return (
        f"{result.user}: no verdict yet: {sentence(result.error)}. {result.seen} check-ins were "
        f"compared{down_to}{asked}; `checkinsync verify {result.user.id}{result.options}` goes on "
        "from there"
    )


def as_json(results: Sequence[VerificationResult | Unfinished]) -> dict[str, Any]:
    """The results of several users."""
    return {"users": [one(result) for result in results]}


def one(result: VerificationResult | Unfinished) -> dict[str, Any]:
    """The result of one user: `verdict` is `complete`, `gap`, or None if it came to none."""
    about = {
        "id": result.user.id,
        "foursquare_user_id": result.user.foursquare_user_id,
        "name": result.user.name,
    }
    if isinstance(result, Unfinished):
        return about | {
            "verdict": None,
            "reason": sentence(result.error),
            "compared": result.seen,
            "down_to": iso(result.down_to),
            "deletions": _deletions(result),
        }
    return about | {
        "verdict": "complete" if result.complete else "gap",
        "started_at": iso(result.started_at),
        "finished_at": iso(result.finished_at),
        "shown": result.shown,
        "told": result.reported_total,
        "stored": result.stored,
        "unreadable": result.unreadable,
        "requests": result.requests,
        "deletions": _deletions(result),
        **{kind.value: _findings(result, kind) for kind in Kind},
        "without_id": [
            {"row": row.row, "created_at": iso(row.created_at), "venue_name": row.venue_name}
            for row in result.nameless
        ],
        "months": [
            {"month": month, **{kind.value: counted[kind] for kind in Kind}}
            for month, counted in result.by_month
        ],
    }


def _deletions(result: VerificationResult | Unfinished) -> dict[str, Any] | None:
    return None if result.deletions is None else asdict(result.deletions)


def _findings(proof: VerificationResult, kind: Kind) -> list[dict[str, Any]]:
    return [
        {
            "foursquare_id": finding.foursquare_id,
            "created_at": iso(finding.created_at),
            "detail": finding.detail,
            "closed": finding.closed,
        }
        for finding in proof.findings
        if finding.kind is kind
    ]
