"""Backups of a campaign's database: made and restored while none of its processes runs."""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from urllib.parse import urlsplit


class Backups:
    """One backup at a time, and what the shop itself kept at that moment.

    Args:
        url: The database.
        folder: The campaign's folder.
    """

    def __init__(self, url, folder):
        self._url, self._folder = url, folder
        self._journal = 0

    def make(self):
        """Back up the database; remember how much had been promised by then."""
        self._journal = _size(self._promises)
        if self._url.startswith("sqlite"):
            with closing(sqlite3.connect(self._path)) as live, closing(sqlite3.connect(self._copy)) as copy:
                live.backup(copy)
        else:
            self._clone(f"{self._name}_backup", self._name)

    def restore(self):
        """Restore it; what was promised since cannot be demanded any more."""
        if self._url.startswith("sqlite"):
            for suffix in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.remove(self._path + suffix)
            shutil.copy(self._copy, self._path)
        else:
            self._clone(self._name, f"{self._name}_backup")
        with suppress(FileNotFoundError):
            os.truncate(self._promises, self._journal)

    @property
    def _promises(self):
        return os.path.join(self._folder, "promises.jsonl")

    @property
    def _path(self):
        return self._url.partition(":///")[2]

    @property
    def _copy(self):
        return f"{self._path}.backup"

    @property
    def _name(self):
        return urlsplit(self._url).path[1:]

    def _clone(self, name, template):
        import psycopg

        parts = urlsplit(self._url)
        server = f"postgresql://{parts.netloc}/postgres?{parts.query}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [template]
            )
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")


def _size(path):
    return os.path.getsize(path) if os.path.exists(path) else 0
