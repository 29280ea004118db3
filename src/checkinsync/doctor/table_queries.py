"""Facts about the tables that we use, from the catalog and their rows; only reads."""

from __future__ import annotations

from checkinsync.doctor.tables import Column, Future, Missing, Sequence
from checkinsync.model.user import User
from checkinsync.store.pool import Connection

TABLES = (
    "users", "import_jobs", "checkins", "checkin_photos", "import_leases", "sync_runs",
    "sync_state", "verified_spans", "checkin_revisions", "verifications", "verification_items",
    "quarantined_checkins",
)  # fmt: skip
"""Tables that are read and written; the ledger of migrations is only read."""


def missing_privileges(conn: Connection) -> list[Missing]:
    """Return the privileges that this role needs and does not have."""
    rows = [*_schemas(conn), *_tables(conn), *_sequences(conn), *_functions(conn)]
    return [Missing(*row) for row in rows]


def _schemas(conn: Connection) -> list[tuple[str, str, str]]:
    """A schema that the role may not use hides its tables, whatever search_path says."""
    return conn.execute(
        """
        SELECT 'SCHEMA', quote_ident(n.nspname), 'USAGE'
          FROM pg_class AS c
          JOIN pg_namespace AS n ON n.oid = c.relnamespace
          JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'foursquare_user_id'
         WHERE c.relname = 'users' AND c.relkind = 'r'
           AND NOT has_schema_privilege(n.oid, 'USAGE')
        """
    ).fetchall()


def _tables(conn: Connection) -> list[tuple[str, str, str]]:
    """Privileges may be granted on the table, or on each of its columns."""
    return conn.execute(
        """
        SELECT 'TABLE', format('%%I.%%I', n.nspname, c.relname), p.name
          FROM (SELECT unnest(%(tables)s::text[]), false
                 UNION ALL SELECT 'checkinsync_migrations', true) AS t (name, is_read_only)
          JOIN pg_class AS c ON c.oid = to_regclass(t.name)
          JOIN pg_namespace AS n ON n.oid = c.relnamespace
         CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'])
                    WITH ORDINALITY AS p (name, number)
         WHERE (p.name = 'SELECT' OR NOT t.is_read_only)
           AND NOT has_table_privilege(c.oid, p.name)
           AND (p.name = 'DELETE' OR EXISTS (
                SELECT FROM pg_attribute AS a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                   AND NOT has_column_privilege(c.oid, a.attnum, p.name)))
         ORDER BY 2, p.number
        """,
        {"tables": list(TABLES)},
    ).fetchall()


def _sequences(conn: Connection) -> list[tuple[str, str, str]]:
    """Sequences of defaults, and the one of leases; those of identities need no privilege."""
    return conn.execute(
        """
        SELECT DISTINCT 'SEQUENCE', format('%%I.%%I', n.nspname, s.relname), 'USAGE'
          FROM (SELECT x.refobjid FROM pg_attrdef AS d
                  JOIN pg_depend AS x ON x.classid = 'pg_attrdef'::regclass AND x.objid = d.oid
                   AND x.refclassid = 'pg_class'::regclass
                 WHERE d.adrelid IN (SELECT to_regclass(name)
                                       FROM unnest(%(tables)s::text[]) AS t (name))
                 UNION ALL SELECT to_regclass('import_lease_tokens')) AS q (oid)
          JOIN pg_class AS s ON s.oid = q.oid
          JOIN pg_namespace AS n ON n.oid = s.relnamespace
         WHERE CASE WHEN s.relkind = 'S' THEN  -- of anything else it can't be asked
                         NOT has_sequence_privilege(s.oid, 'USAGE, UPDATE') END
         ORDER BY 2
        """,
        {"tables": list(TABLES)},
    ).fetchall()


def _functions(conn: Connection) -> list[tuple[str, str, str]]:
    return conn.execute(
        """
        SELECT 'FUNCTION', p.oid::regprocedure::text, 'EXECUTE'
          FROM pg_proc AS p
          JOIN pg_class AS c ON c.oid = to_regclass('users') AND c.relnamespace = p.pronamespace
         WHERE p.proname IN ('active_users', 'sync_status')
           AND NOT has_function_privilege(p.oid, 'EXECUTE')
         ORDER BY 2
        """
    ).fetchall()


def role(conn: Connection) -> str:
    """Return the role that this connection acts as, as it is written in SQL."""
    row = conn.execute("SELECT quote_ident(current_user)").fetchone()
    assert row is not None
    return str(row[0])


def filtered(conn: Connection) -> list[str]:
    """Return the tables of which row-level security shows this role only some rows."""
    rows = conn.execute(
        """
        SELECT format('%%I.%%I', n.nspname, c.relname)
          FROM pg_class AS c
          JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE c.oid IN (SELECT to_regclass(name) FROM unnest(%(tables)s::text[]) AS t (name))
           AND row_security_active(c.oid)
         ORDER BY 1
        """,
        {"tables": list(TABLES)},
    )
    return [row[0] for row in rows]


def columns(conn: Connection) -> list[Column]:
    """Return every column of the tables, with its type."""
    rows = conn.execute(
        """
        SELECT t.name, a.attname::text, format_type(a.atttypid, a.atttypmod), b.typname::text
          FROM unnest(%(tables)s::text[]) WITH ORDINALITY AS t (name, number)
          JOIN pg_attribute AS a ON a.attrelid = to_regclass(t.name)
          JOIN pg_type AS y ON y.oid = a.atttypid
          JOIN pg_type AS b ON b.oid = coalesce(nullif(y.typbasetype, 0), y.oid)
         WHERE a.attnum > 0 AND NOT a.attisdropped
         ORDER BY t.number, a.attnum
        """,
        {"tables": list(TABLES)},
    )
    return [Column(*row) for row in rows]


def sequences(conn: Connection) -> list[Sequence]:
    """Return the sequences that number rows, each with the highest number in its table."""
    rows = conn.execute(
        """
        WITH used (seq, tab, col) AS (
            SELECT x.refobjid, d.adrelid, d.adnum FROM pg_attrdef AS d
              JOIN pg_depend AS x ON x.classid = 'pg_attrdef'::regclass AND x.objid = d.oid
               AND x.refclassid = 'pg_class'::regclass
             UNION  -- of an identity
            SELECT objid, refobjid, refobjsubid FROM pg_depend
             WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
               AND deptype = 'i'
             UNION
            SELECT to_regclass('import_lease_tokens'), attrelid, attnum FROM pg_attribute
             WHERE attrelid = to_regclass('import_leases') AND attname = 'token'
        )
        SELECT format('%%I.%%I', n.nspname, s.relname), t.name, a.attname::text, q.last_value,
               q.max_value, CASE a.atttypid WHEN 'int4'::regtype THEN 2147483647
                                            ELSE 9223372036854775807 END, t.highest
          FROM unnest(%(tables)s::text[], %(highest)s::bigint[]) AS t (name, highest)
          JOIN used AS u ON u.tab = to_regclass(t.name)
          JOIN pg_attribute AS a ON a.attrelid = u.tab AND a.attnum = u.col
          JOIN pg_class AS s ON s.oid = u.seq
          JOIN pg_namespace AS n ON n.oid = s.relnamespace
          JOIN pg_sequences AS q ON q.schemaname = n.nspname AND q.sequencename = s.relname
         WHERE a.attname IN ('id', 'token')
           AND CASE WHEN s.relkind = 'S' THEN has_sequence_privilege(s.oid, 'SELECT, USAGE') END
         ORDER BY 1
        """,
        {"tables": list(NUMBERED), "highest": _highest(conn)},
    )
    return [Sequence(*row) for row in rows]


NUMBERED = (
    "users", "import_jobs", "checkins", "checkin_photos", "sync_runs", "checkin_revisions",
    "import_leases",
)  # fmt: skip
"""Tables whose rows are numbered by a sequence."""


def _highest(conn: Connection) -> list[int | None]:
    """Return the highest number in each of NUMBERED."""
    row = conn.execute(
        """
        SELECT (SELECT max(id) FROM users), (SELECT max(id) FROM import_jobs),
               (SELECT max(id) FROM checkins), (SELECT max(id) FROM checkin_photos),
               (SELECT max(id) FROM sync_runs), (SELECT max(id) FROM checkin_revisions),
               (SELECT max(token) FROM import_leases)
        """
    ).fetchone()
    assert row is not None
    return list(row)


def in_the_future(conn: Connection, *, most: int) -> tuple[list[Future], int]:
    """Return instants of users that lie in the future by the database's clock, and their number.

    A cursor in the future would leave out what comes until then.
    """
    rows = conn.execute(
        """
        SELECT u.id, u.foursquare_user_id, u.display_name, NULL, f.what, f.at, count(*) OVER ()
          FROM users AS u
          LEFT JOIN sync_state AS s ON s.user_id = u.id
         CROSS JOIN LATERAL (VALUES
               ('users.created_at', u.created_at AT TIME ZONE 'UTC'),
               ('users.last_login_at', u.last_login_at AT TIME ZONE 'UTC'),
               ('sync_state.last_checked_at', s.last_checked_at),
               ('sync_state.cursor', s.cursor)) AS f (what, at)
         WHERE f.at > now() + interval '5 minutes'
         ORDER BY u.id, f.what LIMIT %(most)s
        """,
        {"most": most},
    ).fetchall()
    found = [Future(User(*row[:4]), row[4], row[5]) for row in rows]
    return found, rows[0][-1] if rows else 0
