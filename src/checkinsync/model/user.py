"""Users, as packages pass them to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


def one_line(text: str) -> str:
    """Return a text from outside as one line, without terminal control characters."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())


@dataclass(frozen=True, slots=True)
class User:
    """A user whose check-ins are imported; `id` is `users.id`, given by the application."""

    id: int
    foursquare_user_id: str
    name: str | None
    encrypted_token: str | None = field(repr=False)

    @property
    def token_hash(self) -> bytes:
        """SHA-256 of the stored (encrypted) token, to tell when another one is stored."""
        import hashlib  # noqa: PLC0415 - loads OpenSSL, which the groups of `status --help` need not

        return hashlib.sha256((self.encrypted_token or "").encode()).digest()

    def __str__(self) -> str:
        """Return the user's name for messages: `user 7 (Ada)`."""
        return f"user {self.id} ({one_line(self.name)})" if self.name else f"user {self.id}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An active user, with what decides whether they are due."""

    user: User
    paused: bool
    state: str
    retry_at: datetime | None
    last_checked_at: datetime | None
    rejected: bytes | None
    """Hash of the encrypted token that was rejected or could not be decrypted."""
    token_unreadable: bool


@dataclass(frozen=True, slots=True)
class Profile:
    """The Foursquare user that a token belongs to (`users/self`)."""

    foursquare_user_id: str
    name: str | None
    avatar_url: str | None
