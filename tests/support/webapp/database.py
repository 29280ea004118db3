"""The application's own database, as it may be before the first migration of ours.

All its times are TIMESTAMP without zone. On real installations some of its later migrations failed:
each of them is a switch here.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg


@dataclass(frozen=True)
class WebApp:
    """The application's later migrations that have succeeded."""

    unique_checkins: bool = True
    photos: bool = True
    data_source: bool = True
    timezone: bool = True
    last_login_at: bool = False
    location: bool = False
    """PostGIS: a column that a trigger fills; of a plain type here, without PostGIS."""

    def __str__(self) -> str:
        there = [name for name, value in vars(self).items() if value]
        return "+".join(there) or "bare"


VARIANTS = (
    WebApp(),
    WebApp(last_login_at=True),
    WebApp(unique_checkins=False),
    WebApp(photos=False),
    WebApp(location=True),
    WebApp(unique_checkins=False, photos=False, data_source=False, timezone=False),
)


ITS_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


def build(url: str, app: WebApp) -> None:
    """Create its tables and ledgers, and rows of several years."""
    with psycopg.connect(url) as conn:
        conn.execute(_TABLES)
        if app.unique_checkins:
            conn.execute(
                """
                ALTER TABLE checkins ADD CONSTRAINT checkins_user_venue_date_unique
                    UNIQUE (user_id, venue_id, checkin_date)
                """
            )
        if app.photos:
            conn.execute(_PHOTOS)
        if app.data_source:
            conn.execute(
                """
                ALTER TABLE import_jobs ADD COLUMN data_source VARCHAR(50),
                    ADD COLUMN sync_cursor JSONB, ADD COLUMN retry_after TIMESTAMP
                """
            )
        if app.timezone:
            conn.execute("ALTER TABLE checkins ADD COLUMN timezone VARCHAR(50)")
        if app.last_login_at:
            conn.execute("ALTER TABLE users ADD COLUMN last_login_at TIMESTAMP")
        if app.location:
            conn.execute(_LOCATION)
        conn.execute(_ROWS)
        if app.last_login_at:
            conn.execute("UPDATE users SET last_login_at = '2026-01-05 10:00' WHERE id = 1")
        if app.photos:
            conn.execute(_DUPLICATE_PHOTOS)
        if app.data_source:
            conn.execute("UPDATE import_jobs SET data_source = 'strava' WHERE id = 3")


def fill(url: str, *, users: int, checkins: int, photos: int = 0, jobs: int = 0) -> None:
    """Add users with check-ins, photos and finished jobs each."""
    number = {"users": users, "checkins": checkins, "photos": photos, "jobs": jobs}
    with psycopg.connect(url) as conn:
        conn.execute(
            """
            INSERT INTO users (foursquare_user_id, display_name, secret_token)
            SELECT 'many' || n, 'one of many', 'many' || n FROM generate_series(1, %(users)s) AS n
            """,
            number,
        )
        conn.execute(
            """
            INSERT INTO checkins (user_id, venue_id, venue_name, venue_category, latitude,
                                  longitude, checkin_date, city, country)
            SELECT u.id, md5((n %% 200)::text), 'Some place', 'Bar', 50 + random(), 8 + random(),
                   timestamp '2012-01-01' + n * interval '9 hours', 'Unknown', 'Unknown'
              FROM users AS u, generate_series(1, %(checkins)s) AS n
             WHERE u.foursquare_user_id LIKE 'many%%'
            """,
            number,
        )
        conn.execute(
            """
            INSERT INTO import_jobs (user_id, status, total_imported)
            SELECT u.id, 'completed', 1 FROM users AS u, generate_series(1, %(jobs)s) AS n
             WHERE u.foursquare_user_id LIKE 'many%%'
            """,
            number,
        )
        if photos:
            conn.execute(
                """
                INSERT INTO checkin_photos (checkin_id, photo_url)
                SELECT c.id, 'https://example.org/' || c.id FROM checkins AS c
                 WHERE c.venue_name = 'Some place' AND c.id %% %(checkins)s < %(photos)s
                """,
                number,
            )


_TABLES = """
CREATE TABLE users (
    id SERIAL PRIMARY KEY,
    foursquare_user_id VARCHAR(255) UNIQUE NOT NULL,
    display_name VARCHAR(255),
    avatar_url TEXT,
    access_token_encrypted TEXT,
    secret_token VARCHAR(64) UNIQUE NOT NULL,
    last_sync_at TIMESTAMP,
    created_at TIMESTAMP DEFAULT NOW(),
    updated_at TIMESTAMP DEFAULT NOW()
);
CREATE TABLE import_jobs (
    id SERIAL PRIMARY KEY,
    user_id INTEGER REFERENCES users (id) ON DELETE CASCADE,
    status VARCHAR(50) NOT NULL DEFAULT 'pending',
    total_expected INTEGER,
    total_imported INTEGER DEFAULT 0,
    current_batch INTEGER DEFAULT 0,
    error_message TEXT,
    started_at TIMESTAMP,
    completed_at TIMESTAMP,
    created_at TIMESTAMP DEFAULT NOW()
);
CREATE TABLE checkins (
    id SERIAL PRIMARY KEY,
    user_id INTEGER REFERENCES users (id) ON DELETE CASCADE,
    venue_id VARCHAR(255),
    venue_name TEXT NOT NULL,
    venue_category VARCHAR(255),
    latitude DECIMAL(10, 8),
    longitude DECIMAL(11, 8),
    checkin_date TIMESTAMP NOT NULL,
    city VARCHAR(255),
    country VARCHAR(255),
    created_at TIMESTAMP DEFAULT NOW()
);
CREATE INDEX idx_checkins_user_date ON checkins (user_id, checkin_date DESC);

CREATE FUNCTION update_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = NOW();
    RETURN NEW;
END
$$;
CREATE TRIGGER update_users_updated_at BEFORE UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();

CREATE TABLE migrations (id SERIAL PRIMARY KEY, name VARCHAR(255), run_on TIMESTAMP);
CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name TEXT, applied_at TIMESTAMP);
"""

_PHOTOS = """
CREATE TABLE checkin_photos (
    id SERIAL PRIMARY KEY,
    checkin_id INTEGER REFERENCES checkins (id) ON DELETE CASCADE,
    photo_url TEXT NOT NULL,
    photo_url_cached TEXT,
    width INTEGER,
    height INTEGER,
    created_at TIMESTAMP DEFAULT NOW()
)
"""

_LOCATION = """
ALTER TABLE checkins ADD COLUMN location TEXT;
CREATE FUNCTION update_checkin_location() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.latitude IS NOT NULL AND NEW.longitude IS NOT NULL THEN
        NEW.location = format('POINT(%s %s)', NEW.longitude, NEW.latitude);
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER update_checkins_location BEFORE INSERT OR UPDATE ON checkins
    FOR EACH ROW EXECUTE FUNCTION update_checkin_location();
"""

_ROWS = """
INSERT INTO users (foursquare_user_id, display_name, access_token_encrypted, secret_token,
                   last_sync_at, created_at, updated_at)
SELECT 'f' || n, CASE WHEN n <> 3 THEN 'user ' || n END, CASE WHEN n <> 2 THEN 'sealed' END,
       lpad(n::text, 64, '0'), '2025-12-01 02:00', '2023-01-01 12:00', '2025-12-01 02:00'
  FROM generate_series(1, 3) AS n;

INSERT INTO import_jobs (user_id, status, total_imported, started_at, completed_at, created_at)
VALUES (1, 'completed', 5, '2023-01-01 12:01', '2023-01-01 12:02', '2023-01-01 12:01'),
       (1, 'running', 250, '2025-12-01 02:00', NULL, '2025-12-01 02:00'),
       (2, 'pending', 0, NULL, NULL, '2025-12-01 02:00');

INSERT INTO checkins (user_id, venue_id, venue_name, venue_category, latitude, longitude,
                      checkin_date, city, country, created_at)
SELECT 1, 'v' || n % 7, 'Venue ' || n % 7, 'Unknown', NULL, NULL,
       timestamp '2023-01-01 08:00' + n * interval '9 hours', 'Unknown', 'Unknown',
       '2023-01-01 12:02'
  FROM generate_series(1, 50) AS n;
INSERT INTO checkins (user_id, venue_id, venue_name, checkin_date) VALUES
    (2, NULL, 'Home', '2023-05-01 08:00'), (2, NULL, 'Home', '2023-05-01 08:00');

INSERT INTO migrations (name, run_on) VALUES ('20230101-initial', '2023-01-01');
INSERT INTO schema_migrations VALUES (1, 'initial', '2023-01-01'), (2, 'photos', '2023-02-01');
"""

_DUPLICATE_PHOTOS = """
INSERT INTO checkin_photos (checkin_id, photo_url, width, height)
SELECT 1, 'https://example.org/1.jpg', 100, 100 FROM generate_series(1, 2)
"""
