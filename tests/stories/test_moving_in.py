"""Moving in with the application: its rows get their ids, none is doubled, none is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.stories import QUIET, telling
from support.webapp import years as webapp_years
from support.webapp.database import WebApp

SHAPES = (
    WebApp(),
    WebApp(unique_checkins=False),
    WebApp(photos=False, timezone=False),
    WebApp(location=True),
    WebApp(unique_checkins=False, photos=False, data_source=False, timezone=False, location=True),
)


@pytest.mark.parametrize("app", SHAPES, ids=str)
def test_after_one_import_each_row_that_exists_has_its_id_and_none_is_doubled(
    empty_url: str, tmp_path: Path, app: WebApp
) -> None:
    with telling(tmp_path, empty_url) as story:
        everyone = webapp_years.lived(story, app, users=5, checkins=400)
        before = story.rows("SELECT count(*) FROM checkins")[0][0]

        assert story.run("migrate").code == 0
        assert story.rows("SELECT count(*), count(foursquare_id) FROM checkins") == [(before, 0)]
        assert story.run("orchestrate") == QUIET

        for years in everyone:
            webapp_years.check(story, years)
            assert len(years.lost) >= 30
            assert len(years.gone) >= 10
        doubled = story.rows(
            """
            SELECT 1 FROM checkin_photos WHERE foursquare_photo_id IS NOT NULL
             GROUP BY checkin_id, photo_url HAVING count(*) > 1
            """
        )
        assert doubled == []
        shown = sum(
            len(item["photos"]["items"])
            for years in everyone
            for item in story.simulator.world.accounts[years.person.token].items
        )
        assert story.rows("SELECT count(foursquare_photo_id) FROM checkin_photos") == [(shown,)]
        if app.location:
            assert story.rows(
                """
                SELECT count(*) FROM checkins
                 WHERE latitude IS NOT NULL
                   AND location IS DISTINCT FROM format('POINT(%s %s)', longitude, latitude)
                """
            ) == [(0,)]
        stands = story.rows("SELECT c::text FROM checkins AS c ORDER BY id")
        assert story.run("orchestrate") == QUIET
        assert story.rows("SELECT c::text FROM checkins AS c ORDER BY id") == stands
