"""A shop with FastAPI, as an API for a page in the browser.

uvicorn shop:app --port 8000        then http://127.0.0.1:8000/docs
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from paysession import (
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
    Status,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = logging.getLogger("shop")

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (number TEXT PRIMARY KEY, minor INTEGER, currency TEXT, paid INTEGER);
CREATE TABLE IF NOT EXISTS parcels (number TEXT);
CREATE TABLE IF NOT EXISTS feed (id INTEGER PRIMARY KEY CHECK (id = 1), cursor TEXT);
INSERT OR IGNORE INTO feed VALUES (1, NULL);
INSERT OR IGNORE INTO orders VALUES ('1001', 4200, 'EUR', 0);
"""


class Shop:
    """The shop's own database, and what payments do to it. Its methods run in threads."""

    def __init__(self, database: str) -> None:
        self._database = database
        with closing(sqlite3.connect(database)) as shop:
            shop.executescript(SCHEMA)

    def order(self, number: str) -> tuple[Money, bool]:
        """Return an order's total, and whether it is paid."""
        with closing(sqlite3.connect(self._database)) as shop:
            row = shop.execute(
                "SELECT minor, currency, paid FROM orders WHERE number = ?", (number,)
            ).fetchone()
        if row is None:
            raise HTTPException(404, f"there is no order {number}")
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
        if event.type != "session.captured":
            return
        due = payments.collection(event.collection_id)
        if due.captured_amount < due.amount:
            return
        paid = shop.execute("UPDATE orders SET paid = 1 WHERE number = ? AND NOT paid", (event.reference,))
        if paid.rowcount:
            shop.execute("INSERT INTO parcels VALUES (?)", (event.reference,))


def create_app(books: Payments | None = None, database: str = "shop.db", *, every: float = 5.0) -> FastAPI:
    """Return the application; ``every`` so many seconds it settles what is open."""

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

    @app.get("/orders/{number}")
    async def show(number: str) -> dict[str, Any]:
        total, paid = await asyncio.to_thread(app.state.shop.order, number)
        return {"number": number, "total": str(total), "paid": paid}

    @app.post("/orders/{number}/pay")
    async def pay(number: str, provider: str, request: Request) -> dict[str, Any]:
        payments: AsyncPayments = app.state.payments
        total, _ = await asyncio.to_thread(app.state.shop.order, number)
        collection = await payments.create_collection(total, reference=number)
        earlier = await payments.sessions(collection_id=collection.id, provider=provider)
        refused = [session.id for session in earlier if session.status is Status.ERROR]
        ended = len(refused) + sum(session.status is Status.CANCELED for session in earlier)
        session = await payments.initiate(
            collection.id,
            provider=provider,
            capture="automatic",
            checkout=Checkout(return_url=str(request.url_for("back", session_id="{session_id}"))),
            replaces=refused[-1] if refused else None,
            idempotency_key=f"{number}:{provider}:{ended}",  # a double click is the same payment
        )
        return shown(session)

    @app.get("/back/{session_id}")
    async def back(session_id: str, request: Request) -> dict[str, Any]:
        session = await app.state.payments.resume(session_id, payload=dict(request.query_params))
        await asyncio.to_thread(app.state.shop.follow, app.state.books)
        return shown(session)

    @app.post("/pay/webhooks/{provider}")
    async def webhook(provider: str, request: Request) -> Response:
        body = await request.body()  # raw: a model or request.json() would lose what was signed
        reply = await app.state.payments.handle_webhook(provider, headers=request.headers, body=body)
        return Response(reply.body, reply.status, media_type="text/plain")

    @app.exception_handler(PaysessionError)
    async def impossible(_: Request, error: PaysessionError) -> JSONResponse:
        log.warning("%s", error)  # its text is for the log: the payer gets a sentence of ours
        if isinstance(error, NotFound):
            return JSONResponse({"detail": "there is no such payment"}, 404)
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
        "in_doubt": session.in_doubt,
        "error": session.error.message if session.error else None,
        "next": action.to_json() if action else None,
    }


app = create_app()
