-- The tables of the web application, as far as the import touches them. On an empty database they
-- are made here; on the application's own they stand already, and only what its half-finished
-- migrations left out is added. All its times are TIMESTAMP without zone, holding UTC.

CREATE TABLE IF NOT EXISTS users (
    id                     SERIAL PRIMARY KEY,
    foursquare_user_id     VARCHAR(255) UNIQUE NOT NULL,
    display_name           VARCHAR(255),
    avatar_url             TEXT,
    access_token_encrypted TEXT,
    secret_token           VARCHAR(64) UNIQUE NOT NULL,
    last_sync_at           TIMESTAMP,
    created_at             TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at             TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC')
);

ALTER TABLE users ADD COLUMN IF NOT EXISTS avatar_url TEXT;
ALTER TABLE users ADD COLUMN IF NOT EXISTS last_sync_at TIMESTAMP;

CREATE TABLE IF NOT EXISTS import_jobs (
    id             SERIAL PRIMARY KEY,
    user_id        INTEGER REFERENCES users (id) ON DELETE CASCADE,
    status         VARCHAR(50) NOT NULL DEFAULT 'pending',
    total_expected INTEGER,
    total_imported INTEGER DEFAULT 0,
    current_batch  INTEGER DEFAULT 0,
    error_message  TEXT,
    started_at     TIMESTAMP,
    completed_at   TIMESTAMP,
    created_at     TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC')
);

-- The application's old rows keep a NULL data_source: they are Foursquare's.
ALTER TABLE import_jobs ADD COLUMN IF NOT EXISTS data_source VARCHAR(50);
ALTER TABLE import_jobs ADD COLUMN IF NOT EXISTS sync_cursor JSONB;
ALTER TABLE import_jobs ADD COLUMN IF NOT EXISTS retry_after TIMESTAMP;

CREATE TABLE IF NOT EXISTS checkins (
    id             SERIAL PRIMARY KEY,
    user_id        INTEGER REFERENCES users (id) ON DELETE CASCADE,
    venue_id       VARCHAR(255),
    venue_name     TEXT NOT NULL,
    venue_category VARCHAR(255),
    latitude       DECIMAL(10, 8),
    longitude      DECIMAL(11, 8),
    checkin_date   TIMESTAMP NOT NULL,
    city           VARCHAR(255),
    country        VARCHAR(255),
    created_at     TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC'),
    CONSTRAINT checkins_user_venue_date_unique UNIQUE (user_id, venue_id, checkin_date)
);

ALTER TABLE checkins ADD COLUMN IF NOT EXISTS timezone VARCHAR(50);

CREATE TABLE IF NOT EXISTS checkin_photos (
    id               SERIAL PRIMARY KEY,
    checkin_id       INTEGER REFERENCES checkins (id) ON DELETE CASCADE,
    photo_url        TEXT NOT NULL,
    photo_url_cached TEXT,
    width            INTEGER,
    height           INTEGER,
    created_at       TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC')
);

-- updated_at follows every UPDATE, as in the application; its own trigger stays as it is.
CREATE OR REPLACE FUNCTION checkinsync_touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now() AT TIME ZONE 'UTC';
    RETURN NEW;
END
$$;

DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = 'users'::regclass AND tgname = 'update_users_updated_at'
    ) AND EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'users'::regclass AND attname = 'updated_at' AND NOT attisdropped
    ) THEN
        CREATE TRIGGER update_users_updated_at BEFORE UPDATE ON users
            FOR EACH ROW EXECUTE FUNCTION checkinsync_touch_updated_at();
    END IF;
END
$$;
