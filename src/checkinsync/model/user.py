"""Users, as the other packages hand them to each other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime


def one_line(text: str) -> str:
    """A text from outside as one line, without what a terminal would take for a command."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


@dataclass(frozen=True, slots=True)
class User:
    """Somebody whose check-ins we import; `id` is the application's, in `users.id`."""

    id: int
    foursquare_user_id: str
    name: str | None
    encrypted_token: str | None = field(repr=False)

    @property
    def token_hash(self) -> bytes:
        """What tells one stored token from the next without being one."""
        return hashlib.sha256((self.encrypted_token or "").encode()).digest()

    def __str__(self) -> str:
        """How he is called in sentences: `user 7 (Ada)`."""
        return f"user {self.id} ({one_line(self.name)})" if self.name else f"user {self.id}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An active user, and what a run needs to know to decide whether he is due."""

    user: User
    paused: bool
    state: str
    retry_at: datetime | None
    last_checked_at: datetime | None
    rejected: bytes | None
    """Hash of the sealed token that was rejected or could not be opened."""
    token_unreadable: bool
    finished_once: bool


@dataclass(frozen=True, slots=True)
class Profile:
    """Who Foursquare says a token belongs to (`users/self`)."""

    foursquare_user_id: str
    name: str | None
    avatar_url: str | None
