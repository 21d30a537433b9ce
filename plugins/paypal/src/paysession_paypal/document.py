"""Reading JSON that somebody else wrote: whatever is not of the type expected is not there."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Document", "as_list", "as_object", "as_text", "moment", "text_in"]

Document = dict[str, Any]
"""A JSON object."""


def as_object(value: object) -> Document | None:
    """Return a JSON object, or None."""
    return cast("Document", value) if isinstance(value, dict) else None


def as_list(value: object) -> list[object]:
    """Return a JSON array; empty if it is none."""
    return cast("list[object]", value) if isinstance(value, list) else []


def as_text(value: object) -> str | None:
    """Return a string that says something, or None."""
    return value if isinstance(value, str) and value else None


def text_in(document: Mapping[str, Any], name: str) -> str | None:
    """Return a string of a JSON object, or None."""
    return as_text(document.get(name))


def moment(value: object) -> datetime | None:
    """Return a time with a time zone, or None."""
    try:
        found = datetime.fromisoformat(as_text(value) or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
