-- locks: import_jobs ACCESS EXCLUSIVE
-- adds: import_jobs.lease_token, import_jobs.new_checkins, import_jobs.changed_checkins
-- adds: import_jobs.requests, import_lease_tokens, import_leases, sync_runs
--
-- One import of a user at a time, and a row for each run.

-- A row of ours carries its lease's token; a row of the application has none.
ALTER TABLE import_jobs
    ADD COLUMN lease_token      BIGINT,
    ADD COLUMN new_checkins     INTEGER,
    ADD COLUMN changed_checkins INTEGER,
    ADD COLUMN requests         INTEGER;

-- No foreign key: a lease outlives the user's removal by at most its expiry. user_id 0 is the run.
CREATE SEQUENCE import_lease_tokens;
CREATE TABLE import_leases (
    user_id    BIGINT PRIMARY KEY,
    owner      TEXT NOT NULL,           -- host, process id and process start time
    token      BIGINT NOT NULL,         -- fencing token: an owner that lost the lease can't write
    expires_at TIMESTAMPTZ NOT NULL     -- '-infinity': released
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
    outcome     TEXT NOT NULL DEFAULT 'running',
    reminded    BOOLEAN NOT NULL DEFAULT false,  -- named the users who must log in again
    trouble     JSONB,                           -- reason -> number of users it kept from being imported
    -- What a run at work is waiting for; cleared at its end. {"until": when it ends at the latest,
    -- "waiting": users who wait, "next": [{"user_id", "at"}], "again": [{"user_id", "at", "reason"}],
    -- "paused": null or {"service", "since", "asked_at"}}
    progress    JSONB
);
