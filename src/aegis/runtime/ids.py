"""Ids that sort by time and cannot be guessed."""

import os
from datetime import datetime


def uuid7(now: datetime, random: bytes | None = None) -> str:
    """A UUID of version 7 as 32 hexadecimal digits: milliseconds of `now`, then 74 random bits.

    Source: RFC 9562, section 5.7.
    """
    drawn = int.from_bytes(random if random is not None else os.urandom(10), "big")
    millis = int(now.timestamp() * 1000) & 0xFFFF_FFFF_FFFF
    high, low = drawn >> 68, drawn & ((1 << 62) - 1)
    return f"{(millis << 80) | (0x7 << 76) | ((high & 0xFFF) << 64) | (0b10 << 62) | low:032x}"


def new(prefix: str, now: datetime) -> str:
    """An id such as `req_0195...`."""
    return f"{prefix}_{uuid7(now)}"
