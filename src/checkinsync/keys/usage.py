"""Keys by their fingerprints, and which of them opens which tokens; all pure, and never a key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from checkinsync.model.user import User


@dataclass(frozen=True, slots=True)
class Key:
    """What may be told of a key."""

    fingerprint: str
    """Eight hex digits of a hash: the same for the same key, however it was written."""
    looks_cut: bool = False
    """Hex digits, but not 64 of them: it counts as a pass phrase, which is hardly meant."""


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """Whose stored token is opened by which key; `opened` has a group of users for each key."""

    opened: tuple[tuple[User, ...], ...]
    unreadable: tuple[User, ...]

    @classmethod
    def of(
        cls, users: Iterable[User], *, keys: int, decrypted_by: Callable[[str], int | None]
    ) -> KeyUsage:
        """Users with tokens, by the number of the key that opens theirs (the first one is 0)."""
        groups: list[list[User]] = [[] for _ in range(keys)]
        unreadable: list[User] = []
        for user in users:
            number = decrypted_by(user.encrypted_token or "")
            (unreadable if number is None else groups[number]).append(user)
        return cls(tuple(map(tuple, groups)), tuple(unreadable))

    def __add__(self, other: KeyUsage) -> KeyUsage:
        """Both groups of users together."""
        pairs = zip(self.opened, other.opened, strict=True)
        return KeyUsage(
            tuple(mine + theirs for mine, theirs in pairs), self.unreadable + other.unreadable
        )

    @property
    def total(self) -> int:
        """Stored tokens."""
        return sum(map(len, self.opened)) + len(self.unreadable)

    @property
    def to_encrypt(self) -> tuple[User, ...]:
        """Whose tokens open, and not by the first key."""
        return tuple(user for group in self.opened[1:] for user in group)

    def counts(self) -> tuple[int, ...]:
        """Tokens that each key opens."""
        return tuple(map(len, self.opened))

    def without(self, users: Iterable[User]) -> KeyUsage:
        """The same, but for these users."""
        gone = {user.id for user in users}
        groups = (tuple(u for u in group if u.id not in gone) for group in self.opened)
        return KeyUsage(tuple(groups), tuple(u for u in self.unreadable if u.id not in gone))


@dataclass(frozen=True, slots=True)
class RotationResult:
    """What a rotation did, or would do."""

    keys: tuple[Key, ...]
    found: KeyUsage
    """By the keys that opened them before; without those who are `left`."""
    left: tuple[User, ...]
    """Somebody else was writing their rows all the time; their tokens are as they were."""
    written: bool
    """False: it was only looked what there is to do."""

    @property
    def complete(self) -> bool:
        """Whether every token is sealed with the first key now, or would be."""
        return not self.found.unreadable and not self.left
