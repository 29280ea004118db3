-- no transaction
-- locks: checkins SHARE UPDATE EXCLUSIVE
-- reads: checkins 2 times
-- Built beside readers and writers. A build that was cut off leaves an invalid index: drop it first.
DROP INDEX CONCURRENTLY IF EXISTS checkins_missing;
CREATE INDEX CONCURRENTLY checkins_missing ON checkins (user_id, missing_since)
    WHERE missing_since IS NOT NULL OR withheld_since IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS checkins_deleted;
CREATE INDEX CONCURRENTLY checkins_deleted ON checkins (user_id, deleted_at)
    WHERE deleted_at IS NOT NULL;
