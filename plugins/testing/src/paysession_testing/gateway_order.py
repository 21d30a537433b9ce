"""What the testing gateway keeps: its ledger's entries, and the orders that they belong to."""

from __future__ import annotations

from typing import Any, Final

from attrs import field, mutable

__all__ = ["OPEN_STATES", "Entry", "Order"]

OPEN_STATES: Final = ("pending", "succeeded")


@mutable
class Entry:
    """One line of the ledger: an effect. Only its state changes.

    Attributes:
        number: Its place in the ledger, from 1.
        order: The gateway's id of the order.
        ours: The merchant's id of it.
        kind: ``create``, ``update``, ``authorize``, ``increment``, ``capture``, ``refund``, ``cancel`` or
            ``chargeback``.
        amount: Minor units; of an increment, the difference.
        currency: Three letters.
        key: The idempotency key it was asked with; empty if not through the API.
        operation: The merchant's metadata.
        by: ``api``, ``payer``, ``dashboard`` or ``bank``.
        state: ``pending``, ``succeeded``, ``failed`` or ``reversed``.
        at: When, in seconds of the gateway's clock.
        final: A capture that releases the rest; if it fails, of nothing.
    """

    number: int
    order: str
    ours: str
    kind: str
    amount: int
    currency: str
    key: str
    operation: str
    by: str
    state: str
    at: float
    final: bool = False

    @property
    def id(self) -> str:
        """The gateway's id of the effect."""
        return f"fx_{self.number}"


@mutable
class Order:
    """What the merchant's session is here."""

    id: str
    ours: str
    amount: int
    currency: str
    automatic: bool
    payer: str = "new"
    """``new``, ``approved``, ``declined``, ``challenged`` or ``debit`` (approved, and slow)."""
    granted: int = 0
    """What was authorized before anything was released."""
    released: bool = False
    """What is not captured was released."""
    entries: list[Entry] = field(factory=list[Entry])
    views: list[tuple[float, dict[str, Any]]] = field(factory=list[tuple[float, dict[str, Any]]])

    def total(self, kind: str, states: tuple[str, ...] = ("succeeded",)) -> int:
        """Return the sum of one kind of effect in some states."""
        return sum(entry.amount for entry in self.entries if entry.kind == kind and entry.state in states)

    @property
    def taken(self) -> int:
        """What is captured, or being captured."""
        return self.total("capture", OPEN_STATES)

    @property
    def authorized(self) -> int:
        """What is authorized now, captured parts included."""
        return self.taken if self.released else max(self.granted, self.taken)

    @property
    def refundable(self) -> int:
        """What is captured, and was neither given back nor taken back."""
        return self.total("capture") - self.total("refund", OPEN_STATES) - self.total("chargeback")

    @property
    def pending(self) -> Entry | None:
        """A debit that the bank has not settled yet."""
        return next((e for e in self.entries if e.kind == "authorize" and e.state == "pending"), None)

    @property
    def state(self) -> str:
        """``open``, ``pending``, ``authorized``, ``declined`` or ``canceled``."""
        if self.authorized:
            return "authorized"
        if self.released:
            return "canceled"
        if self.pending is not None:
            return "pending"
        return "declined" if self.payer == "declined" else "open"

    def view(self) -> dict[str, Any]:
        """Return what the API shows of the order."""
        return {
            "order": self.id,
            "ours": self.ours,
            "amount": self.amount,
            "currency": self.currency,
            "status": self.state,
            "ready": self.state == "open" and self.payer in ("approved", "debit"),
            "action": f"https://gateway.example/pay/{self.id}",
            "authorized": self.authorized,
            "captured": self.total("capture"),
            "refunded": self.total("refund"),
            "charged_back": self.total("chargeback"),
            "effects": [
                {"id": e.id, "kind": e.kind, "amount": e.amount, "state": e.state, "key": e.operation}
                for e in self.entries
                if e.kind in ("authorize", "capture", "refund", "cancel", "chargeback")
            ],
        }
