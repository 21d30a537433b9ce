"""Refunds: https://docs.stripe.com/api/refunds and https://docs.stripe.com/refunds."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from paysession_sandbox.stripe import balance
from paysession_sandbox.stripe.cards import CARDS
from paysession_sandbox.stripe.parameters import (
    EXPAND,
    anything,
    choice,
    integer,
    left_out,
    merged,
    metadata,
    read,
    text,
)
from paysession_sandbox.stripe.refusals import Refusal, invalid, missing

if TYPE_CHECKING:
    from paysession_sandbox.stripe.account import Account
    from paysession_sandbox.stripe.wire import Json

__all__ = ["become", "cancel", "create", "left", "listed", "retrieve", "settle_later", "update"]

_CREATE: Final = {
    "amount": integer(1),
    "charge": text(),
    "payment_intent": text(),
    "reason": choice("duplicate", "fraudulent", "requested_by_customer"),
    "metadata": metadata,
    "instructions_email": text(),
    "expand": EXPAND,
    "currency": left_out,
    "customer": left_out,
    "origin": left_out,
    "refund_application_fee": left_out,
    "reverse_transfer": left_out,
}
_LIST: Final = {
    "charge": text(),
    "payment_intent": text(),
    "created": anything,
    "limit": integer(1, 100),
    "starting_after": text(),
    "ending_before": text(),
    "expand": EXPAND,
}
_SOON: Final = timedelta(seconds=5)
_GONE: Final = ("failed", "canceled")
_CHARGED_BACK: Final = ("needs_response", "under_review", "lost")


def left(account: Account, charge: Json) -> int:
    """Return what of a charge can still be refunded."""
    rows = (row for row in account.all("refund") if row["charge"] == charge["id"])
    return int(charge["amount_captured"] - sum(row["amount"] for row in rows if row["status"] not in _GONE))


def create(account: Account, params: Json) -> Json:
    """POST /v1/refunds."""
    asked = read(params, _CREATE)
    charge = _charge(account, asked)
    _refuse_if_disputed(account, charge)
    rest = left(account, charge)
    if rest <= 0:
        raise Refusal(
            400,
            executed=True,
            code="charge_already_refunded",
            message=f"Charge {charge['id']} has already been refunded.",
        )
    amount = asked.get("amount", rest)
    if amount > rest:
        raise Refusal(
            400,
            executed=True,
            param="amount",
            message=f"Refund amount ({amount}) is greater than unrefunded amount on charge ({rest})",
        )
    refund = _make(account, charge, amount, asked)
    return account.show(refund, asked.get("expand", ()))


def _charge(account: Account, asked: Json) -> Json:
    if "charge" not in asked and "payment_intent" not in asked:
        raise missing("payment_intent")
    if "charge" in asked:
        charge = account.get("charge", asked["charge"], param="charge", status=404)
        if asked.get("payment_intent", charge["payment_intent"]) != charge["payment_intent"]:
            raise invalid("payment_intent", f"Charge {charge['id']} is not of that PaymentIntent.")
    else:
        intent = account.get("payment_intent", asked["payment_intent"], param="payment_intent", status=404)
        charge = account.named("charge", intent["latest_charge"]) or {"status": "none"}
    if charge["status"] != "succeeded" or not charge["captured"]:
        name = asked.get("payment_intent") or charge.get("payment_intent")
        message = f"This PaymentIntent ({name}) does not have a successful charge to refund."
        raise Refusal(400, executed=True, message=message)
    return charge


def _refuse_if_disputed(account: Account, charge: Json) -> None:
    for dispute in account.all("dispute"):
        if dispute["charge"] == charge["id"] and dispute["status"] in _CHARGED_BACK:
            raise Refusal(
                400,
                executed=True,
                code="charge_disputed",
                message=f"Charge {charge['id']} has been charged back; it cannot be refunded.",
            )


def _make(account: Account, charge: Json, amount: int, asked: Json) -> Json:
    kind = charge["payment_method_details"]["type"]
    method = account.named("payment_method", charge["payment_method"]) or {}
    behaviour = CARDS[method["_number"]].refund if method.get("_number") in CARDS else ""
    status = "pending" if behaviour == "pending" else account.settings.refund_status
    destination = {
        "card": {
            "reference_status": "pending",
            "reference_type": "acquirer_reference_number",
            "type": "refund",
        }
    }
    refund = account.new(
        "refund",
        {
            "amount": amount,
            "balance_transaction": None,
            "charge": charge["id"],
            "currency": charge["currency"],
            "destination_details": {**(destination if kind == "card" else {}), "type": kind},
            "metadata": merged({}, asked.get("metadata")),
            "payment_intent": charge["payment_intent"],
            "reason": asked.get("reason"),
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": status,
            "transfer_reversal": None,
        },
    )
    if status not in _GONE:
        _take(account, refund, charge)
    account.record_event("refund.created", refund)
    if behaviour == "pending":
        account.later(_SOON, "refund_succeeds", refund["id"])
    elif behaviour == "failed":
        account.later(_SOON, "refund_fails", refund["id"])
    return refund


def _take(account: Account, refund: Json, charge: Json) -> None:
    charge["amount_refunded"] += refund["amount"]
    charge["refunded"] = charge["amount_refunded"] >= charge["amount"]
    if account.settings.balance_lag:
        account.later(account.settings.balance_lag, "balance", refund["id"])
    elif refund["status"] == "succeeded":
        entry = balance.record(account, "refund", -refund["amount"], refund["currency"], refund["id"])
        refund["balance_transaction"] = entry["id"]
    account.record_event("charge.refunded", charge)


def become(account: Account, refund: Json, status: str, reason: str = "expired_or_canceled_card") -> None:
    """Have a refund that is under way succeed, or one fail or be canceled: the money comes back then.

    Raises:
        Refusal: It is in no state for it.
    """
    before = refund["status"]
    if before in _GONE or before == status or (status == "canceled" and before == "succeeded"):
        raise Refusal(400, executed=True, message=f"The refund {refund['id']} is {before}.")
    charge = account.get("charge", refund["charge"])
    refund["status"] = status
    if status in _GONE:
        charge["amount_refunded"] -= refund["amount"]
        charge["refunded"] = False
        if status == "failed":
            refund["failure_reason"] = reason
        if refund["balance_transaction"] is not None:
            entry = balance.record(account, "refund", refund["amount"], refund["currency"], refund["id"])
            refund["failure_balance_transaction"] = entry["id"]
    elif refund["balance_transaction"] is None:
        entry = balance.record(account, "refund", -refund["amount"], refund["currency"], refund["id"])
        refund["balance_transaction"] = entry["id"]
    account.record_event(
        "refund.failed" if status == "failed" else "refund.updated", refund, {"status": before}
    )
    account.record_event("charge.refund.updated", refund, {"status": before})


def settle_later(account: Account, identifier: str, status: str) -> None:
    """Have what was arranged for a refund happen, if nothing else has happened to it."""
    refund = account.get("refund", identifier)
    if refund["status"] in ("pending", "succeeded") and refund["status"] != status:
        become(account, refund, status)


def retrieve(account: Account, params: Json, identifier: str) -> Json:
    """GET /v1/refunds/{id}."""
    asked = read(params, {"expand": EXPAND})
    return account.show(account.get("refund", identifier), asked.get("expand", ()))


def update(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/refunds/{id}: its metadata."""
    asked = read(params, {"metadata": metadata, "expand": EXPAND})
    refund = account.get("refund", identifier)
    refund["metadata"] = merged(refund["metadata"], asked.get("metadata"))
    account.record_event("refund.updated", refund)
    return account.show(refund, asked.get("expand", ()))


def cancel(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/refunds/{id}/cancel: one that waits for the payer."""
    asked = read(params, {"expand": EXPAND})
    refund = account.get("refund", identifier)
    if refund["status"] != "requires_action":
        raise Refusal(400, executed=True, message=f"The refund {identifier} is {refund['status']}.")
    become(account, refund, "canceled")
    return account.show(refund, asked.get("expand", ()))


def listed(account: Account, params: Json) -> Json:
    """GET /v1/refunds."""
    asked = read(params, _LIST)

    def wanted(row: Json) -> bool:
        return all(row[name] == asked[name] for name in ("charge", "payment_intent") if name in asked)

    return account.listed("refund", asked, wanted, url="/v1/refunds")
