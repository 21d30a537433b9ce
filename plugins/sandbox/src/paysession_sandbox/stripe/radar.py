"""Early fraud warnings: https://docs.stripe.com/api/radar/early_fraud_warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paysession_sandbox.stripe.parameters import EXPAND, anything, integer, read, text

if TYPE_CHECKING:
    from paysession_sandbox.stripe.account import Account
    from paysession_sandbox.stripe.wire import Json

__all__ = ["listed", "retrieve", "warn"]

_KIND: Final = "radar.early_fraud_warning"
_LIST: Final = {
    "charge": text(),
    "payment_intent": text(),
    "created": anything,
    "limit": integer(1, 100),
    "starting_after": text(),
    "ending_before": text(),
    "expand": EXPAND,
}


def warn(account: Account, charge: Json, fraud_type: str) -> Json:
    """Have the card's issuer report a payment as fraud, before any dispute."""
    warning = account.new(
        _KIND,
        {
            "actionable": _is_actionable(charge),
            "charge": charge["id"],
            "fraud_type": fraud_type,
            "payment_intent": charge["payment_intent"],
        },
    )
    account.record_event(f"{_KIND}.created", warning)
    return warning


def _is_actionable(charge: Json) -> bool:
    """Return whether the merchant can still do something: it is neither refunded nor disputed."""
    return not (charge["refunded"] or charge["disputed"])


def retrieve(account: Account, params: Json, identifier: str) -> Json:
    """GET /v1/radar/early_fraud_warnings/{id}."""
    asked = read(params, {"expand": EXPAND})
    return account.show(_fresh(account, account.get(_KIND, identifier)), asked.get("expand", ()))


def listed(account: Account, params: Json) -> Json:
    """GET /v1/radar/early_fraud_warnings."""
    asked = read(params, _LIST)

    def wanted(row: Json) -> bool:
        _fresh(account, row)
        return all(row[name] == asked[name] for name in ("charge", "payment_intent") if name in asked)

    return account.listed(_KIND, asked, wanted, url="/v1/radar/early_fraud_warnings")


def _fresh(account: Account, warning: Json) -> Json:
    warning["actionable"] = _is_actionable(account.get("charge", warning["charge"]))
    return warning
