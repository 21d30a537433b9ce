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


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def url(self, postgres_url):
        return postgres_url

    @pytest.fixture
    def store(self, url):
        from paysession_sql.postgres import PostgresStore

        store = PostgresStore.open(url)
        self._opened = [store]
        yield store
        for opened in self._opened:
            opened.close()

    def reopen(self, store):
        self._opened.append(type(store).open(store.url))
        return self._opened[-1]


@pytest.mark.slow
class TestPostgresStoreBehindPgBouncer(TestPostgresStore):
    @pytest.fixture
    def url(self, pgbouncer_url):
        return pgbouncer_url
