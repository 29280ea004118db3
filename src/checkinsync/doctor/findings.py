"""Facts about the server and its surroundings, and findings about them; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

from checkinsync.errors import CheckinsyncError, DatabaseAway, SchemaBehind, SettingsError

SETTINGS = SettingsError.exit_code
DATABASE = DatabaseAway.exit_code
SCHEMA = SchemaBehind.exit_code
TOKEN = 4

FIRST = (SETTINGS, DATABASE, SCHEMA, TOKEN)
"""Exit codes, that of the worst problem first: without settings nothing is right, without a
database nothing can be read, without the schema nothing is stored. The others follow."""


class Level(Enum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact about one thing, and what to do about it."""

    check: str
    """The thing that was checked, in a word."""
    level: Level
    says: str
    advice: str | None = None
    exit_code: int = 0
    """Of a problem: what the commands that it stops would exit with."""


def ok(check: str, says: str, advice: str | None = None) -> Finding:
    """As it should be; the advice is for later."""
    return Finding(check, Level.OK, says, advice)


def warning(check: str, says: str, advice: str | None = None) -> Finding:
    """Worth a look; nothing stops because of it."""
    return Finding(check, Level.WARNING, says, advice)


def problem(check: str, says: str, advice: str | None = None, *, exit_code: int) -> Finding:
    """Something will not work, or not rightly."""
    return Finding(check, Level.PROBLEM, says, advice, exit_code)


def of_error(check: str, error: CheckinsyncError) -> Finding:
    """An error as a finding; its sentence says what to do."""
    return problem(check, str(error), exit_code=error.exit_code)


def worst(findings: Iterable[Finding]) -> int:
    """The exit code of the worst problem; 0 where there is none."""
    codes = {f.exit_code for f in findings if f.level is Level.PROBLEM}
    return min(codes, key=lambda code: (*FIRST, code).index(code), default=0)


# --- facts ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """A server by its own word, and our place in it."""

    version: int
    """As `server_version_num`: 150004 is 15.4."""
    version_text: str
    database: str
    role: str
    encoding: str
    size: int
    """Bytes of the database."""
    read_only: bool
    """A standby, or transactions are read-only by default."""
    clock: datetime
    """Aware, UTC."""
    max_connections: int
    reserved: int
    """Of them, for superusers and others above us."""
    in_use: int
    """Of them, without the one that asks."""
    limit: int | None
    """Connections that the database or the role allows; None: no limit of their own."""


class Pooling(Enum):
    """The kind of pooler between us and the server."""

    NONE = "none"
    SESSION = "session"
    """A pooler that gives a client one server connection until it leaves."""
    TRANSACTION = "transaction"
    """A pooler that gives it another one for each transaction."""


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file that holds a secret, or settings."""

    path: Path
    mode: int
    """Permission bits."""
    closed: int
    """Permission bits that are of no use to others, since a folder above is closed to them."""
    secret: bool
