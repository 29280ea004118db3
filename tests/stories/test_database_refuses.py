"""A database that is set up in its own way refuses something: a sentence, and no traceback."""

from __future__ import annotations

import pytest

from support.stories import QUIET

SECRET = "A-ROW-NOBODY-MAY-SEE"


@pytest.fixture
def refusing(story):
    """Lets a trigger refuse what is written to a table about one user."""

    def refusing(table: str, column: str, user: int, *, when: str = "INSERT OR UPDATE") -> None:
        story.secrets.add(SECRET)
        story.conn.execute(
            f"""
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NEW.{column} = {user} THEN
                    RAISE EXCEPTION 'no import on Sundays' USING DETAIL = '{SECRET}';
                END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER refuse BEFORE {when} ON {table}
                FOR EACH ROW EXECUTE FUNCTION refuse();
            """
        )

    return refusing


@pytest.mark.parametrize(
    ("table", "column"),
    [("checkins", "user_id"), ("import_jobs", "user_id"), ("sync_state", "user_id")],
)
def test_a_trigger_that_refuses_fails_that_user_alone_in_the_database_s_words(
    story, refusing, table, column
):
    ada, ben = story.people(300, 20)
    refusing(table, column, ada.id)

    night = story.run("orchestrate", retries="0")

    assert night.code == 3
    assert "no import on Sundays" in night.err
    assert "Traceback" not in night.err
    assert SECRET not in night.err
    assert story.complete(ben)


def test_one_check_in_that_a_trigger_refuses_goes_into_quarantine_and_comes_back(story, refusing):
    [ada] = story.people(300)
    odd = story.shown(ada)[7]
    story.conn.execute(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'not this one' USING DETAIL = '{SECRET}'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON checkins FOR EACH ROW
            WHEN (NEW.foursquare_id = '{odd}') EXECUTE FUNCTION refuse();
        """
    )

    assert story.run("orchestrate").code == 0
    assert story.stored(ada) == [one for one in story.shown(ada) if one != odd]
    [(problem,)] = story.rows("SELECT problem FROM quarantined_checkins")
    assert problem == "the database refused a value: not this one"

    story.conn.execute("DROP TRIGGER refuse ON checkins")
    assert story.run("orchestrate") == QUIET
    assert story.complete(ada)


def test_a_missing_privilege_is_a_setting_and_names_the_table(story):
    [ada] = story.people(20)
    role, database = f"reader_{story.conn.info.dbname}", story.conn.info.dbname
    story.conn.execute(
        f"""
        CREATE ROLE {role};
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};
        ALTER DATABASE {database} SET role = {role};
        """
    )

    done = story.run("import-user", str(ada.id))

    story.conn.execute(
        f"ALTER DATABASE {database} RESET role; DROP OWNED BY {role}; DROP ROLE {role}"
    )
    assert done.code == 78
    assert "permission denied for table import_leases" in done.err
    assert "GRANT" in done.err
    assert "Traceback" not in done.err


def test_a_sequence_behind_its_table_is_the_database_s_trouble_and_names_the_setval(story):
    story.people(20)
    story.conn.execute(
        """
        INSERT INTO checkins (user_id, venue_name, checkin_date)
        SELECT id, 'only here', '2001-02-03' FROM users, generate_series(1, 1000);
        SELECT setval('checkins_id_seq', 1, false);
        """
    )

    night = story.run("orchestrate", retries="0")

    assert night.code == 69
    assert "SELECT setval(pg_get_serial_sequence('checkins', 'id')" in night.err
    assert story.rows("SELECT count(*) FROM quarantined_checkins") == [(0,)]
