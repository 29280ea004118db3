"""The read-only role of the embedded database, for programs that look: Grafana, a notebook.

It reads every table but the users' tokens, and can log in only while it is served.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from checkinsync.embedded import Running
from checkinsync.embedded.account import run
from checkinsync.embedded.cluster import PORT, ROLE
from checkinsync.embedded.configuration import READER
from checkinsync.embedded.server import DATABASE
from checkinsync.errors import EmbeddedDatabaseError, SettingsError

LET_IN = r"""
BEGIN;
SELECT 'CREATE ROLE checkinsync_reader'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'checkinsync_reader') \gexec
ALTER ROLE checkinsync_reader LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
    CONNECTION LIMIT 20 PASSWORD :'password';
ALTER ROLE checkinsync_reader SET default_transaction_read_only = on;
ALTER ROLE checkinsync_reader SET statement_timeout = '5min';
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
SELECT format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()) \gexec
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM checkinsync_reader;
SELECT format('GRANT SELECT (%s) ON public.%I TO checkinsync_reader',
              string_agg(quote_ident(a.attname), ', '), c.relname)
  FROM pg_class AS c
  JOIN pg_attribute AS a ON a.attrelid = c.oid
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
   AND a.attnum > 0 AND NOT a.attisdropped
   AND (c.relname, a.attname) NOT IN (('users', 'access_token_encrypted'),
                                      ('users', 'secret_token'))
 GROUP BY c.relname \gexec
COMMIT;
"""

SHUT_OUT = """
ALTER ROLE checkinsync_reader NOLOGIN;
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'checkinsync_reader';
"""


@contextmanager
def let_in(running: Running, *, password_file: Path) -> Iterator[None]:
    """Let the role log in within the block, with the password of the file."""
    _psql(running, f"\\set password '{_password(password_file)}'\n{LET_IN}")
    try:
        yield
    finally:
        _psql(running, SHUT_OUT)


def _psql(running: Running, text: str) -> None:
    """Run a script; its text, with the password, is in no command line and no log."""
    target = ("-h", running.socket_dir, "-p", str(PORT), "-U", ROLE, "-d", DATABASE)
    done = run(running.bindir / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *target, text=text)
    if done.returncode:
        raise EmbeddedDatabaseError(f"the read-only role can't be set up: {done.stderr.strip()}")


def _password(file: Path) -> str:
    """Return the password of the file, which is made where there is none (mode 0600).

    It has the form that libpq reads (`passfile`): one line, for any port; the password is its last
    field.
    """
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return _made(file)
    except OSError as error:
        raise SettingsError(f"{file} can't be read ({error.strerror})") from None
    with open(fd, encoding="utf-8", errors="replace") as opened:
        if stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
            raise SettingsError(f"{file} is open to other users of this machine: chmod 0600 {file}")
        password = opened.readline().strip().rpartition(":")[2]
    if not password.isascii() or not password.replace("-", "").replace("_", "").isalnum():
        raise SettingsError(
            f"{file} holds no password (letters, digits, `-` and `_` after the last colon); remove"
            " it, and a new one is made"
        )
    return password


def _made(file: Path) -> str:
    password = secrets.token_urlsafe(24)
    try:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise SettingsError(f"{file} can't be written ({error.strerror})") from None
    with open(fd, "w", encoding="ascii") as opened:
        opened.write(f"127.0.0.1:*:{DATABASE}:{READER}:{password}\n")
    return password
