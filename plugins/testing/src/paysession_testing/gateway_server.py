"""The gateway as a process of its own, behind sockets: it survives whatever happens to its clients.

It serves the API on one port and takes a test's wishes on another, so that it can refuse connections on
the first. ``gateway_process`` starts it, and so does ``python -m paysession_testing.gateway_server`` by
hand; it ends when its standard input does, so it never outlives whoever started it.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from paysession_testing.gateway import Gateway, Reply, verb_of
from paysession_testing.gateway_faults import FaultPlan

if TYPE_CHECKING:
    from paysession_testing.gateway_faults import Fault

__all__ = ["PATIENCE", "serve"]

API_KEY: Final = "sk_gateway"
PATIENCE: Final = 60.0
"""Seconds that a held or silent request waits for its client to give up."""

_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: the close is a reset."""


class Account:
    """A gateway with its faults, and the requests that are held in it."""

    def __init__(self, gateway: Gateway, plan: FaultPlan, late: float) -> None:
        self.gateway, self.plan, self.late = gateway, plan, late
        self.held: list[str] = []
        self.turn = threading.Condition()
        self.released = 0

    def hold(self, name: str, client: socket.socket) -> None:
        """Wait until a test releases what is held, or the client is gone."""
        with self.turn:
            self.held.append(name)
            mine = self.released
            self.turn.notify_all()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not _gone(client, 0.01):
            with self.turn:
                if self.released > mine:
                    break
        with self.turn:
            self.held.remove(name)

    def wait_held(self, seconds: float) -> bool:
        """Wait until a request is held."""
        with self.turn:
            return self.turn.wait_for(lambda: bool(self.held), seconds)

    def release(self) -> None:
        """Release all requests that are held."""
        with self.turn:
            self.released += 1


class Office:
    """All accounts, the time, and the public door."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.door: _Server | None = None
        self.port = 0
        self.refused = 0
        self._rate, self._since, self._then = 1.0, time.monotonic(), time.time()

    def now(self) -> float:
        """Return the gateway's time in seconds."""
        return self._then + (time.monotonic() - self._since) * self._rate

    def clock(self, then: float, since: float, rate: float) -> None:
        """Set the time: ``then`` at ``since`` of the machine's monotonic clock, and its speed."""
        self._then, self._since, self._rate = then, since, rate

    def open(
        self,
        name: str,
        keys: str = "all",
        key_window: float = 86_400.0,
        lag: float = 0.0,
        late: float = 0.1,
        secret: str = "whsec_gateway",  # noqa: S107 - it guards nothing
        seed: int = 0,
    ) -> None:
        """Open an account, or open it anew with an empty ledger."""
        gateway = Gateway(self.now, keys=keys, key_window=key_window, lag=lag, secret=secret)
        self.accounts[name] = Account(gateway, FaultPlan(seed), late)

    def door_open(self) -> None:
        """Listen for clients."""
        if self.door is None:
            self.door = _Server(("127.0.0.1", self.port), _Api, self)
            self.port = self.door.server_address[1]
            threading.Thread(target=self.door.serve_forever, args=(0.02,), daemon=True).start()

    def door_close(self) -> None:
        """Refuse connections, and end those that are."""
        door, self.door = self.door, None
        if door is not None:
            door.shutdown()
            door.server_close()
            door.hang_up()

    def outage(self, seconds: float) -> None:
        """Refuse connections for a while."""
        self.door_close()
        timer = threading.Timer(seconds, self.door_open)
        timer.daemon = True
        timer.start()

    def stats(self) -> dict[str, dict[str, int]]:
        """Return how many faults and calls there were, over all accounts."""
        faults: dict[str, int] = {}
        calls: dict[str, int] = {}
        for account in self.accounts.values():
            for total, part in ((faults, account.plan.counts), (calls, account.gateway.calls)):
                for name, count in part.items():
                    total[name] = total.get(name, 0) + count
        return {"faults": faults, "calls": calls}

    def wish(self, account: str | None, call: str, arguments: dict[str, Any]) -> Any:
        """Carry out what a test wishes: the methods that ``GatewayProcess`` offers."""
        if account is None:
            return getattr(self, call)(**arguments)
        held = self.accounts[account]
        for owner in (held, held.plan, held.gateway):
            if not call.startswith("_") and callable(getattr(owner, call, None)):
                return getattr(owner, call)(**arguments)
        raise ValueError(call)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[_Handler], office: Office) -> None:
        self.office = office
        self.connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def hang_up(self) -> None:
        """End all connections."""
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients are killed here on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride] - only ever served by one

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _body(self) -> Any:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return json.loads(text) if text else {}

    def _send(self, status: int, text: str, *, short: int = 0) -> None:
        data = text.encode()
        head = f"HTTP/1.1 {status} {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
        self.wfile.write(head.encode() + b"\r\n\r\n" + data[: len(data) - short])


class _Control(_Handler):
    """A test's wishes."""

    def do_POST(self) -> None:
        asked = self._body()
        try:
            answer = self.server.office.wish(asked.get("account"), asked["call"], asked.get("arguments", {}))
        except Exception as error:  # noqa: BLE001 - the test is told
            self._send(500, json.dumps(f"{type(error).__name__}: {error}"))
        else:
            self._send(200, json.dumps(answer))


class _Api(_Handler):
    """The merchants' side."""

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def _serve(self, method: str) -> None:
        url = urlsplit(self.path)
        body = self._body()
        name, _, path = url.path.strip("/").partition("/")
        account = self.server.office.accounts.get(name)
        if account is None or self.headers.get("Authorization") != f"Bearer {API_KEY}":
            self._send(404 if account is None else 401, '{"error": "who_are_you"}')
            return
        key = self.headers.get("Idempotency-Key", "")
        gateway = account.gateway
        if method == "GET":
            verb, order_id = "lookup", path.partition("/")[2] or None
            ours = parse_qs(url.query).get("ours", [None])[0]
        else:
            verb, order_id, ours = verb_of(path), None, None
        fault = account.plan.take(verb)

        def carry_out() -> Reply:
            if method == "GET":
                return gateway.lookup(order_id, ours)
            slow, decline = fault is not None and fault.slow, fault is not None and fault.decline
            return gateway.request(path, key, body, slow=slow, decline=decline)

        if fault is None or fault.slow or fault.decline:
            self._answer(carry_out())
            return
        again = gateway.knows(key)
        reply = carry_out() if fault.executes else None
        if fault.status is not None:
            reply = Reply(fault.status, {"error": f"status_{fault.status}"})
            if fault.status == 500 and gateway.keys == "all" and method == "POST" and not again:  # noqa: PLR2004
                gateway.remember(path, key, body, reply)
        self._go_wrong(account, fault, reply or Reply(500, {}), verb)
        if fault.wire == "late":
            time.sleep(account.late)
            carry_out()

    def _answer(self, reply: Reply) -> None:
        self._send(reply.status, json.dumps(reply.body))

    def _go_wrong(self, account: Account, fault: Fault, reply: Reply, verb: str) -> None:
        if fault.wire == "drop":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        elif fault.wire in ("silence", "late"):
            _wait_until_gone(self.connection)
        elif fault.wire == "hold":
            account.hold(verb, self.connection)
            if fault.executes:
                with suppress(OSError):
                    self._answer(reply)
        elif fault.tamper:
            self._tamper(fault.tamper, reply)
            if fault.tamper != "truncated":
                return
        else:
            self._answer(reply)
            return
        self.close_connection = True

    def _tamper(self, how: str, reply: Reply) -> None:
        if how in ("garbage", "empty"):
            self._send(200, "<html>Welcome</html>" if how == "garbage" else "")
            return
        if how == "truncated":
            self._send(reply.status, json.dumps(reply.body), short=7)
            return
        body = dict(reply.body)
        if how == "amount":
            # One cent more than was done; what a lookup shows must not contradict itself.
            wrong = ["amount", "authorized"] if body.get("authorized") else ["amount"]
            body.update({name: body[name] + 1 for name in wrong if name in body})
        elif how == "currency":
            body["currency"] = "XXX" if body.get("currency") != "XXX" else "EUR"
        else:
            body["status"] = "on_holiday"
        self._send(reply.status, json.dumps(body))


def _gone(client: socket.socket, seconds: float) -> bool:
    """Return whether the client has closed its side, waiting a little for it."""
    readable, _, _ = select.select([client], [], [], seconds)
    if not readable:
        return False
    with suppress(OSError):
        return client.recv(1, socket.MSG_PEEK) == b""
    return True


def _wait_until_gone(client: socket.socket) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not _gone(client, 1.0):
        pass


def serve() -> None:
    """Serve until standard input ends; the two ports are printed first."""
    office = Office()
    office.door_open()
    control = _Server(("127.0.0.1", 0), _Control, office)
    threading.Thread(target=control.serve_forever, args=(0.02,), daemon=True).start()
    print(office.port, control.server_address[1], flush=True)  # noqa: T201 - whoever started it reads them
    sys.stdin.read()


if __name__ == "__main__":
    serve()
