"""Reading decoded JSON: a value of the type that is expected, or None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

__all__ = ["Json", "integer", "items", "json_object", "text"]

Json = Mapping[str, Any]
"""A JSON object as it was decoded."""


def json_object(value: object) -> Json | None:
    """Return a decoded value if it is a JSON object."""
    return cast("Json", value) if isinstance(value, Mapping) else None


def text(found: Json, name: str) -> str | None:
    """Return a text that is not empty."""
    value = found.get(name)
    return value if isinstance(value, str) and value else None


def integer(found: Json, name: str) -> int | None:
    """Return a whole number."""
    value = found.get(name)
    return value if type(value) is int else None


def items(value: object) -> Sequence[object]:
    """Return the items of a list; nothing of anything else."""
    return cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()
