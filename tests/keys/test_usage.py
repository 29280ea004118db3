"""Which key opens whose token, in numbers."""

from __future__ import annotations

from checkinsync.keys.usage import KeyUsage, RotationResult
from checkinsync.model.user import User


def user(number: int, sealed: str) -> User:
    return User(number, f"f{number}", None, sealed)


USERS = [user(1, "0"), user(2, "1"), user(3, "x"), user(4, "1"), user(5, "0")]


def census(users: list[User]) -> KeyUsage:
    return KeyUsage.of(users, keys=3, opened_by=lambda text: None if text == "x" else int(text))


def test_everybody_is_counted_under_one_key_or_under_none():
    found = census(USERS)

    assert found.counts() == (2, 2, 0)
    assert [user.id for user in found.unreadable] == [3]
    assert [user.id for user in found.to_seal] == [2, 4]
    assert found.total == len(USERS)


def test_two_batches_are_counted_as_one():
    assert census(USERS[:2]) + census(USERS[2:]) == census(USERS)
    assert census(USERS).without([USERS[1], USERS[2]]) == census([USERS[0], *USERS[3:]])


def test_a_rotation_is_complete_when_no_token_is_left_behind():
    def complete(users: list[User], left: tuple[User, ...] = ()) -> bool:
        return RotationResult((), census(users), left, written=True).complete

    assert complete(USERS[:2])
    assert not complete(USERS)
    assert not complete(USERS[:1], (USERS[1],))
