"""Balance transactions: https://docs.stripe.com/api/balance_transactions. The fees are made up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paysession_sandbox.stripe.parameters import EXPAND, anything, integer, read, text

if TYPE_CHECKING:
    from paysession_sandbox.stripe.account import Account
    from paysession_sandbox.stripe.wire import Json

__all__ = ["listed", "record", "retrieve"]

_DAY: Final = 86_400
_LIST: Final = {
    "created": anything,
    "currency": text(),
    "source": text(),
    "type": text(),
    "limit": integer(1, 100),
    "starting_after": text(),
    "ending_before": text(),
    "expand": EXPAND,
}


def record(
    account: Account, kind: str, amount: int, currency: str, source: str, *, fee: int | None = None
) -> Json:
    """Record that money came or went.

    Args:
        account: Whose.
        kind: ``charge``, ``payment``, ``refund`` or ``adjustment`` (a dispute).
        amount: Less than nothing if it went.
        currency: Of what.
        source: The object that it belongs to.
        fee: What Stripe keeps; by default 1.5 % and 25 of a charge, nothing of anything else.
    """
    if fee is None:
        fee = amount * 15 // 1000 + 25 if kind in ("charge", "payment") and amount > 0 else 0
    detail = {
        "amount": fee,
        "application": None,
        "currency": currency,
        "description": "fee",
        "type": "stripe_fee",
    }
    category = {"adjustment": "dispute" if amount < 0 else "dispute_reversal"}.get(kind, kind)
    return account.new(
        "balance_transaction",
        {
            "amount": amount,
            "available_on": account.now + 7 * _DAY,
            "balance_type": "payments",
            "currency": currency,
            "description": None,
            "exchange_rate": None,
            "fee": fee,
            "fee_details": [detail] if fee else [],
            "net": amount - fee,
            "reporting_category": "charge" if category == "payment" else category,
            "source": source,
            "status": "pending",
            "type": kind,
        },
    )


def retrieve(account: Account, params: Json, identifier: str) -> Json:
    """GET /v1/balance_transactions/{id}."""
    asked = read(params, {"expand": EXPAND})
    return account.show(account.get("balance_transaction", identifier), asked.get("expand", ()))


def listed(account: Account, params: Json) -> Json:
    """GET /v1/balance_transactions."""
    asked = read(params, _LIST)

    def wanted(row: Json) -> bool:
        return all(row[name] == asked[name] for name in ("currency", "source", "type") if name in asked)

    return account.listed("balance_transaction", asked, wanted, url="/v1/balance_transactions")
