"""What goes over the wire: requests with nested forms, and answers."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl

from attrs import Factory, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "Json", "Request", "below", "decode_form"]

Json = dict[str, Any]
"""A JSON object."""

_PART: Final = re.compile(r"\[([^\]]*)\]")


@frozen
class Request:
    """A request as it came: the parameters of its query or of its form, as nested values of text.

    Attributes:
        method: The HTTP method.
        path: The path, without the query.
        params: The parameters.
        headers: With lower-case names.
    """

    method: str
    path: str
    params: Json
    headers: Mapping[str, str] = Factory(dict[str, str])

    @property
    def key(self) -> str | None:
        """The idempotency key, which counts for a POST only."""
        return self.headers.get("idempotency-key") if self.method == "POST" else None


@frozen
class Answer:
    """An answer; None as the status: the connection is cut without one."""

    status: int | None
    body: bytes = b""
    headers: Mapping[str, str] = Factory(dict[str, str])

    @classmethod
    def json(cls, status: int, found: Json, headers: Mapping[str, str] | None = None) -> Answer:
        """Return an answer of JSON."""
        return cls(status, json.dumps(found, indent=2).encode(), headers or {})


def below(tree: Mapping[str, Any], name: str) -> Json:
    """Return the object that a field holds; an empty one where it holds none."""
    value = tree.get(name)
    return cast("Json", value) if isinstance(value, dict) else {}


def decode_form(text: str) -> Json:
    """Return a form, or a query, as nested values: ``a[b]=1&c[0]=2`` is ``{"a": {"b": "1"}, "c": ["2"]}``."""
    tree: Json = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        names = [name.partition("[")[0], *_PART.findall(name)]
        place = tree
        for part in names[:-1]:
            place = _inner(place, part or str(len(place)))
        place[names[-1] or str(len(place))] = value
    return {name: _lists(value) for name, value in tree.items()}


def _inner(place: Json, name: str) -> Json:
    if not isinstance(place.get(name), dict):
        place[name] = {}
    return cast("Json", place[name])


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    found: Json = {str(name): _lists(part) for name, part in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return list(found.values()) if found and all(name.isdigit() for name in found) else found
