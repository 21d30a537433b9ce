"""Bringing a database's schema up to date; Alembic does it, and is imported only when needed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import create_engine, pool

from paysession.errors import StoreError

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["HEAD", "check", "config", "upgrade"]

HEAD: Final = "0001"
"""The schema that this version needs: the last file under ``migrations/versions``."""


def config() -> Config:
    """Return Alembic's configuration of the package's migrations."""
    from alembic.config import Config  # noqa: PLC0415 - a tenth of a second, and mostly not needed

    made = Config()
    made.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return made


def check(connection: sqlite3.Connection) -> bool:
    """Return whether the schema is current; False: it is older, or there is none yet.

    Raises:
        StoreError: The schema is newer than this version of the package.
    """
    try:
        rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.OperationalError:
        return False  # no such table: a new file
    versions = {row[0] for row in rows}
    if versions == {HEAD}:
        return True
    known = {path.name.partition("_")[0] for path in Path(__file__).parent.glob("migrations/versions/0*.py")}
    if not versions <= known:
        raise StoreError(
            f"the database has schema {', '.join(sorted(versions))}, which is newer than this "
            f"paysession-sql knows ({HEAD}); upgrade the package"
        )
    return False


def upgrade(url: str) -> None:
    """Bring the schema of a database up to date; nothing happens if it is.

    Args:
        url: The database, such as ``sqlite:///payments.db``.
    """
    from alembic import command  # noqa: PLC0415 - see `config`

    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # Two processes that open a new file at once: the second waits, and finds it done.
            connection.exec_driver_sql("PRAGMA busy_timeout = 30000")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        made = config()
        made.attributes["connection"] = connection
        command.upgrade(made, "head")
        connection.commit()
    engine.dispose()
