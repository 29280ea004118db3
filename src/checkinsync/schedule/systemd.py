"""The schedule as a timer of systemd: the machine's, or that of a user's own manager."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from checkinsync.schedule import parts
from checkinsync.schedule.installation import Installation
from checkinsync.schedule.parts import Part
from checkinsync.schedule.programs import refusal, run

SYSTEM = Path("/etc/systemd/system")
BOOTED = Path("/run/systemd/system")
"""It is there if systemd runs this machine. Source: sd_booted(3)."""
LINGER = Path("/var/lib/systemd/linger")
"""A file for each user whose manager runs while they are not logged in."""
TIMER = "checkinsync.timer"

NO_BUS = (
    ". The manager of a user is there only where they logged in by themselves, not by su or "
    "runuser; or use --cron"
)


def is_booted() -> bool:
    """Return True if systemd runs this machine."""
    return BOOTED.is_dir()


@dataclass(frozen=True, slots=True)
class Systemd:
    """The service and its timer in a folder of units."""

    installation: Installation
    folder: Path = SYSTEM
    own: bool = False
    """True: for the manager of the user who runs this."""

    @property
    def name(self) -> str:
        """Return the kind of schedule as the options have it."""
        return "user" if self.own else "systemd"

    @property
    def _systemctl(self) -> tuple[str, ...]:
        return ("systemctl", "--user") if self.own else ("systemctl",)

    def parts(self) -> list[Part]:
        """Return the two units. Raises ScheduleRefused."""
        installation = self.installation
        service = installation.user_service() if self.own else installation.system_service()
        return [
            parts.file(self.folder / "checkinsync.service", service),
            parts.file(self.folder / TIMER, installation.timer()),
        ]

    def install(self) -> Iterator[str]:
        """Write the units, start the timer; yield what was changed. Raises ScheduleRefused."""
        for part in self.parts():
            if parts.write(part):
                yield f"wrote {part.place}"
        if is_booted():
            self._do("daemon-reload")
            self._do("enable", "--now", TIMER)
        else:
            self._do("enable", TIMER)

    def remove(self) -> Iterator[str]:
        """Stop the timer, remove the units; yield what was changed. Raises ScheduleRefused."""
        there = [part for part in self.parts() if part.state in parts.OWN]
        if not there:
            return
        self._do("disable", *(["--now"] if is_booted() else []), TIMER)
        for part in there:
            if parts.remove(part):
                yield f"removed {part.place}"
        if is_booted():
            self._do("daemon-reload")

    def notices(self) -> Iterator[str]:
        """Yield what an operator should know of the timer."""
        if not is_booted():
            yield "systemd does not run this machine now; the timer starts with it"
        if self.own and not (LINGER / self.installation.account).exists():
            yield (
                "the timer runs only while you are logged in, unless lingering is on: "
                "`loginctl enable-linger`"
            )

    def _do(self, *words: str) -> None:
        command = (*self._systemctl, *words)
        done = run(*command)
        if done.returncode:
            raise refusal(command, done, NO_BUS if self.own else "")
