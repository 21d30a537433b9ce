"""The fake PayPal on a socket."""

from __future__ import annotations

import json
import logging
import socket
import threading
from contextlib import suppress
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

from paysession_sandbox.paypal import console, state
from paysession_sandbox.paypal.app import CALLS, Answer, App, Event, Exchange
from paysession_sandbox.paypal.clock import Clock
from paysession_sandbox.paypal.deliveries import PayPalDeliveries
from paysession_sandbox.paypal.faults import FAULTS, name_of
from paysession_sandbox.paypal.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from paysession_sandbox.paypal.faults import Fault
    from paysession_sandbox.paypal.ledger import Ledger

__all__ = ["PayPalFake"]

logger = logging.getLogger("paysession_sandbox")

WEBHOOK_ID: Final = "1JE4291016473214C"
_CALLS: Final = ("token", *(call for _, _, call in CALLS))


class PayPalFake:
    """A PayPal on a free port of this machine; a context manager.

    Args:
        clock: The time at PayPal.
        client_id: The only client id that it knows.
        client_secret: Its secret.
        port: The port; 0 for a free one.
        folder: A folder to keep everything in, from one start to the next; None keeps it in memory.

    Raises:
        ValueError: The folder holds something else.

    Attributes:
        url: Where it listens, such as ``http://127.0.0.1:54321``.
        clock: The time at PayPal, to be moved.
        exchanges: Every request and its answer, in order.
        connections: Who connected, in order: an address for each connection.
        deliveries: The notifications on their way to a shop.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        client_id: str = "client-id",
        client_secret: str = "client-secret",  # noqa: S107 - it guards nothing
        port: int = 0,
        folder: Path | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.client_id = client_id
        self.client_secret = client_secret
        self.exchanges: list[Exchange] = []
        self.connections: list[Any] = []
        self._signer = Signer(self.clock, WEBHOOK_ID)
        self._app = App(self.clock, client_id, client_secret, self._signer.verifies)
        self.deliveries = PayPalDeliveries(self.clock, self._signer, self._app.webhooks)
        self.deliveries.noted = self.changed
        self._app.told = self.deliveries.add
        self._saving = threading.Lock()
        self._file = None if folder is None else folder / "paypal.json"
        if self._file is not None:
            state.load(self._app, self.deliveries, self._file)
        self._released = threading.Event()
        self._arrived = threading.Condition()
        self._server = _Server(self, port)
        self.url = self._app.base = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.005})
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop, and close every connection."""
        self._released.set()
        self.deliveries.close()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def changed(self) -> None:
        """Keep what the stand-in holds, if it is kept in a folder."""
        if self._file is not None:
            with self._saving:
                state.save(self._app, self.deliveries, self._file)

    def environment(self) -> dict[str, str]:
        """Return the settings of a shop that uses this PayPal, as environment variables."""
        return {
            "PAYSESSION_PAYPAL__CLIENT_ID": self.client_id,
            "PAYSESSION_PAYPAL__CLIENT_SECRET": self.client_secret,
            "PAYSESSION_PAYPAL__ENDPOINT": self.url,
            "PAYSESSION_PAYPAL__WEBHOOK_ID": self._signer.webhook_id,
            "PAYSESSION_PAYPAL__WEBHOOK_VERIFICATION": "postback",
        }

    # --- looking ---

    @property
    def ledger(self) -> Ledger:
        """What really happened, whatever anybody's ledger says."""
        return self._app.ledger

    @property
    def effects(self) -> list[str]:
        """What money did, in order: ``capture 20.00`` and the like."""
        return [f"{kind} {amount}" for kind, _, amount in self.ledger.effects]

    def calls(self, *names: str) -> list[Exchange]:
        """Return the exchanges of some calls, such as ``capture``; of all, without a name."""
        return [row for row in self.exchanges if row.call and (not names or row.call in names)]

    def wait_for(self, call: str, count: int, *, timeout: float = 30.0) -> bool:
        """Wait until there were so many calls of a kind; return whether there were in time."""
        with self._arrived:
            return self._arrived.wait_for(lambda: len(self.calls(call)) >= count, timeout)

    # --- making things happen ---

    def payer_approves(self, order_id: str) -> dict[str, str]:
        """Approve as the payer; return the query that the browser brings back to the shop."""
        order = self.ledger.approve(order_id)
        self.changed()
        return dict(parse_qsl(urlsplit(self._app.back(order, approved=True)).query))

    def decline_next(self) -> None:
        """Decline when the next order is captured at once: the payer is to approve again."""
        self.ledger.next_status.setdefault("instrument", []).append("DECLINED")

    @property
    def webhooks(self) -> list[dict[str, Any]]:
        """The webhooks that are registered."""
        return list(self._app.webhooks.values())

    def twist(self, change: Callable[[str, Any], Any]) -> None:
        """Change what is answered: words that no file has, links that are missing.

        Args:
            change: Called with the name of a call and the document that would be answered to it; returns the
                one that is.
        """
        self._app.twist = change

    def fail(self, call: str, fault: Fault | str, *, times: int = 1, after: int = 0) -> None:
        """Make the next calls of a kind go wrong.

        Args:
            call: ``token``, or the name of a call in `paysession_sandbox.paypal.app.CALLS`, such as
                ``create``, ``show``, ``patch``, ``authorize``, ``capture_order``, ``capture``,
                ``reauthorize``, ``void`` or ``refund``.
            fault: What goes wrong: a name in `FAULTS`, or a fault of your own.
            times: How often.
            after: How many calls of the kind go well first.

        Raises:
            ValueError: There is no such call, or no fault of this name.
        """
        if call not in _CALLS:
            raise ValueError(f"there is no call {call!r}; there are {', '.join(_CALLS)}")
        if isinstance(fault, str):
            if fault not in FAULTS:
                raise ValueError(f"there is no fault {fault!r}; there are {', '.join(FAULTS)}")
            fault = FAULTS[fault]
        self._app.faults[call].extend([*[None] * after, *[fault] * times])

    def faults(self) -> list[str]:
        """Return what is going to go wrong, in words."""
        rows = [(call, fault) for call, waiting in self._app.faults.items() for fault in waiting if fault]
        return [f"{call}: {name_of(fault)}" for call, fault in rows]

    def fix(self) -> None:
        """Let nothing more go wrong."""
        self._app.faults.clear()

    def forget_tokens(self) -> None:
        """Let every access token be worth nothing from now on."""
        self._app.forget_tokens()

    # --- notifications ---

    @property
    def events(self) -> list[Event]:
        """The notifications that PayPal would have sent."""
        return self._app.events

    def send_webhooks_to(self, url: str) -> None:
        """Send signed notifications to an address from now on; a shop verifies them by asking PayPal."""
        self.deliveries.urls.append(url)
        self.changed()

    @property
    def signer(self) -> Signer:
        """Signs notifications with the fake's own certificate authority."""
        return self._signer

    # --- for the server ---

    def handle(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer | None:
        """Answer a request; None: the connection is closed without an answer."""
        try:
            return self._handle(method, path, headers, body)
        except Exception:
            logger.exception("%s %s: a mistake of paysession-sandbox", method, urlsplit(path).path)
            mistake = {
                "name": "INTERNAL_SERVER_ERROR",
                "message": "a mistake of paysession-sandbox: see its log",
            }
            return Answer(500, json.dumps(mistake).encode(), {"Content-Type": "application/json"})

    def _handle(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer | None:
        told = len(self.events)
        with self._app.lock:
            page = console.answer(self, method, path, headers, body)
        if page is not None:
            if method != "GET":
                self.changed()
            return page
        call, _ = self._app.call_of(method, urlsplit(path).path)
        fault = self._app.take_fault(call) if call else None
        answer: Answer | None
        if fault is None:
            answer = self._app.answer(method, path, headers, body)
        else:
            if fault.committed:
                self._app.answer(method, path, headers, body)
            answer = Answer(fault.status, fault.body, fault.headers) if fault.then == "answer" else None
        if method != "GET" or len(self.events) > told:
            self.changed()
        faulty = fault is not None or (answer is not None and answer.twisted)
        with self._arrived:
            self.exchanges.append(Exchange(call, method, path, headers, body, answer, faulty))
            self._arrived.notify_all()
        if fault is not None and fault.then == "hang":
            self._released.wait()
        return answer

    def date(self) -> str:
        """Return the time for the ``Date`` header."""
        return format_datetime(self.clock(), usegmt=True)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True
    request_queue_size = 64

    def __init__(self, fake: PayPalFake, port: int) -> None:
        self.fake = fake
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
            self.fake.connections.append(client_address)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep open."""
        with self._open_lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is two small writes; waiting for the first one's acknowledgement costs 40 ms.
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        fake = cast("_Server", self.server).fake
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = fake.handle(self.command, self.path, headers, body)
        if answer is None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response_only(answer.status)
        self.send_header("Date", fake.date())
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:  # noqa: PLR2004
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - the base class looks for these names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing."""
