"""The number of tokens that each key decrypts."""

from __future__ import annotations

from checkinsync.keys.usage import KeyUsage, RotationResult
from checkinsync.model.user import User


def user(number: int, encrypted: str) -> User:
    return User(number, f"f{number}", None, encrypted)


USERS = [user(1, "0"), user(2, "1"), user(3, "x"), user(4, "1"), user(5, "0")]


def usage(users: list[User]) -> KeyUsage:
    return KeyUsage.of(users, keys=3, decrypted_by=lambda text: None if text == "x" else int(text))


def test_everybody_is_counted_under_one_key_or_under_none():
    found = usage(USERS)

    assert found.counts() == (2, 2, 0)
    assert [user.id for user in found.unreadable] == [3]
    assert [user.id for user in found.to_encrypt] == [2, 4]
    assert found.total == len(USERS)


def test_two_batches_are_counted_as_one():
    assert usage(USERS[:2]) + usage(USERS[2:]) == usage(USERS)
    assert usage(USERS).without([USERS[1], USERS[2]]) == usage([USERS[0], *USERS[3:]])


def test_a_rotation_is_complete_when_no_token_is_left_behind():
    def complete(users: list[User], left: tuple[User, ...] = ()) -> bool:
        return RotationResult((), usage(users), left, written=True).complete

    assert complete(USERS[:2])
    assert not complete(USERS)
    assert not complete(USERS[:1], (USERS[1],))
