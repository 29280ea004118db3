"""A diagnosis, as text and as JSON values."""

from __future__ import annotations

from typing import Any

from checkinsync.doctor.checks import Report
from checkinsync.doctor.findings import Finding, Level
from checkinsync.model.user import one_line

WIDTH = max(len(level.value) for level in Level)


def report_text(report: Report) -> str:
    """Two lines at most for each finding: what was found, what to do; then how many of each."""
    lines = [line for finding in report.findings for line in _lines(finding)]
    return "\n".join([*lines, "", _in_one_line(report)])


def _lines(finding: Finding) -> list[str]:
    lines = [f"{finding.level.value:<{WIDTH}}  {finding.check}: {one_line(finding.says)}"]
    if finding.advice:
        lines.append(f"{'':<{WIDTH}}  -> {one_line(finding.advice)}")
    return lines


def _in_one_line(report: Report) -> str:
    counts = {level: sum(f.level is level for f in report.findings) for level in Level}
    problems, warnings = counts[Level.PROBLEM], counts[Level.WARNING]
    if not problems and not warnings:
        return "all is well"
    return f"{_many(problems, 'problem')}, {_many(warnings, 'warning')}"


def _many(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def report_json(report: Report) -> dict[str, Any]:
    """Each finding; each key by its fingerprint; whose token no key opens."""
    usage = report.usage
    return {
        "exit_code": report.exit_code,
        "findings": [
            {
                "check": finding.check,
                "level": finding.level.value,
                "message": finding.says,
                "advice": finding.advice,
                "exit_code": finding.exit_code,
            }
            for finding in report.findings
        ],
        "keys": [
            {
                "fingerprint": key.fingerprint,
                "seals": number == 0,
                "opens": None if usage is None else len(usage.decrypted[number]),
            }
            for number, key in enumerate(report.keys)
        ],
        "unreadable": None if usage is None else [user.id for user in usage.unreadable],
    }
