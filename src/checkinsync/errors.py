"""Every error of ours: one root, one sentence each, one exit code each.

An error's class says what kind it is and which exit code it has; its message is a sentence that
tells an operator what to do. No message carries a token, a key or an address with credentials.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum


class Exit(IntEnum):
    """The exit codes; a process ended by signal N exits with 128 + N."""

    OK = 0
    BUG = 1
    USAGE = 2
    PARTIAL = 3
    MUST_LOG_IN = 4
    LIMITED = 5
    """A rate limit or quota; until its reset."""
    SCHEMA = 6
    STALE = 7
    GAP = 8
    AWAY = 69
    """The database or Foursquare can't be reached."""
    RUNNING = 75
    SETTINGS = 78
    INTERRUPTED = 130


class CheckinsyncError(Exception):
    """Anything this program foresees and can explain."""

    exit_code: int = Exit.BUG


class UserFailed(CheckinsyncError):
    """One user's import ended for a reason that lies with this user alone."""

    exit_code = Exit.PARTIAL


class SettingsError(CheckinsyncError):
    """A setting is missing or wrong; all problems are told together, by name."""

    exit_code = Exit.SETTINGS


class WrongEncryptionKey(SettingsError):
    """No key decrypts any stored token: the key is wrong, not the users."""

    def __init__(self) -> None:
        super().__init__(
            "the encryption key decrypts none of the stored tokens; nothing was changed. Set "
            "CHECKINSYNC_ENCRYPTION_KEY (or ENCRYPTION_KEY) to the key that encrypted them"
        )


class ApplicationNotSwitched(SettingsError):
    """The web application, which knows one key only, would be locked out of its users' tokens.

    78, not 2: nothing is wrong with what was typed; the two programs' settings do not agree.
    """


class UnknownUser(CheckinsyncError):
    """No user, or more than one, answers to what was typed."""

    exit_code = Exit.USAGE


class UserRemoved(UnknownUser):
    """The application removed the user after their import was planned; that is not a failure."""


# --- one user's token ---------------------------------------------------------------------------


class TokenRejected(CheckinsyncError):
    """Foursquare no longer accepts this user's token; they must log in again."""

    exit_code = Exit.MUST_LOG_IN
    sure = True
    """False: it was sent in one way only, which is not known to work yet."""


class TokenUnreadable(CheckinsyncError):
    """No key at hand opens this user's stored token."""

    exit_code = Exit.MUST_LOG_IN


class NoToken(CheckinsyncError):
    """No Foursquare token is stored for this user; they must connect first."""

    exit_code = Exit.MUST_LOG_IN


class LoginFailed(CheckinsyncError):
    """A login that came to no token: denied, out of time, or with a code that is not accepted."""

    exit_code = Exit.MUST_LOG_IN


class StrayReturn(LoginFailed):
    """Somebody came back who is not of this login: an old page, or a forged one."""


# --- Foursquare ---------------------------------------------------------------------------------


class FoursquareAway(CheckinsyncError):
    """Foursquare is unreachable or answered with a server error, or with something unusable."""

    exit_code = Exit.AWAY
    answered = False
    """True if any request of the same import had an answer: then the service is not down."""


class CertificateRejected(CheckinsyncError):
    """The certificate shown for Foursquare's address is not trusted; nothing was sent.

    For every user alike, and waiting does not change it: the clock, the certificates to trust or a
    proxy has to be seen to. 69 and not 78, since an expired certificate is not in our settings.
    """

    exit_code = Exit.AWAY


class RateLimited(CheckinsyncError):
    """This token's requests for the moving hour are used up (403 `rate_limit_exceeded`)."""

    exit_code = Exit.LIMITED

    def __init__(self, message: str, *, until: datetime) -> None:
        super().__init__(message)
        self.until = until
        """The time to ask again: aware, UTC; never more than about an hour ahead."""


class QuotaExceeded(CheckinsyncError):
    """The whole application's daily quota is used up (429 `quota_exceeded`)."""

    exit_code = Exit.LIMITED


class PlanExhausted(QuotaExceeded):
    """The application's plan is used up (402): for every user, and no midnight brings it back."""


class AccountSuspended(UserFailed):
    """Foursquare has suspended this user's account; not retried, and other users go on."""


class RequestRefused(CheckinsyncError):
    """Foursquare calls our request wrong (`param_error`, `endpoint_error`); never retried."""

    def __init__(
        self, message: str, *, error_type: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.error_type = error_type
        """`meta.errorType`, where one was given."""
        self.status = status
        """HTTP status."""


class ApiGone(RequestRefused):
    """The API is not there any more for this application (404, 410, `deprecated`)."""

    exit_code = Exit.AWAY

    def __init__(
        self,
        message: str,
        *,
        error_type: str | None = None,
        status: int | None = None,
        sure: bool = False,
    ) -> None:
        super().__init__(message, error_type=error_type, status=status)
        self.sure = sure
        """True: Foursquare said so itself, so that it holds for every user. False: a bare 404 or
        410, which may be about this one user; if others get it as well, it is the API."""


class ApplicationSuspended(ApiGone):
    """Foursquare has suspended the application, and with it every user's access (`sure`)."""


class OffsetIgnored(UserFailed):
    """Foursquare shows the same page whatever offset is asked for: a walk can't get on."""


class UnsteadyList(UserFailed):
    """The list shifted under the walk more often than can be followed."""


# --- the database -------------------------------------------------------------------------------


class DatabaseError(CheckinsyncError):
    """The database reported an error; of this very class only where it has no better name."""


class DatabaseAway(DatabaseError):
    """The database cannot be reached, or takes no writes at the moment."""

    exit_code = Exit.AWAY


class DatabaseBusy(DatabaseError):
    """A lock or a statement took too long, or two transactions collided: worth trying again."""

    exit_code = Exit.AWAY


class ValueRefused(DatabaseError):
    """The database does not take a value: its type, a constraint, a limit or a trigger says no."""

    exit_code = Exit.PARTIAL


class Duplicate(ValueRefused):
    """A unique constraint says no: another row has the value."""


class PrivilegeMissing(DatabaseError):
    """The database role is not allowed to do what it has to."""

    exit_code = Exit.SETTINGS


class DatabaseRefused(DatabaseError):
    """The database is there, but does not answer a question about itself."""

    exit_code = Exit.AWAY


class DatabaseExhausted(DatabaseAway):
    """The database runs, but has no room left on its disk or in its memory."""


class EmbeddedDatabaseError(CheckinsyncError):
    """The embedded database can't be started; the message says what stands in the way."""

    exit_code = Exit.AWAY


class SchemaBehind(CheckinsyncError):
    """The schema lacks what the command needs: `checkinsync migrate` brings it."""

    exit_code = Exit.SCHEMA


class MigrationRefused(CheckinsyncError):
    """An applied migration was changed or is missing, or one comes out of order."""

    exit_code = Exit.SCHEMA


class MigrationFailed(CheckinsyncError):
    """A migration's SQL did not run; nothing of that file stays."""


# --- who is at work -----------------------------------------------------------------------------


class AtWork(CheckinsyncError):
    """Another run, or another import of this user, is at work."""

    exit_code = Exit.RUNNING


class LeaseLost(CheckinsyncError):
    """The lease was taken over while this import slept; it writes nothing more."""

    exit_code = Exit.RUNNING


class Postponed(CheckinsyncError):
    """A user's turn came when Foursquare or the database had gone away: nothing was asked."""


class Interrupted(CheckinsyncError):
    """Asked to stop; the page in hand was finished, what was committed stays."""

    def __init__(self, message: str, *, exit_code: int = Exit.INTERRUPTED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class UserExists(CheckinsyncError):
    """The user exists already, or a token belongs to another user."""

    exit_code = Exit.USAGE


# --- notices ------------------------------------------------------------------------------------


class NotSent(CheckinsyncError):
    """A notice did not reach its target; the message holds no address, which may be a secret."""

    exit_code = Exit.AWAY


class MissingExtra(SettingsError):
    """Something was asked for that needs a package which the plain installation lacks."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs more packages: pip install 'checkinsync[{extra}]'")


# --- files --------------------------------------------------------------------------------------


class FileInTheWay(CheckinsyncError):
    """A file of that name exists already, and replacing it was not asked for."""

    exit_code = Exit.USAGE


class FileNotWritten(CheckinsyncError):
    """A file can't be written: no such folder, no right to, or no room."""


class RestoreFailed(CheckinsyncError):
    """A dump was not restored; the database is as it was."""


class ScheduleRefused(CheckinsyncError):
    """The schedule can't be shown, installed or removed: this machine's cron or systemd refuses."""


class SetupStopped(CheckinsyncError):
    """A command that `setup` ran has failed; the exit code is that command's."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


# --- text ---------------------------------------------------------------------------------------


def sentence(error: BaseException | None) -> str:
    """Return an error as a sentence; of errors that are not ours only the kind, not the text."""
    if isinstance(error, CheckinsyncError):
        return str(error)
    return f"unexpected error ({type(error).__name__}); the log has more"
