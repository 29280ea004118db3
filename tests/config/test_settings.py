"""Settings: where they come from, what they may be, and how problems are reported."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from checkinsync.config.durations import parse_duration, written
from checkinsync.config.settings import EVERYONE, Settings, examine_settings
from checkinsync.errors import SettingsError

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBjDCCATOgAwIBAgIUR+m3D+XOIFtBhsCqx9ZQQ+eefKMwCgYIKoZIzj0EAwIw
GzEZMBcGA1UEAwwQY2hlY2tpbnN5bmMgdGVzdDAgFw0yNjExMjgwOTU4NTRaGA8y
MTI2MTEwNDA5NTg1NFowGzEZMBcGA1UEAwwQY2hlY2tpbnN5bmMgdGVzdDBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABA2UGdXY8R2pc16d5DVV0G7qKNdeSpG+8Hcr
c8Hzg/Y4XQXFUyyPjNoQk1Jby6QlktbnY6dUQpVWCyRrDlufcwajUzBRMB0GA1Ud
DgQWBBT7KO4HQfPMCKouWVo4ecDQ8Tm7+zAfBgNVHSMEGDAWgBT7KO4HQfPMCKou
WVo4ecDQ8Tm7+zAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCIG4x
5Wx2jGo9OcGGzKj4iT/GeurljAT98ZFGLPB+zeZOAiA8ROavP8G7CgMFpaXhhlEA
XE3ptmHmCzQfNC2FI5UN6Q==
-----END CERTIFICATE-----
"""


def problem(environ: dict[str, str], file: dict[str, object] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_mapping(environ, file)
    assert caught.value.exit_code == 78
    return str(caught.value)


def test_with_nothing_given_everything_is_as_documented() -> None:
    settings = Settings.from_mapping({})

    assert settings.database_url is None
    assert settings.migrate_url is None
    assert settings.encryption_keys == ()
    assert settings.api_url == "https://api.foursquare.com/v2"
    assert settings.token_in == "auto"
    assert (settings.stagger, settings.window) == (timedelta(minutes=2), timedelta(hours=4))
    assert (settings.workers, settings.pool_size) == (4, 5)
    assert (settings.deadline, settings.max_age) == (timedelta(hours=6), None)
    assert (settings.retries, settings.retry_delay) == (3, timedelta(seconds=60))
    assert (settings.active_days, settings.overlap) == (EVERYONE, timedelta(days=14))
    assert (settings.log_format, settings.ca_file) == ("text", None)
    assert settings.notices == ()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("2m", 120),
        ("4h", 14400),
        ("14d", 1209600),
        ("45", 45),
        (" 0.5s ", 0.5),
        ("1h30m", 5400),
        ("1d 12h", 129600),
        ("2m30s", 150),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert parse_duration(written(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "m", "2 weeks", "-1s", "1e3", "٣s", "9" * 40 + "d", "nan", "30m1h", "1h30", "1h1h"],
)
def test_what_is_not_a_duration_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize("name", ["MAX_AGE", "DEADLINE", "WINDOW", "OVERLAP"])
def test_a_bare_number_below_a_minute_is_refused_where_hours_are_usual(name: str) -> None:
    given = f"CHECKINSYNC_{name}"

    assert f"{given}: '20' would be 20 seconds; write 20h, 20m or 20s" in problem({given: "20"})
    for text in ("20s", "3600"):
        assert Settings.from_mapping({given: text}) != Settings.from_mapping({})
    assert Settings.from_mapping({"CHECKINSYNC_WINDOW": "0"}).window == timedelta(0)


def test_who_is_active_depends_on_whose_database_it_is() -> None:
    """If no application renews the last login, a limit would leave out the only user."""
    shared = {"DATABASE_URL": "postgresql://db/app"}

    assert Settings.from_mapping({}).active_days == EVERYONE
    assert Settings.from_mapping(shared).active_days == 30
    for environ in ({}, shared):
        for text, days in (("60", 60), ("all", EVERYONE), (" All", EVERYONE)):
            given = environ | {"CHECKINSYNC_ACTIVE_DAYS": text}
            assert Settings.from_mapping(given).active_days == days
    assert "from 1 to 36500, or all" in problem({"CHECKINSYNC_ACTIVE_DAYS": "never"})


def test_all_problems_are_told_together_by_name_with_what_is_allowed() -> None:
    told = problem(
        {
            "CHECKINSYNC_WORKERS": "0",
            "CHECKINSYNC_STAGGER": "soon",
            "CHECKINSYNC_TOKEN_IN": "cookie",
            "CHECKINSYNC_API_URL": "http://example.org/v2",
        },
        {"windw": "4h", "retries": True},
    )

    assert "CHECKINSYNC_WORKERS: '0' is not a whole number from 1 to 64" in told
    assert "CHECKINSYNC_STAGGER: 'soon' is not a duration; write 90s, 2m, 1h30m, 14d" in told
    assert "CHECKINSYNC_TOKEN_IN: 'cookie' is none of auto, header, query" in told
    assert "CHECKINSYNC_API_URL: must be https://" in told
    assert "windw in the file is not a setting (is window meant?)" in told
    assert "retries in the file must be text or a number" in told


def test_the_environment_wins_over_the_file_and_the_file_over_other_programs_variables() -> None:
    file = {"workers": 8, "stagger": "3m", "database_url": "postgresql://file/x", "max_age": 90}
    environ = {"CHECKINSYNC_STAGGER": "90s", "DATABASE_URL": "postgresql://other/x"}

    settings = Settings.from_mapping(environ, file)

    assert settings.workers == 8
    assert settings.stagger == timedelta(seconds=90)
    assert settings.max_age == timedelta(seconds=90)
    assert settings.database_url == "postgresql://file/x"


def test_empty_text_counts_as_not_given() -> None:
    empty = {"CHECKINSYNC_WORKERS": "", "CHECKINSYNC_DATABASE_URL": "", "ENCRYPTION_KEY": ""}

    assert Settings.from_mapping(empty) == Settings.from_mapping({})


def test_the_applications_variables_stand_in_and_its_key_is_taken_whole() -> None:
    settings = Settings.from_mapping(
        {"DATABASE_URL": "postgres://u:p@db/app", "ENCRYPTION_KEY": " a, pass phrase,"}
    )

    assert settings.database_url == "postgres://u:p@db/app"
    assert settings.encryption_keys == (" a, pass phrase,",)


def test_our_own_key_setting_holds_several() -> None:
    environ = {"CHECKINSYNC_ENCRYPTION_KEY": "new, old", "ENCRYPTION_KEY": "other"}

    assert Settings.from_mapping(environ).encryption_keys == ("new", "old")


def test_keys_on_lines_of_their_own_are_taken_whole() -> None:
    def keys(text: str) -> tuple[str, ...]:
        return Settings.from_mapping({"CHECKINSYNC_ENCRYPTION_KEY": text}).encryption_keys

    assert keys("new\na pass phrase, with a comma \r\n\n") == (
        "new",
        "a pass phrase, with a comma ",
    )
    assert keys(" new, old \n") == ("new", "old")
    told = problem({"CHECKINSYNC_ENCRYPTION_KEY": "n3w,\nold"})
    assert "a line ends with a comma" in told
    assert "n3w" not in told


def test_a_secret_may_lie_in_a_file_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("one,two\n")

    by_environment = Settings.from_mapping({"CHECKINSYNC_ENCRYPTION_KEY_FILE": str(secret)})
    by_file = Settings.from_mapping({}, {"encryption_key_file": str(secret)})

    assert by_environment.encryption_keys == by_file.encryption_keys == ("one", "two")
    assert by_environment.notices == ()


def test_a_secret_given_twice_or_in_an_unreadable_file_is_a_problem(tmp_path: Path) -> None:
    missing = tmp_path / "nothing"

    told = problem(
        {
            "CHECKINSYNC_ENCRYPTION_KEY": "k3y",
            "CHECKINSYNC_ENCRYPTION_KEY_FILE": str(missing),
            "CHECKINSYNC_DATABASE_URL_FILE": str(missing),
            "CHECKINSYNC_MIGRATE_URL_FILE": "s3cret-in-the-wrong-place",
        }
    )

    both = "CHECKINSYNC_ENCRYPTION_KEY and CHECKINSYNC_ENCRYPTION_KEY_FILE are both given"
    assert both in told
    assert f"CHECKINSYNC_DATABASE_URL_FILE: {missing} can't be read (No such file" in told
    assert "CHECKINSYNC_MIGRATE_URL_FILE: the file it names can't be read" in told
    assert "k3y" not in told
    assert "s3cret" not in told


def test_the_application_at_foursquare_is_known_by_id_and_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    environ = {
        "CHECKINSYNC_CLIENT_ID": " ID ",
        "CHECKINSYNC_CLIENT_SECRET_FILE": str(tmp_path / "secret"),
    }

    settings = Settings.from_mapping(environ)

    assert (settings.client_id, settings.client_secret) == ("ID", "s3cret")
    assert settings.oauth_url == "https://foursquare.com/oauth2"
    assert "s3cret" not in repr(settings)


def test_a_wrong_application_is_told_with_all_else_and_without_its_secret() -> None:
    told = problem(
        {
            "CHECKINSYNC_CLIENT_ID": "two words",
            "CHECKINSYNC_CLIENT_SECRET": "s3cret\u00e9",
            "CHECKINSYNC_OAUTH_URL": "http://foursquare.com/oauth2",
            "CHECKINSYNC_WORKERS": "0",
        }
    )

    assert "CHECKINSYNC_CLIENT_ID: must be one word" in told
    assert "CHECKINSYNC_CLIENT_SECRET: must be one word" in told
    assert "CHECKINSYNC_OAUTH_URL: must be https://" in told
    assert "CHECKINSYNC_WORKERS" in told
    assert "s3cret" not in told


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://example.org/v2/", True),
        ("http://127.0.0.1:8080/v2", True),
        ("http://[::1]:8080", True),
        ("http://localhost/v2", True),
        ("http://localhost.example.org/v2", False),
        ("https://user:s3cret@example.org", False),
        ("https://example.org:port", False),
        ("ftp://127.0.0.1", False),
        ("https:///v2", False),
    ],
)
def test_the_api_is_asked_in_the_clear_on_this_machine_only(url: str, fine: bool) -> None:
    environ = {"CHECKINSYNC_API_URL": url}

    if fine:
        assert Settings.from_mapping(environ).api_url == url.rstrip("/")
    else:
        assert "s3cret" not in problem(environ)


def test_secrets_are_not_in_the_repr() -> None:
    settings = Settings.from_mapping(
        {
            "CHECKINSYNC_DATABASE_URL": "postgresql://u:s3cret@h/x",
            "CHECKINSYNC_MIGRATE_URL": "postgresql://u:s3cret@h/x",
            "ENCRYPTION_KEY": "s3cret",
        }
    )

    assert "s3cret" not in repr(settings)


def test_an_unknown_variable_of_ours_is_a_notice_and_no_problem() -> None:
    (notice,) = Settings.from_mapping({"CHECKINSYNC_STAGER": "2m", "STAGER": "2m"}).notices

    assert "CHECKINSYNC_STAGER" in notice
    assert "is CHECKINSYNC_STAGGER meant?" in notice


def test_options_win_and_the_pool_follows_the_workers() -> None:
    settings = Settings.from_mapping({})
    asked_for = Settings.from_mapping({"CHECKINSYNC_POOL_SIZE": "3"})

    assert replace(settings, workers=6).pool_size == 7
    assert replace(settings, workers=64).pool_size == 10
    assert replace(asked_for, workers=64).pool_size == 3


def test_an_ordinary_users_database_lies_in_their_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)

    assert Settings.from_mapping({}).home.is_relative_to(tmp_path)
    assert Settings.from_mapping({}).home.name == "checkinsync"


def test_roots_database_lies_where_servers_keep_their_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert Settings.from_mapping({}).home == Path("/var/lib/checkinsync")


def test_reading_settings_loads_neither_database_nor_http() -> None:
    code = (
        "import sys; from checkinsync.config.settings import read_settings; read_settings({}); "
        "print(*sorted({'psycopg', 'requests', 'tomllib', 'cryptography'} & set(sys.modules)))"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == ""


@pytest.mark.parametrize("variable", ["DATABASE_URL", "ENCRYPTION_KEY"])
def test_the_application_s_own_secrets_may_stand_in_files_too(
    tmp_path: Path, variable: str
) -> None:
    secret = {"DATABASE_URL": "postgresql://localhost/app", "ENCRYPTION_KEY": "one, whole key"}
    (tmp_path / "secret").write_text(secret[variable] + "\n")

    settings = Settings.from_mapping({f"{variable}_FILE": str(tmp_path / "secret")})

    assert secret[variable] in (settings.database_url, *settings.encryption_keys)


def test_a_credential_of_systemd_counts_where_nothing_of_ours_names_the_secret(
    tmp_path: Path,
) -> None:
    (tmp_path / "encryption_key").write_text("new,old\n")
    (tmp_path / "database_url").write_text("postgresql://credential/x\n")
    (tmp_path / "workers").write_text("9\n")
    given = {
        "CREDENTIALS_DIRECTORY": str(tmp_path),
        "ENCRYPTION_KEY": "the application's",
        "DATABASE_URL": "postgresql://application/x",
    }

    settings = Settings.from_mapping(given)

    assert settings.encryption_keys == ("new", "old")
    assert settings.application_key == "the application's"
    assert settings.database_url == "postgresql://credential/x"
    assert settings.workers == 4, "what is no secret is no credential"
    by_file = Settings.from_mapping(given, {"encryption_key": "of the file"})
    assert by_file.encryption_keys == ("of the file",)
    by_environment = Settings.from_mapping(given | {"CHECKINSYNC_ENCRYPTION_KEY": "of ours"})
    assert by_environment.encryption_keys == ("of ours",)


def test_a_credential_that_is_empty_is_a_problem_and_none_at_all_is_not(tmp_path: Path) -> None:
    given = {"CREDENTIALS_DIRECTORY": str(tmp_path), "ENCRYPTION_KEY": "another"}
    assert Settings.from_mapping(given).encryption_keys == ("another",)

    (tmp_path / "encryption_key").write_text("\n")

    assert f"the credential encryption_key: {tmp_path}/encryption_key is empty" in problem(given)


def test_the_applications_key_that_is_not_needed_may_be_out_of_reach() -> None:
    given = {"ENCRYPTION_KEY_FILE": "/nowhere", "CHECKINSYNC_ENCRYPTION_KEY": "ours"}

    assert Settings.from_mapping(given).application_key is None
    assert "ENCRYPTION_KEY_FILE" in problem({"ENCRYPTION_KEY_FILE": "/nowhere"})


def test_examined_settings_are_what_can_be_used_beside_what_is_wrong(tmp_path: Path) -> None:
    config, secret = tmp_path / "our.toml", tmp_path / "key"
    config.write_text(f'workers = 0\nretries = 5\nencryption_key_file = "{secret}"\nwindw = "4h"\n')
    secret.write_text("k3y")

    examined = examine_settings({"CHECKINSYNC_CONFIG": str(config), "CHECKINSYNC_STAGGER": "soon"})

    assert len(examined.problems) == 3
    assert examined.broken == {"workers", "stagger"}
    assert (examined.settings.workers, examined.settings.retries) == (4, 5)
    assert examined.config == config
    assert examined.secret_files == (secret,)
    assert "k3y" not in repr(examined)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ('"00ff"', "a key stands in quotes"),
        ("“a pass phrase”", "a key stands in quotes"),
        ("0x" + "00" * 32, "begins with 0x"),
    ],
)
def test_what_was_perhaps_copied_along_with_a_key_is_noted(key: str, words: str) -> None:
    """It counts as a part of the key, since the application takes its own whole, too."""
    for variable in ("CHECKINSYNC_ENCRYPTION_KEY", "ENCRYPTION_KEY"):
        settings = Settings.from_mapping({variable: key})

        assert settings.encryption_keys == (key,)
        [notice] = settings.notices
        assert notice.startswith(f"{variable}: ")
        assert words in notice
        assert key not in notice


@pytest.mark.parametrize("text", ["ENCRYPTION_KEY=s3cret", "export ENCRYPTION_KEY='s3cret'"])
def test_a_key_behind_a_name_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{text}\n")
    for environ in (
        {"ENCRYPTION_KEY": text},
        {"CHECKINSYNC_ENCRYPTION_KEY_FILE": str(tmp_path / "key")},
    ):
        told = problem(environ)

        assert "the key alone, without a name and =" in told
        assert "s3cret" not in told
    assert Settings.from_mapping({"ENCRYPTION_KEY": "abKEY="}).notices == ()


def test_an_id_in_quotes_is_refused() -> None:
    assert "CHECKINSYNC_CLIENT_ID: must be as Foursquare shows it, without quotes" in problem(
        {"CHECKINSYNC_CLIENT_ID": '"ABC"'}
    )


def test_the_certificates_to_trust_must_be_some(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("hello\n")
    os.mkfifo(tmp_path / "fifo")
    good = tmp_path / "good.pem"
    good.write_text(CERTIFICATE)

    assert Settings.from_mapping({"CHECKINSYNC_CA_FILE": str(good)}).ca_file == good
    assert Settings.from_mapping({}, {"ca_file": str(good)}).ca_file == good
    for name, words in (
        ("none.pem", "does not hold certificates in PEM"),
        ("missing.pem", "can't be read (No such file or directory)"),
        ("fifo", "is not a file"),
        ("", "is not a file"),
    ):
        told = problem({"CHECKINSYNC_CA_FILE": str(tmp_path / name)})
        assert f"CHECKINSYNC_CA_FILE: {tmp_path / name} {words}" in told


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"])
def test_certificates_that_other_programs_trust_are_trusted(tmp_path: Path, variable: str) -> None:
    for name in ("good.pem", "ours.pem"):
        (tmp_path / name).write_text(CERTIFICATE)
    given = {variable: str(tmp_path / "good.pem")}

    assert Settings.from_mapping(given).ca_file == tmp_path / "good.pem"
    ours = Settings.from_mapping(given | {"CHECKINSYNC_CA_FILE": str(tmp_path / "ours.pem")})
    assert ours.ca_file == tmp_path / "ours.pem"
    stale = Settings.from_mapping({variable: str(tmp_path / "stale.pem")})
    assert stale.ca_file is None
    [notice] = stale.notices
    assert notice == (
        f"{variable}: {tmp_path}/stale.pem can't be read (No such file or directory); it is ignored"
    )


def test_paths_that_there_can_not_be_are_refused() -> None:
    assert "home in the file: '/a\\x00b' can't be a path here" in problem({}, {"home": "/a\0b"})
    assert "names the home folder of an unknown user" in problem(
        {"CHECKINSYNC_HOME": "~no-such-user/x"}
    )
