"""USER on the command line: mistyped, left out; and days that have not come yet."""

from __future__ import annotations

import pytest

from support.stories import Story

COMMANDS = [("why",), ("import-user",), ("quarantine",), ("verify",)]


@pytest.mark.parametrize("words", COMMANDS)
def test_a_mistyped_name_gets_the_nearest_ones(story: Story, words: tuple[str, ...]):
    for name in ("Ada Lovelace", "Hiro Sato", "Chloé", "Zoë"):
        story.person(name, 1)

    told = story.run(*words, "hiro satto")

    assert told.code == 2
    assert "no user 'hiro satto' (did you mean user 2 (Hiro Sato)?)" in told.err
    assert "`checkinsync users list`" in told.err
    assert "did you mean" not in story.run(*words, "Xenia").err


def test_several_near_names_are_three_at_most(story: Story):
    for number in range(5):
        story.person(f"Anna {number}", 1)

    told = story.run("why", "Anna")

    assert told.err.count("(Anna ") == 3
    assert " or user " in told.err


@pytest.mark.parametrize("words", [("why",), ("import-user",)])
def test_user_may_be_left_out_where_there_is_one(story: Story, words: tuple[str, ...]):
    nobody = story.run(*words)
    story.person("Ada", 3)
    one = story.run(*words)
    story.person("Ben", 3)
    two = story.run(*words)

    assert (nobody.code, one.code, two.code) == (2, 0, 2)
    assert "`checkinsync users add`" in nobody.err
    assert one.out.startswith("user 1 (Ada)")
    assert "name a user, since there are several" in two.err


def test_a_day_in_the_future_is_refused_before_anything_is_asked(story: Story):
    story.person("Ada", 3)

    told = story.run("import-user", "Ada", "--since", "2999-01-01")

    assert told.code == 2
    assert "--since 2999-01-01 00:00:00 UTC lies in the future" in told.err
    assert not story.requests()
