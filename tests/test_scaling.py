"""The partitions of docs/scaling.md: a store on them passes the contract, and an upgraded one keeps its rows."""

import re
from pathlib import Path

import psycopg
import pytest

from paysession import Money, Payments
from paysession._plugins.registry import Registry
from paysession_sql.postgres import PostgresStore
from paysession_testing import FakeProvider, StoreContract

DOCS = Path(__file__).parents[1] / "docs"
(PARTITIONS,) = re.findall(r"```postgresql\n(.*?)```", (DOCS / "scaling.md").read_text(), re.DOTALL)


def divide(url):
    with psycopg.connect(url) as connection:
        connection.execute(PARTITIONS)


@pytest.mark.slow
class TestPartitioned(StoreContract):
    @pytest.fixture
    def store(self, postgres_url):
        divide(postgres_url)
        store = PostgresStore.open(postgres_url)
        yield store
        store.close()


def test_the_tables_go_on_in_partitions(postgres_url):
    fake = FakeProvider()
    sessions = []
    for divided in (False, True):
        if divided:
            divide(postgres_url)
        with Payments(PostgresStore.open(postgres_url), Registry({"fake": fake})) as pay:
            order = pay.create_collection(Money("42.00", "EUR"), reference=f"{divided}")
            sessions.append(pay.initiate(order.id, provider="fake").id)
            for session_id in sessions:
                pay.authorize(session_id)
                pay.capture(session_id, Money("1.00", "EUR"))
    with Payments(PostgresStore.open(postgres_url), Registry({"fake": fake})) as pay:
        assert [200, 100] == [pay.get(session_id).captured for session_id in sessions]
        assert 7 == len(pay.events())
