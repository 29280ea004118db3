-- locks: checkins SHARE ROW EXCLUSIVE, users SHARE ROW EXCLUSIVE
-- adds: checkin_revisions, checkin_revisions_checkin, checkin_revisions_user
--
-- Edits at Foursquare: what was changed of a check-in, and what it was before.

CREATE TABLE checkin_revisions (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    checkin_id INTEGER NOT NULL REFERENCES checkins (id) ON DELETE CASCADE,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    what       TEXT[] NOT NULL,        -- of: shout, time, photos, private, venue, kind
    old_values JSONB NOT NULL,         -- each part as it was
    new_values JSONB NOT NULL,         -- and as it became
    seen_at    TIMESTAMPTZ NOT NULL    -- when an import met the edit
);
CREATE INDEX checkin_revisions_checkin ON checkin_revisions (checkin_id);
CREATE INDEX checkin_revisions_user ON checkin_revisions (user_id);
