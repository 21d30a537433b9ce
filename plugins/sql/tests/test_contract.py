import pytest

from paysession.testing import StoreContract
from paysession_sql import SqliteStore


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        store = SqliteStore.open(f"sqlite:///{tmp_path}/books.db")
        self._opened = [store]
        yield store
        for opened in self._opened:
            opened.close()

    def reopen(self, store):
        store.close()
        self._opened.append(SqliteStore.open(f"sqlite:///{store.path}"))
        return self._opened[-1]
