"""The driver's errors as errors of ours: one meaning and one sentence for each class of SQLSTATE.

No DETAIL, HINT or CONTEXT of the server is repeated: they quote rows, which may hold secrets.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.errors import UniqueViolation
from psycopg_pool import PoolClosed, PoolTimeout

from checkinsync.errors import (
    CheckinsyncError,
    DatabaseAway,
    DatabaseBusy,
    DatabaseError,
    DatabaseExhausted,
    Duplicate,
    PrivilegeMissing,
    SchemaBehind,
    ValueRefused,
)

READ_ONLY = "25006"
"""SQLSTATE of a write where none is possible: a standby, as during a fail-over."""

AWAY = ("08", "57P", "53300", "XX000", "25P03", "25P04")
"""The server is gone or going, or has ended the session of a process that was stopped."""

EXHAUSTED = ("53", "54023", "2200H")
"""Disk or memory is full, or a sequence is at its end. Looking for the server is no use."""

BUSY = ("55P03", "57014", "40", "55006")
"""A lock was not available in time, a statement took too long, or two transactions collided."""

REFUSED = ("22", "23", "54", "P0", "44")
"""A value, a constraint, a limit or a trigger. What one value causes is that value's trouble."""

NO_PRIVILEGE = ("42501", "28")
ABSENT = ("42P01", "42703", "42883", "42704", "3F000")
"""A table, column, function, type or schema that is not there."""

LONGEST = 300
"""Characters of the server's message that are repeated."""


@contextmanager
def translated(source: str = "CHECKINSYNC_DATABASE_URL") -> Iterator[None]:
    """Raise the driver's errors within the block as errors of ours.

    `source`: where the database's address came from.
    """
    try:
        yield
    except (PoolTimeout, PoolClosed):
        raise DatabaseAway(CANNOT_REACH.format(source=source)) from None
    except psycopg.Error as error:
        raise meaning(error, source) from None


def meaning(error: psycopg.Error, source: str) -> CheckinsyncError:
    """Return the error of ours that a driver's error means."""
    state, words = error.sqlstate or "", primary(error)
    if is_away(error):
        return DatabaseAway(CANNOT_REACH.format(source=source))
    if state == READ_ONLY or "during recovery" in words:
        return DatabaseAway(CANNOT_WRITE)
    if state.startswith(EXHAUSTED):
        return DatabaseExhausted(f"the database has no room left: {words}; free some on its server")
    if isinstance(error, UniqueViolation):
        return _meaning_of_duplicate(error, words)
    if state.startswith(BUSY):
        return DatabaseBusy(f"the database is busy: {words}; it is worth trying again")
    if state.startswith(REFUSED):
        return ValueRefused(f"the database refused a value: {words}")
    if state.startswith(NO_PRIVILEGE):
        return PrivilegeMissing(f"the database role lacks a privilege: {words}; GRANT it")
    if state.startswith(ABSENT):
        return SchemaBehind(f"the schema lacks something: {words}; run `checkinsync migrate`")
    return DatabaseError(f"unexpected error of the database: {words} (SQLSTATE {state or 'none'})")


def left_out(table: str) -> ValueRefused:
    """Return the error that means that a trigger has left out a row without a word."""
    return ValueRefused(
        f"the database refused a value: a trigger of table {table} left it out; once the trigger "
        "lets it pass, the next import stores it"
    )


def primary(error: psycopg.Error) -> str:
    """Return the server's one-line message, bounded; never DETAIL, which quotes rows."""
    words = error.diag.message_primary or type(error).__name__
    return " ".join(words.split())[:LONGEST]


def is_away(error: psycopg.Error) -> bool:
    """Return True if the database, or this session of it, can't be used any more."""
    if error.sqlstate is not None:
        return error.sqlstate.startswith(AWAY)
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def _meaning_of_duplicate(error: UniqueViolation, words: str) -> DatabaseError:
    """A primary key is drawn from a sequence, and the value is not to blame."""
    if (error.diag.constraint_name or "").endswith("_pkey"):
        return DatabaseExhausted(SEQUENCE_BEHIND.format(table=error.diag.table_name))
    return Duplicate(f"the database refused a value: {words}")


SEQUENCE_BEHIND = (
    "the sequence of table {table} is behind its rows; run: SELECT setval("
    "pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
)
CANNOT_REACH = (
    "cannot reach the database ({source}); check that the address is right and the server running"
)
CANNOT_WRITE = "the database is read-only at the moment, as during a fail-over"
