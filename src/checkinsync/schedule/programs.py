"""Runs crontab and systemctl; what they refuse becomes a sentence."""

from __future__ import annotations

import subprocess

from checkinsync.errors import ScheduleRefused

AS_IT_IS = ("utf-8", "surrogateescape")


def run(*command: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program with this on standard input. Raises ScheduleRefused if it is not there.

    Other people's lines come back as they were, whatever their encoding and ends of lines are.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            command, input=given.encode(*AS_IT_IS), capture_output=True, check=False
        )
    except OSError as error:
        raise ScheduleRefused(
            f"{command[0]} can't be run ({error.strerror}); install it, or choose another kind of "
            "schedule (--cron, --systemd, --user)"
        ) from None
    out, err = done.stdout.decode(*AS_IT_IS), done.stderr.decode(*AS_IT_IS)
    return subprocess.CompletedProcess(command, done.returncode, out, err)


def run_or_refuse(*command: str, given: str) -> str:
    """Return its output. Raises ScheduleRefused with the program's own words."""
    done = run(*command, given=given)
    if done.returncode:
        raise refusal(command, done)
    return done.stdout


def refusal(
    command: tuple[str, ...], done: subprocess.CompletedProcess[str], advice: str = ""
) -> ScheduleRefused:
    """Return the error for a program that failed."""
    why = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
    return ScheduleRefused(f"`{' '.join(command)}` failed: {why}{advice}")
