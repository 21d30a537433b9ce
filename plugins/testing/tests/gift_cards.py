"""Gift cards in another system's tables: a gateway that is a database, without HTTP, and its provider."""

import sqlite3
from contextlib import closing
from datetime import timedelta

from paysession import Capabilities, Money, NotApplied, Outcome, hookimpl
from paysession.provider import Effect, Snapshot
from paysession_testing import Counterpart

TABLES = """
CREATE TABLE IF NOT EXISTS card (session TEXT PRIMARY KEY, minor INTEGER, currency TEXT, ended INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS entry (key TEXT PRIMARY KEY, session TEXT, kind TEXT, minor INTEGER);
"""


class GiftCards:
    """Takes gift cards by writing to their tables, under the operation's key."""

    capabilities = Capabilities(
        capture="multiple",
        refund="multiple",
        lookup="consistent",
        keyed_effects=True,
        replay_window=timedelta(days=3650),
        call_limit=timedelta(seconds=10),
    )

    def __init__(self, path):
        self._path = path

    def _write(self, session, operation, rule):
        """Add an entry under the operation's key, unless it stands there or the rule refuses it."""
        try:
            with closing(sqlite3.connect(self._path, timeout=5, isolation_level=None)) as tables:
                tables.execute("BEGIN IMMEDIATE")
                if not tables.execute("SELECT 1 FROM entry WHERE key = ?", [operation.key]).fetchone():
                    rule(tables)
                    tables.execute(
                        "INSERT INTO entry VALUES (?, ?, ?, ?)",
                        [operation.key, session.id, operation.kind, operation.amount.minor],
                    )
                tables.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise NotApplied(f"the tables cannot be written: {error}") from None  # nothing was committed

    @hookimpl
    def initiate(self, session, operation):
        def rule(tables):
            row = [session.id, session.amount.minor, session.amount.currency]
            tables.execute("INSERT OR IGNORE INTO card (session, minor, currency) VALUES (?, ?, ?)", row)

        self._write(session, operation, rule)
        return Outcome.pending(reference=session.id)

    @hookimpl
    def update(self, session, operation):
        def rule(tables):
            amount = [operation.amount.minor, session.id]
            tables.execute("UPDATE card SET minor = ? WHERE session = ?", amount)

        self._write(session, operation, rule)
        return Outcome.pending()

    @hookimpl
    def authorize(self, session, operation):
        automatic = session.capture == "automatic"

        def rule(tables):
            if automatic:
                row = [f"{operation.key}/capture", session.id, operation.amount.minor]
                tables.execute("INSERT INTO entry VALUES (?, ?, 'capture', ?)", row)

        seen = self.retrieve(session)
        if not seen.authorized:  # else it is authorized already, under another key
            self._write(session, operation, rule)
        return Outcome.captured(operation.amount) if automatic else Outcome.authorized()

    @hookimpl
    def capture(self, session, operation):
        self._write(session, operation, lambda tables: None)
        return Outcome.captured(operation.amount)

    @hookimpl
    def refund(self, session, operation):
        self._write(session, operation, lambda tables: None)
        return Outcome.refunded(operation.amount)

    @hookimpl
    def cancel(self, session, operation):
        def rule(tables):
            tables.execute("UPDATE card SET ended = 1 WHERE session = ?", [session.id])

        self._write(session, operation, rule)
        return Outcome.canceled()

    @hookimpl
    def retrieve(self, session):
        with closing(sqlite3.connect(self._path, timeout=5)) as tables:
            card = tables.execute("SELECT * FROM card WHERE session = ?", [session.id]).fetchone()
            if card is None:
                return Snapshot.absent()
            entries = tables.execute(
                "SELECT kind, minor, key FROM entry WHERE session = ? AND kind IN "
                "('authorize', 'capture', 'refund', 'cancel')",
                [session.id],
            ).fetchall()
        _, minor, currency, ended = card
        total = {
            kind: sum(part for name, part, _ in entries if name == kind)
            for kind in ("authorize", "capture", "refund")
        }
        left = total["capture"] if ended else total["authorize"]
        status = "authorized" if left else "canceled" if ended else "pending"
        return Snapshot(
            status,
            session_id=session.id,
            reference=session.id,
            amount=Money.from_minor(minor, currency),
            authorized=Money.from_minor(left, currency),
            captured=Money.from_minor(total["capture"], currency),
            refunded=Money.from_minor(total["refund"], currency),
            effects=[
                Effect(kind, Money.from_minor(part, currency), "succeeded", f"{key}#", key.partition("/")[0])
                for kind, part, key in entries
                if kind in ("capture", "refund")
            ],
        )


class Tables(Counterpart):
    key_header = None
    replays = True
    cannot = {
        "http": "its gateway is a database",
        "ask": "nobody has to approve a gift card",
        "decline": "what a card is worth was checked before",
        "sign": "a database sends no notifications",
        "date": "a database sends no notifications",
        "approval": "nobody has to approve a gift card",
    }

    def __init__(self, path):
        self._path = path
        with closing(sqlite3.connect(path)) as tables:
            tables.executescript(TABLES)

    def ledger(self, session):
        with closing(sqlite3.connect(self._path)) as tables:
            rows = tables.execute(
                "SELECT kind, entry.minor, currency FROM entry JOIN card USING (session) WHERE session = ?",
                [session.id],
            ).fetchall()
        return [Effect(kind, Money.from_minor(minor, currency)) for kind, minor, currency in rows]

    def refund_in_dashboard(self, session, amount):
        with closing(sqlite3.connect(self._path, isolation_level=None)) as tables:
            tables.execute(
                "INSERT INTO entry VALUES (lower(hex(randomblob(8))), ?, 'refund', ?)",
                [session.id, amount.minor],
            )
