"""Unpacks the body of an answer, within bounds, so that a small body can't fill the memory."""

from __future__ import annotations

import zlib

from checkinsync.errors import FoursquareAway

GZIP = zlib.MAX_WBITS | 16
ZLIB = zlib.MAX_WBITS
RAW = -zlib.MAX_WBITS
"""zlib's names for gzip, for deflate as documented, and for deflate as some servers send it."""

GZIP_BEGINS = b"\x1f\x8b"
DEFLATED = 8
"""Compression method in the first byte of a zlib header."""

UNKNOWN = {"br", "compress", "x-compress", "zstd"}
"""Encodings that were not asked for, and can't be undone here."""


def unpacked(body: bytes, encodings: str, *, most: int) -> bytes:
    """Return the body without its `Content-Encoding`s, of at most `most` bytes.

    Raises FoursquareAway where it gets larger, is cut off or damaged, or is packed in another way.
    """
    for name in reversed([name.strip().lower() for name in encodings.split(",")]):
        try:
            body = _without(name, body, most)
        except zlib.error:
            damaged = True
        else:
            damaged = False
        if damaged:  # raised out here, so that ours has no __context__
            raise FoursquareAway(
                f"the packed body ({name}) of Foursquare's answer is damaged; try again later"
            )
    return body


def too_large(most: int) -> FoursquareAway:
    """Return the error of an answer of more than `most` bytes."""
    return FoursquareAway(f"Foursquare's answer is larger than {most} bytes; try again later")


def _without(name: str, body: bytes, most: int) -> bytes:
    if name in {"gzip", "x-gzip"}:
        return _inflated(body, GZIP, most)
    if name == "deflate":
        return _inflated(body, ZLIB if _has_zlib_header(body) else RAW, most)
    if name in UNKNOWN:
        raise FoursquareAway(
            f"Foursquare's answer is packed in a way that was not asked for ({name}); "
            "try again later"
        )
    return body


def _has_zlib_header(body: bytes) -> bool:
    start = body[:2]
    return (
        len(start) == len(GZIP_BEGINS)
        and start[0] & 15 == DEFLATED
        and not int.from_bytes(start) % 31
    )


def _inflated(body: bytes, form: int, most: int) -> bytes:
    """Unpack all members, one behind the other; zeros may fill up the end."""
    unpacked = bytearray()
    while True:
        unpacker = zlib.decompressobj(form)
        unpacked += unpacker.decompress(body, most + 1 - len(unpacked))
        if len(unpacked) > most:
            raise too_large(most)
        if not unpacker.eof:
            raise FoursquareAway(
                "the packed body of Foursquare's answer was cut off; try again later"
            )
        body = unpacker.unused_data.lstrip(b"\0")
        if form != GZIP or not body.startswith(GZIP_BEGINS):
            return bytes(unpacked)
