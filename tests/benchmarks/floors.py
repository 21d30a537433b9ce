"""The floors: what a bare driver needs for the same durable commits of the same rows, and nothing else.

The rows are those that the core hands to a store in one lifecycle, recorded and written again under other ids:
8 commits with remote effects, 4 with local ones. What changes from one commit to the next matters: SQLite
writes no page, and PostgreSQL no index entry, for a row that stays as it is. The parameters are made before the
clock runs. Each operation reads its session once (the first one its collection), as the real path does.
"""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
from providers import EUR, PROVIDERS, live
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.dialects.postgresql.psycopg import dialect as postgres_dialect

from paysession import MemoryStore, Payments
from paysession._plugins.registry import Registry
from paysession_sql import for_sqlite, generate
from paysession_sql.schema import EVENT, OPERATION, SESSION
from paysession_sql.statements import Statements
from paysession_sql.writes import Writes


class Recorder(MemoryStore):
    """A store that records what it is asked to write."""

    def __init__(self):
        super().__init__()
        self.changes = []

    def commit(self, change):
        super().commit(change)
        self.changes.append(change)


class Recorded:
    """The commits of one lifecycle, as the core makes them.

    Args:
        provider: The name of the provider.
    """

    def __init__(self, provider):
        store = Recorder()
        pay = Payments(store, Registry(PROVIDERS))
        order = pay.create_collection(EUR, reference="recorded").id
        store.changes.clear()
        live(pay, provider, [order])
        self.changes = store.changes
        self._session, self._order = self.changes[0].session.id, order

    def commits(self, order, key):
        """Yield, for each commit, whether an operation begins with it, and its steps: statement, parameters.

        Args:
            order: The collection's id.
            key: The session's id.
        """
        for place, change in enumerate(self.changes):
            steps = [("hold", {"key": order, "more": change.hold})] if change.hold else []
            session = self._renamed(SESSION.row(change.session), order, key)
            if change.expected:
                steps.append(("update_session", {**session, "key": key, "earlier": change.expected}))
            else:
                steps.append(("insert_session", session))
            steps += [
                ("write_operation", self._renamed(OPERATION.row(row), order, key))
                for row in change.operations
            ]
            steps += [("insert_event", self._renamed(EVENT.row(row), order, key)) for row in change.events]
            yield len(self.changes) == 4 or place % 2 == 0, steps

    def _renamed(self, row, order, key):
        return {
            name: value.replace(self._session, key).replace(self._order, order)
            if isinstance(value, str)
            else value
            for name, value in row.items()
        }


def _plans(recorded, reads, writes, orders, tag):
    """Return, for each lifecycle, its commits as texts and parameters, ready to be run."""
    plans = []
    for number, order in enumerate(orders):
        key = f"ps_{tag}_{number:020}"
        plan = []
        for begins, steps in recorded.commits(order, key):
            done = [(getattr(writes, name), given) for name, given in steps]
            runs = [(statement.text, statement.parameters(given)) for statement, given in done]
            plan.append(((reads.session.text, (key,)) if begins else None, runs))
        plans.append(plan)
    return plans


def in_threads(threads, work, parts):
    """Return lifecycles per second of some threads that share them, and the microseconds of CPU of each."""
    shares = [parts[place::threads] for place in range(threads)]
    begun, worked = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, shares))
    rate = len(parts) / (time.perf_counter() - begun)
    return rate, (time.process_time() - worked) / len(parts) * 1e6


def sqlite(path, recorded, threads, orders, tag):
    """Return the rate of ``sqlite3``: a connection for each thread, one transaction a commit."""
    texts = Statements(for_sqlite.READS, numbered=False), Writes(for_sqlite.WRITES)

    def work(plans):
        connection = sqlite3.connect(path, isolation_level=None, timeout=60)
        connection.execute("PRAGMA synchronous = FULL")
        played(connection, plans)
        connection.close()

    return in_threads(threads, work, _plans(recorded, *texts, orders, tag))


def played(connection, plans):
    """Read and commit what the plans say, on one connection of ``sqlite3``."""
    for plan in plans:
        for read, steps in plan:
            if read is not None:
                connection.execute(*read).fetchall()
            connection.execute("BEGIN IMMEDIATE")
            for text, parameters in steps:
                connection.execute(text, parameters)
            connection.execute("COMMIT")


def _texts():
    """Return the statements of single rows for psycopg, which the store has for SQLite only."""
    dialect = postgres_dialect(paramstyle="format")
    return (
        Statements(_compiled(generate.reads(sqlite=False), dialect), numbered=True),
        Writes(_compiled(generate.writes(insert), dialect)),
    )


def _compiled(statements, dialect):
    return {name: generate.compiled(statement, dialect) for name, statement in statements.items()}


def postgres(url, recorded, threads, orders, tag):
    """Return the rate of psycopg: a connection for each thread, prepared statements, one by one."""

    def work(plans):
        with psycopg.connect(url, autocommit=True) as connection:
            for plan in plans:
                for read, steps in plan:
                    if read is not None:
                        connection.execute(*read, prepare=True).fetchall()
                    with connection.transaction():
                        for text, parameters in steps:
                            connection.execute(text, parameters, prepare=True)

    return in_threads(threads, work, _plans(recorded, *_texts(), orders, tag))


def postgres_at_once(url, recorded, threads, orders, tag):
    """The same with all statements of a commit sent together, by psycopg's pipeline: one round trip."""

    def work(plans):
        with psycopg.connect(url, autocommit=True) as connection:
            for plan in plans:
                for read, steps in plan:
                    if read is not None:
                        connection.execute(*read, prepare=True).fetchall()
                    with connection.pipeline(), connection.transaction():
                        for text, parameters in steps:
                            connection.execute(text, parameters, prepare=True)

    return in_threads(threads, work, _plans(recorded, *_texts(), orders, tag))
