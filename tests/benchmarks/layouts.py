"""What a lifecycle costs PostgreSQL in other layouts of its tables: ``python tests/benchmarks/layouts.py [--help]``.

Updates of ``session`` and ``operation`` are never heap-only, because what is due and what is started is found by
an index. Each layout here is tried on a database of its own, all take turns, and every lifecycle has references
and keys as a gateway's has. All sessions are initiated first, then all authorized, and so on: what is updated lies
in a page that is full. Bytes of the write-ahead log (WAL) depend on no load; the server's CPU time is Linux's
``schedstat`` of its processes, the best of the slices, which other work distorts least.
"""

import argparse
import secrets
from pathlib import Path

import psycopg
from providers import EUR, Remote
from rich.console import Console
from rich.table import Table

from paysession import Outcome, Payments, hookimpl
from paysession_sql import upgrade
from paysession_sql.changes import Changes
from paysession_sql.schema import micros
from paysession_sql.statements import Statement
from paysession_sql.testing import PostgresServer


class Gateway(Remote):
    """Names what it makes, as gateways do."""

    @hookimpl
    def initiate(self):
        name = secrets.token_hex(12)
        data = {
            "client_secret": f"pi_{name}_secret_{name}",
            "customer": f"cus_{name[:14]}",
            "mode": "payment",
        }
        return Outcome.pending(reference=f"pi_{name}", data=data)

    @hookimpl
    def capture(self, operation):
        return Outcome.captured(operation.amount, reference=f"ch_{secrets.token_hex(12)}")

    @hookimpl
    def refund(self, operation):
        return Outcome.refunded(operation.amount, reference=f"re_{secrets.token_hex(12)}")


class WithDue(Changes):
    """Writes the table of due times in the statement of each change."""

    def of(self, change, mark):
        statement, parameters = super().of(change, mark)
        session = change.session
        if session is None or (session.due_at is None and not change.expected):
            return statement, parameters
        first = len(parameters) + 1
        if session.due_at is None:
            part, more = f"DELETE FROM due WHERE session_id = ${first}::TEXT AND ", [session.id]
        else:
            part = f"INSERT INTO due SELECT ${first}::TEXT, ${first + 1}::TEXT, ${first + 2}::BIGINT WHERE "
            more = [session.id, session.provider, micros(session.due_at)]
        part += "EXISTS (SELECT FROM written)"
        if session.due_at is not None:
            part += " ON CONFLICT (session_id) DO UPDATE SET due_at = excluded.due_at"
        head, tail = statement.text.rsplit(" SELECT CASE", 1)
        key = ("due", statement.text, session.due_at is None)
        if key not in self._made:
            self._made[key] = Statement(f"{head}, due_ AS ({part}) SELECT CASE{tail}")
        return self._made[key], [*parameters, *more]


NO_DUE = "DROP INDEX ix_session_provider_due_at;"
DUE = f"""{NO_DUE}
CREATE TABLE due (session_id text PRIMARY KEY, provider text NOT NULL, due_at bigint NOT NULL);
CREATE INDEX ix_due ON due (provider, due_at);
"""
TRIGGER = f"""{DUE}
CREATE FUNCTION paysession_due() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.due_at IS NULL THEN DELETE FROM due WHERE session_id = NEW.id;
    ELSE INSERT INTO due VALUES (NEW.id, NEW.provider, NEW.due_at)
        ON CONFLICT (session_id) DO UPDATE SET due_at = excluded.due_at;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER due_inserted AFTER INSERT ON session FOR EACH ROW
    WHEN (NEW.due_at IS NOT NULL) EXECUTE FUNCTION paysession_due();
CREATE TRIGGER due_updated AFTER UPDATE ON session FOR EACH ROW
    WHEN (OLD.due_at IS DISTINCT FROM NEW.due_at) EXECUTE FUNCTION paysession_due();
"""
REFERENCES = """
DROP INDEX ix_operation_reference; DROP INDEX ix_operation_started;
CREATE TABLE operation_reference (reference text, session_id text, PRIMARY KEY (reference, session_id));
CREATE FUNCTION paysession_reference() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO operation_reference VALUES (NEW.reference, NEW.session_id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER reference_updated AFTER UPDATE ON operation FOR EACH ROW
    WHEN (OLD.reference IS DISTINCT FROM NEW.reference) EXECUTE FUNCTION paysession_reference();
"""
FILL = "ALTER TABLE session SET (fillfactor = 80); ALTER TABLE operation SET (fillfactor = 80);"
LAYOUTS = {
    "as it is": ("", Changes),
    "pages filled to 80%": (FILL, Changes),
    "no index of due times": (NO_DUE, Changes),
    "a table of due times": (DUE, WithDue),
    "the same by triggers": (TRIGGER, Changes),
    "a table of due times, 80%": (DUE + FILL, WithDue),
    "due, references; no index of started": (DUE + REFERENCES, WithDue),
}


class Contender:
    """One layout, in a database of its own."""

    def __init__(self, server, name):
        script, changes = LAYOUTS[name]
        self.name, self.url = name, server.database()
        upgrade(self.url)
        self.other = psycopg.connect(self.url, autocommit=True)
        self.other.execute(script or "SELECT")
        self.pay = Payments.open(self.url, providers={"gateway": Gateway()}, environ={})
        self.pay._store._changes = changes()
        self.wal, self.cpu = 0, []
        self.live(50)
        mine = "datname = current_database() AND pid <> pg_backend_pid()"
        rows = self.other.execute(f"SELECT pid FROM pg_stat_activity WHERE {mine}").fetchall()
        self._pids = [pid for (pid,) in rows]

    def live(self, count):
        pay = self.pay
        orders = [pay.create_collection(EUR, reference=secrets.token_hex(8)).id for _ in range(count)]
        ids = [pay.initiate(order, provider="gateway", idempotency_key="order").id for order in orders]
        for session_id in ids:
            pay.authorize(session_id)
        for session_id in ids:
            pay.capture(session_id, idempotency_key="capture")
        for session_id in ids:
            pay.refund(session_id, idempotency_key="refund")

    def slice(self, count):
        before, spent = self._position(), self._spent()
        self.live(count)
        self.cpu.append((self._spent() - spent) / count)
        self.wal += self._position() - before

    def _position(self):
        return int(self.other.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()[0])

    def _spent(self):
        """Return the server's CPU time for this database in milliseconds."""
        stats = [Path(f"/proc/{pid}/schedstat").read_text() for pid in self._pids]
        return sum(int(stat.split()[0]) for stat in stats) / 1e6

    def hot(self):
        """Return how many of the updates of each table were heap-only."""
        self.pay.close()  # the figures of a connection are complete once it has ended
        while self.other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)", (self._pids,)
        ).fetchone()[0]:
            pass
        query = "SELECT relname, n_tup_hot_upd, n_tup_upd FROM pg_stat_user_tables WHERE n_tup_upd > 0"
        return {name: hot / updated for name, hot, updated in self.other.execute(query).fetchall()}

    def size(self, function, *tables):
        there = [
            name for name in tables if self.other.execute("SELECT to_regclass(%s)", (name,)).fetchone()[0]
        ]
        return sum(self.other.execute(f"SELECT {function}('{name}')").fetchone()[0] for name in there)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lifecycles", type=int, default=100, help="in each slice")
    parser.add_argument("--slices", type=int, default=10)
    given = parser.parse_args()
    count = given.lifecycles * given.slices
    server = PostgresServer(checkpoint_timeout="1h", max_wal_size="20GB", autovacuum="off")
    with server:
        found = [Contender(server, name) for name in LAYOUTS]
        for number in range(given.slices):
            for place in range(len(found)):
                found[(place + number) % len(found)].slice(given.lifecycles)
        table = Table(
            "layout", "WAL, bytes", "", "heap-only, session / operation", "server CPU",
            "tables and indexes, MB for 10,000", title=f"one of {count} lifecycles (8 commits)",
        )  # fmt: skip
        for contender in found:
            hot = contender.hot()
            cpu = min(contender.cpu) / min(found[0].cpu)
            names = ("session", "operation", "due", "operation_reference")
            sizes = [
                contender.size(function, *names) / (count + 50) / 100
                for function in ("pg_relation_size", "pg_indexes_size")
            ]
            table.add_row(
                contender.name,
                f"{contender.wal / count:,.0f}",
                f"{contender.wal / found[0].wal - 1:+.1%}",
                f"{hot['session']:.0%} / {hot['operation']:.0%}",
                f"{cpu:.0%}",
                f"{sizes[0]:.1f} + {sizes[1]:.1f}",
            )
        Console(width=130).print(table)


if __name__ == "__main__":
    main()
