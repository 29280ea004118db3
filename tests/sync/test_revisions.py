"""Edits at Foursquare: the values before are kept as revisions, but not those of counters."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from checkinsync.model.changes import Former, Revision, Rewrite
from checkinsync.sync.revisions import revisions as edits
from support.factories import NOW, checkin

NEWEST = int(NOW.timestamp()) - 3600
ADA = "token-ada"


@pytest.fixture
def ada(env):
    env.simulator.world.add_account(ADA, count=60, newest=NEWEST, gap=6 * 3600)
    user = env.add(ADA)
    env.import_(user)
    return user


def revisions(env) -> list[tuple]:
    return env.conn.execute(
        """
        SELECT foursquare_id, what, old_values, new_values, seen_at
          FROM checkin_revisions JOIN checkins ON checkins.id = checkin_id
         ORDER BY foursquare_id, checkin_revisions.id
        """
    ).fetchall()


def raw(env, item_id: str) -> dict:
    return env.conn.execute(
        "SELECT raw FROM checkins WHERE foursquare_id = %s", [item_id]
    ).fetchone()[0]


def newest(env) -> dict:
    return env.simulator.world.accounts[ADA].items[0]


@pytest.mark.parametrize(
    ("changes", "part", "before", "after"),
    [
        ({"shout": "so"}, "shout", None, "so"),
        ({"private": True}, "private", False, True),
        ({"type": "shout"}, "kind", "checkin", "shout"),
        ({"photos": {"count": 0, "items": []}}, "photos", 1, 0),
        ({"with": [{"id": "7", "firstName": "Grace"}]}, "with", None, [{"id": "7"}]),
        (
            {"event": {"id": "e1", "name": "Konzert"}},
            "event",
            None,
            {"id": "e1", "name": "Konzert"},
        ),
        ({"sticker": {"id": "s1"}}, "sticker", None, {"id": "s1"}),
        ({"brandNew": [1]}, "brandNew", None, [1]),
    ],
)
def test_an_edit_is_kept_with_what_was_there_before(env, ada, changes, part, before, after):
    world = env.simulator.world
    item = newest(env)
    nothing = {"shout": None, "sticker": None, "with": []}
    world.edit(ADA, item["id"], private=False, photos={"count": 0, "items": []}, **nothing)
    world.add_photo(ADA, item["id"])
    env.night(ada)
    env.conn.execute("DELETE FROM checkin_revisions")
    world.edit(ADA, item["id"], **changes)

    env.night(ada)
    env.night(ada)

    [(foursquare_id, what, old, new, seen_at)] = revisions(env)
    assert raw(env, foursquare_id)[next(iter(changes))] == next(iter(changes.values()))
    assert (foursquare_id, what, seen_at) == (item["id"], [part], env.at - timedelta(days=1))
    old, new = old[part], new[part]
    assert (len(old), len(new)) == (1, 0) if part == "photos" else (old, new) == (before, after)


def test_who_may_see_a_photo_is_an_edit(env, ada):
    world = env.simulator.world
    item = newest(env)
    world.add_photo(ADA, item["id"])
    env.night(ada)
    env.conn.execute("DELETE FROM checkin_revisions")
    photos = world.accounts[ADA].entry(item["id"]).item["photos"]
    shown = [photo | {"visibility": "private"} for photo in photos["items"]]
    world.edit(ADA, item["id"], photos=photos | {"items": shown})

    env.night(ada)

    [(_, what, _, new, _)] = revisions(env)
    assert what == ["photos"]
    assert {visibility for _, visibility in new["photos"]} == {"private"}


def test_a_time_is_kept_as_it_was(env, ada):
    item = newest(env)
    env.simulator.world.edit(ADA, item["id"], createdAt=item["createdAt"] - 7200)

    env.night(ada)

    [(_, what, old, new, _)] = revisions(env)
    assert what == ["time"]
    assert old["time"]["created_at"] > new["time"]["created_at"]


def test_several_parts_at_once_are_one_revision(env, ada):
    item = newest(env)
    env.simulator.world.edit(ADA, item["id"], shout="so", createdAt=item["createdAt"] - 60)

    env.night(ada)

    [(_, what, _, _, _)] = revisions(env)
    assert sorted(what) == ["shout", "time"]


def test_counters_and_likes_are_no_edit(env, ada):
    env.simulator.switches.drift = True
    env.simulator.world.like(ADA, newest(env)["id"], "Grace")

    env.night(ada)

    assert revisions(env) == []


def test_the_venue_that_was_seen_first_stays_readable(env, ada):
    world = env.simulator.world
    first = newest(env)["venue"]
    other = next(i["venue"] for i in world.accounts[ADA].items if i["venue"]["id"] != first["id"])
    world.rename_venue(first["id"], "Renamed")
    env.night(ada)
    world.merge_venue(first["id"], into=other["id"])

    env.night(ada)

    row = env.conn.execute(
        """
        SELECT venue_id, venue_name, first_venue_id, first_venue_name FROM checkins
         WHERE foursquare_id = %s
        """,
        [newest(env)["id"]],
    ).fetchone()
    assert row == (other["id"], other["name"], first["id"], first["name"])
    own = [r for r in revisions(env) if r[0] == newest(env)["id"]]
    assert [(r[1], r[2]["venue"]["name"], r[3]["venue"]["name"]) for r in own] == [
        (["venue"], first["name"], "Renamed"),
        (["venue"], "Renamed", other["name"]),
    ]


def test_a_row_of_the_application_keeps_the_venue_it_knew(env):
    world = env.simulator.world
    world.add_account(ADA, count=1, newest=NEWEST)
    user = env.add(ADA)
    env.conn.execute(
        """
        INSERT INTO checkins (user_id, venue_id, venue_name, checkin_date)
        VALUES (%s, 'merged away', 'The Old Place', to_timestamp(%s) AT TIME ZONE 'UTC')
        """,
        [user.id, NEWEST],
    )

    env.import_(user)

    [(_, what, old, new, _)] = revisions(env)
    assert (what, old["venue"]) == (["venue"], {"id": "merged away", "name": "The Old Place"})
    assert new["venue"]["id"] == newest(env)["venue"]["id"]
    assert env.conn.execute("SELECT first_venue_name FROM checkins").fetchone() == (
        "The Old Place",
    )


def test_a_row_written_by_another_version_is_no_edit(env, ada):
    env.conn.execute("UPDATE checkins SET fingerprint = '\\x00'")

    imported = env.night(ada)

    assert imported.saved.changed
    assert revisions(env) == []


def test_only_edits_are_among_the_rows_that_are_overwritten():
    edited, same, moved, unknown = (checkin(NOW, n, venue=f"venue {n}") for n in range(4))
    rewrites = [Rewrite(n, item) for n, item in enumerate((unknown, same, edited, moved, same))]
    before = [
        Former(0, "venue", "Somewhere", raw="an item that can't be read any more"),
        Former(1, same.venue_id, "Somewhere", raw="{}"),
        Former(2, edited.venue_id, "Somewhere", raw="{}"),
        Former(3, "another venue", "Elsewhere", raw=None),
        Former(4, "".join(same.venue_id), "Its name at that time", raw=None),
    ]
    known = {1: same, 2: replace(edited, shout="before")}

    found = edits(rewrites, before, known)

    venues = (
        {"venue": {"id": "another venue", "name": "Elsewhere"}},
        {"venue": {"id": moved.venue_id, "name": "Somewhere"}},
    )
    assert found == [
        Revision(2, ("shout",), {"shout": "before"}, {"shout": None}),
        Revision(3, ("venue",), *venues),
    ]
