"""The settings file as text: every setting in it, and values set without changing other lines."""

from __future__ import annotations

import re
import tomllib

import pytest

from checkinsync.config import document, meanings, settings
from checkinsync.config.in_force import in_force
from checkinsync.config.settings import Settings, examine_settings
from checkinsync.errors import SettingsError

FOREIGN = """\
# our server
workers = 8   # as many as there are cores

database_url_file = "/etc/checkinsync/database.url"
"""


def test_every_setting_is_in_the_file_with_its_default() -> None:
    text = document.commented()

    values = tomllib.loads(re.sub("^#(?! )", "", text, flags=re.MULTILINE))

    assert tomllib.loads(text) == {}
    assert set(values) == {*settings.SETTINGS, *(f"{name}_file" for name in settings.SECRETS)}
    assert Settings.from_mapping({}, values) == Settings.from_mapping({})


def test_every_setting_has_a_meaning() -> None:
    explained = [name for section in meanings.SECTIONS.values() for name in section]

    assert set(settings.SETTINGS) <= set(explained)
    assert len(explained) == len(set(explained))


def test_a_setting_without_a_meaning_still_appears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "SETTINGS", (*settings.SETTINGS, "brand_new"))

    assert '#brand_new = ""' in document.commented().splitlines()


def test_values_are_set_in_place_and_all_other_lines_stay() -> None:
    lines = document.with_values(FOREIGN, {"workers": 2, "home": '/a b/ü"\\'}).splitlines()

    assert lines == [
        "# our server",
        "workers = 2",
        "",
        'database_url_file = "/etc/checkinsync/database.url"',
        'home = "/a b/ü\\"\\\\"',
    ]


def test_a_commented_line_is_where_a_value_is_set() -> None:
    before = document.commented().splitlines()
    after = document.commented({"stagger": "90s"}).splitlines()

    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]

    assert changed == [('#stagger = "2m"', 'stagger = "90s"')]


def test_a_value_is_taken_away_by_commenting_its_line_out() -> None:
    text = document.with_values(FOREIGN, {"database_url_file": None, "home": None})

    assert tomllib.loads(text) == {"workers": 8}
    assert '#database_url_file = "/etc/checkinsync/database.url"' in text.splitlines()


@pytest.mark.parametrize(
    "text", ['client_id = """a\nb"""\n', "[table]\nworkers = 1\n", "workers = 8\n[table]\n"]
)
def test_a_file_that_can_not_be_changed_line_by_line_is_left_alone(text: str) -> None:
    with pytest.raises(SettingsError, match="set them by hand"):
        document.with_values(text, {"client_id": "x", "workers": 3, "home": "/x"})


def test_what_is_in_force_is_told_with_its_origin_and_without_secrets(tmp_path) -> None:
    secret = "correct horse battery staple"
    (tmp_path / "key").write_text(f"{secret}\n")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "client_secret").write_text("s3cret")
    (tmp_path / "our.toml").write_text('workers = 8\nmigrate_url = "host=b password=s3cret"\n')
    environ = {
        "CHECKINSYNC_CONFIG": str(tmp_path / "our.toml"),
        "CHECKINSYNC_STAGGER": "90s",
        "CHECKINSYNC_DEADLINE": "soon",
        "CHECKINSYNC_ENCRYPTION_KEY_FILE": str(tmp_path / "key"),
        "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"),
        "DATABASE_URL": "postgresql://ann:s3cret@a/app?sslmode=require&sslpassword=s3cret",
    }

    found = {each.name: each for each in in_force(examine_settings(environ))}

    assert list(found) == [*settings.SETTINGS]
    told = {name: (each.value, each.origin) for name, each in found.items() if each.origin}
    assert told == {
        "workers": (8, f"workers in {tmp_path}/our.toml"),
        "stagger": ("90s", "CHECKINSYNC_STAGGER"),
        "database_url": ("postgresql://ann@a/app?sslmode=require", "DATABASE_URL"),
        "migrate_url": ("host=b", f"migrate_url in {tmp_path}/our.toml"),
        "encryption_key": ("********", f"CHECKINSYNC_ENCRYPTION_KEY_FILE ({tmp_path}/key)"),
        "client_secret": (
            "********", f"the credential client_secret ({tmp_path}/credentials/client_secret)"
        ),
    }  # fmt: skip
    assert (found["deadline"].broken, found["deadline"].value) == (True, None)
    assert found["active_days"].value == 30
    assert not any(word in repr(found) for word in (secret, "s3cret"))
