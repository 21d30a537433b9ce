"""How each value of the core is laid out in a table: a column for every attribute.

One list per value drives all of it: the table (``paysession_sql.tables``), the statements, and the way
from a value to a row and back. Amounts are integer minor units; times are microseconds since 1970 in
UTC, which every database compares and indexes alike; ``data`` and its like are JSON text, as the core
hands it over.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypeVar

from attrs import frozen

from paysession import (
    Conflict,
    Event,
    Failure,
    Kind,
    Money,
    Operation,
    PaymentCollection,
    State,
    Status,
)
from paysession.store import (
    Notification,
    SessionRow,
    dump_action,
    dump_checkout,
    dump_dispute,
    dump_payer,
    load_action,
    load_checkout,
    load_dispute,
    load_payer,
    made,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from enum import StrEnum

__all__ = [
    "COLLECTION",
    "CONFLICT",
    "EVENT",
    "NOTIFICATION",
    "OPERATION",
    "SESSION",
    "Layout",
    "Packer",
    "Source",
    "Type",
    "micros",
    "moment",
    "or_blank",
]

_Value = TypeVar("_Value")
Source: TypeAlias = "tuple[str, Callable[[Any], Any] | None]"
"""What of a value a column holds, such as ``amount.minor``, and what turns that into what is held."""

Type: TypeAlias = Literal["text", "number", "flag", "bytes"]
"""What a column holds; a number has 64 bits."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


# One change writes the same few times in many places.
@lru_cache(maxsize=256)
def micros(moment: datetime) -> int:
    """Return a time as microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


@lru_cache(maxsize=256)
def moment(stored: int) -> datetime:
    """Return the time that `micros` made."""
    return _EPOCH + timedelta(microseconds=stored)


@frozen
class Place:
    """Where one attribute of a value is kept.

    Attributes:
        attribute: Its name in the value.
        columns: The names of its columns; mostly one, of the same name.
        types: Their types.
        sources: For each column what of the value it holds, such as ``amount.minor``, and what turns that
            into what is held (None: it is held as it is).
        read: Turns that back.
        nullable: Whether it may be None.
        fixed: Whether it never changes once the row is written.
    """

    attribute: str
    columns: tuple[str, ...]
    types: tuple[Type, ...]
    sources: tuple[Source, ...]
    read: Callable[..., Any] | None = None
    nullable: bool = False
    fixed: bool = False


def _text(name: str, *, column: str | None = None, nullable: bool = False, fixed: bool = False) -> Place:
    columns = (column or name.lstrip("_"),)
    return Place(name, columns, ("text",), ((name, None),), nullable=nullable, fixed=fixed)


def or_blank(value: str | None) -> str:
    """Return a text as it is kept where None is an empty one."""
    return "" if value is None else str(value)


def _text_or_none(name: str, words: type[StrEnum] | None = None) -> Place:
    """Return the place of a text that is mostly there: None is kept as an empty one."""

    def read(text: str) -> str | None:
        return (words(text) if words is not None else text) if text else None

    return Place(name, (name,), ("text",), ((name, or_blank),), read, fixed=True)


def _word(name: str, words: type[StrEnum], *, fixed: bool = False) -> Place:
    read = {word.value: word for word in words}.__getitem__  # a sixth of a call of the enum
    return Place(name, (name,), ("text",), ((f"{name}._value_", None),), read, fixed=fixed)


def _number(name: str, *, fixed: bool = False) -> Place:
    return Place(name, (name,), ("number",), ((name, None),), fixed=fixed)


def _flag(name: str, *, column: str | None = None) -> Place:
    return Place(name, (column or name,), ("flag",), ((name, None),), bool)


def _time(name: str, *, nullable: bool = False, fixed: bool = False) -> Place:
    return Place(name, (name,), ("number",), ((name, micros),), moment, nullable=nullable, fixed=fixed)


def _json(
    name: str,
    write: Callable[[Any], str | None],
    read: Callable[[str], Any],
    *,
    column: str | None = None,
    nullable: bool = False,
    fixed: bool = False,
) -> Place:
    return Place(name, (column or name,), ("text",), ((name, write),), read, nullable=nullable, fixed=fixed)


def _money(name: str) -> Place:
    sources = ((f"{name}.minor", None), (f"{name}.currency", None))
    return Place(name, ("amount", "currency"), ("number", "text"), sources, Money.from_minor)


def _failure(name: str) -> Place:
    parts = "code", "message", "category", "payer_message_key"
    columns = tuple(f"{name}_{part}" for part in parts)
    sources = tuple((name, attrgetter(part)) for part in parts)
    types: Sequence[Type] = ["text" for _ in parts]
    return Place(name, columns, tuple(types), sources, Failure, nullable=True)


class Packer:
    """Turns a value into the parameters of one statement; this runs for every row that is written.

    Args:
        sources: For each parameter, in the order of the text: what of the value it is, and what turns that
            into what the column holds (None: it is held as it is).
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        # As they are, in one go; then those that are kept in another form.
        self._pick = attrgetter(*(path for path, _ in sources))
        self._written = [(place, write) for place, (_, write) in enumerate(sources) if write is not None]

    def __call__(self, value: object) -> list[Any]:
        """Return the parameters."""
        row = list(self._pick(value))
        for place, write in self._written:
            part = row[place]
            if part is not None or write is or_blank:
                row[place] = write(part)
        return row


class Layout(Generic[_Value]):
    """How the values of one class are laid out in one table.

    Args:
        cls: The class.
        name: The table's name.
        places: Where each attribute is kept.
        unstored: Attributes that are not kept, with the value they have when read.
    """

    def __init__(
        self,
        cls: type[_Value],
        name: str,
        places: Sequence[Place],
        unstored: Mapping[str, Any] | None = None,
    ) -> None:
        self.cls = cls
        self.name = name
        self.unstored = unstored or {}
        self.places = tuple(places)
        self.types: dict[str, Type] = {
            column: type_
            for place in self.places
            for column, type_ in zip(place.columns, place.types, strict=True)
        }
        self.columns = tuple(self.types)
        self.fixed = frozenset(name for place in places if place.fixed for name in place.columns)
        self._sources = {
            column: source
            for place in self.places
            for column, source in zip(place.columns, place.sources, strict=True)
        }
        self._pack = self.packer(self.columns)
        self._names = tuple(place.attribute for place in self.places)
        starts = [sum(len(before.columns) for before in self.places[:n]) for n in range(len(self.places))]
        self._first = itemgetter(*starts)
        self._single = [
            (place.attribute, place.read)
            for place in self.places
            if place.read is not None and len(place.columns) == 1
        ]
        self._several = [
            (place.attribute, start, start + len(place.columns), place.read)
            for place, start in zip(self.places, starts, strict=True)
            if place.read is not None and len(place.columns) > 1
        ]

    def sources(self, names: Iterable[str], **more: Source) -> list[Source]:
        """Return the sources of the parameters with these names: columns, else named in ``more``."""
        return [self._sources.get(name) or more[name] for name in names]

    def packer(self, names: Iterable[str]) -> Packer:
        """Return what turns a value into the parameters with the names of these columns."""
        return Packer(self.sources(names))

    def row(self, value: _Value) -> dict[str, Any]:
        """Return a value as the parameters of an insert, by their names."""
        return dict(zip(self.columns, self._pack(value), strict=True))

    def value(self, row: Sequence[Any]) -> _Value:
        """Return the value of a row that was selected in the order of ``columns``."""
        # As it is kept, in one go; then what is kept in another form.
        attributes = dict(zip(self._names, self._first(row), strict=True))
        for name, read in self._single:
            part = attributes[name]
            if part is not None:
                attributes[name] = read(part)
        for name, start, end, read in self._several:
            attributes[name] = None if row[start] is None else read(*row[start:end])
        attributes.update(self.unstored)
        return made(self.cls, attributes)


COLLECTION: Final = Layout(
    PaymentCollection,
    "collection",
    [
        _text("id", fixed=True),
        _text("reference", fixed=True),
        _money("amount"),
        _number("held"),
        _time("created_at", fixed=True),
        _time("updated_at"),
        _text("by", column="asked_by", nullable=True),
    ],
    # Derived from the sessions when a collection is read.
    unstored={"status": "not_paid", "authorized": 0, "captured": 0, "refunded": 0, "charged_back": 0},
)

SESSION: Final = Layout(
    SessionRow,
    "session",
    [
        _text("id", fixed=True),
        _text("collection_id", fixed=True),
        _text("collection_reference", fixed=True),
        _text("provider", fixed=True),
        _money("amount"),
        _time("created_at", fixed=True),
        _time("updated_at"),
        _word("status", Status),
        _text("capture", fixed=True),
        _json("checkout", dump_checkout, load_checkout, fixed=True),
        _json("payer", dump_payer, load_payer, nullable=True),
        _text("reference", nullable=True),
        _json("next_action", dump_action, load_action, nullable=True),
        _time("expires_at", nullable=True),
        _failure("error"),
        _text("conflict", nullable=True),
        _time("forgotten_at", nullable=True),
        _number("version"),
        _text("_data"),
        _number("authorized"),
        _number("captured"),
        _number("refunded"),
        _number("charged_back"),
        _number("capturing"),
        _number("refunding"),
        _number("pending"),
        _number("disputes"),
        _number("granted"),
        _flag("released"),
        _number("held"),
        _flag("initiated"),
        _number("ordinal"),
        _text("open", nullable=True),
        _text("authorizing", nullable=True),
        _flag("cancel_requested", column="cancel_wanted"),
        _text("cancel_by", nullable=True),
        _time("abandon_at", nullable=True, fixed=True),
        _time("due_at", nullable=True),
        _time("attention_at", nullable=True),
        _number("checks"),
    ],
)

OPERATION: Final = Layout(
    Operation,
    "operation",
    [
        _text("id", fixed=True),
        _text("session_id", fixed=True),
        _word("kind", Kind, fixed=True),
        _number("ordinal", fixed=True),
        _money("amount"),
        _word("state", State),
        _time("created_at", fixed=True),
        _time("updated_at"),
        _text("origin", fixed=True),
        _text("by", column="asked_by", nullable=True, fixed=True),
        _text("idempotency_key", nullable=True, fixed=True),
        _text("fingerprint", nullable=True, fixed=True),
        _flag("final"),
        _text("reason", nullable=True),
        _text("capture_id", nullable=True),
        _text("reverses", nullable=True),
        _text("reference", nullable=True),
        _flag("sure"),
        # A word of an enum, or another: sqlite3 and libpq want a plain text.
        Place("answer", ("answer",), ("text",), (("answer", str),), nullable=True),
        _failure("error"),
        _text("note", nullable=True),
        _json("dispute", dump_dispute, load_dispute, nullable=True),
        _text("_payload", nullable=True),
        _text("_data"),
        _text("session_reference", nullable=True, fixed=True),
        _word("session_status", Status, fixed=True),
        _number("hold", fixed=True),
        _number("attempt"),
        _time("lease_until", nullable=True),
        _time("sent_at", nullable=True),
        _time("doubted_at", nullable=True),
    ],
    # What the engine fills in when it calls a hook.
    unstored={"capture": None, "webhook_url": None, "deadline": None, "_until": None},
)

CONFLICT: Final = Layout(
    Conflict,
    "conflict",
    [
        _text("id", fixed=True),
        _text("session_id", fixed=True),
        _text("kind", fixed=True),
        _text("expected", fixed=True),
        _text("found", fixed=True),
        _time("opened_at", fixed=True),
        _time("closed_at", nullable=True),
        _text("closed_by", nullable=True),
        _text("note", nullable=True),
    ],
)

EVENT: Final = Layout(
    Event,
    "event",
    [
        _text("id", fixed=True),
        _text("type", fixed=True),
        _text_or_none("session_id"),
        _text("collection_id", fixed=True),
        _text("reference", fixed=True),
        _text_or_none("provider"),
        _text("operation_id", nullable=True),
        _text("by", column="asked_by", nullable=True, fixed=True),
        _money("amount"),
        _text_or_none("status", Status),
        _number("authorized"),
        _number("captured"),
        _number("refunded"),
        _number("charged_back"),
        _number("version"),
        _text("detail", nullable=True),
        _time("occurred_at", fixed=True),
    ],
    unstored={"cursor": ""},
)

NOTIFICATION: Final = Layout(
    Notification,
    "notification",
    [
        _text("id", fixed=True),
        _text("provider", fixed=True),
        _text("type", fixed=True),
        _time("received_at"),
        _text("session_id", nullable=True, fixed=True),
        _json(
            "references", json.dumps, lambda text: tuple(json.loads(text)), column="references_", fixed=True
        ),
        _text("effects"),
        _text("details"),
        Place("body", ("body",), ("bytes",), (("body", None),)),
        _text("state"),
        _time("due_at", nullable=True),
        _number("attempts"),
    ],
)
