"""Which key decrypts which users' tokens; keys are shown by their fingerprints only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from checkinsync.model.user import User


@dataclass(frozen=True, slots=True)
class Key:
    """A key as far as it may be shown."""

    fingerprint: str
    """Eight hex digits of a hash: the same for the same key, however it was written."""
    doubt: str = ""
    """Why it is hardly the key that is meant, such as "begins with 0x"; empty if it may be."""


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """Whose stored token is decrypted by which key."""

    decrypted: tuple[tuple[User, ...], ...]
    """A group of users for each key."""
    unreadable: tuple[User, ...]
    """Users whose tokens no key decrypts."""

    @classmethod
    def of(
        cls, users: Iterable[User], *, keys: int, decrypted_by: Callable[[str], int | None]
    ) -> KeyUsage:
        """Group users by the number of the key that decrypts their token (the first one is 0)."""
        groups: list[list[User]] = [[] for _ in range(keys)]
        unreadable: list[User] = []
        for user in users:
            number = decrypted_by(user.encrypted_token or "")
            (unreadable if number is None else groups[number]).append(user)
        return cls(tuple(map(tuple, groups)), tuple(unreadable))

    def __add__(self, other: KeyUsage) -> KeyUsage:
        """Return the usage of both groups of users together."""
        pairs = zip(self.decrypted, other.decrypted, strict=True)
        return KeyUsage(
            tuple(mine + theirs for mine, theirs in pairs), self.unreadable + other.unreadable
        )

    @property
    def total(self) -> int:
        """The number of stored tokens."""
        return sum(map(len, self.decrypted)) + len(self.unreadable)

    @property
    def to_encrypt(self) -> tuple[User, ...]:
        """Users whose tokens another key than the first decrypts."""
        return tuple(user for group in self.decrypted[1:] for user in group)

    def counts(self) -> tuple[int, ...]:
        """The number of tokens that each key decrypts."""
        return tuple(map(len, self.decrypted))

    def without(self, users: Iterable[User]) -> KeyUsage:
        """Return the usage of all others than these users."""
        out = {user.id for user in users}
        groups = (tuple(u for u in group if u.id not in out) for group in self.decrypted)
        return KeyUsage(tuple(groups), tuple(u for u in self.unreadable if u.id not in out))


@dataclass(frozen=True, slots=True)
class RotationResult:
    """What a rotation did, or would do."""

    keys: tuple[Key, ...]
    found: KeyUsage
    """By the keys that decrypted the tokens before; without the users who are `left`."""
    left: tuple[User, ...]
    """Users whose rows another program kept locked; their tokens are as they were."""
    written: bool
    """False for a dry run."""

    @property
    def complete(self) -> bool:
        """True if every token is encrypted with the first key now, or would be."""
        return not self.found.unreadable and not self.left
