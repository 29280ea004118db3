"""The settings file: which one is read, and how it is named where something is wrong with it."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from checkinsync.config import file as settings_file
from checkinsync.config.settings import Settings, examine_settings, read_settings
from checkinsync.errors import SettingsError

BOM = "\ufeff"


def problem(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        read_settings(environ)
    assert caught.value.exit_code == 78
    return str(caught.value)


@pytest.fixture
def places(tmp_path: Path) -> list[Path]:
    """Places where a file is looked for; none of them has one."""
    return [tmp_path / name / "checkinsync.toml" for name in ("own", "folder", "plain")]


def written(path: Path, text: str = "workers = 2\n") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_the_named_file_is_read_and_must_exist(tmp_path: Path) -> None:
    path = written(tmp_path / "our.toml", 'stagger = "1m"\nworkers = 2\n')

    assert read_settings({"CHECKINSYNC_CONFIG": str(path)}).stagger == timedelta(minutes=1)
    told = problem({"CHECKINSYNC_CONFIG": str(tmp_path / "other.toml")})
    assert told == f"CHECKINSYNC_CONFIG names {tmp_path}/other.toml, which does not exist"


def test_everybody_looks_in_their_own_folder_and_then_in_etc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))

    for user in (0, 1000):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        own, *others = settings_file.usual_places()

        assert own.is_relative_to(tmp_path)
        assert own.parts[-2:] == ("checkinsync", "checkinsync.toml")
        assert [str(path) for path in others] == [
            "/etc/checkinsync/checkinsync.toml",
            "/etc/checkinsync.toml",
        ]


def test_the_first_that_is_there_counts(places: list[Path], tmp_path: Path) -> None:
    assert settings_file.find({}, places=places) is None
    for path in reversed(places):
        written(path)
        assert settings_file.find({}, places=places) == path
    named = written(tmp_path / "named.toml")
    assert settings_file.find({"CHECKINSYNC_CONFIG": str(named)}, places=places) == named


def test_one_that_can_not_be_read_is_an_error_instead_of_the_next_one(places: list[Path]) -> None:
    written(places[1])
    kinds = (os.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere"))
    places[0].parent.mkdir()
    for make in kinds:
        make(places[0])

        with pytest.raises(SettingsError, match=rf"{places[0]} is (not a file|a link to a file)"):
            settings_file.find({}, places=places)

        places[0].rmdir() if places[0].is_dir() else places[0].unlink()
    places[0].symlink_to(places[0])
    with pytest.raises(SettingsError, match=rf"{places[0]} can't be read"):
        settings_file.find({}, places=places)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"stagger: 2m\n", "is not valid TOML"),
        (b"stagger = '\xff'\n", "is not text in UTF-8"),
        (b"\xff\xfes\x00t\x00", "is not text in UTF-8"),
    ],
)
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "our.toml").write_bytes(content)

    assert f"{tmp_path}/our.toml {words}" in problem(
        {"CHECKINSYNC_CONFIG": str(tmp_path / "our.toml")}
    )


def test_problems_of_its_keys_name_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "our.toml", "workers = 0\nretries = true\nwindw = '4h'\n")

    told = problem({"CHECKINSYNC_CONFIG": str(path)})

    assert f"workers in {path}: '0' is not a whole number" in told
    assert f"retries in {path} must be text or a number" in told
    assert f"windw in {path} is not a setting (is window meant?)" in told


def test_a_byte_order_mark_and_windows_line_ends_are_ignored(tmp_path: Path) -> None:
    secrets = {
        "database_url": ("postgresql://h/db", "postgresql://h/db"),
        "encryption_key": ("a, b", ("a", "b")),
        "client_secret": ("abc", "abc"),
    }
    for name, (text, _) in secrets.items():
        (tmp_path / name).write_bytes(f"{BOM}{text}\r\n".encode())
    lines = "".join(f'{name}_file = "{tmp_path}/{name}"\r\n' for name in secrets)
    (tmp_path / "our.toml").write_bytes(f"{BOM}{lines}".encode())

    settings = read_settings({"CHECKINSYNC_CONFIG": str(tmp_path / "our.toml")})

    assert settings.database_url == "postgresql://h/db"
    assert settings.encryption_keys == ("a", "b")
    assert settings.client_secret == "abc"
    whole = Settings.from_mapping({"ENCRYPTION_KEY_FILE": str(tmp_path / "encryption_key")})
    assert whole.encryption_keys == ("a, b",)


def test_a_secret_in_a_fifo_that_nobody_writes_to_is_empty(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "url")

    told = problem({"CHECKINSYNC_DATABASE_URL_FILE": str(tmp_path / "url")})

    assert f"{tmp_path}/url is empty" in told


def test_a_secret_in_a_pipe_is_waited_for() -> None:
    """As a shell's `CHECKINSYNC_DATABASE_URL_FILE=<(pass show database)` hands it over."""
    reader, writer = os.pipe()
    os.write(writer, b"postgresql://h/db\n")
    os.close(writer)

    settings = Settings.from_mapping({"CHECKINSYNC_DATABASE_URL_FILE": f"/dev/fd/{reader}"})

    os.close(reader)
    assert settings.database_url == "postgresql://h/db"


def test_a_secret_in_a_file_without_an_end_is_refused() -> None:
    assert "/dev/zero can't be read" in problem({"CHECKINSYNC_DATABASE_URL_FILE": "/dev/zero"})


def test_of_a_file_that_can_not_be_read_it_is_unknown_what_it_would_set(tmp_path: Path) -> None:
    written(tmp_path / "our.toml", "stagger: 2m\n")
    environ = {"CHECKINSYNC_CONFIG": str(tmp_path / "our.toml"), "CHECKINSYNC_WORKERS": "3"}

    examined = examine_settings(environ)

    assert "database_url" in examined.broken
    assert "workers" not in examined.broken
    assert examined.settings.workers == 3


def test_where_the_address_of_the_database_came_from_is_known(tmp_path: Path) -> None:
    secret = written(tmp_path / "url", "postgresql://h/db")
    text = 'database_url = "postgresql://h/db"\nmigrate_url = "postgresql://h/db"\n'
    direct = written(tmp_path / "direct.toml", text)
    through = written(tmp_path / "file.toml", f'database_url_file = "{secret}"\n')
    (tmp_path / "database_url").write_text("postgresql://h/db")
    url = "postgresql://h/db"
    file = "CHECKINSYNC_DATABASE_URL_FILE"
    credential = tmp_path / "database_url"
    for variable, value, source in (
        ("CHECKINSYNC_DATABASE_URL", url, "CHECKINSYNC_DATABASE_URL"),
        (file, secret, f"{file} ({secret})"),
        ("CHECKINSYNC_CONFIG", direct, f"database_url in {direct}"),
        ("CHECKINSYNC_CONFIG", through, f"database_url_file in {through} ({secret})"),
        ("CREDENTIALS_DIRECTORY", tmp_path, f"the credential database_url ({credential})"),
        ("DATABASE_URL", url, "DATABASE_URL"),
        ("DATABASE_URL_FILE", secret, f"DATABASE_URL_FILE ({secret})"),
    ):
        environ = {variable: str(value)}
        assert read_settings(environ).database_source == source
    migrations = read_settings({"CHECKINSYNC_CONFIG": str(direct)})
    assert migrations.migrate_source == f"migrate_url in {direct}"


def test_an_address_for_migrations_alone_is_refused() -> None:
    """They would go to one database, and every other command to another."""
    told = problem({"CHECKINSYNC_MIGRATE_URL": "postgresql://h/db"})

    assert told == ("CHECKINSYNC_MIGRATE_URL: goes with CHECKINSYNC_DATABASE_URL, which is not set")


def test_a_server_that_is_named_to_other_programs_only_is_noted() -> None:
    [notice] = Settings.from_mapping({"PGHOST": "db", "PGUSER": "me"}).notices

    assert "PGHOST: ignored" in notice
    assert "CHECKINSYNC_DATABASE_URL" in notice
    assert not Settings.from_mapping({"PGHOST": "db", "DATABASE_URL": "postgresql://"}).notices
