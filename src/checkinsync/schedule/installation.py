"""How the program is started on this machine, and the texts of the schedule for it."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from string import Template

from checkinsync.errors import ScheduleRefused

VAR_LIB = Path("/var/lib/checkinsync")
VAR_LOG = Path("/var/log/checkinsync")
HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
"""The folders that ProtectHome= hides."""

PLAIN = re.compile(r"[\w@%+=:,./-]+")
"""A word that needs no quotes."""

CRON_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Installation:
    """The program, who runs it at night, and the folders that it writes to."""

    command: tuple[str, ...]
    """The program, with an absolute path."""
    account: str
    group: str
    """Who runs it at night."""
    log_file: Path
    """For cron; with systemd every step goes to the journal."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that it needs, none of them a secret: the settings file, the log file, …"""
    writes: tuple[Path, ...] = ()
    """The folders that it writes to."""
    mail_to: str | None = None
    """Who gets cron's mail; None: the owner of the crontab."""
    minute: int = 0
    """The minute of the machine's time zone at which UTC's full hour begins."""

    def crontab(self) -> str:
        """Return the lines for a crontab."""
        given = {"MAILTO": self.mail_to, "SHELL": "/bin/sh", "PATH": CRON_PATH, **self.environment}
        given["CHECKINSYNC_LOG_FILE"] = str(self.log_file)
        lines = [f"{name}={value}" for name, value in given.items() if value is not None]
        command = shlex.join(self.command).replace("%", "\\%")
        return _filled("crontab", variables=lines, command=command, minute=str(self.minute))

    def system_service(self) -> str:
        """Return the unit that root installs."""
        return _filled(
            "system.service",
            account=self.account,
            folders=self._folders(),
            environment=self._unit_environment(),
            protect_home="read-only" if self._at_home() else "yes",
            command=self._unit_command(),
        )

    def user_service(self) -> str:
        """Return the unit of a user's own manager."""
        return _filled(
            "user.service", environment=self._unit_environment(), command=self._unit_command()
        )

    def timer(self) -> str:
        """Return the timer of either."""
        return _filled("timer")

    def logrotate(self) -> str:
        """Return the rotation of cron's log file."""
        path = _quoted(str(self.log_file))
        return _filled("logrotate", log_file=path, account=self.account, group=self.group)

    def _unit_command(self) -> str:
        if set("'\"\\") & set(self.command[0]):
            raise ScheduleRefused(
                f"systemd starts no program with quotes in its path ({self.command[0]}); use --cron"
            )
        program, *words = (_quoted(word).replace("%", "%%") for word in self.command)
        return " ".join([program, *(word.replace("$", "$$") for word in words)])

    def _unit_environment(self) -> list[str]:
        return [
            f"Environment={_quoted(f'{name}={value}').replace('%', '%%')}"
            for name, value in self.environment.items()
        ]

    def _folders(self) -> list[str]:
        """Return the lines that open these folders; the usual ones are created, too."""
        lines = []
        for folder in dict.fromkeys(self.writes):
            match folder:
                case _ if folder == VAR_LIB:
                    lines += [f"StateDirectory={folder.name}"]
                case _ if folder == VAR_LOG:
                    lines += [f"LogsDirectory={folder.name}", "LogsDirectoryMode=0750"]
                case _:
                    lines += [f"ReadWritePaths=-{_quoted(str(folder)).replace('%', '%%')}"]
        return lines

    def _at_home(self) -> bool:
        """Return True if anything that is needed lies in a home folder."""
        needed = [*self.command[:1], *self.environment.values(), *map(str, self.writes)]
        return any(Path(path).is_relative_to(home) for path in needed for home in HOMES)


class _AtTemplate(Template):
    """`@name`: the texts are full of dollars."""

    delimiter = "@"


def _filled(name: str, **values: str | list[str]) -> str:
    """Return a template with these values, a list as a line each. Raises ScheduleRefused."""
    lines = {key: [value] if isinstance(value, str) else value for key, value in values.items()}
    for text in itertools.chain(*lines.values()):
        if not text.isprintable():  # a line break would begin a line of its own
            raise ScheduleRefused(f"{text!r} can't stand in the schedule: it is not printable")
    template = resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")
    return _AtTemplate(template).substitute({key: "\n".join(lines[key]) for key in lines})


def _quoted(word: str) -> str:
    """Return a word as systemd and logrotate read it: in quotes, unless it is a plain one."""
    if PLAIN.fullmatch(word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
