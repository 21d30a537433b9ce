"""The objects in the fake PayPal's ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from attrs import define, field

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Authorization", "Capture", "Dispute", "Order", "Refund", "Saved", "SetupToken"]


@define(eq=False)
class Refund:
    """A refund of a capture."""

    id: str
    amount: Decimal
    custom_id: str | None
    invoice_id: str | None
    note: str | None
    created_at: datetime
    status: str = "COMPLETED"


@define(eq=False)
class Dispute:
    """A payer's dispute of a capture.

    Attributes:
        stage: Its ``dispute_life_cycle_stage``: ``INQUIRY`` holds no money.
        refunded: How much the payer got back in the end.
        movements: What was debited from the merchant or credited to it: the type, the reason, the amount.
    """

    id: str
    amount: Decimal
    created_at: datetime
    stage: str = "CHARGEBACK"
    status: str = "WAITING_FOR_SELLER_RESPONSE"
    outcome: str | None = None
    refunded: Decimal = Decimal(0)
    reason: str = "MERCHANDISE_OR_SERVICE_NOT_RECEIVED"
    updated_at: datetime | None = None
    movements: list[tuple[str, str, Decimal]] = field(factory=list[tuple[str, str, Decimal]])


@define(eq=False)
class Capture:
    """A capture, of an authorization or of an order at once.

    Attributes:
        taken: How much of it disputes took, and did not return.
    """

    id: str
    amount: Decimal
    invoice_id: str | None
    final: bool
    created_at: datetime
    status: str = "COMPLETED"
    reason: str | None = None
    taken: Decimal = Decimal(0)
    refunds: list[Refund] = field(factory=list[Refund])
    disputes: list[Dispute] = field(factory=list[Dispute])

    @property
    def failed(self) -> bool:
        """Whether nothing came of it: what a dispute took had been settled before."""
        return self.status in ("DECLINED", "FAILED") and self.reason != "CHARGEBACK"

    @property
    def refunded(self) -> Decimal:
        """How much was given back, or is being given back."""
        return sum((r.amount for r in self.refunds if r.status in ("COMPLETED", "PENDING")), Decimal(0))


@define(eq=False)
class Authorization:
    """An authorization of an order.

    Attributes:
        parent: The authorization that this one continues, if it is a reauthorization.
    """

    id: str
    amount: Decimal
    created_at: datetime
    status: str = "CREATED"
    parent: Authorization | None = None
    captures: list[Capture] = field(factory=list[Capture])

    @property
    def captured(self) -> Decimal:
        """How much was captured, or is being captured."""
        return sum((c.amount for c in self.captures if not c.failed), Decimal(0))


@define(eq=False)
class Order:
    """An order of one purchase unit.

    Attributes:
        source: What it is paid with, in ``payment_source``; empty: not said.
        saves: The payer's way to pay is to be saved.
        instruction: Its ``processing_instruction``.
        paid_with: What ``payment_source`` shows once the payer has approved.
    """

    id: str
    intent: str
    currency: str
    amount: Decimal
    unit: dict[str, Any]
    context: dict[str, Any]
    created_at: datetime
    status: str
    source: str = ""
    saves: bool = False
    instruction: str | None = None
    paid_with: dict[str, Any] = field(factory=dict[str, Any])
    approved_at: datetime | None = None
    authorizations: list[Authorization] = field(factory=list[Authorization])
    captured_at_once: list[Capture] = field(factory=list[Capture])

    @property
    def captures(self) -> list[Capture]:
        """All its captures."""
        return [*self.captured_at_once, *(c for a in self.authorizations for c in a.captures)]


@define(eq=False)
class SetupToken:
    """What a payer is asked to let the merchant save, without a payment.

    Attributes:
        source: The ``payment_source`` that is to be saved.
        customer: PayPal's id of the payer at this merchant.
        told: What stands in ``payment_source``, with the URLs that the payer comes back to.
        status: ``PAYER_ACTION_REQUIRED``, ``APPROVED`` or ``VAULTED``.
    """

    id: str
    source: str
    customer: str
    told: dict[str, Any]
    created_at: datetime
    status: str = "PAYER_ACTION_REQUIRED"


@define(eq=False)
class Saved:
    """What is kept beside a payment token.

    Attributes:
        customer: PayPal's id of the payer at this merchant.
        shown: What ``payment_source`` shows of it, beside the payer's account.
    """

    customer: str
    shown: dict[str, Any]
