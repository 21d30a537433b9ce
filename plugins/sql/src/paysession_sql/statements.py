"""The statements of a store: their texts are generated for each database (``paysession_sql.generate``).

Only the list of sessions is put together here, from what it is filtered by.
"""

from __future__ import annotations

import re
from hashlib import sha256
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from paysession_sql.schema import COLLECTION, CONFLICT, EVENT, NOTIFICATION, OPERATION, SESSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from paysession_sql.schema import Layout

__all__ = ["Statement", "Statements", "Write", "Writes"]


def _picker(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda given: tuple([given[name] for name in names])


class Statement:
    """The text of a statement and the order of its parameters.

    Args:
        text: The text, in the form that the driver takes.
        names: The names of its parameters, in the order in which the text wants them.
    """

    def __init__(self, text: str, names: tuple[str, ...] = ()) -> None:
        self.text: Final = text
        # How it is called where it is prepared: what shares a connection through a proxy must not
        # take another statement for it.
        self.name: Final = b"paysession_" + sha256(text.encode()).hexdigest()[:24].encode()
        self.names: Final = names
        self.parameters: Final = _picker(names)
        """Returns the parameters, given by their names, in that order."""


class Write(Statement):
    """A statement that writes one value.

    Args:
        text: The text.
        names: The names of its parameters: those of columns, or ``key`` for the id of the row and
            ``earlier`` for the version (of a notification, the attempts) before the value's own.
        layout: The value's.
    """

    def __init__(self, text: str, names: tuple[str, ...], layout: Layout[Any]) -> None:
        super().__init__(text, names)
        version = "version" if layout is SESSION else "attempts"
        self.pack: Final = layout.packer(names, key=("id", None), earlier=(version, _before))


def _before(version: int) -> int:
    return version - 1


class Statements:
    """The statements that read.

    Args:
        texts: Their texts and the names of their parameters, as generated.
        numbered: Whether the database numbers parameters (``$1``); else they are ``?``.
    """

    identity: Statement
    collection: Statement
    collections: Statement
    session: Statement
    session_by_reference: Statement
    session_by_operation: Statement
    operation: Statement
    operations: Statement
    repeated: Statement
    in_doubt: Statement
    events: Statement
    due: Statement
    next_provider: Statement
    next_notified: Statement
    conflict: Statement
    conflicts: Statement
    conflicts_open: Statement
    conflicts_of: Statement
    conflicts_open_of: Statement
    notification: Statement
    due_notifications: Statement
    unprocessed: Statement
    unprocessed_of: Statement

    mark: Statement
    """Of PostgreSQL only, as are the next."""
    again: Statement
    time: Statement

    def __init__(self, texts: Mapping[str, tuple[str, tuple[str, ...]]], *, numbered: bool) -> None:
        for name, (text, names) in texts.items():
            setattr(self, name, Statement(text, names))
        self.no_limit = None if numbered else -1
        self._numbered = numbered
        self._lists: dict[tuple[str, ...], Statement] = {}

    def sessions(self, *filters: str) -> Statement:
        """Return the statement that selects sessions by these columns, after an id.

        ``touched_since`` is no column: it stands for the earliest ``updated_at``.
        """
        made = self._lists.get(filters)
        if made is None:
            wanted = [
                "updated_at >= :touched_since" if name == "touched_since" else f"{name} = :{name}"
                for name in filters
            ]
            made = self._lists[filters] = self._composed(
                f"SELECT {', '.join(SESSION.columns)} FROM session "
                f"WHERE {' AND '.join(['id > :after', *wanted])} ORDER BY id LIMIT :most"
            )
        return made

    def _composed(self, text: str) -> Statement:
        """Return a statement whose parameters stand in the text by their names, such as ``:after``."""
        names: list[str] = []

        def place(match: re.Match[str]) -> str:
            names.append(match[1])
            return f"${len(names)}" if self._numbered else "?"

        text = re.sub(r":(\w+)", place, text)
        return Statement(text, tuple(names))


class Writes:
    """The statements that write one row each, for SQLite.

    Args:
        texts: Their texts and the names of their parameters, as generated.
    """

    def __init__(self, texts: Mapping[str, tuple[str, tuple[str, ...]]]) -> None:
        self.insert_session = Write(*texts["insert_session"], SESSION)
        self.update_session = Write(*texts["update_session"], SESSION)
        self.write_operation = Write(*texts["write_operation"], OPERATION)
        self.write_conflict = Write(*texts["write_conflict"], CONFLICT)
        self.insert_event = Write(*texts["insert_event"], EVENT)
        self.insert_collection = Write(*texts["insert_collection"], COLLECTION)
        self.insert_notification = Write(*texts["insert_notification"], NOTIFICATION)
        self.update_notification = Write(*texts["update_notification"], NOTIFICATION)
        self.update_amount = Write(*texts["update_amount"], COLLECTION)
        self.hold = Statement(*texts["hold"])
        self.hold_within = Statement(*texts["hold_within"])
