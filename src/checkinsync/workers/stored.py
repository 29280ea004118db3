"""A run's values as JSON, and back: its options, outcomes and errors; pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

import msgspec

from checkinsync import errors
from checkinsync.errors import CheckinsyncError
from checkinsync.model.changes import Saved
from checkinsync.sync.outcome import Failed, Imported, Outcome, RetryAt, Skipped

T = TypeVar("T")

NOT_DUE = "not_due"
"""The kind of an outcome: skipped before the run began."""


class StoredError(msgspec.Struct, omit_defaults=True):
    """An error: its class by name, its message, and what else it says."""

    kind: str
    message: str = ""
    facts: dict[str, bool | int | str] = {}

    @classmethod
    def of(cls, error: BaseException) -> StoredError:
        """Return an error as it is stored: one that only its own module knows as what it is a kind
        of; of one that is not ours only the kind."""
        if not isinstance(error, CheckinsyncError):
            return cls(type(error).__name__)
        kinds = (k.__name__ for k in type(error).__mro__ if getattr(errors, k.__name__, None) is k)
        facts = {k: v for k, v in vars(error).items() if isinstance(v, bool | int | str)}
        return cls(next(kinds), str(error), facts)

    def error(self) -> Exception:
        """Return the error; one that is not ours as an empty one of the same name."""
        found = getattr(errors, self.kind, None)
        if not (isinstance(found, type) and issubclass(found, CheckinsyncError)):
            unforeseen: Exception = type(self.kind, (Exception,), {})()
            return unforeseen
        error: CheckinsyncError = found.__new__(found, self.message)
        vars(error).update(self.facts)
        return error


class StoredOutcome(msgspec.Struct, omit_defaults=True):
    """An outcome, with the number of attempts that led to it."""

    kind: str
    """`imported`, `skipped`, `retry_at`, `failed`; or NOT_DUE."""
    attempts: int = 0
    reason: str = ""
    at: datetime | None = None
    """The reset of `retry_at`, the cursor of `imported`."""
    saved: Saved | None = None
    requests: int = 0
    seconds: float = 0
    error: StoredError | None = None

    @classmethod
    def of(cls, outcome: Outcome, attempts: int) -> StoredOutcome:
        """Return an outcome as it is stored."""
        match outcome:
            case Imported(saved, requests, seconds, cursor):
                return cls(
                    "imported", attempts, at=cursor, saved=saved, requests=requests, seconds=seconds
                )
            case Skipped(reason):
                return cls("skipped", attempts, reason)
            case RetryAt(at, reason):
                return cls("retry_at", attempts, reason, at)
            case Failed(error):
                return cls("failed", attempts, error=StoredError.of(error))

    def outcome(self) -> Outcome:
        """Return the outcome."""
        match self.kind:
            case "imported":
                return Imported(self.saved or Saved(), self.requests, self.seconds, self.at)
            case "retry_at":
                assert self.at is not None
                return RetryAt(self.at, self.reason)
            case "failed":
                assert self.error is not None
                return Failed(self.error.error())
        return Skipped(self.reason)


def to_json(value: object) -> Any:
    """Return a value as JSON holds it."""
    return msgspec.to_builtins(value, str_keys=True)


def from_json(value: Any, kind: type[T]) -> T:
    """Return the value of that type that `to_json` made into this."""
    return msgspec.convert(value, kind, strict=False, str_keys=True)


def prepare(*kinds: type) -> None:
    """Let msgspec look at these types, and those of their fields, before any thread begins: two
    threads that convert into a type for the first time can crash the process (msgspec 0.22.0)."""
    for kind in kinds:
        msgspec.json.Decoder(kind)


prepare(Saved, StoredError, StoredOutcome)
