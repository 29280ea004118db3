"""Edits at Foursquare: what was changed is kept beside the check-in; drifting counters are not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from support.factories import NOW

NEWEST = int(NOW.timestamp()) - 3600
ADA = "token-ada"


@pytest.fixture
def ada(house):
    house.simulator.world.add_account(ADA, count=60, newest=NEWEST, gap=6 * 3600)
    user = house.add(ADA)
    house.import_(user)
    return user


def revisions(house) -> list[tuple]:
    return house.conn.execute(
        """
        SELECT foursquare_id, what, old_values, new_values, seen_at
          FROM checkin_revisions JOIN checkins ON checkins.id = checkin_id
         ORDER BY foursquare_id, checkin_revisions.id
        """
    ).fetchall()


def newest(house) -> dict:
    return house.simulator.world.accounts[ADA].items[0]


@pytest.mark.parametrize(
    ("changes", "part", "before", "after"),
    [
        ({"shout": "so"}, "shout", None, "so"),
        ({"private": True}, "private", False, True),
        ({"type": "shout"}, "kind", "checkin", "shout"),
        ({"photos": {"count": 0, "items": []}}, "photos", 1, 0),
    ],
)
def test_an_edit_is_kept_with_what_was_there_before(house, ada, changes, part, before, after):
    world = house.simulator.world
    item = newest(house)
    world.edit(ADA, item["id"], shout=None, private=False, photos={"count": 0, "items": []})
    world.add_photo(ADA, item["id"])
    house.night(ada)
    house.conn.execute("DELETE FROM checkin_revisions")
    world.edit(ADA, item["id"], **changes)

    house.night(ada)
    house.night(ada)

    [(foursquare_id, what, old, new, seen_at)] = revisions(house)
    assert (foursquare_id, what, seen_at) == (item["id"], [part], house.at - timedelta(days=1))
    old, new = old[part], new[part]
    assert (len(old), len(new)) == (1, 0) if part == "photos" else (old, new) == (before, after)


def test_a_time_is_kept_as_it_was(house, ada):
    item = newest(house)
    house.simulator.world.edit(ADA, item["id"], createdAt=item["createdAt"] - 7200)

    house.night(ada)

    [(_, what, old, new, _)] = revisions(house)
    assert what == ["time"]
    assert old["time"]["created_at"] > new["time"]["created_at"]


def test_several_parts_at_once_are_one_revision(house, ada):
    item = newest(house)
    house.simulator.world.edit(ADA, item["id"], shout="so", createdAt=item["createdAt"] - 60)

    house.night(ada)

    [(_, what, _, _, _)] = revisions(house)
    assert sorted(what) == ["shout", "time"]


def test_counters_and_likes_are_no_edit(house, ada):
    house.simulator.switches.drift = True
    house.simulator.world.like(ADA, newest(house)["id"], "Grace")

    house.night(ada)

    assert revisions(house) == []


def test_the_venue_that_was_seen_first_stays_readable(house, ada):
    world = house.simulator.world
    first = newest(house)["venue"]
    other = next(i["venue"] for i in world.accounts[ADA].items if i["venue"]["id"] != first["id"])
    world.rename_venue(first["id"], "Renamed")
    house.night(ada)
    world.merge_venue(first["id"], into=other["id"])

    house.night(ada)

    row = house.conn.execute(
        """
        SELECT venue_id, venue_name, first_venue_id, first_venue_name FROM checkins
         WHERE foursquare_id = %s
        """,
        [newest(house)["id"]],
    ).fetchone()
    assert row == (other["id"], other["name"], first["id"], first["name"])
    own = [r for r in revisions(house) if r[0] == newest(house)["id"]]
    assert [(r[1], r[2]["venue"]["name"], r[3]["venue"]["name"]) for r in own] == [
        (["venue"], first["name"], "Renamed"),
        (["venue"], "Renamed", other["name"]),
    ]


def test_a_row_of_the_application_keeps_the_venue_it_knew(house):
    world = house.simulator.world
    world.add_account(ADA, count=1, newest=NEWEST)
    user = house.add(ADA)
    house.conn.execute(
        """
        INSERT INTO checkins (user_id, venue_id, venue_name, checkin_date)
        VALUES (%s, 'merged away', 'The Old Place', to_timestamp(%s) AT TIME ZONE 'UTC')
        """,
        [user.id, NEWEST],
    )

    house.import_(user)

    [(_, what, old, new, _)] = revisions(house)
    assert (what, old["venue"]) == (["venue"], {"id": "merged away", "name": "The Old Place"})
    assert new["venue"]["id"] == newest(house)["venue"]["id"]
    assert house.conn.execute("SELECT first_venue_name FROM checkins").fetchone() == (
        "The Old Place",
    )


def test_a_row_written_by_another_version_is_no_edit(house, ada):
    house.conn.execute("UPDATE checkins SET fingerprint = '\\x00'")

    imported = house.night(ada)

    assert imported.saved.changed
    assert revisions(house) == []
