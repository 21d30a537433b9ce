"""The ids of operations, which are their keys at the gateway: the same call is given the same one again."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

__all__ = ["digest_of", "found_id", "number_of"]

_NUMBERED: Final = re.compile(r"([1-9][0-9]{0,8})-[a-z2-7]{8}")

_DIGITS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS: Final = [first + second for first in _DIGITS for second in _DIGITS]
"""The digits of base 32, two at a time: every operation and event takes a digest, and `base64` is slow."""


def digest_of(*parts: object) -> str:
    """Return 8 small letters and digits that stand for these parts: the last part of an operation's id."""
    text = "\x00".join(map(str, parts))
    number = int.from_bytes(sha256(text.encode()).digest()[:5], "big")
    return (
        _PAIRS[number >> 30]
        + _PAIRS[number >> 20 & 1023]
        + _PAIRS[number >> 10 & 1023]
        + _PAIRS[number & 1023]
    )


def found_id(session_id: str, *parts: object) -> str:
    """Return the id of an effect that was found at the gateway and carries no key of ours.

    It has no number: which effects were found, and when, changes no key of an operation that is sent.
    """
    return f"{session_id}-0{digest_of(*parts)}"


def number_of(session_id: str, key: str | None) -> int | None:
    """Return the number in a key that was made for an operation of this session; None: it is no such key."""
    if key is None or not key.startswith(f"{session_id}-"):
        return None
    numbered = _NUMBERED.fullmatch(key, len(session_id) + 1)
    return int(numbered[1]) if numbered else None
