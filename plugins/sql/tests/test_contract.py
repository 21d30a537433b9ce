import pytest

from paysession import Payments, StoreError
from paysession_sql import SqliteStore
from paysession_testing import FakeProvider, StoreContract


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

    @pytest.mark.slow  # the calls are the same on any store
    def test_every_error_of_a_public_call_is_a_paysession_error(self, store):
        super().test_every_error_of_a_public_call_is_a_paysession_error(store)


@pytest.mark.slow
class TestPostgresStoreBehindPgBouncer(TestPostgresStore):
    @pytest.fixture
    def url(self, pgbouncer_url):
        return pgbouncer_url


@pytest.mark.parametrize(
    "url",
    ["sqlite:///\0", "sqlite:///\ud800", "sqlite:////nix/nix", "sqlite://[", "postgresql://\ud800", "postgresql://\0/x",
     "postgresql://host:port/x", "postgresql://127.0.0.1:1/x?pool_size=\ud800", "postgresql://127.0.0.1:1/x?nix=1"],
)  # fmt: skip
def test_a_url_that_cannot_be_opened_is_a_store_error(url):
    with pytest.raises(StoreError) as caught:
        Payments.open(url, providers={"fake": FakeProvider()}, environ={})
    str(caught.value).encode()
