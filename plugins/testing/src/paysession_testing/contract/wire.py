"""The socket in front of a gateway: it passes requests on, keeps them, and makes them fail."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol
from urllib.parse import urlsplit

from paysession_testing.contract.counterpart import Reply, Request, encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from paysession import Money
    from paysession_testing.contract.counterpart import Counterpart

__all__ = ["FAULTS", "Proxy", "Target", "Wire"]

FAULTS: Final = {
    "refused": "the connection was refused",
    "reset": "the connection was reset before the request was carried out",
    "reset_after": "it was carried out, and the connection was reset before the answer",
    "drop_before": "the connection was closed, and the request was not carried out",
    "drop_after": "it was carried out, and the connection was closed without an answer",
    "timeout": "it was carried out, and no answer came",
    "500_before": "it was not carried out, and the answer was 500",
    "500_after": "it was carried out, and the answer was 500",
    "500_replayed": "it was carried out, and the answer to it and to its repetitions is 500",
    "503_html": "it was carried out, and a load balancer answered 503 with a page of HTML",
    "400": "it was refused with 400, bad request, and so are its repetitions under the same key",
    "422": "it was refused with 422, unprocessable, and so are its repetitions under the same key",
    "404_html": "it was not carried out, and a proxy answered 404 with a page of HTML",
    "408": "the answer was 408, request timeout",
    "409": "the answer was 409, conflict",
    "429": "the answer was 429, too many requests",
    "html": "it was carried out, and the answer was 200 with a page of HTML",
    "empty": "it was carried out, and the answer was 200 with an empty body",
    "list": "it was carried out, and the answer was 200 with the JSON []",
    "cut": "it was carried out, and half of the answer came",
    "wrong_amount": "it was carried out, and the answer names another amount",
    "wrong_currency": "it was carried out, and the answer names another currency",
    "unknown_status": "it was carried out, and the answer names a status that nobody knows",
    "302": "it was not carried out, and the answer was 302, found at another host",
    "307": "it was not carried out, and the answer was 307, to be repeated at another host",
    "drip": "it was carried out, and the answer came one byte at a time, without an end",
    "huge": "it was carried out, and the answer was 200 with 64 megabytes",
    "401": "the answer was 401 and repeated the credentials",
    "403": "the answer was 403, forbidden",
}
"""What a wire can make of a request."""

Target = Literal["write", "read", "any"]

_BEFORE: Final = (
    "reset",
    "drop_before",
    "500_before",
    "400",
    "422",
    "404_html",
    "408",
    "409",
    "429",
    "401",
    "403",
    "302",
    "307",
)
_PAGES: Final[dict[str, Reply]] = {
    "503_html": (503, {"Content-Type": "text/html"}, b"<html><h1>Service Unavailable</h1></html>"),
    "404_html": (404, {"Content-Type": "text/html"}, b"<html><h1>Not Found</h1></html>"),
    "html": (200, {"Content-Type": "text/html"}, b"<html><h1>It works!</h1></html>"),
    "empty": (200, {}, b""),
    "list": (200, {}, []),
}
PATIENCE: Final = 3.0
"""Seconds that a client is given to give up waiting."""
HUGE: Final = 67_108_864
"""Bytes of a huge answer: more than a provider may read, and than the buffers of a socket hold."""
_PACE: Final = 0.05
"""Seconds between two bytes of an answer that drips."""
_CHUNK: Final = b" " * 65_536
_ELSEWHERE: Final = "/elsewhere"
"""Below it lies what a redirect leads to, under another name of this host."""


class Wire(Protocol):
    """What stands between a provider and its gateway."""

    url: str
    """The address to give to the provider."""
    requests: list[Request]
    """Every request, in order."""
    struck: int
    """How many requests the fault hit since `fail`."""
    lookups_fail: bool
    """Whether faults can be made to hit lookups."""
    waited_out: int
    """How many clients were still waiting after `PATIENCE` seconds."""
    strayed: list[Request]
    """Requests that followed a redirect to another host."""
    read_out: int
    """How many huge answers were read to their end."""
    errors: list[BaseException]
    """What the counterpart raised instead of answering: a mistake of its own."""

    def fail(self, fault: str, *, on: Target = "write", amount: Money | None = None) -> None:
        """Let every request of that kind go wrong, until `clear`."""
        ...

    def refused(self) -> str:
        """Return an address at which connections are refused."""
        ...

    def clear(self) -> None:
        """Let requests pass again."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


class Proxy:
    """A wire of sockets.

    Args:
        gateway: The counterpart behind it.
    """

    lookups_fail = True

    def __init__(self, gateway: Counterpart) -> None:
        self._gateway = gateway
        self.requests: list[Request] = []
        self.struck = 0
        self.waited_out = 0
        """How many clients were still waiting after `PATIENCE` seconds."""
        self.strayed: list[Request] = []
        """Requests that followed a redirect to another host."""
        self.read_out = 0
        """How many huge answers were read to their end."""
        self.errors: list[BaseException] = []
        """What the counterpart raised instead of answering: a mistake of its own."""
        self.meanwhile: Callable[[Request], object] | None = None
        """Called with a request that was carried out, before it is answered; not for what that sends."""
        self._fault: tuple[str, Target, Money | None] | None = None
        self._replies: dict[str, tuple[Request, Reply]] = {}
        self._refused: dict[str | None, Reply] = {}
        self._lock = threading.Lock()
        self._carrying = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        # Bound and not listening: the port is ours, and whoever connects to it is refused.
        self._refusing = socket.socket()
        self._refusing.bind(("127.0.0.1", 0))
        base = urlsplit(gateway.url).path.rstrip("/") if gateway.url else ""
        self._base = base
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{base}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def fail(self, fault: str, *, on: Target = "write", amount: Money | None = None) -> None:
        """Let every request of that kind go wrong, until `clear`.

        Args:
            fault: One of `FAULTS`.
            on: Which requests: those that can cause an effect, those that cannot, or any.
            amount: For ``wrong_amount`` and ``wrong_currency``: what the answers are about.
        """
        if fault not in FAULTS:
            raise ValueError(f"a fault is one of {', '.join(FAULTS)}, not {fault!r}")
        with self._lock:
            self._fault = (fault, on, amount)
            self.struck = 0

    def refused(self) -> str:
        """Return an address at which connections are refused."""
        return f"http://127.0.0.1:{self._refusing.getsockname()[1]}{self._base}"

    def clear(self) -> None:
        """Let requests pass again."""
        with self._lock:
            self._fault = None

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._open)

    def close(self) -> None:
        """Stop, and close every connection."""
        self._closed = True
        with suppress(OSError):  # wakes up the thread that accepts
            socket.create_connection(self._listener.getsockname()[:2], timeout=1).close()
        self._accepting.join()
        self._listener.close()
        self._refusing.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    # --- connections --------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            connection, address = self._listener.accept()
            if self._closed:
                connection.close()
                return
            with self._lock:
                self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection, address), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, address: Any) -> None:
        try:
            with suppress(OSError):  # a client that hangs up is part of the game
                _Handler(connection, address, self)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def answer(self, request: Request, connection: socket.socket) -> bytes | None:
        """Return what is sent back; None: the connection ends without an answer."""
        if request.path.startswith(_ELSEWHERE):
            self.strayed.append(request)
            return _message((200, {}, {}))
        with self._lock:
            self.requests.append(request)
            fault, amount = self._due(request)
        if fault in _BEFORE:
            if fault in ("reset", "drop_before"):
                self._hang_up(connection, reset=fault == "reset")
                return None
            refusal = self._refusal(fault, request)
            if fault in ("400", "422") and self._key(request) is not None:
                self._refused[str(self._key(request))] = refusal
            return _message(refusal)
        reply = self._carry_out(request, fault)
        self._interrupt(request)
        if fault is None:
            return _message(reply)
        return self._spoilt(fault, reply, amount, connection)

    def _interrupt(self, request: Request) -> None:
        with self._lock:
            meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is None:
            return
        try:
            meanwhile(request)
        except BaseException as error:  # noqa: BLE001 - pytest.fail too: raised again by the test's thread
            self.errors.append(error)
        else:
            self.meanwhile = meanwhile

    def _due(self, request: Request) -> tuple[str | None, Money | None]:
        if self._fault is None:
            return None, None
        fault, on, amount = self._fault
        if on != "any" and self._gateway.is_write(request) != (on == "write"):
            return None, None
        self.struck += 1
        return fault, amount

    def _refusal(self, fault: str, request: Request) -> Reply:
        if fault in _PAGES:
            return _PAGES[fault]
        if fault in ("302", "307"):
            port = self._listener.getsockname()[1]
            return int(fault), {"Location": f"http://localhost:{port}{_ELSEWHERE}{request.path}"}, b""
        status, headers, body = self._gateway.refusal(int(fault[:3]))
        if fault == "401":  # gateways do say "invalid key: sk_..."
            body = {"error": {"message": f"not authorized: {request.headers.get('authorization', '')}"}}
        return status, headers, body

    def _spoilt(
        self, fault: str, reply: Reply, amount: Money | None, connection: socket.socket
    ) -> bytes | None:
        status, headers, body = encoded(reply)
        if fault in ("empty", "cut", "huge") and not body:  # as a 204 looks: nothing is wrong with it
            with self._lock:
                self.struck -= 1
            return _message(reply)
        if fault == "timeout":
            self._wait(connection)
        elif fault == "drip":
            self._drip(_message((status, headers, body)), connection)
        elif fault == "huge":
            self._flood(_message((status, headers, body)), len(body), connection)
        elif fault in ("drop_after", "reset_after"):
            self._hang_up(connection, reset=fault == "reset_after")
        elif fault == "cut":
            whole = _message((status, headers, body or b"{}"))
            connection.sendall(whole[: len(whole) - max(1, len(body) // 2)])
            self._hang_up(connection)
        elif fault in ("500_after", "500_replayed"):
            return _message(self._gateway.refusal(500))
        elif fault in _PAGES:
            return _message(_PAGES[fault])
        else:
            assert amount is not None  # noqa: S101 - given with these faults
            tell: dict[str, Callable[[bytes], bytes]] = {
                "wrong_amount": lambda body: self._gateway.wrong_amount(body, amount),
                "wrong_currency": lambda body: self._gateway.wrong_currency(body, amount),
                "unknown_status": self._gateway.unknown_status,
            }
            lie = tell[fault](body)
            if lie == body:  # it says nothing of that, so nothing is wrong with it
                with self._lock:
                    self.struck -= 1
            return _message((status, headers, lie))
        return None

    def _hang_up(self, connection: socket.socket, *, reset: bool = False) -> None:
        with suppress(OSError):
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
            else:
                connection.shutdown(socket.SHUT_RDWR)

    def _wait(self, connection: socket.socket) -> None:
        """Say nothing until the client gives up."""
        connection.settimeout(PATIENCE)
        try:
            connection.recv(1)
        except TimeoutError:
            with self._lock:
                self.waited_out += 1
        self._hang_up(connection)

    def _drip(self, message: bytes, connection: socket.socket) -> None:
        """Send one byte at a time until the client gives up."""
        until = time.monotonic() + PATIENCE
        connection.settimeout(_PACE)
        # All but the last byte: an answer that were whole in time would be nothing to give up on.
        for place in range(len(message) - 1):
            if time.monotonic() > until:
                break
            connection.sendall(message[place : place + 1])
            with suppress(TimeoutError):
                connection.recv(1)
                return  # it hung up
        with self._lock:
            self.waited_out += 1
        self._hang_up(connection)

    def _flood(self, message: bytes, size: int, connection: socket.socket) -> None:
        """Send the answer behind so many spaces, which JSON allows, that nobody ought to read it."""
        head, _, body = message.partition(b"\r\n\r\n")
        head = head.replace(b"Content-Length: %d" % size, b"Content-Length: %d" % (HUGE + size))
        connection.settimeout(PATIENCE)
        connection.sendall(head + b"\r\n\r\n")
        for _ in range(HUGE // len(_CHUNK)):
            connection.sendall(_CHUNK)
        connection.sendall(body)
        with self._lock:
            self.read_out += 1
        self._hang_up(connection)

    # --- the gateway --------------------------------------------------------------------------------

    def _carry_out(self, request: Request, fault: str | None) -> Reply:
        """Carry a request out, once for its key where keys are remembered here."""
        key = self._key(request)
        if key in self._refused:
            return self._refused[key]
        if self._gateway.replays:
            key = None
        if key is None and fault != "500_replayed":
            return self._pass_on(request)
        key = key or f"{request.method} {request.path} {request.body!r}"
        with self._carrying:
            known = self._replies.get(key)
            if known is not None:
                first, reply = known
                if (first.method, first.path, first.body) == (request.method, request.path, request.body):
                    return reply
                return self._gateway.refusal(422)
            reply = self._pass_on(request)
            if fault == "500_replayed":
                reply = self._gateway.refusal(500)
            if reply[0] not in (401, 403, 408, 409, 429):
                self._replies[key] = (request, reply)
            return reply

    def _key(self, request: Request) -> str | None:
        header = self._gateway.key_header
        return request.headers.get(header.lower()) if header and self._gateway.is_write(request) else None

    def _pass_on(self, request: Request) -> Reply:
        if self._gateway.url is None:
            return self._handled(request)
        url = urlsplit(self._gateway.url)
        connection = HTTPConnection(url.hostname or "127.0.0.1", url.port, timeout=30)
        try:
            hop = ("host", "connection", "content-length", "transfer-encoding", "accept-encoding", "expect")
            headers = {name: value for name, value in request.headers.items() if name not in hop}
            connection.request(request.method, request.path, request.body or None, headers)
            response = connection.getresponse()
            body = response.read()
            told = {n: v for n, v in response.getheaders() if n.lower() not in hop}
        finally:
            connection.close()
        return response.status, told, body

    def _handled(self, request: Request) -> Reply:
        with self._lock:
            try:
                return encoded(
                    self._gateway.handle(request.method, request.path, request.headers, request.body)
                )
            except BaseException as error:  # noqa: BLE001 - pytest.fail too: raised again by the test's thread
                self.errors.append(error)
                return 501, {}, b"the counterpart's handle() failed"


def _message(reply: Reply) -> bytes:
    status, headers, body = encoded(reply)
    lines = [f"HTTP/1.1 {status} Answer", *(f"{name}: {value}" for name, value in headers.items())]
    if status != 204:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body if status != 204 else b"")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self._body()
        message = self.server.answer(Request(self.command, self.path, headers, body), self.connection)
        if message is None:
            self.close_connection = True
        else:
            self.connection.sendall(message)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts: list[bytes] = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is its own
        """Say nothing."""
