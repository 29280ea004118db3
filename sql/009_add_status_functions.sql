-- Functions, not views: a view would keep the application from changing its own tables' columns.

-- The one place that says who is active: users who logged in within the last `days` days. A login
-- that is not recorded counts as one in 1970: with enough days, everyone is active.
CREATE FUNCTION active_users(at TIMESTAMPTZ, days INTEGER)
RETURNS TABLE (
    id                     INTEGER,
    foursquare_user_id     TEXT,
    display_name           TEXT,
    access_token_encrypted TEXT
)
LANGUAGE sql STABLE AS $$
    SELECT u.id, u.foursquare_user_id::text, u.display_name::text, u.access_token_encrypted
      FROM users AS u
     WHERE u.last_login_at >= at AT TIME ZONE 'UTC' - make_interval(days => days)
        OR u.last_login_at IS NULL
           AND 'epoch' >= at AT TIME ZONE 'UTC' - make_interval(days => days)
     ORDER BY u.id
$$;

-- How each user is doing, and what happens next; `checkinsync status` prints it.
CREATE FUNCTION sync_status(at TIMESTAMPTZ, days INTEGER)
RETURNS TABLE (
    id                   INTEGER,
    foursquare_user_id   TEXT,
    name                 TEXT,
    state                TEXT,      -- new, ok, needs_reauth, rate_limited, failing, paused
    active               BOOLEAN,
    importing            BOOLEAN,   -- an import holds the user's lease now
    checkins             BIGINT,
    created_at           TIMESTAMPTZ,
    last_checked_at      TIMESTAMPTZ,
    last_new_at          TIMESTAMPTZ,
    consecutive_failures INTEGER,
    quarantined          BIGINT,
    missing              BIGINT,    -- not shown where they should be; looked for again
    withheld             BIGINT,    -- missing, but too many at once to believe
    gone                 BIGINT,    -- deleted at Foursquare
    unverified_since     TIMESTAMPTZ, -- when the stretch that waits longest was last compared
    unverified_newest    TIMESTAMPTZ, -- where it begins
    unverified_oldest    TIMESTAMPTZ, -- where it ends; NULL: at the beginning of the history
    reason               TEXT,
    next_action          TEXT
)
LANGUAGE sql STABLE AS $$
    WITH known AS (
        SELECT u.id, u.foursquare_user_id::text, u.display_name::text AS name,
               CASE
                   WHEN s.paused_at IS NOT NULL THEN 'paused'
                   WHEN u.access_token_encrypted IS NULL THEN 'needs_reauth'
                   WHEN s.state IN ('rate_limited', 'failing') THEN s.state
                   WHEN s.state = 'needs_reauth' AND s.rejected_token_sha256 IS NOT DISTINCT FROM
                        sha256(convert_to(u.access_token_encrypted, 'UTF8')) THEN s.state
                   WHEN s.last_checked_at IS NULL THEN 'new'
                   ELSE 'ok'
               END AS state,
               u.access_token_encrypted IS NULL AS unconnected, u.last_login_at,
               coalesce(u.last_login_at, 'epoch')
                   >= at AT TIME ZONE 'UTC' - make_interval(days => days) AS active,
               EXISTS (SELECT FROM import_leases AS l
                        WHERE l.user_id = u.id
                          AND l.expires_at BETWEEN now() AND now() + interval '10 minutes')
                   AS importing,
               u.created_at AT TIME ZONE 'UTC' AS created_at, s.last_checked_at, s.last_new_at,
               coalesce(s.consecutive_failures, 0) AS consecutive_failures,
               s.reason, s.retry_at, coalesce(s.token_unreadable, false) AS token_unreadable
          FROM users AS u
          LEFT JOIN sync_state AS s ON s.user_id = u.id
    )
    SELECT k.id, k.foursquare_user_id, k.name, k.state, k.active, k.importing, c.stored,
           k.created_at, k.last_checked_at, k.last_new_at, k.consecutive_failures,
           (SELECT count(*) FROM quarantined_checkins AS q WHERE q.user_id = k.id),
           c.missing, c.withheld, c.gone, v.verified_at, v.newest, v.oldest,
           CASE WHEN k.unconnected AND k.state <> 'paused' THEN 'no Foursquare token is stored'
                WHEN k.state NOT IN ('new', 'ok') THEN k.reason END,
           CASE
               WHEN k.importing THEN 'being imported or verified now'
               WHEN k.state = 'paused' THEN
                   format('nothing until `checkinsync users resume %s`', k.id)
               WHEN k.unconnected THEN
                   format('must connect Foursquare: in the application, or '
                       '`checkinsync users set-token %s`', k.id)
               WHEN k.state = 'needs_reauth' AND k.token_unreadable THEN
                   format('add the key that encrypted the token to CHECKINSYNC_ENCRYPTION_KEY, or '
                       'store a new token: `checkinsync users set-token %s`', k.id)
               WHEN k.state = 'needs_reauth' THEN
                   format('must log in again: in the application, by `checkinsync login %1$s`, or '
                       '`checkinsync users set-token %1$s`', k.id)
               WHEN NOT k.active THEN
                   format('nothing: %s (`checkinsync import-user %s` imports them all the same)',
                       CASE WHEN k.last_login_at IS NULL THEN 'no login is recorded'
                            ELSE format('no login for more than %s days', days) END, k.id)
               WHEN k.state = 'rate_limited' AND k.retry_at > at THEN
                   format('imported in the first run after %s UTC',
                       to_char(k.retry_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'))
               WHEN k.state = 'failing' THEN 'tried again in the next nightly run'
               WHEN k.state = 'new' THEN 'imported in the next run'
               ELSE 'imported in the next nightly run'
           END
           || CASE WHEN c.withheld = 0 THEN '' ELSE
                  format('; Foursquare no longer shows %s check-ins, too many to believe: '
                      '`checkinsync verify %s --repair --accept-deletions` if they were deleted',
                      c.withheld, k.id) END
      FROM known AS k
     CROSS JOIN LATERAL (  -- each count by its own small index, not by reading the history
           SELECT (SELECT count(*) FROM checkins AS c WHERE c.user_id = k.id)
                - (SELECT count(*) FROM checkins AS c
                    WHERE c.user_id = k.id AND c.deleted_at IS NOT NULL) AS stored,
                  (SELECT count(*) FROM checkins AS c
                    WHERE c.user_id = k.id AND c.missing_since IS NOT NULL
                      AND c.deleted_at IS NULL) AS missing,
                  (SELECT count(*) FROM checkins AS c
                    WHERE c.user_id = k.id AND c.withheld_since IS NOT NULL
                      AND c.deleted_at IS NULL) AS withheld,
                  (SELECT count(*) FROM checkins AS c
                    WHERE c.user_id = k.id AND c.deleted_at IS NOT NULL) AS gone) AS c
      LEFT JOIN LATERAL (
           SELECT v.verified_at, v.newest, v.oldest FROM verified_spans AS v
            WHERE v.user_id = k.id ORDER BY v.verified_at, v.newest DESC LIMIT 1) AS v ON true
     ORDER BY k.id
$$;
