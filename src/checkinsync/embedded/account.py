"""The account the server runs under; makes no account and never lets the server be root."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkinsync.errors import SettingsError

USUAL = ("checkinsync", "postgres")
NOBODY = "nobody"

HOW_TO = (
    "PostgreSQL refuses to run as root, so it needs an account of its own. Make one"
    " (useradd --system checkinsync), or name one in CHECKINSYNC_PG_ACCOUNT,"
    " or run checkinsync as an ordinary user."
)


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this machine, and how to run a program as it."""

    name: str
    uid: int
    gid: int

    def run(self, *command: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a program to its end as this account. Raises PermissionError if out of reach."""
        if os.geteuid() == self.uid:
            return run(*command, **more)
        groups = os.getgrouplist(self.name, self.gid)
        return run(*command, user=self.uid, group=self.gid, extra_groups=groups, **more)

    def can_enter(self, folder: Path) -> bool:
        """Return True if every folder on the way lets this account pass."""
        return self.run("/bin/sh", "-c", 'test -x "$1"', "sh", folder).returncode == 0

    def can_run(self, program: Path) -> bool:
        """Return True if this account reaches the program and the libraries it needs."""
        try:
            return self.run(program, "--version").returncode == 0
        except OSError:
            return False


def run(*command: str | Path, text: str = "", **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a program on `text` to its end, apart from our terminal and our environment.

    Its own session keeps Ctrl-C away from a server that has pages to finish. Of our environment it
    gets nothing: no PGPORT, PGOPTIONS or language, and no secret of ours.
    """
    return subprocess.run(  # noqa: S603  (no shell; the programs are the ones we found)
        command,
        input=text,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        cwd="/",  # the caller's folder may be out of the account's reach
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"},
        umask=0o077,
        start_new_session=True,
        **more,
    )


def choose(wanted: str | None, *, data: Path, allow_nobody: bool) -> Account:
    """Return this user; for root the account asked for, the data's owner, or a usual one.

    Raises SettingsError where there is none.
    """
    if os.geteuid() != 0:
        return _this_user()
    account = _named(wanted) if wanted else _owner_of(data) or _usual(allow_nobody=allow_nobody)
    if account is None:
        raise SettingsError(f"there is no account for the embedded database. {HOW_TO}")
    if not _is_mapped(account.uid):
        raise SettingsError(
            f"root can't become {account.name} (user id {account.uid}) here: this user namespace,"
            " such as a rootless container has, maps no such id. Map more ids, or run checkinsync"
            " as an ordinary user."
        )
    if account.uid == 0:
        whose = "CHECKINSYNC_PG_ACCOUNT names root" if wanted else f"{data} belongs to root"
        raise SettingsError(f"{whose}. {HOW_TO}")
    if account.name == NOBODY and not allow_nobody:
        raise SettingsError(
            "the embedded database would run as nobody, and every service that runs as nobody"
            f" could read and change the data. {HOW_TO}"
        )
    return account


def _this_user() -> Account:
    try:
        return _account(pwd.getpwuid(os.geteuid()))
    except KeyError:
        raise SettingsError(
            f"user id {os.geteuid()} has no name (no line in /etc/passwd), and PostgreSQL does"
            " not run without one: add the line, or name a database in CHECKINSYNC_DATABASE_URL."
        ) from None


def _named(name: str) -> Account:
    try:
        return _account(pwd.getpwnam(name))
    except KeyError:
        raise SettingsError(
            f"CHECKINSYNC_PG_ACCOUNT names the account {name!r}, which does not exist. {HOW_TO}"
        ) from None


def _owner_of(data: Path) -> Account | None:
    try:
        return _account(pwd.getpwuid(data.stat().st_uid))
    except FileNotFoundError:
        return None
    except KeyError:
        raise SettingsError(
            f"{data} belongs to user id {data.stat().st_uid}, which has no name here: give the"
            " folder to an account (chown -R) and name that in CHECKINSYNC_PG_ACCOUNT."
        ) from None


def _usual(*, allow_nobody: bool) -> Account | None:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in (*USUAL, NOBODY) if allow_nobody else USUAL:
        if name in known:
            return _account(known[name])
    return None


def _is_mapped(uid: int) -> bool:
    """Return True if this user namespace has that id: else it only stands for unknown ones."""
    try:
        ranges = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return True
    firsts = ((int(first), int(count)) for first, _, count in map(str.split, ranges))
    return any(first <= uid < first + count for first, count in firsts)


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
