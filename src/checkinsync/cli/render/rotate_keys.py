"""What a rotation of keys did, as text and as JSON values; keys by their fingerprints only."""

from __future__ import annotations

from typing import Any

from checkinsync.keys.usage import RotationResult
from checkinsync.model.user import User

MOST_NAMED = 20
"""Users named in a line; the JSON names all."""


def rotation_text(rotation: RotationResult) -> str:
    """A line per key, then who is left, then the whole in one line."""
    first, *others = zip(rotation.keys, rotation.found.counts(), strict=True)
    done = "sealed anew" if rotation.written else "to be sealed anew"
    lines = [f"key {first[0].fingerprint}, the first: {_tokens(first[1])} sealed with it already"]
    lines += [f"key {key.fingerprint}: {_tokens(count)} {done}" for key, count in others]
    if rotation.found.unreadable:
        lines.append(
            f"no key opens {_tokens(len(rotation.found.unreadable))}, left alone: "
            f"{named(rotation.found.unreadable)}"
        )
    if rotation.left:
        lines.append(
            f"somebody else was writing all the time, left alone: {named(rotation.left)}; "
            "run the command again"
        )
    return "\n".join([*lines, _in_one_line(rotation)])


def _in_one_line(rotation: RotationResult) -> str:
    anew, first = len(rotation.found.to_encrypt), rotation.keys[0].fingerprint
    if not rotation.written:
        return f"{_tokens(anew)} would be sealed anew with {first}; nothing was written"
    return f"{_tokens(anew)} sealed anew with {first}"


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
    """The first of them by name, and how many there are more."""
    more = len(users) - MOST_NAMED
    names = ", ".join(map(str, users[:MOST_NAMED]))
    return f"{names} and {more} more" if more > 0 else names


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count} tokens"
