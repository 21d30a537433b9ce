"""A shop in one file: orders in SQLite, and their payments beside them.

python shop.py order 1001 42.00 EUR     an order, and how the customer pays it
python shop.py confirm 1001 ann         ann has seen the money on the bank statement
python shop.py work                     settle what is open, and mark paid what was paid
"""

from __future__ import annotations

import argparse
import sqlite3

from paysession import Event, Money, Payments, PaymentSession

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (number TEXT PRIMARY KEY, minor INTEGER, currency TEXT, paid INTEGER);
CREATE TABLE IF NOT EXISTS parcels (number TEXT);
CREATE TABLE IF NOT EXISTS feed (id INTEGER PRIMARY KEY CHECK (id = 1), cursor TEXT);
INSERT OR IGNORE INTO feed VALUES (1, NULL);
"""


def open_shop(path: str = "shop.db") -> sqlite3.Connection:
    """Open the shop's own database."""
    shop = sqlite3.connect(path)
    shop.executescript(SCHEMA)
    return shop


def order(payments: Payments, shop: sqlite3.Connection, number: str, total: Money) -> PaymentSession:
    """Take an order and begin its payment. Doing so again gives the same order and session."""
    with shop:
        row = (number, total.minor, total.currency, 0)
        shop.execute("INSERT OR IGNORE INTO orders VALUES (?, ?, ?, ?)", row)
    collection = payments.create_collection(total, reference=number)
    return payments.pay(collection.id, provider="manual")


def confirm(payments: Payments, number: str, by: str) -> PaymentSession:
    """Note that the money came: a person says so."""
    (session,) = payments.sessions(reference=number)
    session = payments.authorize(session.id, payload={"by": by}, by=by)
    return payments.capture(session.id, idempotency_key=f"{number}:capture", by=by)


def follow(payments: Payments, shop: sqlite3.Connection) -> int:
    """Handle the events that are new, each exactly once; return how many there were."""
    with shop:  # one transaction: what an event does and the cursor behind it, or neither
        shop.execute("BEGIN IMMEDIATE")  # a second worker waits here, and then sees the new cursor
        (cursor,) = shop.execute("SELECT cursor FROM feed").fetchone()
        events = payments.events(after=cursor)
        for event in events:
            handle(payments, shop, event)
            shop.execute("UPDATE feed SET cursor = ?", (event.cursor,))
    return len(events)


def handle(payments: Payments, shop: sqlite3.Connection, event: Event) -> None:
    """Mark an order paid, and send its parcel, once all of its amount is captured."""
    if event.type not in ("session.captured", "collection.updated"):
        return
    due = payments.collection(event.collection_id)
    if due.captured_amount < due.amount:
        return  # another session pays the rest
    paid = shop.execute("UPDATE orders SET paid = 1 WHERE number = ? AND NOT paid", (event.reference,))
    if paid.rowcount:
        shop.execute("INSERT INTO parcels VALUES (?)", (event.reference,))


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    ordering = commands.add_parser("order")
    for name in ("number", "amount", "currency"):
        ordering.add_argument(name)
    confirming = commands.add_parser("confirm")
    for name in ("number", "by"):
        confirming.add_argument(name)
    commands.add_parser("work")
    asked = parser.parse_args()

    shop = open_shop()
    with Payments.open("sqlite:///payments.db", providers=["manual"]) as payments:
        if asked.command == "order":
            session = order(payments, shop, asked.number, Money(asked.amount, asked.currency))
            print("to pay:", session.next_action)
        elif asked.command == "confirm":
            session = confirm(payments, asked.number, asked.by)
            print("captured:", session.captured_amount)
        else:
            payments.recover()
            print("events handled:", follow(payments, shop))
    for row in shop.execute("SELECT number, paid FROM orders"):
        print("order", row[0], "is paid" if row[1] else "is not paid yet")
    shop.close()


if __name__ == "__main__":
    main()
