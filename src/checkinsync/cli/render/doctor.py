"""The findings of `doctor`, as text and as JSON values."""

from __future__ import annotations

from typing import Any

from checkinsync.cli.render.status import counts_text
from checkinsync.cli.render.table import coloured, many
from checkinsync.doctor.checks import Report
from checkinsync.doctor.findings import Finding, Level
from checkinsync.model.user import one_line

WIDTH = max(len(level.value) for level in Level)


def report_text(report: Report, *, colours: bool = False) -> str:
    """The users counted, two lines at most for each finding, then the findings counted."""
    counts = [] if report.users is None else [counts_text(report.users), ""]
    lines = [line for finding in report.findings for line in _lines(finding, colours=colours)]
    return "\n".join([*counts, *lines, "", _in_one_line(report)])


def _lines(finding: Finding, *, colours: bool) -> list[str]:
    level = f"{finding.level.value:<{WIDTH}}"
    lines = [f"{coloured(level) if colours else level}  {finding.check}: {one_line(finding.says)}"]
    if finding.advice:
        lines.append(f"{'':<{WIDTH}}  -> {one_line(finding.advice)}")
    return lines


def _in_one_line(report: Report) -> str:
    counts = {level: sum(f.level is level for f in report.findings) for level in Level}
    problems, warnings = counts[Level.PROBLEM], counts[Level.WARNING]
    if not problems and not warnings:
        return "all is well"
    return f"{many(problems, 'problem')}, {many(warnings, 'warning')}"


def report_json(report: Report) -> dict[str, Any]:
    """Each finding; each key by its fingerprint; the users whose token no key decrypts."""
    usage = report.usage
    return {
        "exit_code": report.exit_code,
        "users": report.users,
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
