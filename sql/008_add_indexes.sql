-- no transaction
-- locks: checkins SHARE UPDATE EXCLUSIVE, checkin_photos SHARE UPDATE EXCLUSIVE
-- locks: import_jobs SHARE UPDATE EXCLUSIVE
-- reads: checkins 5 times, checkin_photos, import_jobs
--
-- All indexes on the application's tables, built beside readers and writers. An interrupted build
-- leaves an invalid index, so each is dropped before it is built; no index of the application begins
-- with our name.
DROP INDEX CONCURRENTLY IF EXISTS checkinsync_checkins_user_foursquare_id;
CREATE UNIQUE INDEX CONCURRENTLY checkinsync_checkins_user_foursquare_id
    ON checkins (user_id, foursquare_id);
DROP INDEX CONCURRENTLY IF EXISTS checkinsync_checkins_user_date;
CREATE INDEX CONCURRENTLY checkinsync_checkins_user_date ON checkins (user_id, checkin_date);
DROP INDEX CONCURRENTLY IF EXISTS checkinsync_checkins_without_id;
CREATE INDEX CONCURRENTLY checkinsync_checkins_without_id ON checkins (user_id, checkin_date)
    WHERE foursquare_id IS NULL;
DROP INDEX CONCURRENTLY IF EXISTS checkinsync_checkins_missing;
CREATE INDEX CONCURRENTLY checkinsync_checkins_missing ON checkins (user_id, missing_since)
    WHERE missing_since IS NOT NULL OR withheld_since IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS checkinsync_checkins_deleted;
CREATE INDEX CONCURRENTLY checkinsync_checkins_deleted ON checkins (user_id, deleted_at)
    WHERE deleted_at IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS checkinsync_checkin_photos_checkin_foursquare_id;
CREATE UNIQUE INDEX CONCURRENTLY checkinsync_checkin_photos_checkin_foursquare_id
    ON checkin_photos (checkin_id, foursquare_photo_id);
DROP INDEX CONCURRENTLY IF EXISTS checkinsync_import_jobs_user;
CREATE INDEX CONCURRENTLY checkinsync_import_jobs_user ON import_jobs (user_id, id);
