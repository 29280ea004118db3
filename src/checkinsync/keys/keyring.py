"""Encrypts and decrypts Foursquare tokens in the application's own format, with several keys.

The format is `hex(iv):hex(tag):hex(ciphertext)`, AES-256-GCM with an IV and a tag of 16 bytes each.
"""

from __future__ import annotations

import hashlib
import logging
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

log = logging.getLogger(__name__)

BLOCK = 16
"""Bytes of the IV, and of the tag."""

FINGERPRINT = b"checkinsync: fingerprint of a key\n"
"""Hashed in front of a key, so that its fingerprint is of no use anywhere else."""

DIGITS = 8
"""Of a fingerprint, in hex: enough to distinguish a few keys, without revealing them."""

NEARLY_A_KEY = 32
"""With so many hex digits or more a key is meant to have 64, and some were lost or added."""

QUOTES = tuple("\"'`\u201c\u201d\u2018\u2019")

BYTE_ORDER_MARK = "\ufeff"
"""Some editors begin a file with it."""

_ENCRYPTED = re.compile(r"([0-9a-fA-F]{32}):([0-9a-fA-F]{32}):([0-9a-fA-F]*)")
RAW_KEY = re.compile(r"[0-9a-fA-F]{64}")


class Keyring:
    """Several keys: the first encrypts, all decrypt."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Each key of 64 hex digits is its 32 bytes; any other text goes through scrypt.

        Warns of a key in quotes. Raises SettingsError if there is no key.
        """
        if not keys:
            raise SettingsError(
                "there is no key to encrypt tokens with; set CHECKINSYNC_ENCRYPTION_KEY"
            )
        self._keys = [_Key(key.removeprefix(BYTE_ORDER_MARK)) for key in keys]
        for number, key in enumerate(self._keys, start=1):
            if key.wrapped:
                log.warning(
                    "encryption key %d of %d %s; it is used as it stands, as a pass phrase: if 64 "
                    "hex digits are meant, give only those",
                    number, len(self._keys), key.wrapped,
                )  # fmt: skip

    def __repr__(self) -> str:
        """Return how many keys there are, and nothing of them."""
        return f"Keyring({len(self._keys)} keys)"

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys in their order, as far as they may be shown."""
        return tuple(Key(key.fingerprint, key.doubt) for key in self._keys)

    def encrypt(self, token: str) -> str:
        """Return the text to be stored; another one each time."""
        try:
            plain = token.encode()
        except UnicodeEncodeError:  # its text repeats the token
            raise ValueError("a token with lone surrogates can't be encrypted") from None
        iv = os.urandom(BLOCK)
        both = self._keys[0].cipher.encrypt(iv, plain, None)
        return f"{iv.hex()}:{both[-BLOCK:].hex()}:{both[:-BLOCK].hex()}"

    def decrypt(self, encrypted: str) -> str:
        """Return the token. Raises TokenUnreadable if no key decrypts it, or it is another text."""
        return self._decrypted(encrypted)[1]

    def can_decrypt(self, encrypted: str) -> bool:
        """Return True if `decrypt` would return a token."""
        return self.decrypted_by(encrypted) is not None

    def decrypted_by(self, encrypted: str) -> int | None:
        """Return the number of the key that decrypts it, from 0 on; None if `decrypt` raises."""
        try:
            return self._decrypted(encrypted)[0]
        except TokenUnreadable:
            return None

    def _decrypted(self, encrypted: str) -> tuple[int, str]:
        parts = _ENCRYPTED.fullmatch(encrypted)
        if parts is None or len(parts[3]) % 2:
            raise TokenUnreadable(
                "the stored token is not in the form iv:tag:ciphertext; replace it"
            )
        iv, tag, ciphertext = map(bytes.fromhex, parts.groups())
        for number, key in enumerate(self._keys):
            try:
                return number, key.cipher.decrypt(iv, ciphertext + tag, None).decode()
            except (InvalidTag, UnicodeDecodeError):
                continue
        raise TokenUnreadable(
            "no key decrypts the stored token; add the key that encrypted it to "
            "CHECKINSYNC_ENCRYPTION_KEY, or replace the token"
        )


class _Key:
    """A key as it was set; scrypt costs 50 ms, so it runs when the key is first used."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def cipher(self) -> AESGCM:
        return AESGCM(self._bytes)

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(FINGERPRINT + self._bytes).hexdigest()[:DIGITS]

    @property
    def wrapped(self) -> str:
        """What is around the key and hardly belongs to it; empty if nothing is."""
        if self._text.startswith(QUOTES) or self._text.endswith(QUOTES):
            return "begins or ends with a quotation mark"
        return "begins with 0x" if re.match(r"0[xX][0-9a-fA-F]{32}", self._text) else ""

    @property
    def doubt(self) -> str:
        """Why this is hardly the key that is meant; empty if it may be."""
        is_hex = re.fullmatch(r"[0-9a-fA-F]+", self._text) is not None
        if is_hex and len(self._text) >= NEARLY_A_KEY and not RAW_KEY.fullmatch(self._text):
            return "is nothing but hex digits, yet not 64 of them"
        return self.wrapped

    @cached_property
    def _bytes(self) -> bytes:
        if RAW_KEY.fullmatch(self._text):
            return bytes.fromhex(self._text)
        # the application's own parameters and salt: no others decrypt its tokens
        kdf = Scrypt(salt=b"salt", length=32, n=16384, r=8, p=1)
        return kdf.derive(self._text.encode(errors="surrogateescape"))


def fingerprint(key: str) -> str:
    """Return the fingerprint of a key, by which it may be shown."""
    return _Key(key.removeprefix(BYTE_ORDER_MARK)).fingerprint


def make_key() -> str:
    """Make a new key: 64 hex digits, 32 random bytes."""
    return secrets.token_hex(32)
