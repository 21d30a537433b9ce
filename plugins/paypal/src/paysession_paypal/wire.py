"""What crosses the wire to PayPal, and who may carry it: the seam at which a transport is replaced."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from attrs import Factory, field, frozen

from paysession_paypal.document import as_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from paysession_paypal.document import Document

__all__ = ["Lost", "NotSent", "Reply", "Request", "Transport"]


class NotSent(Exception):
    """The request certainly never reached PayPal: refused, unresolved, or we have no token."""


class Lost(Exception):
    """The request was sent, and no whole answer came back: nobody here knows what became of it."""


@frozen
class Request:
    """One call of PayPal's REST API.

    Attributes:
        method: ``GET``, ``POST`` or ``PATCH``.
        path: The path below the endpoint, such as ``/v2/checkout/orders``.
        body: The body's bytes; None: no body, and no ``Content-Length`` of one.
        headers: Headers of this call, such as ``PayPal-Request-Id``. No credentials.
    """

    method: str
    path: str
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = Factory(dict[str, str])


@frozen
class Reply:
    """What came back.

    Attributes:
        status: The HTTP status.
        body: The body's bytes, whatever they are.
        debug_id: What PayPal's support asks for.
        date: PayPal's clock, from the ``Date`` header.
        retry_after: Seconds to wait, if PayPal said so.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    debug_id: str | None = None
    date: datetime | None = None
    retry_after: float | None = None

    @property
    def document(self) -> Document | None:
        """The body as a JSON object; None: it is none."""
        try:
            return as_object(json.loads(self.body.decode("utf-8")))
        except (ValueError, RecursionError):
            return None


class Transport(Protocol):
    """Carries requests to PayPal with the merchant's credentials.

    An implementation authenticates, sends the request once (once more after a 401 with a new
    token, for a refused request was not executed), follows no redirect, and keeps to the deadline.
    It is called from several threads.
    """

    def send(self, request: Request, deadline: float) -> Reply:
        """Send a request and return whatever answer came back, of any status.

        Args:
            request: What to send.
            deadline: When to give up, on the clock of ``time.monotonic``.

        Raises:
            NotSent: It certainly never reached PayPal.
            Lost: It may have reached PayPal.
        """
        ...

    def close(self) -> None:
        """Close connections."""
        ...
