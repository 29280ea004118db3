"""Commands on a private database: when one is made, and what of the environment it listens to."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from checkinsync.embedded import account
from checkinsync.simulator.server import Server
from support import forked
from support.concurrent import server_of

pytestmark = pytest.mark.db

READING = (
    "orchestrate",
    "orchestrate --dry-run",
    "import-user 1",
    "users list",
    "users show 1",
    "users pause 1",
    "users set-token 1",
    "status",
    "why 1",
    "verify",
    "rotate-keys",
    "migrate --plan",
    "migrate --status",
    "migrate --check",
    "migrate --baseline 1",
    "db shell",
    "db dump FILE",
)
TOKEN = "A-TOKEN-NOBODY-MAY-SEE"

HOSTILE = {
    "PGHOST": "db.example.org",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGUSER": "somebody",
    "PGPASSWORD": "another",
    "PGDATABASE": "elsewhere",
    "PGOPTIONS": "-c search_path=elsewhere -c default_transaction_read_only=on",
    "PGSERVICE": "elsewhere",
    "PGSERVICEFILE": "/nonexistent/pg_service.conf",
    "PGPASSFILE": "/nonexistent/pgpass",
    "PGSSLMODE": "verify-full",
    "PGSSLROOTCERT": "/nonexistent/root.crt",
    "PGCLIENTENCODING": "LATIN1",
    "PGDATESTYLE": "German",
    "PGTZ": "Pacific/Apia",
    "PGTARGETSESSIONATTRS": "standby",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGREQUIREPEER": "nobody-else",
    "PGCHANNELBINDING": "require",
    "PGAPPNAME": "elsewhere",
    "PGCONNECT_TIMEOUT": "nonsense",
    "PGGSSENCMODE": "require",
    "PGMAXPROTOCOLVERSION": "nonsense",
    "PGDATA": "/nonexistent/data",
    "PG_COLOR": "always",
}


@dataclass
class Private:
    """An operator who names no database."""

    home: Path
    environ: dict[str, str] = field(default_factory=dict)

    def run(self, line: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A command to its end, with a token on its standard input."""
        return forked.run(line.split(), env=self.environ | more, given=f"{TOKEN}\n")

    def run_sql(self, query: str) -> str:
        """Return the bare answer of `db shell` to one statement."""
        told = forked.run(["db", "shell", "-c", query, "--", "-XAt"], env=self.environ)
        assert (told.returncode, told.stderr) == (0, "")
        return told.stdout.strip()


@pytest.fixture
def private(home: Path) -> Private:
    """As root the server runs under an account of this machine that is not nobody."""
    environ = {
        "PATH": os.environ["PATH"],
        **forked.USUAL,
        "HOME": str(home),
        "CHECKINSYNC_HOME": str(home / "own"),
    }
    if os.geteuid() == 0:
        environ["CHECKINSYNC_PG_ACCOUNT"] = _account()
    return Private(home / "own", environ)


def _account() -> str:
    """Name of an account that may run a server."""
    for name in (*account.USUAL, "daemon", "bin"):
        try:
            return account.choose(name, data=Path("/nonexistent"), allow_nobody=False).name
        except account.SettingsError:
            continue
    pytest.skip("no account of this machine may run a server")


def test_commands_that_read_make_no_database_and_say_where_they_looked(private: Private) -> None:
    for line in READING:
        told = private.run(line)

        assert (told.returncode, told.stdout) == (78, ""), line
        assert "CHECKINSYNC_DATABASE_URL and DATABASE_URL are not set" in told.stderr
        assert f"no private database was made in {private.home}" in told.stderr
        assert f"{private.home.parent}/.config/checkinsync/checkinsync.toml" in told.stderr
        assert "/etc/checkinsync/checkinsync.toml, /etc/checkinsync.toml" in told.stderr
        assert len(told.stderr.splitlines()) == (2 if line.startswith("orchestrate") else 1)
        assert not private.home.exists(), line


def test_a_settings_file_that_names_no_database_is_told(private: Private) -> None:
    file = private.home.parent / "our.toml"
    file.write_text("workers = 2\n")

    told = private.run("status", CHECKINSYNC_CONFIG=str(file))

    assert told.returncode == 78
    assert f"the settings file {file} names none" in told.stderr


@pytest.mark.parametrize("line", ["migrate", "users add --foursquare-id 1", "login --no-browser"])
def test_a_new_private_database_is_told_once(private: Private, line: str) -> None:
    made = private.run(line, CHECKINSYNC_LOG_FILE=str(private.home.parent / "log"))
    again = private.run(line)

    says = f"checkinsync: made a new private database in {private.home}"
    assert made.stderr.splitlines()[0] == says
    assert says not in again.stderr


def test_nobody_drops_out_of_a_private_database(private: Private, simulator: Server) -> None:
    """No application renews the last login there."""
    simulator.world.add_account(TOKEN, count=3, first_name="Ada")
    private.environ["CHECKINSYNC_API_URL"] = simulator.url
    assert private.run("migrate").returncode == 0
    assert private.run("users add").returncode == 0
    long_ago = "UPDATE users SET last_login_at = '2001-01-01'"
    assert private.run_sql(long_ago) == "UPDATE 1"

    night = private.run("orchestrate")

    assert (night.returncode, night.stderr) == (0, "")
    assert private.run_sql("SELECT count(*) FROM checkins") == "3"
    assert "mported in the next nightly run" in private.run("why 1").stdout
    limited = private.run("why 1", CHECKINSYNC_ACTIVE_DAYS="60")
    assert "no login for more than 60 days" in limited.stdout


def test_it_listens_to_no_variable_of_postgresql(private: Private) -> None:
    (private.home.parent / ".pgpass").write_text("*:*:*:*:wrong\n")
    (private.home.parent / ".pgpass").chmod(0o644)
    private.environ |= HOSTILE
    calm = {"PGHOST": "", "PGHOSTADDR": "", "PGSERVICE": ""}  # which are noted

    made = private.run("migrate", **calm)
    added = private.run("users add --foursquare-id 1 --name Zoë")
    status = private.run("status")
    where = private.run_sql("SELECT current_database(), current_user, current_schemas(false)")
    session = private.run_sql(
        "SELECT current_setting(name) FROM unnest(ARRAY['TimeZone', 'DateStyle', "
        "'client_encoding', 'application_name', 'transaction_read_only']) AS name"
    )
    dumped = private.run(f"-q db dump {private.home.parent}/dump")

    assert made.returncode == 0, made.stderr
    assert made.stderr == f"checkinsync: made a new private database in {private.home}\n"
    assert (added.returncode, added.stdout, added.stderr) == (0, "1\n", "")
    assert (status.returncode, status.stderr) == (0, "")
    assert "Zoë" in status.stdout
    assert where == "checkinsync|checkinsync|{public}"
    assert session == "UTC\nISO, MDY\nUTF8\npsql\noff"
    assert (dumped.returncode, dumped.stderr) == (0, "")


def test_the_server_gets_none_of_our_variables(private: Private) -> None:
    assert private.run("migrate").returncode == 0
    secrets = {
        "CHECKINSYNC_CLIENT_SECRET": "s3cret",
        "ENCRYPTION_KEY": "s3cret",
        "PGPASSWORD": "s3cret",
        "TZ": "Pacific/Apia",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "checkinsync", "db", "shell"],
        env=private.environ | secrets,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as shell:
        shell.stdin.write("SELECT 1;\n")
        shell.stdin.flush()
        assert shell.stdout.readline()
        pid = server_of(private.home)
        given = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        shell.stdin.close()

    names = {each.partition(b"=")[0].decode() for each in given if each}
    assert names <= {"PATH", "LC_ALL", "PWD", "_", "OLDPWD", "SHLVL"} | SERVERS_OWN


SERVERS_OWN = {"PGDATA", "PGLOCALEDIR", "PGSYSCONFDIR", "PG_GRANDPARENT_PID", "LC_MESSAGES"}
SERVERS_OWN |= {"LC_COLLATE", "LC_CTYPE", "LC_MONETARY", "LC_NUMERIC", "LC_TIME"}
"""Variables that pg_ctl and the server set for themselves."""
