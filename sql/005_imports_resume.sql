-- locks: import_jobs ACCESS EXCLUSIVE, users SHARE ROW EXCLUSIVE
-- reads: import_jobs
-- One import of a user at a time, resumed where it stopped, and what is known of each user.

-- A row of ours carries its lease's token; a row of the application has none.
ALTER TABLE import_jobs
    ADD COLUMN lease_token      BIGINT,
    ADD COLUMN new_checkins     INTEGER,
    ADD COLUMN changed_checkins INTEGER,
    ADD COLUMN requests         INTEGER;

CREATE INDEX import_jobs_user ON import_jobs (user_id, id);

-- No foreign key: a lease outlives the user's removal by at most its expiry. user_id 0 is the run.
CREATE SEQUENCE import_lease_tokens;
CREATE TABLE import_leases (
    user_id    BIGINT PRIMARY KEY,
    owner      TEXT NOT NULL,           -- host, process id and process start time
    token      BIGINT NOT NULL,         -- fences off whoever slept through his lease
    expires_at TIMESTAMPTZ NOT NULL     -- '-infinity': given back
);

CREATE TABLE sync_runs (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at  TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ,
    host        TEXT NOT NULL,
    due         INTEGER NOT NULL DEFAULT 0,
    synced      INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    skipped     INTEGER NOT NULL DEFAULT 0,
    requests    INTEGER NOT NULL DEFAULT 0,
    new         INTEGER NOT NULL DEFAULT 0,
    changed     INTEGER NOT NULL DEFAULT 0,
    gone        INTEGER NOT NULL DEFAULT 0,
    outcome     TEXT NOT NULL DEFAULT 'running'
);

CREATE TABLE sync_state (
    user_id               INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    state                 TEXT NOT NULL DEFAULT 'ok'
        CHECK (state IN ('ok', 'needs_reauth', 'rate_limited', 'failing')),
    reason                TEXT,          -- one sentence, where the state is not ok
    paused_at             TIMESTAMPTZ,   -- by an operator; NULL: not paused
    cursor                TIMESTAMPTZ,   -- start of the first attempt of the last finished walk
    walk_started_at       TIMESTAMPTZ,   -- first attempt of the walk in hand; NULL: none unfinished
    walk_since            TIMESTAMPTZ,   -- its window's start; NULL: everything
    walk_offset           INTEGER,       -- how far down it is contiguous, in items of the list
    walk_tail             TEXT[],        -- the ids of the last items of that stretch, in list order
    walked_down_to        TIMESTAMPTZ,   -- createdAt of the last of them
    last_checked_at       TIMESTAMPTZ,   -- when the last finished walk ended
    last_new_at           TIMESTAMPTZ,   -- when an import last found a new check-in
    consecutive_failures  INTEGER NOT NULL DEFAULT 0,
    retry_at              TIMESTAMPTZ,   -- a rate limit's reset
    rejected_token_sha256 BYTEA,         -- of the sealed text that Foursquare rejected or no key opened
    token_unreadable      BOOLEAN NOT NULL DEFAULT false,  -- no key opened it: tried each night
    token_in              TEXT           -- the way of sending the token that worked: header or query
);

-- Items of a page that could not become a check-in, as received; tried again on each import.
CREATE TABLE quarantined_checkins (
    user_id       INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    foursquare_id TEXT COLLATE "C" NOT NULL,   -- without a usable id: sha256: and the item's hash
    item          BYTEA NOT NULL,              -- it may be no JSON
    problem       TEXT NOT NULL,
    first_seen_at TIMESTAMPTZ NOT NULL,
    last_tried_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, foursquare_id)
);
