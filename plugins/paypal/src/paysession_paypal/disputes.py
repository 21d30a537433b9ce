"""PayPal's disputes as typed values, and what is kept of them between two lookups.

The order says that money is held or was taken. The dispute says how much of a capture it is about, why, until
when the merchant may answer, and what it took in the end
(https://developer.paypal.com/docs/api/customer-disputes/v1/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import frozen

from paysession.provider import Dispute, Money, OutcomeUnknown
from paysession_paypal import amounts
from paysession_paypal.document import as_list, as_object, moment, text_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    from paysession_paypal.document import Document

__all__ = ["Case", "Disputed", "Standing", "read_case"]

Standing = Literal["opened", "under_review", "won", "lost"]

_DECIDED: Final = "RESOLVED"
_ANSWERED: Final = ("UNDER_REVIEW", "WAITING_FOR_BUYER_RESPONSE")
_AGAINST: Final = ("RESOLVED_BUYER_FAVOUR", "ACCEPTED")
"""The outcomes for which the merchant pays; with ``RESOLVED_WITH_PAYOUT`` PayPal does."""
_SETTLEMENT: Final = ("DISPUTE_SETTLEMENT",)
_FEES: Final = ("DISPUTE_FEE", "CHARGEBACK_FEE", "DISPUTE_SETTLEMENT_FEE")


@frozen(kw_only=True)
class Case:
    """A dispute as PayPal shows it.

    Attributes:
        id: PayPal's id.
        captures: The ids of the captures that it is about.
        status: How it stands, as the merchant sees it.
        amount: How much the payer disputes, if it is stated.
        reason: Why, in PayPal's word.
        due: Until when the merchant may answer.
        taken: What it took from the merchant, if that is stated.
        moved: Whether ``taken`` was debited, perhaps in another currency; else it is what was decided.
        fee: What PayPal charges the merchant for it, if anything.
        created_at: When it was opened.
        updated_at: When it last changed.
    """

    id: str
    captures: tuple[str, ...]
    status: Standing
    amount: Money | None
    reason: str | None
    due: datetime | None
    taken: Money | None
    moved: bool
    fee: Money | None
    created_at: datetime | None
    updated_at: datetime | None


@frozen(kw_only=True)
class Disputed:
    """What is kept of a dispute of one capture.

    Attributes:
        capture: The capture's id.
        amount: How much of it is disputed.
        status: How the dispute stands, as the merchant sees it.
        id: PayPal's id of the dispute; None: only the order showed it, because disputes cannot be queried.
        reason: Why, in PayPal's word.
        due: Until when the merchant may answer.
        claim: What it took from the merchant by its own record, if that is stated.
        moved: Whether ``claim`` is what was debited; else it is what was decided.
        fee: What PayPal charges the merchant for it, if anything.
        taken: What it took, though PayPal may have returned it since.
        over: Whether its chargeback has ended in the ledger: it took nothing, or the money came back.
        created_at: When it was opened, if PayPal says so.
        updated_at: When it last changed, if PayPal says so.
    """

    capture: str
    amount: Money
    status: Standing = "opened"
    id: str | None = None
    reason: str | None = None
    due: datetime | None = None
    claim: Money | None = None
    moved: bool = False
    fee: Money | None = None
    taken: Money | None = None
    over: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is not decided."""
        return self.status in ("opened", "under_review")

    @property
    def dispute(self) -> Dispute:
        """How it stands, in the core's terms."""
        due = self.due if self.status == "opened" else None
        return Dispute(self.status, reason=self.reason, evidence_due_by=due, fee=self.fee)

    def json(self) -> dict[str, Any]:
        """Return it as it is stored: JSON, without what is empty."""
        money = {name: amounts.text(getattr(self, name)) for name in _AMOUNTS}
        times = {name: getattr(self, name) for name in _TIMES}
        texts = {name: getattr(self, name) for name in ("capture", "status", "id", "reason")}
        tree: dict[str, Any] = {**texts, **money, "moved": self.moved, "over": self.over}
        tree |= {name: time.isoformat() for name, time in times.items() if time is not None}
        return {name: value for name, value in tree.items() if value}

    @classmethod
    def read(cls, value: object) -> dict[str, Disputed]:
        """Return what was stored, by the references of the chargebacks; what cannot be read is left out."""
        found: dict[str, Disputed] = {}
        for reference, part in (as_object(value) or {}).items():
            tree = as_object(part) or {}
            money = {name: amounts.of_text(tree.get(name)) for name in _AMOUNTS}
            capture, status, amount = (
                text_in(tree, "capture"),
                _standing(tree.get("status")),
                money.pop("amount"),
            )
            if capture is None or status is None or amount is None:
                continue
            found[reference] = cls(
                capture=capture,
                amount=amount,
                status=status,
                id=text_in(tree, "id"),
                reason=text_in(tree, "reason"),
                moved=tree.get("moved") is True,
                over=tree.get("over") is True,
                claim=money["claim"],
                fee=money["fee"],
                taken=money["taken"],
                due=moment(tree.get("due")),
                created_at=moment(tree.get("created_at")),
                updated_at=moment(tree.get("updated_at")),
            )
        return found


_TIMES: Final = ("due", "created_at", "updated_at")
_AMOUNTS: Final = ("amount", "claim", "fee", "taken")


def read_case(document: Document) -> Case:
    """Return a dispute as a typed value.

    Raises:
        OutcomeUnknown: It has no id.
    """
    identifier = text_in(document, "dispute_id")
    if identifier is None:
        raise OutcomeUnknown("PayPal's dispute has no dispute_id")
    transactions = filter(None, map(as_object, as_list(document.get("disputed_transactions"))))
    outcome = as_object(document.get("dispute_outcome")) or {}
    decided, amount = text_in(document, "status") == _DECIDED, _amount(document.get("dispute_amount"))
    debited = _net(document, _SETTLEMENT)
    against = text_in(outcome, "outcome_code") in _AGAINST
    taken, stated = debited, _amount(outcome.get("amount_refunded")) or amount
    if taken is not None and taken.minor and stated is not None and taken.currency != stated.currency:
        taken = None  # debited from a balance in another currency than was paid in
    if taken is None and decided and against:
        taken = stated
    status: Standing = "under_review" if text_in(document, "status") in _ANSWERED else "opened"
    if decided:
        status = "lost" if against else "won"
    fee = _net(document, _FEES)
    return Case(
        id=identifier,
        captures=tuple(filter(None, (text_in(row, "seller_transaction_id") for row in transactions))),
        status=status,
        amount=amount,
        reason=text_in(document, "reason"),
        due=moment(document.get("seller_response_due_date")),
        taken=taken,
        moved=debited is not None,
        fee=fee if fee is not None and fee.minor else None,
        created_at=moment(document.get("create_time")),
        updated_at=moment(document.get("update_time")),
    )


def _net(document: Document, reasons: Collection[str]) -> Money | None:
    """Return what was debited from the merchant for these reasons and not credited, if that is stated."""
    moved = list(_movements(document, reasons))
    if not moved or len({amount.currency for amount, _ in moved}) > 1:
        return None
    minor = sum(amount.minor * sign for amount, sign in moved)
    return Money.from_minor(max(0, minor), moved[0][0].currency)


def _movements(document: Document, reasons: Collection[str]) -> Iterator[tuple[Money, int]]:
    for row in filter(None, map(as_object, as_list(document.get("money_movements")))):
        sign = {"DEBIT": 1, "CREDIT": -1}.get(text_in(row, "type") or "")
        amount = _amount(row.get("amount"))
        if row.get("affected_party") == "SELLER" and row.get("reason") in reasons and sign and amount:
            yield amount, sign


def _amount(value: object) -> Money | None:
    try:
        return amounts.read(value)
    except OutcomeUnknown:
        return None


def _standing(value: object) -> Standing | None:
    words: tuple[Standing, ...] = ("opened", "under_review", "won", "lost")
    return next((word for word in words if word == value), None)
