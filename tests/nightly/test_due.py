"""The choice of who is due: each reason why a user is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from checkinsync.model.user import Candidate, User
from checkinsync.nightly.due import Selection, sort_out
from support.factories import NOW

ADA = User(7, "f7", "Ada", "a token")
READY = Candidate(ADA, False, "ok", None, None, None, False)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def sorted_out(
    *candidates: Candidate,
    max_age: timedelta | None = None,
    importing: tuple[int, ...] = (),
    decrypts: bool = True,
) -> Selection:
    return sort_out(
        candidates,
        now=NOW,
        max_age=max_age,
        importing=importing,
        can_decrypt=lambda token: decrypts,
    )


def test_a_user_of_whom_nothing_is_known_is_due():
    assert sorted_out(READY) == Selection(((ADA, None),), (), (), False)


def test_a_user_whose_import_is_at_work_is_not_due():
    other = replace(READY, user=replace(ADA, id=8))

    selection = sorted_out(READY, other, importing=(7,))

    assert selection.skipped == ((ADA, "another import of this user is at work"),)
    assert selection.due == ((other.user, None),)


REJECTED = replace(READY, state="needs_reauth", rejected=ADA.token_hash)


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (replace(READY, paused=True), "paused"),
        (replace(READY, user=replace(ADA, encrypted_token=None)), "must connect first"),
        (REJECTED, "must log in again"),
        (replace(READY, last_checked_at=NOW - DAY + HOUR), "imported less than"),
    ],
)
def test_each_reason_why_a_user_is_not_due_is_told(candidate, reason):
    selection = sorted_out(candidate, max_age=DAY)

    [(_, told)] = selection.skipped
    assert reason in told
    assert selection.due == selection.unreadable == ()


@pytest.mark.parametrize(
    "candidate",
    [
        replace(READY, last_checked_at=NOW - DAY),
        replace(READY, last_checked_at=NOW - 9 * DAY),
        replace(REJECTED, rejected=b"the hash of an earlier token"),
        replace(REJECTED, state="failing"),
        replace(REJECTED, token_unreadable=True),
        replace(READY, state="failing", retry_at=NOW + HOUR),
        replace(READY, state="rate_limited", retry_at=NOW),
    ],
)
def test_earlier_trouble_does_not_keep_a_user_from_being_due(candidate):
    assert sorted_out(candidate, max_age=DAY).due == ((ADA, None),)


def test_the_age_of_the_last_import_counts_only_where_a_largest_age_is_set():
    assert sorted_out(replace(READY, last_checked_at=NOW)).due == ((ADA, None),)


def test_a_rate_limited_user_is_due_from_the_reset_on():
    limited = replace(READY, state="rate_limited", retry_at=NOW + HOUR)

    assert sorted_out(limited).due == ((ADA, NOW + HOUR),)


def test_an_unreadable_token_is_told_once_and_then_a_reason_not_to_be_due():
    other = replace(READY, user=User(8, "f8", None, "readable"))
    known = replace(REJECTED, token_unreadable=True)

    for candidate, unreadable, skipped in ((READY, (ADA,), 0), (known, (), 1)):
        selection = sort_out(
            [candidate, other],
            now=NOW,
            max_age=None,
            importing=(),
            can_decrypt=lambda token: token == "readable",
        )
        assert (selection.unreadable, len(selection.skipped)) == (unreadable, skipped)
        assert selection.due == ((other.user, None),)
        assert not selection.no_token_decrypts


def test_only_where_no_token_at_all_decrypts_is_the_key_to_blame():
    unconnected = replace(READY, user=replace(ADA, encrypted_token=None))

    assert sorted_out(READY, decrypts=False).no_token_decrypts
    assert not sorted_out(unconnected, decrypts=False).no_token_decrypts
    assert not sorted_out(decrypts=False).no_token_decrypts
