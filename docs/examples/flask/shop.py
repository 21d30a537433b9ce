"""A shop with Flask.

flask --app shop run        the shop: http://127.0.0.1:5000/orders/1001
flask --app shop work       beside it: settles what is open, and marks paid what was paid
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

import click
from flask import Flask, g, redirect, render_template_string, request, url_for

from paysession import (
    Checkout,
    Declined,
    Event,
    Money,
    NotFound,
    Payments,
    PaymentSession,
    PaysessionError,
    Redirect,
    RequestError,
    Status,
)

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (number TEXT PRIMARY KEY, minor INTEGER, currency TEXT, paid INTEGER);
CREATE TABLE IF NOT EXISTS parcels (number TEXT);
CREATE TABLE IF NOT EXISTS feed (id INTEGER PRIMARY KEY CHECK (id = 1), cursor TEXT);
INSERT OR IGNORE INTO feed VALUES (1, NULL);
INSERT OR IGNORE INTO orders VALUES ('1001', 4200, 'EUR', 0);
"""
PAGE = """
<!doctype html><title>Order {{ number }}</title>
<h1>Order {{ number }}: {{ total }} {{ "is paid" if paid else "is not paid yet" }}</h1>
{% if session and session.error %}<p>{{ session.error.message }}</p>{% endif %}
{% if session and session.in_doubt %}<p>We are finding out what became of your payment.</p>{% endif %}
{% if session and session.next_action.fields %}
<dl>{% for name, value in session.next_action.fields.items() %}<dt>{{ name }}<dd>{{ value }}{% endfor %}</dl>
{% endif %}
{% if not paid %}
<form method="post" action="{{ url_for('pay', number=number) }}">
{% for name in providers %}<button name="provider" value="{{ name }}">{{ name }}</button>{% endfor %}
</form>{% endif %}
"""


def create_app(payments: Payments | None = None, database: str = "shop.db") -> Flask:  # noqa: C901 - routes
    """Return the application. Payments are opened once per process."""
    app = Flask(__name__)
    books = payments or Payments.open(config="paysession.toml")
    with sqlite3.connect(database) as connection:
        connection.executescript(SCHEMA)
    connection.close()

    def shop() -> sqlite3.Connection:
        if "shop" not in g:
            g.shop = sqlite3.connect(database)
        connection: sqlite3.Connection = g.shop
        return connection

    @app.teardown_appcontext
    def close_shop(_: BaseException | None) -> None:
        if "shop" in g:
            g.pop("shop").close()

    @app.get("/orders/<number>")
    def show(number: str, session: PaymentSession | None = None) -> str:
        minor, currency, paid = read_order(shop(), number)
        chosen = [row.name for row in books.providers() if row.selected]
        total = Money.from_minor(minor, currency)
        return render_template_string(
            PAGE, number=number, total=total, paid=paid, session=session, providers=chosen
        )

    @app.post("/orders/<number>/pay")
    def pay(number: str) -> Response | str:
        minor, currency, _ = read_order(shop(), number)
        provider = request.form["provider"]
        collection = books.create_collection(Money.from_minor(minor, currency), reference=number)
        earlier = books.sessions(collection_id=collection.id, provider=provider)
        refused = [session.id for session in earlier if session.status is Status.ERROR]
        ended = len(refused) + sum(session.status is Status.CANCELED for session in earlier)
        session = books.initiate(
            collection.id,
            provider=provider,
            capture="automatic",
            checkout=Checkout(return_url=url_for("back", session_id="{session_id}", _external=True)),
            replaces=refused[-1] if refused else None,
            idempotency_key=f"{number}:{provider}:{ended}",  # a double click is the same payment
        )
        if isinstance(session.next_action, Redirect):
            return redirect(session.next_action.url, 303)
        return show(number, session)

    @app.get("/back/<session_id>")
    def back(session_id: str) -> Response | str:
        session = books.resume(session_id, payload=request.args.to_dict())
        follow(books, shop())
        if isinstance(session.next_action, Redirect):
            return redirect(session.next_action.url, 303)
        return show(session.collection_reference, session)

    @app.post("/pay/webhooks/<provider>")
    def webhook(provider: str) -> tuple[str, int]:
        reply = books.handle_webhook(provider, headers=request.headers, body=request.get_data())
        return reply.body, reply.status

    @app.errorhandler(PaysessionError)
    def refused(error: PaysessionError) -> tuple[str, int]:
        app.logger.warning("%s", error)
        if isinstance(error, NotFound):
            return "There is no such payment.", 404
        if isinstance(error, Declined | RequestError):
            return "That payment is not possible.", 409
        return "Not now; please try again.", 503

    @app.cli.command("work")
    @click.option("--once", is_flag=True)
    def work(*, once: bool) -> None:
        """Settle what is open, and mark paid what was paid."""
        while True:
            books.recover()
            follow(books, shop())
            if once:
                break
            time.sleep(5)

    return app


def read_order(shop: sqlite3.Connection, number: str) -> tuple[int, str, int]:
    """Return an order's total in minor units, its currency, and whether it is paid."""
    row: tuple[int, str, int] | None
    row = shop.execute("SELECT minor, currency, paid FROM orders WHERE number = ?", (number,)).fetchone()
    if row is None:
        raise NotFound(f"there is no order {number}")
    return row


def follow(payments: Payments, shop: sqlite3.Connection) -> None:
    """Handle the events that are new, each exactly once."""
    with shop:  # one transaction: what an event does and the cursor behind it, or neither
        shop.execute("BEGIN IMMEDIATE")
        (cursor,) = shop.execute("SELECT cursor FROM feed").fetchone()
        for event in payments.events(after=cursor):
            handle(payments, shop, event)
            shop.execute("UPDATE feed SET cursor = ?", (event.cursor,))


def handle(payments: Payments, shop: sqlite3.Connection, event: Event) -> None:
    """Mark an order paid, and send its parcel, once all of its amount is captured."""
    if event.type != "session.captured":
        return
    due = payments.collection(event.collection_id)
    if due.captured_amount < due.amount:
        return
    paid = shop.execute("UPDATE orders SET paid = 1 WHERE number = ? AND NOT paid", (event.reference,))
    if paid.rowcount:
        shop.execute("INSERT INTO parcels VALUES (?)", (event.reference,))
