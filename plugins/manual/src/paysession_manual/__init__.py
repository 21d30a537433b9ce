"""Bank transfer, cash and invoice: a person confirms that the money came.

The effects are ours (there is no gateway that could know better), so each operation is one
transaction of the store, and nothing is ever in doubt.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from attrs import field, frozen
from attrs.validators import ge, in_, instance_of

from paysession.provider import (
    API_VERSION,
    Capabilities,
    Declined,
    Instructions,
    Operation,
    Outcome,
    PaymentSession,
    hookimpl,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Manual"]

METHODS: Final = ("bank_transfer", "cash", "invoice")
MAX_WORDS: Final = 200


@frozen(kw_only=True)
class Manual:
    """The provider ``manual``.

    What the payer is to do is in ``session.next_action`` (`Instructions` with ``reference``,
    ``amount``, ``currency``, and for a transfer the account). A person's confirmation authorizes:
    ``payments.authorize(id, payload={"by": "ann", "reference": "statement 12, line 3"})``; both are
    kept in ``session.data``.

    Args:
        method: ``bank_transfer``, ``cash`` or ``invoice``; a session's ``data["method"]`` wins.
        account_holder: Whom to pay, for a transfer or an invoice.
        iban: The account, for a transfer or an invoice.
        bic: The account's bank.
        due_days: How many days the payer has, for an invoice or a transfer.
        auto_authorize: Authorize without the name of who confirms: for cash at a till, or for tests. Such
            a provider is for operators only; a payer cannot choose it.
    """

    API_VERSION: ClassVar = API_VERSION
    method: str = field(default="bank_transfer", validator=in_(METHODS))
    account_holder: str = field(default="", validator=instance_of(str))
    iban: str = field(default="", validator=instance_of(str))
    bic: str = field(default="", validator=instance_of(str))
    due_days: int = field(default=14, validator=[instance_of(int), ge(0)])
    auto_authorize: bool = field(default=False, validator=instance_of(bool))

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; see `paysession.provider.Capabilities`."""
        return Capabilities(
            capture="multiple", refund="multiple", local=True, operator_only=self.auto_authorize
        )

    @hookimpl
    def initiate(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Say what the payer is to do."""
        data = session.data
        method = data.get("method", self.method)
        if method not in METHODS:
            raise Declined("unknown_method", f"method is one of {', '.join(METHODS)}, not {method!r:.40}")
        fields = {
            "amount": f"{session.amount.amount:f}",
            "currency": session.amount.currency,
            "reference": session.collection_reference,
        }
        if method != "cash":
            account = {"account_holder": self.account_holder, "iban": self.iban, "bic": self.bic}
            fields |= {name: value for name, value in account.items() if value}
            fields["due"] = (operation.created_at + timedelta(days=self.due_days)).date().isoformat()
        return Outcome.pending(next_action=Instructions(method, fields), data={**data, "method": method})

    @hookimpl
    def update(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Ask for another amount."""
        action = session.next_action
        if not isinstance(action, Instructions):
            return Outcome.pending()
        fields = {**action.fields, "amount": f"{operation.amount.amount:f}"}
        return Outcome.pending(next_action=Instructions(action.kind, fields))

    @hookimpl
    def authorize(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Note who confirms that the money came, or will come."""
        confirmed = _confirmation(operation.payload)
        by_payer = operation.origin == "payer"  # what a payer claims proves nothing here
        if by_payer or ("by" not in confirmed and not self.auto_authorize):
            return Outcome.requires_more(next_action=session.next_action)
        data: dict[str, Any] = {**session.data, "confirmed": confirmed}
        if session.capture == "automatic":
            return Outcome.captured(session.amount, data=data)
        return Outcome.authorized(data=data)

    @hookimpl
    def capture(self, operation: Operation) -> Outcome:
        """Note that money came in."""
        return Outcome.captured(operation.amount, released=operation.final)

    @hookimpl
    def refund(self, operation: Operation) -> Outcome:
        """Note that money was given back."""
        return Outcome.refunded(operation.amount)

    @hookimpl
    def cancel(self) -> Outcome:
        """Note that no more money is expected."""
        return Outcome.canceled()


def _confirmation(payload: Mapping[str, Any]) -> dict[str, str]:
    """Return who confirms, and by which reference; of a payload only these two are kept."""
    found: dict[str, str] = {}
    for name in ("by", "reference"):
        value = payload.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or not 0 < len(value) <= MAX_WORDS:
            raise Declined("invalid_confirmation", f"{name} is a text of 1 to {MAX_WORDS} characters")
        found[name] = value
    return found
