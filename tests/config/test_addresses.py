"""Addresses of a database: what is taken, what is left out with a note, and what is refused."""

from __future__ import annotations

import pytest
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from checkinsync.config.addresses import OURS, postgres_address, without_secrets
from checkinsync.config.settings import Settings
from checkinsync.config.sources import Noted
from checkinsync.errors import SettingsError

SECRET = "s3cr"


def taken(url: str) -> str:
    """The address that is used, of one that is taken without a word."""
    address = postgres_address(url)
    assert isinstance(address, str)
    return address


def refusal(url: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping({"CHECKINSYNC_DATABASE_URL": url})
    told = str(caught.value)
    assert told.startswith("CHECKINSYNC_DATABASE_URL: ")
    assert SECRET not in told
    return told


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40%2F@[::1]:5432,h2:5433/db?sslmode=require",
        "postgresql:///db?host=/run/pg&user=a@b",
        "postgres://u:a:b?c#d@h",
        "postgresql://%2Frun%2Fpg/db",
        "postgresql://h/db?ssl=true",
        "postgresql://h/db?options=-csearch_path%3Dapp&target_session_attrs=read-write",
        "postgresql://h",
        "host=/run/pg dbname=x password=p@ss",
        "host = h password='two words, it\\'s' sslmode=verify-full",
        "dbname=x password=postgresql://odd",
    ],
)
def test_addresses_of_every_form_are_taken_as_they_are(url: str) -> None:
    assert taken(f" {url}\n") == url
    assert conninfo_to_dict(url), "libpq can read it, too"


@pytest.mark.parametrize(
    "scheme",
    ["postgresql+psycopg2", "postgres+asyncpg", "postgis", "psql", "pgsql", "POSTGRESQL"],
)
def test_a_scheme_of_another_program_means_postgresql(scheme: str) -> None:
    assert taken(f"{scheme}://u:p%25@h:1/db") == "postgresql://u:p%25@h:1/db"


@pytest.mark.parametrize(
    "ignored",
    [
        "schema=public",
        "pgbouncer=true",
        "connection_limit=1",
        "pool_timeout=0",
        "statement_cache_size=0",
        "sslaccept=accept_invalid_certs",
        "socket_timeout=30",
        "pool_size=5",
        "prepared_statements=false",
        "conn_max_age=60",
        "connectionTimeoutMillis=5000",
        "default_query_exec_mode=exec",
        "ssl=false",
    ],
)
def test_settings_of_other_programs_are_ignored_and_noted(ignored: str) -> None:
    url = f"postgresql://u:{SECRET}@h/db?connect_timeout=5&{ignored}&sslmode=require"

    settings = Settings.from_mapping({"DATABASE_URL": url})

    assert settings.database_url == (
        f"postgresql://u:{SECRET}@h/db?connect_timeout=5&sslmode=require"
    )
    [notice] = settings.notices
    assert notice == (
        f"DATABASE_URL: {ignored.partition('=')[0]} is a setting of other programs and ignored here"
    )


def test_several_are_noted_together_and_nothing_is_left_behind() -> None:
    noted = postgres_address("postgres://h/db?schema=public&pgbouncer=true")
    in_dsn = postgres_address("host=h schema=public password='a b' pool=5")

    assert noted == Noted(
        "postgres://h/db", ("schema, pgbouncer are settings of other programs and ignored here",)
    )
    assert isinstance(in_dsn, Noted)
    assert in_dsn.value == "host=h password='a b'"


def test_an_unknown_parameter_is_named() -> None:
    assert "sslmod is not a parameter of PostgreSQL (is sslmode meant?)" in refusal(
        f"postgresql://u:{SECRET}@h/db?sslmod=require"
    )
    assert "flavour is not a parameter of PostgreSQL; take it out" in refusal("host=h flavour=1")


def test_what_may_be_a_piece_of_a_password_is_not_named() -> None:
    assert "does not know" in refusal(f"postgresql://u:1?{SECRET}=b/c@h/db")
    assert "does not know" in refusal(f"postgresql://h/db?password=a&{SECRET}=d")


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("postgresql://h/db?schema=app", "options=-csearch_path%3DNAME"),
        ("postgresql://h/db?currentSchema=app", "options=-csearch_path%3DNAME"),
        ("postgresql://h/db?ssl=1", "write sslmode=require"),
        ("postgresql://h/db?ssl-mode=require", "write sslmode=require"),
        ("postgresql://h/db?sslmode=no-verify", "for no-verify write require"),
        ("postgresql://h/db?options=-csearch_path=app", "write = as %3D"),
        ("postgresql://h/db?sslmode", "name=value"),
        (f"postgresql://u:{SECRET}%t@h/db", "write % as %25"),
        (f"postgresql://u:{SECRET}%@h/db", "write % as %25"),
        (f"postgresql://u:two {SECRET}@h/db", "write a blank as %20"),
        (f"postgresql://u:{SECRET}@h/db\npostgresql://u@h/other", "a line break"),
        (f"postgresql://u:{SECRET}@et@host/db", "@ as %40"),
        (f"postgresql://u:{SECRET}/ret@host/db", "/ as %2F"),
        (f"postgresql://u:123/{SECRET}@host/db", "/ as %2F"),
        (f"postgresql://u@h:{SECRET}/db", "its host can't be told"),
        ("postgresql://h:99999/db", "its host can't be told"),
        (f"mysql://u:{SECRET}@h/db", "must be a URL (postgresql://user@host/name) or a DSN"),
        (f"prisma+postgres://h/?api_key={SECRET}", "must be a URL"),
        (SECRET, "must be a URL"),
        (f"u:{SECRET}@h/db", "must be a URL"),
        (f"jdbc:postgresql://h/db?password={SECRET}", "without jdbc:"),
        (f'"postgresql://u:{SECRET}@h/db"', "in quotes"),
        (f"'host=h password={SECRET}'", "in quotes"),
        (f"DATABASE_URL=postgresql://u:{SECRET}@h/db", "the address alone"),
        (f"export DATABASE_URL='postgresql://u:{SECRET}@h/db'", "the address alone"),
        (f'DATABASE_URL = "postgresql+psycopg2://u:{SECRET}@h/db"', "the address alone"),
        (f"DATABASE_URL: postgresql://u:{SECRET}@h/db", "the address alone"),
        (f"CHECKINSYNC_DATABASE_URL=host=h password={SECRET}", "the address alone"),
        (f"host=h password='{SECRET}", "can't be read"),
        (f"host=h {SECRET}", "can't be read"),
    ],
)
def test_a_refusal_says_what_to_write_and_shows_no_secret(url: str, advice: str) -> None:
    assert advice in refusal(url)


def test_every_parameter_of_the_library_is_known() -> None:
    theirs = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}

    assert theirs <= OURS


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql:///app", "postgresql:///app"),
        ("postgresql://ann:s3cr%40t@db,[::1]:5433/app", "postgresql://ann@db,[::1]:5433/app"),
        ("postgresql://:s3cr@db/app", "postgresql://@db/app"),
        (
            "postgresql://db/app?password=s3cr&sslmode=require",
            "postgresql://db/app?sslmode=require",
        ),
        ("postgresql://db/app?options=-cs3cr&host=x", "postgresql://db/app?host=x"),
        ("host=db password=s3cr user=ann", "host=db user=ann"),
        ("dbname=app password='s3cr host=s3cr' port=5433", "dbname=app port=5433"),
        (r"password='a\' user=s3cr' host=db", "host=db"),
        (r"password=s3cr\ user=s3cr host=db", "host=db"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_secrets(taken(url)) == shown
