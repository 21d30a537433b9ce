"""The durable stores of paysession, by SQLAlchemy Core: SQLite, and PostgreSQL for several hosts.

``paysession_sql.postgres.PostgresStore`` needs psycopg and is imported when a URL asks for it.
"""

from paysession_sql.sqlite import SqliteStore
from paysession_sql.upgrade import upgrade

__all__ = ["SqliteStore", "upgrade"]
