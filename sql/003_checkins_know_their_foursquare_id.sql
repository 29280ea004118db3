-- What Foursquare says of a check-in and the application never kept. Every column may be NULL:
-- the application's rows have none of it until their check-in turns up and takes them over.

ALTER TABLE checkins
    ADD COLUMN foursquare_id    TEXT COLLATE "C",  -- "C": a hex id sorts by its creation instant
    ADD COLUMN kind             TEXT,
    ADD COLUMN shout            TEXT,
    ADD COLUMN time_zone_offset INTEGER,           -- minutes east of UTC
    ADD COLUMN is_private       BOOLEAN,
    ADD COLUMN visibility       TEXT,              -- as Foursquare says it; is_private follows from it
    ADD COLUMN fingerprint      BYTEA,             -- hash of what counts as a change
    ADD COLUMN first_seen_at    TIMESTAMPTZ,
    ADD COLUMN changed_at       TIMESTAMPTZ,
    ADD COLUMN missing_since    TIMESTAMPTZ,
    ADD COLUMN deleted_at       TIMESTAMPTZ;

-- The item as received. Servers built without lz4 keep their own compression.
DO $$
BEGIN
    ALTER TABLE checkins ADD COLUMN raw JSON COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported OR invalid_parameter_value THEN
    ALTER TABLE checkins ADD COLUMN raw JSON;
END
$$;

COMMENT ON COLUMN checkins.checkin_date IS
    'createdAt in UTC; of check-ins at one venue in one second the later ones get microseconds more';

ALTER TABLE checkin_photos ADD COLUMN foursquare_photo_id TEXT COLLATE "C";
