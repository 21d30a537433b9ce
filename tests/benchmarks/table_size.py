"""The cost of a lifecycle with few and with many sessions in the tables, and the plans of the statements."""

import random
import re
import statistics
import time

import psycopg
from providers import EUR, live, opened
from rich.table import Table

from paysession_sql import upgrade

# Copies of what one lifecycle wrote, spread over the ids as real ones are.
_NAMES = {
    "collection": ("id", "'pc_' || md5(g::text)"),
    "session": ("id", "'ps_' || md5(g::text)"),
    "operation": ("id", "'ps_' || md5(g::text) || '-' || row.ordinal"),
    "event": ("id", "'ps_' || md5(g::text) || ':' || row.version"),
}
_OTHERS = {
    "session": {
        "collection_id": "'pc_' || md5(g::text)",
        "reference": "'gw_' || g",
        "created_at": "row.created_at - g",
    },
    "operation": {"session_id": "'ps_' || md5(g::text)", "reference": "'fx_' || g"},
    "event": {
        "session_id": "'ps_' || md5(g::text)",
        "xact": "0",
        "position": "nextval('event_position_seq')",
    },
    "collection": {"reference": "'order ' || g"},
}


def fill(connection, first, last):
    """Copy the first lifecycle of the database under new names."""
    for table, (key, name) in _NAMES.items():
        columns = [
            row[0]
            for row in connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position",
                (table,),
            )
        ]
        new = {key: name, **_OTHERS[table]}
        chosen = ", ".join(new.get(column, f'row."{column}"') for column in columns)
        names = ", ".join(f'"{column}"' for column in columns)
        connection.execute(
            f"INSERT INTO {table} ({names}) SELECT {chosen} FROM {table}_first AS row, generate_series({first}, {last}) AS g"
        )


def measure(pay, count, tag):
    orders = [pay.create_collection(EUR, reference=f"{tag} {n}").id for n in range(count)]
    begun = time.perf_counter()
    live(pay, "remote", orders)
    return (time.perf_counter() - begun) / count * 1e3


def reads(pay, ids, cursor):
    """Return the milliseconds of each read with rows spread over the whole table."""
    timed = {}
    for name, call in {
        "get": lambda: pay.get(random.choice(ids)),
        "history": lambda: pay.history(random.choice(ids)),
        "sessions of a collection": lambda: pay.sessions(collection_id="pc_" + random.choice(ids)[3:]),
        "sessions, the newest 100": lambda: pay.sessions(newest=True),
        "sessions of a status that none has": lambda: pay.sessions(status="error"),
        "sessions of a provider that has none": lambda: pay.sessions(provider="local"),
        "sessions with a conflict (none)": lambda: pay.sessions(has_conflict=True),
        "sessions by gateway reference": lambda: pay.sessions(
            gateway_reference=f"gw_{random.randint(1, 1000)}"
        ),
        "collection": lambda: pay.collection("pc_" + random.choice(ids)[3:]),
        "collections (100)": pay.collections,
        "recover (nothing due)": pay.recover,
        "in_doubt": pay.in_doubt,
        "events (100 of the end)": lambda: pay.events(after=cursor),
    }.items():
        call()
        spent = []
        for _ in range(50):
            begun = time.perf_counter()
            call()
            spent.append((time.perf_counter() - begun) * 1e3)
        timed[name] = statistics.median(spent)
    return timed


def main(console, server, medium, sessions):
    url = server.database()
    upgrade(url)
    with opened(url) as pay, psycopg.connect(url, autocommit=True) as connection:
        live(pay, "remote", [pay.create_collection(EUR, reference="first").id])
        connection.execute("UPDATE session SET due_at = NULL")
        for table in _NAMES:
            connection.execute(f"CREATE TABLE {table}_first AS TABLE {table}")
        sizes, costs, timings = (1_000, sessions), [], []
        filled = 0
        for size in sizes:
            fill(connection, filled + 1, size)
            filled = size
            for table in _NAMES:
                connection.execute(f"VACUUM ANALYZE {table}")
            connection.execute("CHECKPOINT")
            measure(pay, 20, f"warm {size}")
            costs.append(statistics.median(measure(pay, 60, f"{size}.{n}") for n in range(5)))
            ids = [row[0] for row in connection.execute("SELECT id FROM session_first")]
            ids = [
                row[0]
                for row in connection.execute(
                    "SELECT 'ps_' || md5(g::text) FROM generate_series(1, %s, %s) g",
                    (size, max(size // 500, 1)),
                )
            ]
            timings.append(reads(pay, ids, pay.events(limit=1)[0].cursor))
        table = Table(
            "PostgreSQL, one thread, ms", *(f"{size:,} sessions" for size in sizes), title=f"on {medium}"
        )
        size = connection.execute("SELECT pg_database_size(current_database())").fetchone()[0]
        table.add_row("bytes of the database for each session", "", f"{size / sessions:,.0f}")
        table.add_row("a remote lifecycle (8 commits)", *(f"{cost:.2f}" for cost in costs))
        for name in timings[0]:
            table.add_row(name, *(f"{timing[name]:.2f}" for timing in timings))
        console.print(table)
        for name, plan in plans(pay, connection).items():
            console.print(f"[bold]{name}[/bold]\n{plan}", highlight=False)


def plans(pay, connection):
    """Return the plan of each statement, as it is run: with unknown parameters."""
    made = pay._store._statements
    made.sessions("collection_id")
    statements = {
        key: value for key, value in {**vars(made), **made._lists}.items() if hasattr(value, "text")
    }
    connection.execute("SET plan_cache_mode = force_generic_plan")
    shown = {}
    for number, (name, statement) in enumerate(statements.items()):
        connection.execute(f"PREPARE p{number} AS {statement.text}")
        given = f"({', '.join(['NULL'] * len(statement.names))})" if statement.names else ""
        rows = connection.execute(f"EXPLAIN (COSTS off) EXECUTE p{number}{given}").fetchall()
        shown[name] = "\n".join(row[0] for row in rows)
    changes = pay._store._changes._made
    for number, (shape, statement) in enumerate(changes.items()):
        connection.execute(f"PREPARE c{number} AS {statement.text}")
        given = ", ".join(["NULL"] * len(set(re.findall(r"\$\d+", statement.text))))
        rows = connection.execute(f"EXPLAIN (COSTS off) EXECUTE c{number}({given})").fetchall()
        shown[f"change {shape}"] = "\n".join(row[0] for row in rows)
    return shown
