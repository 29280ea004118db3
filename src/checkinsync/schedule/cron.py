"""The schedule as lines of a crontab, between two marks; all other lines stay as they are."""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from checkinsync.errors import ScheduleRefused
from checkinsync.schedule import parts
from checkinsync.schedule.installation import Installation
from checkinsync.schedule.parts import BEGIN, END, Part
from checkinsync.schedule.programs import refusal, run, run_or_refuse

BLOCK = re.compile(rf"^{BEGIN}.*?^{END}$\n?", re.MULTILINE | re.DOTALL)

LOGROTATE = Path("/etc/logrotate.d/checkinsync")

NONE_YET = re.compile(r"no crontab for|can't open .* No such file", re.DOTALL)
"""What the usual crons and busybox say of an account without a crontab."""


@dataclass(frozen=True, slots=True)
class Cron:
    """The lines in one account's crontab."""

    name = "cron"
    installation: Installation
    logrotate: Path = field(default_factory=lambda: LOGROTATE)

    @property
    def _command(self) -> tuple[str, ...]:
        """The program that reads and writes the crontab."""
        mine = pwd.getpwuid(os.geteuid()).pw_name == self.installation.account
        return ("crontab",) if mine else ("crontab", "-u", self.installation.account)

    def parts(self) -> list[Part]:
        """Return the lines, and for root's log file the rotation. Raises ScheduleRefused."""
        there = "".join(BLOCK.findall(self._read())) if shutil.which("crontab") else ""
        lines = Part(" ".join(self._command), self.installation.crontab(), there or None)
        if not self._rotates:
            return [lines]
        return [lines, parts.file(self.logrotate, self.installation.logrotate())]

    @property
    def _rotates(self) -> bool:
        return os.geteuid() == 0 and self.logrotate.parent.is_dir()

    def install(self) -> Iterator[str]:
        """Put our lines at the end of the crontab; yield what was changed. Raises ScheduleRefused.

        At the end, so that their variables hold for no line of others'.
        """
        before = self._read()
        lines, *files = self.parts()
        self._make_log_folder()
        others = _without_block(before)
        if others and not others.endswith("\n"):
            others += "\n"
        if others + lines.text != before:
            run_or_refuse(*self._command, "-", given=others + lines.text)
            yield f"wrote the lines of `{lines.place}`"
        yield from (f"wrote {part.place}" for part in files if parts.write(part))

    def remove(self) -> Iterator[str]:
        """Take our lines away; yield what was changed. Raises ScheduleRefused."""
        if shutil.which("crontab"):
            before = self._read()
            others = _without_block(before)
            if others != before:
                run_or_refuse(*self._command, "-", given=others)
                yield f"removed the lines of `{' '.join(self._command)}`"
        if self._rotates and parts.remove(parts.file(self.logrotate, "")):
            yield f"removed {self.logrotate}"

    def notices(self) -> Iterator[str]:
        """Yield what an operator should know of the crontab."""
        others = _without_block(self._read()).splitlines()
        if any("checkinsync" in line and not line.lstrip().startswith("#") for line in others):
            yield (
                "other lines of the crontab start checkinsync, too: take them out, or it runs twice"
            )

    def _read(self) -> str:
        """Return the crontab. Raises ScheduleRefused, so that none is overwritten unread."""
        command = (*self._command, "-l")
        done = run(*command)
        if done.returncode == 0:
            return done.stdout
        if NONE_YET.search(done.stderr):
            return ""
        raise refusal(command, done)

    def _make_log_folder(self) -> None:
        folder = self.installation.log_file.parent
        if folder.is_dir():
            return
        try:
            folder.mkdir(mode=0o750, parents=True)
            if os.geteuid() == 0:
                shutil.chown(folder, self.installation.account, self.installation.group)
        except OSError as error:
            raise ScheduleRefused(f"{folder} can't be made ({error.strerror})") from None


def _without_block(crontab: str) -> str:
    rest = BLOCK.sub("", crontab)
    if re.search(rf"^({BEGIN}|{END}$)", rest, re.MULTILINE):
        raise ScheduleRefused(
            "the crontab has only one of the two marks around checkinsync's lines, BEGIN and END; "
            "remove these lines by hand (`crontab -e`)"
        )
    return rest
