"""Text that every store can hold: a gateway's is escaped, a caller's is refused.

UTF-8 has no form for half a surrogate pair, which JSON may bring in (a message cut in the middle of an
emoji), and PostgreSQL none for NUL. The values that carry a gateway's words (`Outcome`, `Snapshot`,
`Effect`, `Failure`, `WebhookEvent`, the next actions and the errors that a provider raises) escape both
when they are made, so that all stores keep the same text. What a caller passes in is refused instead:
``paysession._engine.arguments``.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["as_text", "is_storable", "shown", "storable"]

_UNSTORABLE: Final = re.compile(r"[\x00\ud800-\udfff]")
_SHOWN: Final = 80
_LARGE: Final = 10**18  # Python refuses to write whole numbers of thousands of digits


def is_storable(text: str) -> bool:
    """Return whether every store can hold a text as it is."""
    if text.isascii():  # nearly every text, and the answer is known without reading it
        return "\0" not in text
    return _UNSTORABLE.search(text) is None


def storable(text: str) -> str:
    r"""Return a gateway's text as every store can hold it.

    NUL and half a surrogate pair are written as JSON escapes them: ``\u0000``, ``\ud83d``.
    """
    if is_storable(text):
        return text
    return _UNSTORABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def as_text(value: object) -> str:
    """Return a gateway's word as storable text: "" for None, and what is no text as it is written."""
    if isinstance(value, str):
        return storable(value)
    if value is None:
        return ""
    try:
        return storable(str(value))
    except Exception:  # noqa: BLE001 - what a gateway says is recorded even where its object cannot be written
        return type(value).__name__


def shown(value: object) -> str:
    """Return how a caller's value appears in an error: a text by its beginning, an object by its type."""
    if isinstance(value, str):
        return repr(str.__str__(value)[:_SHOWN])
    if value is None or type(value) in (bool, float) or (type(value) is int and abs(value) < _LARGE):
        return repr(value)
    return type(value).__name__
