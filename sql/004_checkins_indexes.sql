-- no transaction
-- locks: checkins SHARE UPDATE EXCLUSIVE, checkin_photos SHARE UPDATE EXCLUSIVE
-- reads: checkins 3 times, checkin_photos
-- Built beside readers and writers. A build that was cut off leaves an invalid index: drop it first.
DROP INDEX CONCURRENTLY IF EXISTS checkins_user_foursquare_id;
CREATE UNIQUE INDEX CONCURRENTLY checkins_user_foursquare_id ON checkins (user_id, foursquare_id);
DROP INDEX CONCURRENTLY IF EXISTS checkins_user_date;
CREATE INDEX CONCURRENTLY checkins_user_date ON checkins (user_id, checkin_date);
DROP INDEX CONCURRENTLY IF EXISTS checkins_without_id;
CREATE INDEX CONCURRENTLY checkins_without_id ON checkins (user_id, checkin_date)
    WHERE foursquare_id IS NULL;
DROP INDEX CONCURRENTLY IF EXISTS checkin_photos_checkin_foursquare_id;
CREATE UNIQUE INDEX CONCURRENTLY checkin_photos_checkin_foursquare_id
    ON checkin_photos (checkin_id, foursquare_photo_id);
