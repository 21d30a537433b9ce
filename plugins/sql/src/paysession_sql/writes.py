"""How a row is written to SQLite: no NULL is a parameter, and what stays as it is is not written.

Python's ``sqlite3`` takes 700 instructions for a parameter that is a number, 2,000 for a text, and 3,900 for
one that is None or a bool (it looks for an adapter of that type, fails, and drops the error; Python 3.11).
Half of a row's columns are one of both. So NULL is spelled out, which makes a text for each shape that a row
has: a few dozen. And SQLite writes the entries of all indexes anew that have a column which an ``UPDATE``
names, even if its value stays. So where the row is known that is updated, only what differs is named.
"""

from __future__ import annotations

import re
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from paysession_sql.schema import COLLECTION, CONFLICT, EVENT, NOTIFICATION, OPERATION, SESSION, or_blank
from paysession_sql.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from paysession.store import Change
    from paysession_sql.schema import Layout, Place, Source

__all__ = ["Rewrite", "Write", "Writes"]

_MANY: Final = 1000
"""More shapes than this are not remembered: no host has so many, but each takes memory."""

_Make: TypeAlias = "Callable[[Any], Any] | None"
_Pick: TypeAlias = "Callable[[Any], tuple[Any, ...]]"


class _Shape(NamedTuple):
    """A statement as it is run for values whose attributes are None alike.

    Attributes:
        text: Its text, with NULL spelled out.
        pick: Returns the other attributes, one for each parameter.
        makes: What makes a parameter of its attribute, with its place; the others are the attribute itself.
    """

    text: str
    pick: _Pick
    makes: Sequence[tuple[int, Callable[[Any], Any]]]


def _picker(keys: Sequence[Any]) -> _Pick:
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda given: tuple([given[key] for key in keys])


class _Columns:
    """The columns that a statement writes, each with a parameter.

    Args:
        text: The statement's text.
        names: Their names, or others that are named in ``more``.
        layout: The table's.
        more: What of a value the others are.
    """

    def __init__(self, text: str, names: Sequence[str], layout: Layout[Any], **more: Source) -> None:
        self._text = text
        self._attributes: list[str] = []
        self._makes: list[_Make] = []
        for name, (path, make) in zip(names, layout.sources(names, **more), strict=True):
            attribute, _, rest = path.partition(".")
            self._attributes.append(attribute)
            is_flag = layout.types.get(name) == "flag"
            self._makes.append(attrgetter(rest) if rest else int if is_flag else make)
        nullable = {place.attribute for place in layout.places if place.nullable or _or_blank(place)}
        self._nullable = _picker([name for name in dict.fromkeys(self._attributes) if name in nullable])
        self._shapes: dict[tuple[bool, ...], _Shape] = {}

    def of(self, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """Return the text and the parameters that write a value, given by its attributes."""
        nulls = tuple([part is None for part in self._nullable(values)])
        shape = self._shapes.get(nulls)
        if shape is None:
            if len(self._shapes) >= _MANY:
                self._shapes.clear()
            shape = self._shapes[nulls] = self._shape(values)
        text, pick, makes = shape
        found = list(pick(values))
        for at, make in makes:
            found[at] = make(found[at])
        return text, found

    def _shape(self, values: Mapping[str, Any]) -> _Shape:
        columns = list(zip(self._attributes, self._makes, strict=True))
        words = iter(
            "?" if values[attribute] is not None else "''" if make is or_blank else "NULL"
            for attribute, make in columns
        )
        text = re.sub(r"\?", lambda found: next(words, found[0]), self._text)
        given = [column for column in columns if values[column[0]] is not None]
        makes = [(at, make) for at, (_, make) in enumerate(given) if make is not None]
        return _Shape(text, _picker([attribute for attribute, _ in given]), makes)


class Write(Statement):
    """A statement that writes columns of a row.

    Args:
        text: The text.
        names: The names of its parameters: those of columns, or ``key`` for the id of the row and
            ``earlier`` for the version (of a notification, the attempts) before the value's own.
        layout: The value's.
    """

    def __init__(self, text: str, names: tuple[str, ...], layout: Layout[Any]) -> None:
        super().__init__(text, names)
        version = "version" if layout is SESSION else "attempts"
        self._columns = _Columns(text, names, layout, key=("id", None), earlier=(version, _before))

    def of(self, value: object) -> tuple[str, list[Any]]:
        """Return the text and the parameters that write a value."""
        return self._columns.of(vars(value))


class Rewrite:
    """A statement that updates the columns of a row which differ from those of the row before.

    Args:
        layout: The value's.
        guard: The columns that say which row it is, and that nobody else has changed it.
    """

    def __init__(self, layout: Layout[Any], *guard: str) -> None:
        self._layout = layout
        self._where = " AND ".join(f"{name} = ?" for name in guard)
        self._guard = _picker(guard)
        self._changing = tuple(place.attribute for place in layout.places if not place.fixed)
        self._columns: dict[tuple[str, ...], _Columns] = {}

    def of(self, value: object, before: object) -> tuple[str, list[Any]]:
        """Return the text and the parameters that make the row of a value of the row before."""
        now, then = vars(value), vars(before)
        # What was made anew is written anew, even if it is equal: to compare costs more than to write.
        changed = tuple([name for name in self._changing if now[name] is not then[name]])
        columns = self._columns.get(changed)
        if columns is None:
            if len(self._columns) >= _MANY:
                self._columns.clear()
            columns = self._columns[changed] = self._of(changed)
        text, parameters = columns.of(now)
        parameters += self._guard(then)
        return text, parameters

    def _of(self, attributes: Sequence[str]) -> _Columns:
        layout = self._layout
        names = [name for place in layout.places if place.attribute in attributes for name in place.columns]
        changes = ", ".join(f'"{name}" = ?' for name in names) or "id = id"
        return _Columns(f"UPDATE {layout.name} SET {changes} WHERE {self._where}", names, layout)


def _or_blank(place: Place) -> bool:
    return place.sources[0][1] is or_blank


def _before(version: int) -> int:
    return version - 1


class Writes:
    """The statements that write one row each.

    Args:
        texts: Their texts and the names of their parameters, as generated.
    """

    def __init__(self, texts: Mapping[str, tuple[str, tuple[str, ...]]]) -> None:
        self.insert_session = Write(*texts["insert_session"], SESSION)
        self.update_session = Write(*texts["update_session"], SESSION)
        self.rewrite_session = Rewrite(SESSION, "id", "version")
        self.rewrite_operation = Rewrite(OPERATION, "id")
        self.erase_session = Write(*texts["erase_session"], SESSION)
        self.write_operation = Write(*texts["write_operation"], OPERATION)
        self.write_conflict = Write(*texts["write_conflict"], CONFLICT)
        self.insert_event = Write(*texts["insert_event"], EVENT)
        self.insert_collection = Write(*texts["insert_collection"], COLLECTION)
        self.insert_notification = Write(*texts["insert_notification"], NOTIFICATION)
        self.update_notification = Write(*texts["update_notification"], NOTIFICATION)
        self.update_amount = Write(*texts["update_amount"], COLLECTION)
        self.hold = Statement(*texts["hold"])
        self.hold_within = Statement(*texts["hold_within"])
        self.prune_notifications = Statement(*texts["prune_notifications"])
        self.prune_events = Statement(*texts["prune_events"])

    def of_session(self, change: Change) -> Write:
        """Return the statement that updates the session of a change."""
        return self.erase_session if change.erased else self.update_session
