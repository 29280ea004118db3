"""The folder of a cluster: made whole or not at all, and checked before use."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from checkinsync.embedded.account import Account
from checkinsync.embedded.binaries import Programs
from checkinsync.embedded.place import is_closed
from checkinsync.errors import EmbeddedDatabaseError

ROLE = "checkinsync"
"""The superuser, and the map by which accounts become it."""

PORT = 5432
"""Part of the socket's name only: nothing listens on the network."""

UPGRADE = "upgrade"
"""The folder in which an upgrade makes the new data."""

LONGEST_SOCKET = 103
"""Bytes that the path of a socket may have on every system (macOS; Linux has four more)."""

BUILTIN_LOCALE = 17
"""Since this major version the order of texts need not rest on the system's locales."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The folders of one embedded database."""

    base: Path
    account: Account

    @property
    def data(self) -> Path:
        return self.base / "data"

    @property
    def log(self) -> Path:
        return self.base / "log" / "server.log"

    @property
    def socket_dir(self) -> Path:
        """Below the base; where that name is too long for a socket, a short one in /tmp.

        Also where it has a comma, at which libpq would split it. Not TMPDIR: cron and a shell
        differ in it, and both must find the same server.
        """
        near = self.base / "run"
        name = os.fsencode(near / f".s.PGSQL.{PORT}")
        if len(name) <= LONGEST_SOCKET and b"," not in name:
            return near
        mark = hashlib.sha256(os.fsencode(self.base)).hexdigest()[:12]
        return Path(f"/tmp/checkinsync-{self.account.uid}-{mark}")  # noqa: S108  (0700, owner checked)

    @property
    def server_lock(self) -> Path:
        """Held by a server until its last process has ended; goes where the data go."""
        return self.data / "server.lock"

    @property
    def socket(self) -> Path:
        return self.socket_dir / f".s.PGSQL.{PORT}"

    def forget_socket_dir(self) -> None:
        """Leave nothing in /tmp; to be called when no server runs."""
        if not self.socket_dir.is_relative_to(self.base):
            with suppress(OSError):
                self.socket_dir.rmdir()

    def make_folders(self) -> None:
        """Create what is missing of the folders around the data."""
        _make_base(self.base)
        if not self.account.can_enter(self.base):
            raise EmbeddedDatabaseError(
                f"the account {self.account.name} can't enter {self.base}: a folder on the way is"
                " closed to it. Let it pass (chmod o+x), or set CHECKINSYNC_HOME to a place that"
                " it can reach, such as /var/lib/checkinsync."
            )
        for folder in (self.log.parent, self.socket_dir):
            _make_private(folder, self.account)

    def check(self) -> None:
        """Raise EmbeddedDatabaseError if there are data that this account can't or must not use."""
        try:
            found = self.data.stat()
        except FileNotFoundError:
            if (self.base / UPGRADE / "data").exists():
                raise EmbeddedDatabaseError(
                    f"an upgrade of {self.data} was interrupted at its last step:"
                    " `checkinsync db upgrade` completes it"
                ) from None
            return
        if found.st_uid != self.account.uid:
            raise EmbeddedDatabaseError(
                f"{self.data} does not belong to {self.account.name}, who would run the server:"
                f" give it to that account (chown -R {self.account.name}), or run as its owner."
            )
        if self.exists and stat.S_IMODE(found.st_mode) not in (0o700, 0o750):
            if is_closed(self.data):  # a copy, mostly: no other user can have been there
                self.data.chmod(0o700)
                return
            raise EmbeddedDatabaseError(
                f"{self.data} has mode {stat.S_IMODE(found.st_mode):04o}, so others may have read"
                " or changed the data, and PostgreSQL refuses it. Nothing was changed. If all is"
                f" well: chmod 0700 '{self.data}'"
            )
        if not self.exists and any(self.data.iterdir()):
            raise EmbeddedDatabaseError(
                f"{self.data} holds files but no PG_VERSION: it is not a database, or half of one."
                " Nothing was changed. Move it away, or restore what is missing."
            )

    @property
    def exists(self) -> bool:
        return (self.data / "PG_VERSION").exists()

    def make(self, service: Programs, *, for_tests: bool) -> None:
        """Create the data under another name and rename them: half of it never has this name."""
        for left in self.base.glob("data.new-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with _new_folder(self.base, self.account) as new:
            made = self.account.run(*_initdb(service, new, for_tests=for_tests))
            if made.returncode != 0:
                raise EmbeddedDatabaseError(
                    f"initdb could not make a database in {self.base}:"
                    f" {last_line(made.stderr)}{no_space(self.base)} Nothing is left of it."
                )
            _append(new / "postgresql.conf", "include '../server.conf'\n")
            new.rename(self.data)
        sync(self.base)


def made_by(data: Path) -> int | None:
    """Return the major version that made the data; None where there are none."""
    try:
        return int((data / "PG_VERSION").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise EmbeddedDatabaseError(
            f"{data / 'PG_VERSION'} names no version: the data are damaged. Nothing was changed."
        ) from None


def no_space(folder: Path) -> str:
    """Return a sentence if the disk is full."""
    free = shutil.disk_usage(folder).free
    few = 64 * 2**20
    return f" Only {free // 2**20} MB are free there: make room." if free < few else ""


def _initdb(service: Programs, folder: Path, *, for_tests: bool) -> Iterator[str | Path]:
    yield from (service["initdb"], "--pgdata", folder, "--username", ROLE, "--encoding=UTF8")
    yield from ("--auth-local=peer", "--auth-host=reject", "--data-checksums", "--locale=C")
    if service.major >= BUILTIN_LOCALE:
        yield from ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    if for_tests:
        yield "--no-sync"


def last_line(text: str) -> str:
    """Return the last error that a program has printed."""
    lines = [line for line in text.splitlines() if "error" in line or "FATAL" in line]
    return (lines or text.splitlines() or ["it did not say why."])[-1].strip()


def _make_base(base: Path) -> None:
    """Create the folders; as root others may pass through (the account has to), else not."""
    mode = 0o755 if os.geteuid() == 0 else 0o700
    missing = [folder for folder in (*reversed(base.parents), base) if not folder.exists()]
    for folder in missing:
        with suppress(FileExistsError):  # another process was faster
            folder.mkdir()
            folder.chmod(mode)


def _make_private(folder: Path, account: Account) -> None:
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(folder, account.uid, account.gid)
    found = folder.lstat()
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == account.uid
    if not own or (found.st_mode & 0o077 and not is_closed(folder)):
        raise EmbeddedDatabaseError(
            f"{folder} should be a folder of {account.name} with mode 0700 and is not:"
            " see who made it, and remove it."
        )


@contextmanager
def _new_folder(base: Path, account: Account) -> Iterator[Path]:
    new = Path(tempfile.mkdtemp(prefix="data.new-", dir=base))
    try:
        if os.geteuid() == 0:
            os.chown(new, account.uid, account.gid)
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)  # there no more, if all went well


def _append(path: Path, text: str) -> None:
    """Add to a file in the account's folder: root follows no link there."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Make the names in a folder last, as they are now."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
