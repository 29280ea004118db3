-- Who is active: whoever was here lately. The users there are now count as just seen; a user made
-- by the application, which does not name the column, gets the moment of his making.

-- A new column gets its default in every row, by which no trigger touches updated_at.
ALTER TABLE users
    ADD COLUMN IF NOT EXISTS last_login_at TIMESTAMP DEFAULT (now() AT TIME ZONE 'UTC');

-- A column left behind by a half-finished migration lacks both.
ALTER TABLE users ALTER COLUMN last_login_at SET DEFAULT (now() AT TIME ZONE 'UTC');
UPDATE users SET last_login_at = now() AT TIME ZONE 'UTC' WHERE last_login_at IS NULL;

CREATE INDEX IF NOT EXISTS idx_users_last_login_at ON users (last_login_at);
