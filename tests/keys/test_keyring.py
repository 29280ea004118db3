"""Encrypted tokens: the application's format, several keys, and no secret in any message."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from checkinsync.errors import SettingsError, TokenUnreadable
from checkinsync.keys.key_file import KEY_FILE, keys_of_home
from checkinsync.keys.keyring import Keyring, make_key
from support.webapp.crypto import node

RAW_KEY = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
SAMPLE = "0f0e0d0c0b0a09080706050403020100:49f821315519e322b5bc1c8b6e78b950:ef9fd944432214778c2db5"
"""TOKEN-ALPHA under RAW_KEY, as the application stores it."""


def test_a_token_of_the_application_opens() -> None:
    assert Keyring([RAW_KEY]).decrypt(SAMPLE) == "TOKEN-ALPHA"
    assert Keyring([RAW_KEY.upper()]).decrypt(SAMPLE.upper()) == "TOKEN-ALPHA"


@pytest.mark.parametrize("key", [RAW_KEY, "a pass phrase, with a comma", "ключ", "x", RAW_KEY[:-1]])
@pytest.mark.parametrize("token", ["TOKEN-ALPHA", "", "tökén"])
def test_what_is_sealed_opens_again_and_looks_different_each_time(key: str, token: str) -> None:
    keyring = Keyring([key])

    encrypted = keyring.encrypt(token)

    assert keyring.decrypt(encrypted) == token
    assert Keyring([key]).can_decrypt(encrypted)
    assert encrypted != keyring.encrypt(token)
    assert token == "" or token not in encrypted


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on this machine")
@pytest.mark.parametrize("key", [RAW_KEY, "a pass phrase, with a comma"])
def test_the_applications_platform_and_we_open_each_others_tokens(key: str) -> None:
    keyring = Keyring([key])

    assert keyring.decrypt(node("seal", key, "TOKEN-BÊTA")) == "TOKEN-BÊTA"
    assert node("open", key, keyring.encrypt("TOKEN-BÊTA")) == "TOKEN-BÊTA"


def test_the_first_key_seals_and_all_open() -> None:
    old, new = make_key(), make_key()
    encrypted_before = Keyring([old]).encrypt("TOKEN-ALPHA")

    both = Keyring([new, old])

    assert both.decrypt(encrypted_before) == "TOKEN-ALPHA"
    assert Keyring([new]).can_decrypt(both.encrypt("TOKEN-ALPHA"))
    assert not Keyring([old]).can_decrypt(both.encrypt("TOKEN-ALPHA"))


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "TOKEN-ALPHA",
        SAMPLE[:-1],
        SAMPLE[:-2] + "00",
        SAMPLE.replace("ef9f", "ef 9f"),
        SAMPLE + ":00",
        SAMPLE + "\n",
        "00" + SAMPLE,
        "::",
        SAMPLE.replace(":", ";"),
    ],
)
def test_text_that_was_not_sealed_so_is_unreadable_and_not_repeated(stored: str) -> None:
    keyring = Keyring([RAW_KEY])

    assert not keyring.can_decrypt(stored)
    with pytest.raises(TokenUnreadable) as caught:
        keyring.decrypt(stored)
    assert not stored.strip() or stored not in str(caught.value)
    assert RAW_KEY not in str(caught.value)


def test_a_token_that_is_no_text_is_unreadable() -> None:
    iv = bytes(16)
    both = AESGCM(bytes.fromhex(RAW_KEY)).encrypt(iv, b"\xff\xfe", None)
    stored = ":".join(part.hex() for part in (iv, both[-16:], both[:-16]))

    assert not Keyring([RAW_KEY]).can_decrypt(stored)
    with pytest.raises(TokenUnreadable, match="no key decrypts the stored token"):
        Keyring([RAW_KEY]).decrypt(stored)


def test_neither_repr_nor_errors_show_a_key_or_a_token() -> None:
    keyring = Keyring(["s3cret-key", RAW_KEY])

    assert "s3cret" not in repr(keyring) + repr(vars(keyring))
    with pytest.raises(ValueError, match="surrogates") as caught:
        keyring.encrypt("s3cret-token\udc80")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_no_key_is_a_setting_that_is_missing() -> None:
    with pytest.raises(SettingsError, match="CHECKINSYNC_ENCRYPTION_KEY"):
        Keyring([])


def test_a_missing_key_is_made_once_for_all_who_ask_at_once(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    ask = (
        "import sys, pathlib; from checkinsync.keys.key_file import keys_of_home; "
        "print(*keys_of_home(pathlib.Path(sys.argv[1])))"
    )

    with ThreadPoolExecutor() as several:
        runs = [
            several.submit(
                subprocess.check_output, [sys.executable, "-c", ask, str(home)], text=True
            )
            for _ in range(6)
        ]
        keys = {run.result().strip() for run in runs} | set(keys_of_home(home))

    assert len(keys) == 1
    assert (home / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert os.listdir(home) == [KEY_FILE]
    assert len(keys.pop()) == 64


def test_a_key_open_to_others_or_cut_off_is_refused_by_its_path(tmp_path: Path) -> None:
    [key] = keys_of_home(tmp_path)
    path = tmp_path / KEY_FILE

    path.chmod(0o640)
    with pytest.raises(SettingsError, match=f"chmod 600 {path}"):
        keys_of_home(tmp_path)

    path.chmod(0o600)
    path.write_text(key[:10])
    with pytest.raises(SettingsError, match=f"{path} does not hold a key") as caught:
        keys_of_home(tmp_path)
    assert key[:10] not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes keys for others")
def test_a_key_made_by_root_belongs_to_whoever_owns_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)

    keys_of_home(tmp_path)

    made = (tmp_path / KEY_FILE).stat()
    assert (made.st_uid, made.st_mode & 0o777) == (65534, 0o600)


def test_a_home_that_can_hold_no_key_is_named(tmp_path: Path) -> None:
    home = tmp_path / "file"
    home.write_text("")

    with pytest.raises(SettingsError, match=str(home)):
        keys_of_home(home)


def test_a_key_s_fingerprint_is_the_same_however_it_is_written_and_tells_nothing_of_it() -> None:
    one, same, other = Keyring([RAW_KEY, RAW_KEY.upper(), RAW_KEY[:-1]]).keys

    assert one == same
    assert other.fingerprint != one.fingerprint
    assert len(one.fingerprint) == 8
    assert one.fingerprint not in RAW_KEY
    assert (one.doubt, other.doubt) == ("", "is nothing but hex digits, yet not 64 of them")
    assert {key.doubt for key in Keyring(["cafe", "0x", "a phrase, isn't it?"]).keys} == {""}


QUOTED = "begins or ends with a quotation mark"


@pytest.mark.parametrize(
    ("key", "doubt"),
    [
        (f'"{RAW_KEY}"', QUOTED),
        (f"'{RAW_KEY}'", QUOTED),
        (f"\u201c{RAW_KEY}\u201d", QUOTED),
        (f'"{RAW_KEY}', QUOTED),
        ('"a pass phrase"', QUOTED),
        (f"0x{RAW_KEY}", "begins with 0x"),
        (f"0X{RAW_KEY[:-1]}", "begins with 0x"),
    ],
)
def test_a_key_with_quotes_or_0x_around_it_is_warned_of(key: str, doubt: str, caplog) -> None:
    keyring = Keyring([RAW_KEY, key])

    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert f"encryption key 2 of 2 {doubt}" in record.getMessage()
    assert RAW_KEY[:-1] not in record.getMessage()
    assert [one.doubt for one in keyring.keys] == ["", doubt]
    assert keyring.decrypted_by(Keyring([key]).encrypt("TOKEN-ALPHA")) == 1


def test_a_good_key_is_not_warned_of(caplog) -> None:
    Keyring([RAW_KEY, "a pass phrase, isn't it?", "0xcafe", "x", ""])

    assert caplog.records == []


def test_a_byte_order_mark_before_a_key_is_ignored(tmp_path: Path) -> None:
    [made] = keys_of_home(tmp_path)

    (tmp_path / KEY_FILE).write_text(f"\ufeff{made}\n", encoding="utf-8")

    assert Keyring([f"\ufeff{RAW_KEY}"]).decrypt(SAMPLE) == "TOKEN-ALPHA"
    assert keys_of_home(tmp_path) == (made,)


def test_which_key_opens_a_token_is_told_by_its_number() -> None:
    old, new = make_key(), make_key()

    keyring = Keyring([new, old])

    assert keyring.decrypted_by(keyring.encrypt("TOKEN-ALPHA")) == 0
    assert keyring.decrypted_by(Keyring([old]).encrypt("TOKEN-ALPHA")) == 1
    assert keyring.decrypted_by(SAMPLE) is None
    assert keyring.decrypted_by("TOKEN-ALPHA") is None


def test_the_key_of_a_home_may_be_followed_by_older_ones(tmp_path: Path) -> None:
    [old] = keys_of_home(tmp_path)
    new = make_key()

    (tmp_path / KEY_FILE).write_text(f"{new}\n{old}\n")

    assert keys_of_home(tmp_path) == (new, old)
    assert Keyring(keys_of_home(tmp_path)).decrypted_by(Keyring([old]).encrypt("TOKEN-ALPHA")) == 1
