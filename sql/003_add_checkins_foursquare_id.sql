-- locks: checkins ACCESS EXCLUSIVE, checkin_photos ACCESS EXCLUSIVE
-- adds: checkins.foursquare_id, checkins.kind, checkins.shout, checkins.time_zone_offset
-- adds: checkins.is_private, checkins.visibility, checkins.fingerprint, checkins.first_seen_at
-- adds: checkins.changed_at, checkins.missing_since, checkins.deleted_at, checkins.raw
-- adds: checkins.missing_again_at, checkins.withheld_since, checkins.first_venue_id
-- adds: checkins.first_venue_name, checkin_photos.foursquare_photo_id
--
-- All columns that we add to the application's check-ins and photos, so that these tables are locked
-- once. Every column may be NULL: a row of the application has none of this until its check-in is
-- imported and takes the row over.

ALTER TABLE checkins
    ADD COLUMN foursquare_id    TEXT COLLATE "C",  -- "C": a hex id sorts by its creation instant
    ADD COLUMN kind             TEXT,
    ADD COLUMN shout            TEXT,
    ADD COLUMN time_zone_offset INTEGER,           -- minutes east of UTC
    ADD COLUMN is_private       BOOLEAN,
    ADD COLUMN visibility       TEXT,              -- Foursquare's own word: public, friends, …
    ADD COLUMN fingerprint      BYTEA,             -- hash of what counts as a change
    ADD COLUMN first_seen_at    TIMESTAMPTZ,
    ADD COLUMN changed_at       TIMESTAMPTZ,
    ADD COLUMN missing_since    TIMESTAMPTZ,       -- not shown where it should be
    ADD COLUMN deleted_at       TIMESTAMPTZ;       -- deleted at Foursquare

-- The item as received. A server built without lz4 keeps its own compression.
DO $$
BEGIN
    ALTER TABLE checkins ADD COLUMN raw JSON COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported OR invalid_parameter_value THEN
    ALTER TABLE checkins ADD COLUMN raw JSON;
END
$$;

ALTER TABLE checkins
    ADD COLUMN missing_again_at TIMESTAMPTZ,  -- not shown a second time, long enough after the first
    ADD COLUMN withheld_since   TIMESTAMPTZ,  -- missing, but with too many others to believe
    ADD COLUMN first_venue_id   VARCHAR(255), -- the venue first seen, where Foursquare now shows
    ADD COLUMN first_venue_name TEXT;         -- another, by a merge, a rename or an edit

COMMENT ON COLUMN checkins.checkin_date IS
    'createdAt in UTC; of check-ins at one venue in one second the later ones get microseconds more';

ALTER TABLE checkin_photos ADD COLUMN foursquare_photo_id TEXT COLLATE "C";
