-- locks: users SHARE ROW EXCLUSIVE
-- adds: verified_spans, verifications, verification_items
--
-- The stretches of a history that were compared with Foursquare, and verifications at work.

-- When each stretch of a user's history was last compared. They never overlap.
CREATE TABLE verified_spans (
    user_id     INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    newest      TIMESTAMPTZ NOT NULL,
    oldest      TIMESTAMPTZ,            -- NULL: the beginning of the history
    verified_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, newest)
);

-- A verification at work, or interrupted and to be resumed.
CREATE TABLE verifications (
    user_id         INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    started_at      TIMESTAMPTZ NOT NULL,
    repairs         BOOLEAN NOT NULL,   -- it stores what it finds missing
    walk_started_at TIMESTAMPTZ,        -- the checkpoint of its walk, as in sync_state
    walk_offset     INTEGER,
    walk_tail       TEXT[],
    walked_down_to  TIMESTAMPTZ,
    requests        INTEGER NOT NULL DEFAULT 0,
    told            INTEGER             -- Foursquare's own total, as last reported
);

-- What its pages have shown so far: a row per check-in, deleted when the verification ends.
CREATE TABLE verification_items (
    user_id       INTEGER NOT NULL REFERENCES verifications (user_id) ON DELETE CASCADE,
    foursquare_id TEXT COLLATE "C" NOT NULL,
    finding       TEXT NOT NULL         -- compared with the row at that time
        CHECK (finding IN ('same', 'missing', 'different', 'unreadable')),
    created_at    TIMESTAMPTZ,          -- the check-in's; NULL: it can't be read
    detail        TEXT NOT NULL,        -- in what it differs
    adopts        INTEGER,              -- the application's row without an id that is this check-in
    repaired      BOOLEAN NOT NULL DEFAULT false,
    seen_at       TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, foursquare_id)
);
