"""What an operator can do about an error of SQLite, where its own words do not say it."""

from __future__ import annotations

import sqlite3
from typing import Final

__all__ = ["explained"]

_WRITABLE: Final = (
    "this user has to be able to write the file and its folder, also to read: SQLite keeps a log there"
)
_REPLACED: Final = (
    "if another file was copied over it, stop all processes and see 'After a restore' in the documentation"
)
_ADVICE: Final = {
    sqlite3.SQLITE_READONLY: _WRITABLE,
    sqlite3.SQLITE_CANTOPEN: _WRITABLE,
    sqlite3.SQLITE_CORRUPT: _REPLACED,
    sqlite3.SQLITE_NOTADB: _REPLACED,
}


def explained(error: object) -> str:
    """Return an error's words; with what to do, if it is one of SQLite that asks for it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest of an extended code says where it arose
    advice = _ADVICE.get(code)
    return f"{error}; {advice}" if advice is not None else str(error)
