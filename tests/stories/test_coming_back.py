"""A user who was inactive visits the web application, and is imported the next night."""

from __future__ import annotations

import pytest

from support.stories import QUIET
from support.web_servers import Site


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_who_comes_back_is_imported_the_next_night(story, kind: str):
    ada, ben = story.people(20, 10)
    story.conn.execute(
        "UPDATE users SET last_login_at = now() AT TIME ZONE 'UTC' - interval '31 days'"
    )
    night = story.run("orchestrate")
    assert (night.code, night.out) == (0, "")
    assert "2 users connected, but none has logged in" in night.err
    assert not story.requests()

    [(token,)] = story.rows("SELECT secret_token FROM users WHERE id = %s", ada.id)
    site = Site(kind)
    with site.open_ones:
        site.serve(story.url, now=None)
        assert site.get(X_Auth_Token=token).json()["id"] == ada.id

    assert "whole history" in story.run("orchestrate", "--dry-run").out
    assert story.run("orchestrate") == QUIET
    assert story.complete(ada)
    assert not story.requests(ben)
