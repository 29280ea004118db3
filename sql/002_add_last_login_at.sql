-- Who is active: whoever was here lately. The users there are now count as just seen; a user made
-- by the application, which does not name the column, gets the moment of his making.

DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'users'::regclass AND attname = 'last_login_at' AND NOT attisdropped
    ) THEN
        ALTER TABLE users ADD COLUMN last_login_at TIMESTAMP;
        UPDATE users SET last_login_at = now() AT TIME ZONE 'UTC';
    END IF;
END
$$;

ALTER TABLE users ALTER COLUMN last_login_at SET DEFAULT (now() AT TIME ZONE 'UTC');
CREATE INDEX IF NOT EXISTS idx_users_last_login_at ON users (last_login_at);
