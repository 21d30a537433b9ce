"""A shop with Flask.

flask --app shop run        the shop: http://127.0.0.1:5000/orders/1001
flask --app shop work       beside it: settles what is open, and marks paid what was paid

SHOP_URL says where payers reach the shop, such as https://shop.example.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from typing import TYPE_CHECKING

import click
from flask import Flask, g, redirect, render_template, request

from paysession import (
    PAYER_MESSAGES,
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
)

if TYPE_CHECKING:
    from flask import Response
    from werkzeug.wrappers import Response as AnyResponse

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders
    (number TEXT PRIMARY KEY, minor INTEGER, currency TEXT, paid INTEGER, shopper TEXT);
CREATE TABLE IF NOT EXISTS parcels (number TEXT);
CREATE TABLE IF NOT EXISTS feed (id INTEGER PRIMARY KEY CHECK (id = 1), cursor TEXT);
INSERT OR IGNORE INTO feed VALUES (1, NULL);
INSERT OR IGNORE INTO orders VALUES ('1001', 4200, 'EUR', 0, NULL);
"""
# Stripe's script, frames and API are all that a page may use beside itself. A form may lead to a gateway.
POLICY = (
    "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'nonce-{nonce}'; "
    "script-src 'nonce-{nonce}' https://js.stripe.com https://*.js.stripe.com; "
    "frame-src https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com; "
    "connect-src https://api.stripe.com; form-action 'self' https: http://127.0.0.1:*"
)


def create_app(  # noqa: C901, PLR0915 - routes
    payments: Payments | None = None, database: str = "shop.db", url: str | None = None
) -> Flask:
    """Return the application. Payments are opened once per process."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 1_048_576  # bytes of a request's body
    books = payments or Payments.open(config="paysession.toml")
    url = (url or os.environ.get("SHOP_URL", "http://127.0.0.1:5000")).rstrip("/")  # never the Host header
    secure = url.startswith("https:")
    cookie = "__Host-shopper" if secure else "shopper"
    with sqlite3.connect(database) as connection:
        connection.executescript(SCHEMA)
    connection.close()

    @app.before_request
    def know_shopper() -> None:
        g.nonce = secrets.token_urlsafe(16)
        g.shopper = request.cookies.get(cookie) or secrets.token_urlsafe(32)

    @app.after_request
    def protect(response: Response) -> Response:
        if request.endpoint != "webhook" and cookie not in request.cookies:
            response.set_cookie(
                cookie, g.shopper, max_age=30 * 86400, secure=secure, httponly=True, samesite="Lax"
            )
        response.headers["Content-Security-Policy"] = POLICY.format(nonce=g.nonce)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Cache-Control"] = "no-store"  # a page may hold a client secret
        return response

    def shop() -> sqlite3.Connection:
        if "shop" not in g:
            g.shop = sqlite3.connect(database)
        connection: sqlite3.Connection = g.shop
        return connection

    @app.teardown_appcontext
    def close_shop(_: BaseException | None) -> None:
        if "shop" in g:
            g.pop("shop").close()

    def page(number: str, session: PaymentSession | None = None, *, leave: bool = False) -> str:
        total, paid = read_order(shop(), number, g.shopper)
        back = f"{url}/back/{session.id}" if session else ""
        error = session.error if session else None
        return render_template(
            "order.html",
            number=number,
            total=total,
            paid=paid,
            session=session,
            providers=books.offered,
            back=back,
            problem=PAYER_MESSAGES[error.payer_message_key] if error else None,
            leave=leave,
        )

    @app.get("/orders/<number>")
    def show(number: str) -> str:
        claim_order(shop(), number, g.shopper)
        return page(number)

    @app.post("/orders/<number>/pay")
    def pay(number: str) -> AnyResponse | str:
        claim_order(shop(), number, g.shopper)
        total, _ = read_order(shop(), number, g.shopper)
        order = books.create_collection(total, reference=number)
        session = books.pay(
            order.id,
            provider=request.form["provider"],
            capture="automatic",
            checkout=Checkout(return_url=f"{url}/back/{{session_id}}", cancel_url=f"{url}/orders/{number}"),
        )
        follow(books, shop())
        action = session.next_action
        if isinstance(action, Redirect) and action.method == "GET":
            return redirect(action.url, 303)
        return page(number, session, leave=True)

    @app.get("/back/<session_id>")
    def back(session_id: str) -> str:
        number = books.get(session_id).collection_reference
        read_order(shop(), number, g.shopper)  # anybody else learns nothing and causes nothing
        session = books.resume(session_id, payload=request.args.to_dict())
        follow(books, shop())
        return page(number, session)

    @app.post("/pay/webhooks/<provider>")
    def webhook(provider: str) -> tuple[str, int]:
        reply = books.handle_webhook(provider, headers=request.headers, body=request.get_data())
        return reply.body, reply.status

    @app.errorhandler(PaysessionError)
    def refused(error: PaysessionError) -> tuple[str, int]:
        app.logger.warning("%s", error)  # its text is for the log: the payer gets a sentence of ours
        if isinstance(error, NotFound):
            return "There is no such payment in this browser.", 404
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


def claim_order(shop: sqlite3.Connection, number: str, shopper: str) -> None:
    """Give an order to the first browser that opens it, as the basket of a real shop would have done."""
    with shop:
        shop.execute("UPDATE orders SET shopper = ? WHERE number = ? AND shopper IS NULL", (shopper, number))


def read_order(shop: sqlite3.Connection, number: str, shopper: str) -> tuple[Money, bool]:
    """Return the total of a shopper's own order, and whether it is paid."""
    row = shop.execute(
        "SELECT minor, currency, paid FROM orders WHERE number = ? AND shopper = ?", (number, shopper)
    ).fetchone()
    if row is None:
        raise NotFound(f"this shopper has no order {number:.80}")
    return Money.from_minor(row[0], row[1]), bool(row[2])


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
    if event.type not in ("session.captured", "collection.updated"):
        return
    due = payments.collection(event.collection_id)
    if due.captured_amount < due.amount:
        return
    paid = shop.execute("UPDATE orders SET paid = 1 WHERE number = ? AND NOT paid", (event.reference,))
    if paid.rowcount:
        shop.execute("INSERT INTO parcels VALUES (?)", (event.reference,))
