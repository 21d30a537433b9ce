"""The statements of a store: their texts are generated for each database (``paysession_sql.generate``).

Only the list of sessions is put together here, from what it is filtered by.
"""

from __future__ import annotations

import re
from hashlib import sha256
from itertools import product
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from paysession import Status
from paysession_sql.schema import SESSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Statement", "Statements"]


FILTERS: Final = {
    "collection_id": "collection_id = :collection_id",
    "provider": "provider = :provider",
    "status": "status = :status",
    "gateway_reference": "id IN (SELECT id FROM session WHERE reference = :gateway_reference "
    "UNION ALL SELECT session_id FROM operation WHERE reference = :gateway_reference)",
    "with_conflict": "conflict IS NOT NULL",
    "without_conflict": "conflict IS NULL",
    "touched_since": "updated_at >= :touched_since",
}
"""What lists of sessions can be filtered by."""

_PLACES: Final = "(created_at, id) > (:from_time, :from_id) AND (created_at, id) < (:to_time, :to_id)"
_TIMES: Final = "created_at >= :from_time AND created_at <= :to_time"
"""The same by the time alone, for SQLite, which looks up one bound of a row of values only."""


def _index_of(filters: tuple[str, ...]) -> str | None:
    """Return the index in whose order a list is read; None: pages of each provider and status are merged."""
    if "gateway_reference" in filters:
        return "sqlite_autoindex_session_1"  # the primary key
    if "collection_id" in filters:
        return "ix_session_collection_time"
    if "with_conflict" in filters:
        return "ix_session_conflict_time"
    return None


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


class Statements:
    """The statements that read.

    Args:
        texts: Their texts and the names of their parameters, as generated.
        numbered: Whether the database numbers parameters (``$1``); else they are ``?``.
    """

    identity: Statement
    collection: Statement
    collections: Statement
    sums: Statement
    session: Statement
    session_by_reference: Statement
    session_by_operation: Statement
    operation: Statement
    operations: Statement
    refunds_of: Statement
    repeated: Statement
    in_doubt: Statement
    unattended: Statement
    events: Statement
    due: Statement
    provider_after: Statement
    next_provider: Statement
    next_notified: Statement
    conflict: Statement
    conflicts: Statement
    conflicts_open: Statement
    conflicts_of: Statement
    conflicts_open_of: Statement
    notification: Statement
    due_notifications: Statement
    prunable: Statement
    unprocessed: Statement
    unprocessed_of: Statement

    mark: Statement
    """Of PostgreSQL only, as are the next."""
    again: Statement
    prune_notifications: Statement
    prune_events: Statement
    time: Statement

    def __init__(self, texts: Mapping[str, tuple[str, tuple[str, ...]]], *, numbered: bool) -> None:
        for name, (text, names) in texts.items():
            setattr(self, name, Statement(text, names))
        self.no_limit = None if numbered else -1
        self._numbered = numbered
        self._lists: dict[tuple[str | int, ...], Statement] = {}

    def sessions(self, *filters: str, providers: int = 0, newest: bool = False) -> Statement:
        """Return the statement that selects sessions in the order of time, between two places in it.

        One index, of provider, status and time, serves the lists of one provider or status and the list of
        all: the pages of each provider and status are merged. An index for each kind of list would have to be
        written with every session.

        Args:
            *filters: What they are selected by: keys of `FILTERS`.
            providers: How many providers are merged, where `merges` says so; their names are the parameters
                ``provider_0`` and so on.
            newest: Whether the newest come first.
        """
        made = self._lists.get((*filters, providers, newest))
        if made is None:
            index, wanted = _index_of(filters), [_PLACES, *(FILTERS[name] for name in filters)]
            table = "session"
            if not self._numbered:  # SQLite, which has no figures about the rows, would take another index
                table = f"session INDEXED BY {index or 'ix_session_provider_status_time'}"
                wanted.insert(0, _TIMES)
            one = f"SELECT {', '.join(SESSION.columns)} FROM {table} WHERE {' AND '.join(wanted)}"
            order = "created_at DESC, id DESC" if newest else "created_at, id"
            page = f"ORDER BY {order} LIMIT :most"
            if index is None:
                parts = product(
                    ["provider"] if "provider" in filters else [f"provider_{n}" for n in range(providers)],
                    [":status"] if "status" in filters else [f"'{status}'" for status in Status],
                )
                pages = (
                    f"SELECT * FROM ({one} AND provider = :{provider} AND status = {status} {page}) AS one"
                    for provider, status in parts
                )
                one = f"SELECT * FROM ({' UNION ALL '.join(pages)}) AS merged"
            made = self._composed(f"{one} {page}")
            self._lists[(*filters, providers, newest)] = made
        return made

    @staticmethod
    def merges(*filters: str) -> bool:
        """Return whether a list by these filters is merged from the pages of each provider."""
        return _index_of(filters) is None and "provider" not in filters

    def _composed(self, text: str) -> Statement:
        """Return a statement whose parameters stand in the text by their names, such as ``:after``."""
        names: list[str] = []

        def place(match: re.Match[str]) -> str:
            names.append(match[1])
            return f"${len(names)}" if self._numbered else "?"

        text = re.sub(r":(\w+)", place, text)
        return Statement(text, tuple(names))
