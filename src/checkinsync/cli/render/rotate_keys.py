"""The result of a rotation as text and as JSON values; keys by their fingerprints only."""

from __future__ import annotations

from typing import Any

from checkinsync.keys.usage import RotationResult
from checkinsync.model.user import User

MOST_NAMED = 20
"""Users named in a line; the JSON names all."""


def rotation_text(rotation: RotationResult) -> str:
    """A line per key, then the users who are left, then the whole in one line."""
    (key, count), *others = zip(rotation.keys, rotation.found.counts(), strict=True)
    done = "re-encrypted" if rotation.written else "to be re-encrypted"
    lines = [f"key {key.fingerprint}, the first: {_tokens(count)} encrypted with it already"]
    lines += [f"key {key.fingerprint}: {_tokens(count)} {done}" for key, count in others]
    if rotation.found.unreadable:
        lines.append(
            f"no key decrypts {_tokens(len(rotation.found.unreadable))}, left alone: "
            f"{named(rotation.found.unreadable)}"
        )
    if rotation.left:
        lines.append(
            f"locked by another program, left alone: {named(rotation.left)}; run the command again"
        )
    return "\n".join([*lines, _in_one_line(rotation)])


def _in_one_line(rotation: RotationResult) -> str:
    changed, first = len(rotation.found.to_encrypt), rotation.keys[0].fingerprint
    if not rotation.written:
        return f"{_tokens(changed)} would be re-encrypted with {first}; nothing was written"
    return f"{_tokens(changed)} re-encrypted with {first}"


def rotation_json(rotation: RotationResult) -> dict[str, Any]:
    """Counts by fingerprint, users by id."""
    return {
        "first": rotation.keys[0].fingerprint,
        "written": rotation.written,
        "tokens": rotation.found.total + len(rotation.left),
        "already": rotation.found.counts()[0],
        "sealed_anew": len(rotation.found.to_encrypt),
        "keys": [
            {"fingerprint": key.fingerprint, "opened": count}
            for key, count in zip(rotation.keys, rotation.found.counts(), strict=True)
        ],
        "unreadable": [user.id for user in rotation.found.unreadable],
        "left": [user.id for user in rotation.left],
    }


def named(users: tuple[User, ...]) -> str:
    """The first users by name, and the number of the others."""
    more = len(users) - MOST_NAMED
    names = ", ".join(map(str, users[:MOST_NAMED]))
    return f"{names} and {more} more" if more > 0 else names


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count} tokens"
