-- locks: checkins ACCESS EXCLUSIVE, users SHARE ROW EXCLUSIVE
-- Foursquare's deletions and edits leave traces, and what was compared with Foursquare is known.

ALTER TABLE checkins
    ADD COLUMN missing_again_at TIMESTAMPTZ,  -- not shown a second time, long enough after the first
    ADD COLUMN withheld_since   TIMESTAMPTZ,  -- not shown, but with too many others to be believed
    ADD COLUMN first_venue_id   VARCHAR(255), -- the venue first seen, where Foursquare now shows
    ADD COLUMN first_venue_name TEXT;         -- another, by a merge, a rename or an edit

-- Edits at Foursquare: what of a check-in was changed, and what it was before.
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

ALTER TABLE sync_state
    ADD COLUMN slice_from TIMESTAMPTZ,  -- where the next slice of the older history begins; NULL: at its top
    ADD COLUMN sliced_at  TIMESTAMPTZ,  -- when the last slice, or the last look for missing ones, was read
    ADD COLUMN slice_owed BOOLEAN NOT NULL DEFAULT false,  -- that look took the place of a slice
    ADD COLUMN list_order TEXT          -- Foursquare lists by 'created' or by 'id', once a page has told
        CHECK (list_order IN ('created', 'id')),
    ADD COLUMN list_shift INTEGER;      -- by how many places it was longer there than what is stored

-- When each stretch of a user's history was last compared with Foursquare. They never overlap.
CREATE TABLE verified_spans (
    user_id     INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    newest      TIMESTAMPTZ NOT NULL,
    oldest      TIMESTAMPTZ,            -- NULL: the beginning of the history
    verified_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, newest)
);

-- A verification at work, or cut off and to be gone on with.
CREATE TABLE verifications (
    user_id         INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    started_at      TIMESTAMPTZ NOT NULL,
    repairs         BOOLEAN NOT NULL,   -- it stores what it finds missing
    walk_started_at TIMESTAMPTZ,        -- the mark of its walk, as in sync_state
    walk_offset     INTEGER,
    walk_tail       TEXT[],
    walked_down_to  TIMESTAMPTZ,
    requests        INTEGER NOT NULL DEFAULT 0,
    told            INTEGER             -- Foursquare's own total, as last told
);

-- What its pages have shown so far: a row per check-in, gone with the verification's end.
CREATE TABLE verification_items (
    user_id       INTEGER NOT NULL REFERENCES verifications (user_id) ON DELETE CASCADE,
    foursquare_id TEXT COLLATE "C" NOT NULL,
    finding       TEXT NOT NULL         -- compared with the row then
        CHECK (finding IN ('same', 'missing', 'different', 'unreadable')),
    created_at    TIMESTAMPTZ,          -- the check-in's; NULL: it can't be read
    detail        TEXT NOT NULL,        -- in what it differs
    adopts        INTEGER,              -- the application's row without an id that is this check-in
    repaired      BOOLEAN NOT NULL DEFAULT false,
    seen_at       TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, foursquare_id)
);
