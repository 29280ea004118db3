-- locks: users SHARE ROW EXCLUSIVE
-- adds: sync_state, quarantined_checkins
--
-- The state of each user's imports, and the items that could not be stored.

CREATE TABLE sync_state (
    user_id               INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    state                 TEXT NOT NULL DEFAULT 'ok'
        CHECK (state IN ('ok', 'needs_reauth', 'rate_limited', 'failing')),
    reason                TEXT,          -- one sentence, where the state is not ok
    paused_at             TIMESTAMPTZ,   -- by an operator; NULL: not paused
    cursor                TIMESTAMPTZ,   -- start of the first attempt of the last finished walk
    walk_started_at       TIMESTAMPTZ,   -- first attempt of the unfinished walk; NULL: there is none
    walk_since            TIMESTAMPTZ,   -- its window's start; NULL: everything
    walk_offset           INTEGER,       -- how far down it is contiguous, in items of the list
    walk_tail             TEXT[],        -- the ids of the last items of that stretch, in list order
    walked_down_to        TIMESTAMPTZ,   -- createdAt of the last of them
    window_size           INTEGER,       -- how many check-ins the next window held at the cursor
    last_checked_at       TIMESTAMPTZ,   -- when the last finished walk ended
    last_new_at           TIMESTAMPTZ,   -- when an import last found a new check-in
    consecutive_failures  INTEGER NOT NULL DEFAULT 0,
    retry_at              TIMESTAMPTZ,   -- a rate limit's reset
    rejected_token_sha256 BYTEA,         -- of the encrypted token that was rejected or not decrypted
    token_unreadable      BOOLEAN NOT NULL DEFAULT false,  -- no key decrypted it: tried each night
    token_in              TEXT,          -- how the token was sent when it worked: header or query
    slice_from            TIMESTAMPTZ,   -- the start of the next slice of the older history; NULL: its top
    sliced_at             TIMESTAMPTZ,   -- when the last slice, or the missing ones instead, was read
    slice_owed            BOOLEAN NOT NULL DEFAULT false,  -- the missing ones took a slice's place
    list_order            TEXT           -- Foursquare lists by 'created' or by 'id'; NULL: not known yet
        CHECK (list_order IN ('created', 'id')),
    list_shift            INTEGER        -- by how many places its list was longer than what is stored
);

-- Items of a page that could not become a check-in, as received; tried again on each import.
CREATE TABLE quarantined_checkins (
    user_id       INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    foursquare_id TEXT COLLATE "C" NOT NULL,   -- without a usable id: sha256: and the item's hash
    item          BYTEA NOT NULL,              -- it may not be JSON
    problem       TEXT NOT NULL,
    first_seen_at TIMESTAMPTZ NOT NULL,
    last_tried_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, foursquare_id)
);
