"""What the payments of an order add up to."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from paysession.provider import Money

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from paysession_paypal.orders import Capture, Order, Refund

__all__ = ["LIVE", "SETTLED", "exhausted", "left_of", "refunded", "refunds_of", "taken_back", "total"]

LIVE: Final = ("CREATED", "PARTIALLY_CAPTURED")
"""The statuses of an authorization of which more can be captured."""

SETTLED: Final = timedelta(minutes=10)
"""After this long an order shows what was done to it, and two clocks' difference is no matter."""


def total(order: Order, rows: Iterable[Capture | Refund]) -> Money:
    """Return the sum of some of an order's captures or refunds."""
    return sum((row.amount for row in rows), Money.from_minor(0, order.amount.currency))


def left_of(order: Order, now: datetime | None) -> Money:
    """Return how much is authorized and neither captured nor being captured.

    Args:
        order: What PayPal shows.
        now: PayPal's clock, if known. An authorization whose time is over is one that PayPal is
            about to void.
    """
    live = [row for row in order.authorizations if row.status in LIVE]
    # What was captured just before its end may not show yet, and nothing may be concluded without it.
    live = [row for row in live if now is None or row.expires_at is None or now < row.expires_at + SETTLED]
    taken = [row for row in order.captures if not row.failed]
    if not live or any(row.final for row in taken):
        return total(order, ())
    # A reauthorization takes the place of the original one: it does not add to it.
    most, gone = max(row.amount for row in live), total(order, taken)
    return most - gone if gone < most else total(order, ())


def exhausted(order: Order, captures: Iterable[Capture]) -> bool:
    """Return whether these captures leave nothing of the authorization to be captured."""
    captures = tuple(captures)
    most = max((row.amount for row in order.authorizations), default=total(order, ()))
    return any(row.final for row in captures) or total(order, captures) >= most


def refunds_of(order: Order, capture: Capture) -> Money:
    """Return how much of a capture was given back, or is being given back, by refunds that are listed."""
    return total(order, (row for row in order.refunds if row.capture == capture.id and not row.failed))


def taken_back(order: Order) -> dict[str, Money]:
    """Return how much of each capture, by its id, was given back beyond the refunds that are listed.

    A capture that PayPal calls REFUNDED was given back whole: that is how a chargeback shows.
    """
    return {
        row.id: row.amount - refunds_of(order, row)
        for row in order.captures
        if row.status == "REFUNDED" and refunds_of(order, row) < row.amount
    }


def refunded(order: Order) -> Money:
    """Return all that was given back, chargebacks included."""
    done = total(order, (row for row in order.refunds if row.status == "COMPLETED"))
    return sum(taken_back(order).values(), done)
