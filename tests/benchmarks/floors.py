"""The floors: what a bare driver needs for the same durable commits of the same rows, and nothing else.

A lifecycle of remote effects is 8 commits: each writes its session and its operation, every second one (a
finish) its event too, and begin and finish of the authorization the collection. With local effects it is 4
commits that write all three. Each operation reads its session once (the first one its collection), as the real
path does. The texts and the rows are those of the store.
"""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.dialects.postgresql.psycopg import dialect as postgres_dialect
from sqlalchemy.dialects.sqlite.pysqlite import dialect as sqlite_dialect

from paysession import Money
from paysession_sql import statements
from paysession_sql.schema import EVENT, OPERATION, SESSION
from paysession_sql.statements import Statements, Writes

EUR = Money("42.00", "EUR")


class Rows:
    """The rows of one lifecycle, as the store has written them before."""

    def __init__(self, pay, live, name):
        order = pay.create_collection(EUR, reference=f"rows of {name}").id
        live(pay, "remote", [order])
        session = pay.sessions(collection_id=order)[0]
        operation, event = pay.history(session.id)[-1], pay.events(limit=1000)[-1]
        self.order = order
        self.session, self.operation, self.event = (
            SESSION.row(session),
            OPERATION.row(operation),
            EVENT.row(event),
        )


def commits(rows, key, count):
    """Yield what each commit of a lifecycle does: the statements' names and their parameters, in order."""
    session, operation = {**rows.session, "id": key}, {**rows.operation}
    held = {"key": rows.order, "more": 0}
    for number in range(count):
        begins = count == 8 and number % 2 == 0
        operation["id"] = f"{key}-{number // 2 if count == 8 else number}"
        reads = begins or count == 4
        steps = []
        if number in ((2, 3) if count == 8 else (1,)):
            steps.append(("hold", held))
        if number == 0:
            steps.append(("insert_session", session))
        else:
            steps.append(("update_session", {**session, "key": key, "expected": session["version"]}))
        steps.append(("write_operation", operation))
        if not begins:
            steps.append(("insert_event", rows.event))
        yield reads, steps


def in_threads(threads, work, numbers):
    """Return lifecycles per second of some threads that share them, and the microseconds of CPU of each."""
    shares = [numbers[place::threads] for place in range(threads)]
    begun, worked = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, shares))
    rate = len(numbers) / (time.perf_counter() - begun)
    return rate, (time.process_time() - worked) / len(numbers) * 1e6


def sqlite(path, rows, count, threads, lifecycles, tag):
    """Return lifecycles per second of ``sqlite3``: a connection for each thread, one transaction a commit."""
    dialect = sqlite_dialect(paramstyle="qmark")
    reads, writes = Statements(dialect), Writes(dialect)

    def work(numbers):
        connection = sqlite3.connect(path, isolation_level=None, timeout=60)
        connection.execute("PRAGMA synchronous = FULL")
        for number in numbers:
            key = f"ps_{tag}_{number:020}"
            for first, steps in commits(rows, key, count):
                if first:
                    connection.execute(reads.session.text, (key,)).fetchall()
                connection.execute("BEGIN IMMEDIATE")
                for name, given in steps:
                    statement = getattr(writes, name)
                    connection.execute(statement.text, statement.parameters(given))
                connection.execute("COMMIT")
        connection.close()

    return in_threads(threads, work, range(lifecycles))


def _texts():
    """Return the statements of single rows for psycopg, which the store has for SQLite only."""
    dialect = postgres_dialect(paramstyle="format")
    kept, statements.upsert = statements.upsert, insert
    try:
        return Statements(dialect), Writes(dialect)
    finally:
        statements.upsert = kept


def postgres(url, rows, count, threads, lifecycles, tag):
    """Return lifecycles per second of psycopg: a connection for each thread, prepared statements, one by one."""
    reads, writes = _texts()

    def work(numbers):
        with psycopg.connect(url, autocommit=True) as connection:
            for number in numbers:
                key = f"ps_{tag}_{number:020}"
                for first, steps in commits(rows, key, count):
                    if first:
                        connection.execute(reads.session.text, (key,), prepare=True).fetchall()
                    with connection.transaction():
                        for name, given in steps:
                            statement = getattr(writes, name)
                            connection.execute(statement.text, statement.parameters(given), prepare=True)

    return in_threads(threads, work, range(lifecycles))


def postgres_at_once(url, rows, count, threads, lifecycles, tag):
    """The same with all statements of a commit sent together, by psycopg's pipeline: one round trip."""
    reads, writes = _texts()

    def work(numbers):
        with psycopg.connect(url, autocommit=True) as connection:
            for number in numbers:
                key = f"ps_{tag}_{number:020}"
                for first, steps in commits(rows, key, count):
                    if first:
                        connection.execute(reads.session.text, (key,), prepare=True).fetchall()
                    with connection.pipeline(), connection.transaction():
                        for name, given in steps:
                            statement = getattr(writes, name)
                            connection.execute(statement.text, statement.parameters(given), prepare=True)

    return in_threads(threads, work, range(lifecycles))
