"""The meaning of facts for an operator: as it should be, worth a look, or a problem; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from checkinsync.doctor.findings import (
    DATABASE,
    SCHEMA,
    SETTINGS,
    TOKEN,
    Finding,
    Pooling,
    SecretFile,
    Server,
    ok,
    problem,
    warning,
)
from checkinsync.embedded.place import Place
from checkinsync.errors import MigrationRefused
from checkinsync.keys.usage import Key, KeyUsage
from checkinsync.migrations.files import Applied, Migration, State, pending_text, standings, undone
from checkinsync.model.standing import CLOCK_TOLERANCE
from checkinsync.model.user import Profile, User

OLDEST = 140000
"""PostgreSQL 14, as a `server_version_num`."""

CLOCK_LOOK = timedelta(seconds=5)
CLOCK_WRONG = CLOCK_TOLERANCE
"""Waits for rate limits, times shown and the rule for who is active go by our clock; far ahead of
the true time it would set cursors that leave out check-ins."""

LITTLE_ROOM = 2**30
NO_ROOM = 64 * 2**20
"""Bytes: less than a large account's first import takes; too few for any import."""

OLD_DUMP = timedelta(days=3)
"""A dump is made after each run that imports anyone."""

NAMED = 10
"""Users or indexes named in a sentence."""


def of_file(file: SecretFile) -> Finding:
    """Others may not read a secret, nor change settings."""
    mode = f"mode {file.mode:04o}"
    exposed = file.mode & ~file.closed
    if exposed & 0o022:
        return problem(
            "files",
            f"{file.path} can be changed by others than its owner ({mode}), who could have all "
            "tokens sent elsewhere",
            f"chmod go-w {file.path}",
            exit_code=SETTINGS,
        )
    if file.secret and exposed & 0o007:
        return problem(
            "files",
            f"{file.path} holds a secret and can be read by every account ({mode})",
            f"chmod o-rwx {file.path}; any account of this machine may have read the secret by now",
            exit_code=SETTINGS,
        )
    folder = ", in a folder that others can't enter" if file.mode != exposed else ""
    return ok("files", f"{file.path} is not accessible to others ({mode}{folder})")


def of_server(server: Server) -> Iterator[Finding]:
    """The server is new enough, holds all texts, and can be written to."""
    about = f"PostgreSQL {server.version_text}, database {server.database}, role {server.role}"
    old, foreign = server.version < OLDEST, server.encoding != "UTF8"
    if old:
        advice = "move the database to PostgreSQL 14 or newer"
        yield problem("database", f"{about}: too old", advice, exit_code=DATABASE)
    if foreign:
        advice = "check-ins have texts in all scripts: create a database with ENCODING 'UTF8'"
        yield problem(
            "database", f"{about}: its encoding is {server.encoding}", advice, exit_code=DATABASE
        )
    if not old and not foreign:
        yield ok("database", f"{about}, {_size(server.size)}")
    if server.read_only:
        yield problem(
            "database",
            "it is read-only: a standby, or default_transaction_read_only is on",
            "name the primary in CHECKINSYNC_DATABASE_URL",
            exit_code=DATABASE,
        )


def of_clock(whose: str, *, theirs: datetime, ours: datetime, blur: timedelta) -> Finding:
    """Our clock agrees with another one; `blur`: the part of a difference due to the asking."""
    apart = abs(theirs - ours)
    side = "ahead of" if ours > theirs else "behind"
    says = f"ours is {apart.total_seconds():.1f} s {side} {whose}"
    if apart - blur > CLOCK_WRONG:
        advice = "set this machine's clock by NTP (timedatectl set-ntp true), or the other one's"
        return problem("clock", says, advice, exit_code=SETTINGS)
    if apart - blur > CLOCK_LOOK:
        return warning("clock", says, "check that both machines' clocks are set by NTP")
    return ok("clock", f"agrees with {whose}")


def of_connections(server: Server, *, pool_size: int, pooling: Pooling) -> Finding:
    """The server has room for the pool."""
    if pooling is not Pooling.NONE:
        return ok(
            "connections",
            f"CHECKINSYNC_POOL_SIZE is {pool_size}; the pooler decides how many the server has",
        )
    most = server.max_connections - server.reserved
    if server.limit is not None:
        most = min(most, server.limit)
    free = most - server.in_use
    says = (
        f"CHECKINSYNC_POOL_SIZE is {pool_size}; the server has {most} connections for us and "
        f"others, of which {server.in_use} are in use"
    )
    if pool_size + 1 > most:  # one more for `migrate`, or for an operator's command meanwhile
        advice = f"set CHECKINSYNC_POOL_SIZE to {max(1, most - 1)} or raise max_connections"
        return problem("connections", says, advice, exit_code=DATABASE)
    if pool_size + 1 > free:
        advice = "at this moment they would not suffice: lower CHECKINSYNC_POOL_SIZE or raise "
        return warning("connections", says, f"{advice}max_connections")
    return ok("connections", says)


def of_pooling(pooling: Pooling, *, migrate_url: bool) -> Finding:
    """A pooler does not get in the way of migrations."""
    if pooling is Pooling.NONE:
        return ok("pooler", "none: each connection is one of the server's own")
    if pooling is Pooling.SESSION:
        return ok("pooler", "one on the way, that keeps a session's connection; all works")
    says = "one on the way, in transaction mode; imports work through it, migrations do not"
    if migrate_url:
        return ok("pooler", f"{says}, so they take CHECKINSYNC_MIGRATE_URL")
    return warning(
        "pooler",
        says,
        "set CHECKINSYNC_MIGRATE_URL to an address of the server itself, past the pooler: the same "
        "database, with the server's host and port (usually 5432)",
    )


def of_migration_address(pooling: Pooling, *, same: bool) -> Finding:
    """Migrations reach the same database, past any pooler."""
    if not same:
        return problem(
            "migrate_url",
            "CHECKINSYNC_MIGRATE_URL leads to another database than CHECKINSYNC_DATABASE_URL",
            "correct one of them; otherwise commands do not find the tables that "
            "`checkinsync migrate` creates",
            exit_code=SETTINGS,
        )
    if pooling is Pooling.TRANSACTION:
        return problem(
            "migrate_url",
            "CHECKINSYNC_MIGRATE_URL goes through a pooler in transaction mode itself, where "
            "two migrations can run at once",
            "name the server itself, past the pooler (usually port 5432)",
            exit_code=SETTINGS,
        )
    return ok("migrate_url", "CHECKINSYNC_MIGRATE_URL leads to the same database, past any pooler")


def of_schema(
    files: Sequence[Migration], ledger: Sequence[Applied], invalid: Sequence[str]
) -> Iterator[Finding]:
    """All migrations are applied and unchanged, and no index is half-built."""
    stand = standings(files, ledger)
    newer = [s.name for s in stand if s.state is State.MISSING]
    known = [row for row in ledger if row.name not in newer]
    try:
        pending = undone(files, known)
    except MigrationRefused as error:
        advice = "reinstall checkinsync in the version that the database was migrated with"
        yield problem("schema", str(error), advice, exit_code=SCHEMA)
    else:
        yield _pending(pending, len(known), newer)
    if invalid:
        yield warning(
            "schema",
            f"left half-built: {_some(invalid)}",
            "they are of no use: REINDEX INDEX CONCURRENTLY, or DROP INDEX CONCURRENTLY",
        )


def _pending(pending: Sequence[Migration], applied: int, newer: Sequence[str]) -> Finding:
    if pending:
        says = pending_text([file.name for file in pending])
        return problem("schema", says, "checkinsync migrate", exit_code=SCHEMA)
    if newer:
        return warning(
            "schema",
            f"newer than this program: {_some(newer)}; everything that it needs is there",
            "install the newer version of checkinsync here, too",
        )
    return ok("schema", f"up to date, {applied} migrations applied")


# --- keys and tokens ------------------------------------------------------------------------------


def of_keys(
    keys: Sequence[Key], usage: KeyUsage, *, application: str | None, place: str
) -> Iterator[Finding]:
    """Each key is needed, or can be removed.

    `application`: the fingerprint of its key, if it is known; `place`: where the keys are kept.
    """
    total = usage.total
    for number, (key, count) in enumerate(zip(keys, usage.counts(), strict=True)):
        first = next(i for i, other in enumerate(keys) if other.fingerprint == key.fingerprint)
        known = application == key.fingerprint
        if key.doubt:
            yield warning(
                "keys",
                f"key {key.fingerprint} {key.doubt}, so it counts as a pass phrase",
                "compare it with where it came from; digits may have been lost, or quotes added",
            )
        if first < number:
            yield warning("keys", f"key {key.fingerprint} is given twice", "name it once")
        elif number == 0:
            says = f"key {key.fingerprint} encrypts, and decrypts {count} of {total} tokens"
            yield ok("keys", says)
        else:
            yield _old_key(key, count, total, place=place, applications=known)
    yield from _unreadable(usage)


def _old_key(key: Key, count: int, total: int, *, place: str, applications: bool) -> Finding:
    says = f"key {key.fingerprint} decrypts {count} of {total} tokens"
    if applications:
        return ok("keys", f"{says}; the application encrypts with it (ENCRYPTION_KEY): keep it")
    if count:
        return ok(
            "keys", f"{says}: it is needed", "checkinsync rotate-keys; then it can be removed"
        )
    return ok(
        "keys",
        f"{says}: it can be removed",
        f"take it out of {place}, unless an application still encrypts with it; keep it beside "
        "the backups that were made before",
    )


def of_application_key(keys: Sequence[Key], application: str | None) -> Iterator[Finding]:
    """We can decrypt what the application encrypts; `application`: its key's fingerprint."""
    if application is None or application == keys[0].fingerprint:
        return
    if application in {key.fingerprint for key in keys}:
        yield warning(
            "keys",
            f"the application (ENCRYPTION_KEY) encrypts with {application}, we with "
            f"{keys[0].fingerprint}, which it can't decrypt",
            "switch the application to our first key, or put its key first",
        )
    else:
        yield problem(
            "keys",
            f"the application encrypts with {application} (ENCRYPTION_KEY), which is none of ours",
            "add that key to CHECKINSYNC_ENCRYPTION_KEY",
            exit_code=SETTINGS,
        )


def _unreadable(usage: KeyUsage) -> Iterator[Finding]:
    closed = usage.unreadable
    if not closed:
        return
    if len(closed) == usage.total:
        yield problem(
            "keys",
            f"no key decrypts any of the {usage.total} tokens: the keys are wrong, not the users",
            "set CHECKINSYNC_ENCRYPTION_KEY (or ENCRYPTION_KEY) to the key that encrypted them; if "
            "the application had none, it derived one from its DATABASE_URL: "
            "`checkinsync rotate-keys --from-database-url`",
            exit_code=SETTINGS,
        )
        return
    yield problem(
        "keys",
        f"no key decrypts the tokens of {len(closed)} of {usage.total} users: {_some(closed)}",
        "add the key that encrypted them (after a change of keys the old one, or for tokens of an "
        "application without any `checkinsync rotate-keys --from-database-url`); or the users "
        "connect again in the application",
        exit_code=TOKEN,
    )


def of_owner(user: User, profile: Profile) -> Finding:
    """The token belongs to the user it is stored for, as Foursquare says."""
    theirs = f"Foursquare user {profile.foursquare_user_id}"
    who = f"{theirs} ({profile.name})" if profile.name else theirs
    if profile.foursquare_user_id == user.foursquare_user_id:
        return ok("foursquare", f"{user}: the token is accepted, and belongs to {who}")
    return problem(
        "foursquare",
        f"{user}: the token belongs to {who}, not to Foursquare user {user.foursquare_user_id}; "
        "check-ins of one would be stored as the other's",
        f"checkinsync users pause {user.id}, then checkinsync users set-token {user.id}",
        exit_code=TOKEN,
    )


# --- the rest -------------------------------------------------------------------------------------


def of_place(place: Place) -> Finding:
    """The embedded database's disk has room."""
    says = f"{place.folder}, run by {place.account}, {_size(place.free)} free"
    if place.free < NO_ROOM:
        return problem("embedded", says, "make room on that disk", exit_code=DATABASE)
    if place.free < LITTLE_ROOM:
        return warning("embedded", says, "make room on that disk before it is full")
    return ok("embedded", says)


def of_dumps(place: Place, *, now: datetime) -> Finding | None:
    """The embedded database was dumped lately, if it ever was."""
    if place.newest_dump is None:
        return None
    age = now - place.newest_dump
    says = f"the newest dump of the embedded database was made {age.days} days ago"
    if age <= OLD_DUMP:
        return ok("dumps", says)
    return warning(
        "dumps", says, "see the mail of the last nights; `checkinsync db dump FILE` makes one now"
    )


def _some(things: Sequence[object]) -> str:
    more = len(things) - NAMED
    names = ", ".join(str(thing) for thing in things[:NAMED])
    return f"{names} and {more} more" if more > 0 else names


def _size(size: int) -> str:
    mega = size / 2**20
    return f"{mega:.0f} MB" if mega < 10 * 2**10 else f"{mega / 2**10:.0f} GB"
