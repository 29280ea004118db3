"""Checks everything that a night depends on; changes nothing, and goes on after any error.

An error in one check is a finding, and the next check runs all the same. `diagnosis` and `tables`
say what the facts mean.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from checkinsync.config.settings import Examined
from checkinsync.doctor import diagnosis, looks, nights
from checkinsync.doctor import findings as finding
from checkinsync.doctor import queries as server
from checkinsync.doctor.findings import DATABASE, SETTINGS, Finding, Level, Pooling, Server
from checkinsync.embedded import place as places
from checkinsync.embedded.place import Place
from checkinsync.errors import (
    CheckinsyncError,
    Interrupted,
    NoToken,
    PrivilegeMissing,
    RateLimited,
    SchemaBehind,
)
from checkinsync.foursquare.client import Foursquare
from checkinsync.keys import queries as tokens
from checkinsync.keys.key_file import KEY_FILE
from checkinsync.keys.keyring import Keyring
from checkinsync.keys.usage import Key, KeyUsage
from checkinsync.migrations import files, ledger
from checkinsync.model.standing import NIGHTLY, counted
from checkinsync.model.user import User
from checkinsync.nightly import queries
from checkinsync.store import users
from checkinsync.store.pool import Connection, direct

BATCH = 1000
"""Tokens read at once."""

EMBEDDED = {"database_url", "home", "pg_bindir", "pg_account"}
"""Settings that lead to the embedded database; `database_url` would lead to another one."""

FOURSQUARE = {"api_url", "token_in", "proxy"}
"""Settings that say where a token is sent, and how: with one of them unknown, none is sent."""

A_SECOND = timedelta(seconds=1)
"""The precision of a `Date` header."""

Look = Callable[[], Iterable[Finding]]

REPORTED_ONCE = {SchemaBehind: "schema", PrivilegeMissing: "privileges"}
"""Errors that keep several checks from running, and the check that says what to do about them."""


@dataclass(frozen=True, slots=True)
class Report:
    """All findings."""

    findings: tuple[Finding, ...]
    keys: tuple[Key, ...]
    usage: KeyUsage | None
    """Which key decrypts whose token; None if that could not be checked."""
    users: dict[str, int] | None
    """The number of users in each group; None if they could not be counted."""

    @property
    def exit_code(self) -> int:
        """The code of the worst problem."""
        return finding.worst(self.findings)


@dataclass(frozen=True, slots=True)
class Online:
    """Foursquare, and the users whose tokens are sent there."""

    foursquare: Foursquare
    chosen: tuple[str, ...]
    """As they were typed; none: the first active user whose token can be decrypted."""


def examine(
    examined: Examined,
    *,
    address: Callable[[], AbstractContextManager[str]],
    open_keyring: Callable[[], Keyring],
    online: Online | None,
    now: Callable[[], datetime],
) -> Report:
    """Run all checks. `address` gives the database's address; `now` is our clock: aware, UTC."""
    visit = _Visit(examined, address=address, open_keyring=open_keyring, online=online, now=now)
    visit.look("settings", visit.settings)
    visit.look("files", lambda: looks.files(examined))
    visit.look("keys", visit.keys)
    visit.look("database", visit.database)
    keys = visit.keyring.keys if visit.keyring else ()
    return Report(tuple(visit.findings), keys, visit.usage, visit.users)


@dataclass(slots=True)
class _Visit:
    """The findings so far, and what one check leaves for the next ones."""

    examined: Examined
    address: Callable[[], AbstractContextManager[str]]
    open_keyring: Callable[[], Keyring]
    online: Online | None
    now: Callable[[], datetime]
    findings: list[Finding] = field(default_factory=list)
    keyring: Keyring | None = None
    place: Place | None = None
    pooling: Pooling = Pooling.NONE
    usage: KeyUsage | None = None
    users: dict[str, int] | None = None

    def look(self, check: str, look: Look) -> None:
        """Run one check; an error that ends it is a finding, unless it is reported already."""
        try:
            for one in look():
                self.findings.append(one)
        except Interrupted:
            raise
        except CheckinsyncError as error:
            if not self._is_reported(error):
                self.findings.append(finding.of_error(check, error))

    def _is_reported(self, error: CheckinsyncError) -> bool:
        check = REPORTED_ONCE.get(type(error))
        return any(f.check == check and f.level is Level.PROBLEM for f in self.findings)

    # --- settings, files, keys --------------------------------------------------------------------

    def settings(self) -> Iterator[Finding]:
        """List everything wrong with them; else say where they come from."""
        examined = self.examined
        for each in examined.problems:
            yield finding.problem("settings", each, exit_code=SETTINGS)
        for notice in examined.settings.notices:
            yield finding.warning("settings", notice, "correct or remove it")
        yield from looks.extras(examined.settings)
        if examined.settings.window >= examined.settings.deadline:
            yield finding.warning(
                "settings",
                "CHECKINSYNC_WINDOW is no shorter than CHECKINSYNC_DEADLINE: on a full night the "
                "last users start too late to be imported",
                "make the window shorter, or the deadline longer",
            )
        if not examined.problems:
            where = " and ".join(filter(None, ("the environment", str(examined.config or ""))))
            yield finding.ok("settings", f"read as {_account()} from {where}")

    def keys(self) -> Iterator[Finding]:
        """Read the keys; `_tokens` checks what they decrypt."""
        settings, broken = self.examined.settings, self.examined.broken
        key_file = settings.home / KEY_FILE
        if broken & (
            {"encryption_key"} if settings.encryption_keys else {"encryption_key", "home"}
        ):
            yield finding.problem(
                "keys", "not checked, since the settings are wrong", exit_code=SETTINGS
            )
        elif settings.encryption_keys or self._is_named() or os.path.exists(key_file):
            self.keyring = self.open_keyring()

    def _is_named(self) -> bool:
        """Return True if the database is the operator's own, which never makes a key."""
        known = self.examined.settings.database_url is not None
        return known or "database_url" in self.examined.broken

    # --- the database -----------------------------------------------------------------------------

    def database(self) -> Iterator[Finding]:
        """Reach the database; then check everything in it."""
        settings, broken = self.examined.settings, self.examined.broken
        if broken & ({"database_url"} if settings.database_url else EMBEDDED):
            yield finding.problem(
                "database", "not checked, since its settings are wrong", exit_code=SETTINGS
            )
            return
        if settings.database_url is None:
            self.place = places.look(settings.home)
            if self.place is None:
                yield finding.problem(
                    "database",
                    f"none is named, and no embedded one was made in {settings.home} yet",
                    "set CHECKINSYNC_DATABASE_URL, or make it: checkinsync migrate",
                    exit_code=DATABASE,
                )
                return
            yield diagnosis.of_place(self.place)
            dumps = diagnosis.of_dumps(self.place, now=self.now()) if settings.dumps else None
            yield from filter(None, [dumps])
        with self.address() as url, direct(url) as conn:
            self._in_database(url, conn)

    def _in_database(self, url: str, conn: Connection) -> None:
        self.look("database", lambda: self._server(url, conn))
        self.look("privileges", lambda: looks.privileges(conn))
        self.look("schema", lambda: _schema(conn))
        self.look("schema", lambda: looks.shape(conn))
        self.look("keys", lambda: self._tokens(conn))
        self.look("users", lambda: self._users(conn))
        self.look("history", lambda: looks.slices(conn, now=self.now()))
        self.look("queue", lambda: looks.workers_queue(conn, self.pooling))
        self.look("quarantine", lambda: looks.quarantined(conn))
        self.look("clock", lambda: looks.future(conn))
        self.look("runs", lambda: self._runs(conn))
        if self.online is not None:
            self.look("foursquare", lambda: self._online(conn))

    def _server(self, url: str, conn: Connection) -> Iterator[Finding]:
        before = self.now()
        with server.reading(conn):
            facts = server.facts(conn)
        after = self.now()
        yield from diagnosis.of_server(facts)
        blur = after - before
        yield diagnosis.of_clock(
            "the database's clock", theirs=facts.clock, ours=before + blur / 2, blur=blur
        )
        self.look("pooler", lambda: self._pooler(url, conn))
        yield self._connections(facts)
        self.look("migrate_url", lambda: self._migrate_url(conn))

    def _pooler(self, url: str, conn: Connection) -> Iterator[Finding]:
        self.pooling = server.pooling(conn, url)
        named = self.examined.settings.migrate_url is not None
        yield diagnosis.of_pooling(self.pooling, migrate_url=named)

    def _connections(self, facts: Server) -> Finding:
        size = self.examined.settings.pool_size
        return diagnosis.of_connections(facts, pool_size=size, pooling=self.pooling)

    def _migrate_url(self, conn: Connection) -> Iterator[Finding]:
        """Compare the migrations' address with the other one, if there is one."""
        url = self.examined.settings.migrate_url
        if url is None:
            return
        with direct(url) as other:
            pooling = server.pooling(other, url)
            with server.reading(other), server.reading(conn):
                same = server.identity(conn) == server.identity(other)
        yield diagnosis.of_migration_address(pooling, same=same)

    def _tokens(self, conn: Connection) -> Iterator[Finding]:
        """Find which key decrypts whose token."""
        keyring = self.keyring
        if keyring is None:
            if self.place is not None:
                yield from looks.without_key(conn, self.examined.settings.home / KEY_FILE)
            return
        usage, last = KeyUsage.of([], keys=len(keyring.keys), decrypted_by=keyring.decrypted_by), 0
        while batch := _batch(conn, last):
            usage += KeyUsage.of(batch, keys=len(keyring.keys), decrypted_by=keyring.decrypted_by)
            last = batch[-1].id
        self.usage = usage
        application, settings = self._application(), self.examined.settings
        place = "CHECKINSYNC_ENCRYPTION_KEY"
        if not settings.encryption_keys:
            place = str(settings.home / KEY_FILE)
        yield from diagnosis.of_keys(keyring.keys, usage, application=application, place=place)
        yield from diagnosis.of_application_key(keyring.keys, application)

    def _users(self, conn: Connection) -> Iterator[Finding]:
        now, days = self.now(), self.examined.settings.active_days
        everyone = looks.standings(conn, now=now, days=days)
        self.users = counted(everyone, at=now, max_age=NIGHTLY)
        yield from nights.of_users(everyone, now=now)

    def _application(self) -> str | None:
        """Return the fingerprint of the application's key, if it is known and there is one."""
        key = self.examined.settings.application_key
        embedded = self.examined.settings.database_url is None
        return None if key is None or embedded else Keyring([key]).keys[0].fingerprint

    def _runs(self, conn: Connection) -> Iterator[Finding]:
        with server.reading_tables(conn):
            last, at_work = queries.latest(conn, most=1), queries.at_work(conn)
        run = last[0] if last else None
        yield nights.of_last_run(run, now=self.now(), at_work=at_work)

    # --- Foursquare -------------------------------------------------------------------------------

    def _online(self, conn: Connection) -> Iterator[Finding]:
        """Ask Foursquare whose token each of the chosen users has; one request for each."""
        if self.online is None or self.keyring is None:
            yield finding.warning("foursquare", "not asked: there is no key to decrypt a token")
            return
        if self.examined.broken & FOURSQUARE:
            yield finding.warning("foursquare", "not asked, since the settings for it are wrong")
            return
        foursquare = self.online.foursquare
        for each in self.online.chosen or self._somebody(conn):
            self.look("foursquare", partial(self._ask, conn, each))
        if foursquare.heard is not None:
            theirs, before, after = foursquare.heard
            yield diagnosis.of_clock(
                "Foursquare's clock", theirs=theirs, ours=after, blur=after - before + A_SECOND
            )

    def _somebody(self, conn: Connection) -> list[str]:
        """Return the first active user whose token can be decrypted."""
        assert self.keyring is not None
        with server.reading_tables(conn):
            candidates = users.active(conn, at=self.now(), days=self.examined.settings.active_days)
        encrypted = ((c.user.id, c.user.encrypted_token or "") for c in candidates)
        return [str(number) for number, text in encrypted if self.keyring.can_decrypt(text)][:1]

    def _ask(self, conn: Connection, text: str) -> Iterator[Finding]:
        assert self.online is not None
        assert self.keyring is not None
        with server.reading_tables(conn):
            user = users.find(conn, text)
        try:
            if user.encrypted_token is None:
                raise NoToken("no Foursquare token is stored; they must connect first")
            token = self.keyring.decrypt(user.encrypted_token)
            profile = self.online.foursquare.user_client(token).who_is()
        except Interrupted:
            raise
        except RateLimited as error:
            yield finding.warning("foursquare", f"{user}: {error}")
        except CheckinsyncError as error:
            yield finding.problem("foursquare", f"{user}: {error}", exit_code=error.exit_code)
        else:
            yield diagnosis.of_owner(user, profile)


def _schema(conn: Connection) -> Iterator[Finding]:
    with server.reading_tables(conn):
        applied, invalid = ledger.rows(conn), server.invalid_indexes(conn)
    yield from diagnosis.of_schema(files.read(), applied, invalid)


def _batch(conn: Connection, last: int) -> list[User]:
    with server.reading_tables(conn):
        return tokens.after(conn, last, most=BATCH)


def _account() -> str:
    """Return the account that runs this: another may not be able to read the same files."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user id {os.geteuid()}"
