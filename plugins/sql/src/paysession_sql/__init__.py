"""The durable store of paysession: the books in a SQLite file, by SQLAlchemy Core."""

from paysession_sql.store import SqliteStore
from paysession_sql.upgrade import upgrade

__all__ = ["SqliteStore", "upgrade"]
