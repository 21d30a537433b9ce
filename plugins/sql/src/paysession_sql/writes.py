"""How a row is written to SQLite: no NULL is a parameter.

Python's ``sqlite3`` takes 700 instructions for a parameter that is a number, and 3,900 for one that is None
or a bool (it looks for an adapter of that type, fails, and drops the error; Python 3.11). Half of a row's
columns are one of both. So NULL is spelled out, which makes a text for each shape that a row has: a few
dozen. The rows of a payment take 1.7 million instructions of the driver then, and 2.7 million otherwise.
"""

from __future__ import annotations

import re
from itertools import repeat
from operator import attrgetter, is_, itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from paysession_sql.schema import COLLECTION, CONFLICT, EVENT, NOTIFICATION, OPERATION, SESSION, or_blank
from paysession_sql.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from paysession.store import Change
    from paysession_sql.schema import Layout

__all__ = ["Write", "Writes"]

_MANY: Final = 1000
"""More shapes than this are not remembered: no host has so many, but each takes memory."""

_Make: TypeAlias = "Callable[[Any], Any] | None"


class _Shape:
    """A statement as it is run for rows with the same NULLs.

    Args:
        text: Its text.
        places: Which parts of a row are its parameters.
        makes: For each of them what makes the parameter of the part (None: it is the part itself).
    """

    def __init__(self, text: str, places: Sequence[int], makes: Sequence[_Make]) -> None:
        self.text = text
        self._pick = _picker(places)
        self._makes = [(at, make) for at, make in enumerate(makes) if make is not None]

    def parameters(self, row: tuple[Any, ...]) -> list[Any]:
        """Return the parameters for the parts of a row."""
        found = list(self._pick(row))
        for at, make in self._makes:
            found[at] = make(found[at])
        return found


def _picker(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda given: tuple([given[key] for key in keys])


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
        sources = layout.sources(names, key=("id", None), earlier=(version, _before))
        paths = [path.partition(".") for path, _ in sources]
        self._parts = _picker([attribute for attribute, _, _ in paths])
        self._makes = [
            attrgetter(rest) if rest else int if layout.types.get(name) == "flag" else make
            for name, (_, _, rest), (_, make) in zip(names, paths, sources, strict=True)
        ]
        self._shapes: dict[bytes, _Shape] = {}

    def of(self, value: object) -> tuple[str, list[Any]]:
        """Return the text and the parameters that write a value."""
        row = self._parts(vars(value))
        nulls = bytes(map(is_, row, repeat(None)))
        shape = self._shapes.get(nulls)
        if shape is None:
            if len(self._shapes) >= _MANY:
                self._shapes.clear()
            shape = self._shapes[nulls] = self._spelled(nulls)
        return shape.text, shape.parameters(row)

    def _spelled(self, nulls: bytes) -> _Shape:
        """Return the statement with NULL spelled out."""
        words = iter(
            "?" if not null else "''" if make is or_blank else "NULL"
            for null, make in zip(nulls, self._makes, strict=True)
        )
        text = re.sub(r"\?", lambda _: next(words), self.text)
        places = [place for place, null in enumerate(nulls) if not null]
        return _Shape(text, places, [self._makes[place] for place in places])


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
