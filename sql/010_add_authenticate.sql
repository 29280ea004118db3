-- Finds the user of a login token and records the login, which keeps the user active. For a web
-- application in any language, in one call: SELECT * FROM authenticate($1, now()).
--
-- It runs with the rights of its caller, who needs SELECT on the columns of users that it names, and
-- UPDATE on last_login_at. Where writing fails, without that right or for any other reason, the user
-- is found all the same, and the server's log says that the login is not recorded.

CREATE FUNCTION authenticate(token TEXT, at TIMESTAMPTZ)
RETURNS TABLE (
    id                 INTEGER,
    foursquare_user_id TEXT,
    display_name       TEXT,
    avatar_url         TEXT
)
LANGUAGE plpgsql
SET lock_timeout = '2s'  -- for a locked table: a request can't wait for long
AS $$
<<visit>>  -- all names are qualified: the application may add columns of any name to its table
DECLARE
    at    CONSTANT TIMESTAMP := authenticate.at AT TIME ZONE 'UTC';
    stale CONSTANT TIMESTAMP := visit.at - interval '5 minutes';
    due   BOOLEAN;
BEGIN
    -- One lookup in one unique index, for a known token and for an unknown one.
    SELECT u.id, u.foursquare_user_id, u.display_name, u.avatar_url,
           u.last_login_at IS NULL OR u.last_login_at <= visit.stale
      INTO authenticate.id, authenticate.foursquare_user_id, authenticate.display_name,
           authenticate.avatar_url, visit.due
      FROM users AS u
     WHERE u.secret_token = authenticate.token;
    IF NOT found THEN
        RETURN;
    END IF;

    IF visit.due THEN
        BEGIN
            -- Of many requests at once one writes: the others skip the locked row, or find it written
            -- when they check again, under their lock. Nor do they wait for any other writer of the
            -- row. An import locks its key only, which does not block this.
            UPDATE users AS u SET last_login_at = visit.at
             WHERE u.id = (
                SELECT v.id
                  FROM users AS v
                 WHERE v.id = authenticate.id
                   AND (v.last_login_at IS NULL OR v.last_login_at <= visit.stale)
                   FOR NO KEY UPDATE SKIP LOCKED
             );
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'the login of user % is not recorded: %', authenticate.id, SQLERRM;
        END;
    END IF;
    RETURN NEXT;
END
$$;
