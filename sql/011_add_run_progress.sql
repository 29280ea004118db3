-- adds: sync_runs.progress
--
-- What a run at work is waiting for, for those who watch it: written by the run, cleared at its end.
--
-- {"until": when it ends at the latest, "waiting": users who wait, "next": [{"user_id", "at"}],
--  "again": [{"user_id", "at", "reason"}], "paused": null or {"service", "since", "asked_at"}}

ALTER TABLE sync_runs ADD COLUMN progress JSONB;
