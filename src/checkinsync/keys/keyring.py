"""Foursquare tokens sealed and opened, in the application's own format, with keys at hand.

The format is `hex(iv):hex(tag):hex(ciphertext)`, AES-256-GCM with an IV and a tag of 16 bytes each.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from checkinsync.errors import SettingsError, TokenUnreadable
from checkinsync.keys.usage import Key

BLOCK = 16
"""Bytes of the IV, and of the tag."""


FINGERPRINT = b"checkinsync: fingerprint of a key\n"
"""Hashed in front of a key, so that its fingerprint is of no use anywhere else."""

DIGITS = 8
"""Of a fingerprint, in hex: they tell a handful of keys apart, and nothing about them."""

NEARLY_A_KEY = 32
"""From so many hex digits on a key is meant to be 64, and some were lost or added."""

_SEALED = re.compile(r"([0-9a-fA-F]{32}):([0-9a-fA-F]{32}):((?:[0-9a-fA-F]{2})*)")
RAW_KEY = re.compile(r"[0-9a-fA-F]{64}")


class Keyring:
    """Several keys: the first seals, all open."""

    def __init__(self, keys: Sequence[str]) -> None:
        """A key of 64 hex digits is its 32 bytes; any other text goes through scrypt.

        Raises SettingsError where there is none.
        """
        if not keys:
            raise SettingsError(
                "there is no key to seal tokens with; set CHECKINSYNC_ENCRYPTION_KEY"
            )
        self._keys = [_Key(key) for key in keys]

    def __repr__(self) -> str:
        """How many keys, and nothing of them."""
        return f"Vault({len(self._keys)} keys)"

    @property
    def keys(self) -> tuple[Key, ...]:
        """What may be told of the keys, in their order."""
        return tuple(Key(key.fingerprint, key.looks_cut) for key in self._keys)

    def encrypt(self, token: str) -> str:
        """The text to be stored; another one each time."""
        try:
            plain = token.encode()
        except UnicodeEncodeError:  # its text repeats the token
            raise ValueError("a token with lone surrogates can't be sealed") from None
        iv = os.urandom(BLOCK)
        both = self._keys[0].cipher.encrypt(iv, plain, None)
        return f"{iv.hex()}:{both[-BLOCK:].hex()}:{both[:-BLOCK].hex()}"

    def decrypt(self, encrypted: str) -> str:
        """The token. Raises TokenUnreadable where no key opens it, or where it is none of ours."""
        return self._decrypted(encrypted)[1]

    def can_decrypt(self, encrypted: str) -> bool:
        """Whether `open` would give a token."""
        return self.decrypted_by(encrypted) is not None

    def decrypted_by(self, encrypted: str) -> int | None:
        """The number of the key that opens it, from 0 on; None where `open` would raise."""
        try:
            return self._decrypted(encrypted)[0]
        except TokenUnreadable:
            return None

    def _decrypted(self, encrypted: str) -> tuple[int, str]:
        parts = _SEALED.fullmatch(encrypted)
        if parts is None:
            raise TokenUnreadable(
                "the stored token is not in the form iv:tag:ciphertext; set it anew"
            )
        iv, tag, ciphertext = map(bytes.fromhex, parts.groups())
        for number, key in enumerate(self._keys):
            try:
                return number, key.cipher.decrypt(iv, ciphertext + tag, None).decode()
            except (InvalidTag, UnicodeDecodeError):
                continue
        raise TokenUnreadable(
            "no key at hand opens the stored token; add the key that sealed it to "
            "CHECKINSYNC_ENCRYPTION_KEY, or set the token anew"
        )


class _Key:
    """A key as it was set; scrypt costs 50 ms, so it waits until the key is used."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def cipher(self) -> AESGCM:
        return AESGCM(self._bytes)

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(FINGERPRINT + self._bytes).hexdigest()[:DIGITS]

    @property
    def looks_cut(self) -> bool:
        is_hex = re.fullmatch(r"[0-9a-fA-F]+", self._text) is not None
        return is_hex and len(self._text) >= NEARLY_A_KEY and not RAW_KEY.fullmatch(self._text)

    @cached_property
    def _bytes(self) -> bytes:
        if RAW_KEY.fullmatch(self._text):
            return bytes.fromhex(self._text)
        # the application's own parameters and salt: with others its tokens would stay shut
        kdf = Scrypt(salt=b"salt", length=32, n=16384, r=8, p=1)
        return kdf.derive(self._text.encode(errors="surrogateescape"))


def make_key() -> str:
    """A new key: 64 hex digits, 32 random bytes."""
    return secrets.token_hex(32)
