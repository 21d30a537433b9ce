"""A shop with FastAPI, as an API for a page in the browser.

uvicorn shop:app --port 8000        then http://127.0.0.1:8000/docs

SHOP_URL says where payers reach the shop, such as https://shop.example.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from paysession import (
    PAYER_MESSAGES,
    AsyncPayments,
    Checkout,
    Declined,
    Event,
    Money,
    NotFound,
    Payments,
    PaymentSession,
    PaysessionError,
    RequestError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

log = logging.getLogger("shop")

MOST = 1_048_576
"""Bytes of a notification at most."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",  # an answer may hold a client secret
}
POLICY = "default-src 'none'; frame-ancestors 'none'"  # answers are JSON: they load nothing
SCHEMA = """
CREATE TABLE IF NOT EXISTS orders
    (number TEXT PRIMARY KEY, minor INTEGER, currency TEXT, paid INTEGER, shopper TEXT);
CREATE TABLE IF NOT EXISTS parcels (number TEXT);
CREATE TABLE IF NOT EXISTS feed (id INTEGER PRIMARY KEY CHECK (id = 1), cursor TEXT);
INSERT OR IGNORE INTO feed VALUES (1, NULL);
INSERT OR IGNORE INTO orders VALUES ('1001', 4200, 'EUR', 0, NULL);
"""


class Shop:
    """The shop's own database, and what payments do to it. Its methods run in threads."""

    def __init__(self, database: str) -> None:
        self._database = database
        with closing(sqlite3.connect(database)) as shop:
            shop.executescript(SCHEMA)

    def claim(self, number: str, shopper: str) -> None:
        """Give an order to the first browser that opens it, as the basket of a real shop would have done."""
        with closing(sqlite3.connect(self._database)) as shop, shop:
            shop.execute(
                "UPDATE orders SET shopper = ? WHERE number = ? AND shopper IS NULL", (shopper, number)
            )

    def order(self, number: str, shopper: str) -> tuple[Money, bool]:
        """Return the total of a shopper's own order, and whether it is paid."""
        with closing(sqlite3.connect(self._database)) as shop:
            row = shop.execute(
                "SELECT minor, currency, paid FROM orders WHERE number = ? AND shopper = ?", (number, shopper)
            ).fetchone()
        if row is None:
            raise NotFound(f"this shopper has no order {number:.80}")
        return Money.from_minor(row[0], row[1]), bool(row[2])

    def follow(self, payments: Payments) -> None:
        """Handle the events that are new, each exactly once."""
        with closing(sqlite3.connect(self._database)) as shop, shop:
            shop.execute("BEGIN IMMEDIATE")  # one transaction for what an event does and for its cursor
            (cursor,) = shop.execute("SELECT cursor FROM feed").fetchone()
            for event in payments.events(after=cursor):
                self._handle(payments, shop, event)
                shop.execute("UPDATE feed SET cursor = ?", (event.cursor,))

    def _handle(self, payments: Payments, shop: sqlite3.Connection, event: Event) -> None:
        if event.type not in ("session.captured", "collection.updated"):
            return
        due = payments.collection(event.collection_id)
        if due.captured_amount < due.amount:
            return
        paid = shop.execute("UPDATE orders SET paid = 1 WHERE number = ? AND NOT paid", (event.reference,))
        if paid.rowcount:
            shop.execute("INSERT INTO parcels VALUES (?)", (event.reference,))


def create_app(  # noqa: PLR0915 - routes
    books: Payments | None = None, database: str = "shop.db", url: str | None = None, *, every: float = 5.0
) -> FastAPI:
    """Return the application; ``every`` so many seconds it settles what is open."""
    url = (url or os.environ.get("SHOP_URL", "http://127.0.0.1:8000")).rstrip("/")  # never the Host header
    secure = url.startswith("https:")
    cookie = "__Host-shopper" if secure else "shopper"

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.books = books or Payments.open(config="paysession.toml")
        app.state.payments = AsyncPayments(app.state.books)
        app.state.shop = await asyncio.to_thread(Shop, database)
        worker = asyncio.create_task(work(app, every))
        yield
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        await app.state.payments.close()

    app = FastAPI(title="A shop", lifespan=lifespan)

    @app.middleware("http")
    async def protect(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        known = request.cookies.get(cookie)
        request.state.shopper = known or secrets.token_urlsafe(32)
        response = await answer(request)
        if not known and not request.url.path.startswith("/pay/webhooks/"):
            response.set_cookie(
                cookie,
                request.state.shopper,
                max_age=30 * 86400,
                path="/",
                secure=secure,
                httponly=True,
                samesite="lax",
            )
        response.headers.update(HEADERS)
        if request.url.path != "/docs":  # a page with scripts from elsewhere; turn it off when you go live
            response.headers["Content-Security-Policy"] = POLICY
        return response

    @app.get("/orders/{number}")
    async def show(number: str, request: Request) -> dict[str, Any]:
        shop, shopper = app.state.shop, request.state.shopper
        await asyncio.to_thread(shop.claim, number, shopper)
        total, paid = await asyncio.to_thread(shop.order, number, shopper)
        offered = app.state.payments.offered
        return {"number": number, "total": str(total), "paid": paid, "providers": offered}

    @app.post("/orders/{number}/pay")
    async def pay(number: str, provider: str, request: Request) -> dict[str, Any]:
        shop, shopper = app.state.shop, request.state.shopper
        await asyncio.to_thread(shop.claim, number, shopper)
        total, _ = await asyncio.to_thread(shop.order, number, shopper)
        order = await app.state.payments.create_collection(total, reference=number)
        session = await app.state.payments.pay(
            order.id,
            provider=provider,
            capture="automatic",
            checkout=Checkout(return_url=f"{url}/back/{{session_id}}", cancel_url=f"{url}/orders/{number}"),
        )
        await asyncio.to_thread(shop.follow, app.state.books)
        return shown(session)

    @app.get("/back/{session_id}")
    async def back(session_id: str, request: Request) -> dict[str, Any]:
        payments: AsyncPayments = app.state.payments
        number = (await payments.get(session_id)).collection_reference
        # Anybody else learns nothing and causes nothing.
        await asyncio.to_thread(app.state.shop.order, number, request.state.shopper)
        session = await payments.resume(session_id, payload=dict(request.query_params))
        await asyncio.to_thread(app.state.shop.follow, app.state.books)
        return shown(session)

    @app.post("/pay/webhooks/{provider}")
    async def webhook(provider: str, request: Request) -> Response:
        body = b""  # raw: a model or request.json() would lose what was signed
        async for part in request.stream():
            body += part
            if len(body) > MOST:
                raise HTTPException(413)
        reply = await app.state.payments.handle_webhook(provider, headers=request.headers, body=body)
        return Response(reply.body, reply.status, media_type="text/plain")

    @app.exception_handler(PaysessionError)
    async def impossible(_: Request, error: PaysessionError) -> JSONResponse:
        log.warning("%s", error)  # its text is for the log: the payer gets a sentence of ours
        if isinstance(error, NotFound):
            return JSONResponse({"detail": "there is no such payment in this browser"}, 404)
        if isinstance(error, Declined | RequestError):
            return JSONResponse({"detail": "that payment is not possible"}, 409)
        return JSONResponse({"detail": "not now; please try again"}, 503)

    return app


async def work(app: FastAPI, every: float) -> None:
    """Settle what is open, and mark paid what was paid; in one process or in many."""
    while True:
        try:
            await app.state.payments.recover()
            await asyncio.to_thread(app.state.shop.follow, app.state.books)
        except Exception:  # the next round tries again; a task that ended would tell nobody
            log.exception("a round of the worker failed")
        await asyncio.sleep(every)


def shown(session: PaymentSession) -> dict[str, Any]:
    """Return what the browser may know of a session."""
    action = session.next_action
    return {
        "session": session.id,
        "status": session.status,
        "in_doubt": session.in_doubt or session.authorizing is not None,
        "error": PAYER_MESSAGES[session.error.payer_message_key] if session.error else None,
        "next": action.to_json() if action else None,
    }


app = create_app()
