"""A small web server on this machine, which the stand-ins answer through."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Server"]

_NO_BODY = (204, 304)


class Answered(Protocol):
    """An answer, of whichever stand-in."""

    @property
    def status(self) -> int | None:
        """The status; None: the connection is cut without an answer."""
        ...

    @property
    def body(self) -> bytes:
        """The body."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, with a type if it is not JSON."""
        ...


class Server:
    """Answers at ``http://127.0.0.1:PORT`` from threads of its own, until it is closed.

    Args:
        handle: Answers a request: its method, its path with the query, its headers with lower-case
            names, and its body.
        port: The port; 0 for a free one.

    Attributes:
        url: The address.
    """

    def __init__(self, handle: Callable[[str, str, dict[str, str], bytes], Answered], port: int = 0) -> None:
        self._server = _Threads(("127.0.0.1", port), _handler(handle))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and end the connections that clients keep open."""
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()


class _Threads(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        with self._guard:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client may hang up."""


def _handler(handle: Callable[[str, str, dict[str, str], bytes], Answered]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # An answer is two small writes; waiting for the first one's acknowledgement costs 40 ms.
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else b""
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = handle(self.command, self.path, headers, body)
            if answer.status is None:
                self.close_connection = True
                with suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                return
            with suppress(OSError):  # the client may be gone
                self.send_response_only(answer.status)
                self.send_header("Date", self.date_time_string())
                given = {"Content-Type": "application/json", **answer.headers}
                for name, value in given.items():
                    self.send_header(name, value)
                if answer.status not in _NO_BODY:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

        do_GET = do_POST = do_DELETE = do_OPTIONS = do_HEAD = do_PATCH = _answer  # noqa: N815 - the base class looks for these

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Log nothing."""

    return Handler
