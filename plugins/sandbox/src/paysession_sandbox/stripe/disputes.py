"""Disputes: https://docs.stripe.com/disputes/how-disputes-work and https://docs.stripe.com/api/disputes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from paysession_sandbox.stripe import balance
from paysession_sandbox.stripe.parameters import (
    EXPAND,
    anything,
    boolean,
    integer,
    merged,
    metadata,
    nested,
    read,
    text,
)
from paysession_sandbox.stripe.refusals import Refusal
from paysession_sandbox.stripe.wire import below

if TYPE_CHECKING:
    from paysession_sandbox.stripe.account import Account
    from paysession_sandbox.stripe.wire import Json

__all__ = ["become", "close", "listed", "open_one", "retrieve", "time_is_over", "update"]

_FEE: Final = 1500
_ANSWER_WITHIN: Final = timedelta(days=7)
_OPEN: Final = ("warning_needs_response", "warning_under_review", "needs_response", "under_review")
_NAMES: Final = """
access_activity_log billing_address cancellation_policy cancellation_policy_disclosure
cancellation_rebuttal customer_communication customer_email_address customer_name customer_purchase_ip
customer_signature duplicate_charge_documentation duplicate_charge_explanation duplicate_charge_id
product_description receipt refund_policy refund_policy_disclosure refund_refusal_explanation
service_date service_documentation shipping_address shipping_carrier shipping_date shipping_documentation
shipping_tracking_number uncategorized_file uncategorized_text
"""
_EVIDENCE: Final = frozenset(_NAMES.split())
_LIST: Final = {
    "charge": text(),
    "payment_intent": text(),
    "created": anything,
    "limit": integer(1, 100),
    "starting_after": text(),
    "ending_before": text(),
    "expand": EXPAND,
}


def open_one(
    account: Account,
    charge: Json,
    *,
    amount: int | None = None,
    reason: str = "fraudulent",
    inquiry: bool = False,
) -> Json:
    """Have the payer's bank take a payment back, or ask about it.

    Args:
        account: Whose.
        charge: What is disputed.
        amount: How much of it; by default all that was captured.
        reason: Why.
        inquiry: Whether it only asks: no money moves then.

    Raises:
        Refusal: There is no captured payment, or not so much.
    """
    taken: int = charge["amount_captured"] if amount is None else amount
    if not charge["captured"] or not 0 < taken <= charge["amount_captured"]:
        raise Refusal(
            400, param="amount", message=f"{charge['id']} has {charge['amount_captured']} to dispute."
        )
    details = charge["payment_method_details"]
    card = below(details, "card")
    shown = {
        "brand": card.get("brand"),
        "case_type": "inquiry" if inquiry else "chargeback",
        "network_reason_code": "83",
    }
    dispute = account.new(
        "dispute",
        {
            "amount": taken,
            "balance_transactions": [],
            "charge": charge["id"],
            "currency": charge["currency"],
            "enhanced_eligibility_types": [],
            "evidence": {**dict.fromkeys(_EVIDENCE), "enhanced_evidence": {}},
            "evidence_details": {
                "due_by": account.now + int(_ANSWER_WITHIN.total_seconds()),
                "enhanced_eligibility": {},
                "has_evidence": False,
                "past_due": False,
                "submission_count": 0,
            },
            "is_charge_refundable": inquiry,
            "metadata": {},
            "payment_intent": charge["payment_intent"],
            "reason": reason,
            "status": "warning_needs_response" if inquiry else "needs_response",
            **({"payment_method_details": {"card": shown, "type": "card"}} if card else {}),
        },
    )
    if not inquiry:
        charge["disputed"] = True
        _move(account, dispute, -taken, fee=_FEE)
    account.record_event("charge.dispute.created", dispute)
    if not inquiry:
        account.record_event("charge.dispute.funds_withdrawn", dispute)
    account.later(_ANSWER_WITHIN, "dispute_over", dispute["id"])
    return dispute


def _move(account: Account, dispute: Json, amount: int, *, fee: int) -> None:
    entry = balance.record(account, "adjustment", amount, dispute["currency"], dispute["id"], fee=fee)
    dispute["balance_transactions"] = [*dispute["balance_transactions"], account.show(entry)]


def become(account: Account, dispute: Json, status: str) -> None:
    """Have the bank decide (``won``, ``lost``, for an inquiry ``warning_closed``), or look at the evidence.

    Raises:
        Refusal: It is closed.
    """
    before = dispute["status"]
    if before not in _OPEN:
        raise Refusal(400, executed=True, message=f"The dispute {dispute['id']} is {before}.")
    dispute["status"] = status
    if status in _OPEN:
        account.record_event("charge.dispute.updated", dispute, {"status": before})
        return
    account.drop_timers(dispute["id"])
    if status == "won":
        _move(account, dispute, dispute["amount"], fee=0)
        account.record_event("charge.dispute.funds_reinstated", dispute)
    account.record_event("charge.dispute.closed", dispute, {"status": before})


def time_is_over(account: Account, identifier: str) -> None:
    """Have the bank decide a dispute that nobody answered in time."""
    dispute = account.get("dispute", identifier)
    dispute["evidence_details"]["past_due"] = True
    if dispute["status"] == "needs_response":
        become(account, dispute, "lost")
    elif dispute["status"].startswith("warning_"):
        become(account, dispute, "warning_closed")


def retrieve(account: Account, params: Json, identifier: str) -> Json:
    """GET /v1/disputes/{id}."""
    asked = read(params, {"expand": EXPAND})
    return account.show(account.get("dispute", identifier), asked.get("expand", ()))


def update(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/disputes/{id}: evidence, of which two texts decide at once.

    https://docs.stripe.com/testing#disputes: ``winning_evidence`` and ``losing_evidence``.
    """
    asked = read(
        params,
        {
            "evidence": nested(dict.fromkeys(_EVIDENCE, text(150_000))),
            "metadata": metadata,
            "submit": boolean,
            "expand": EXPAND,
        },
    )
    dispute = account.get("dispute", identifier)
    if dispute["status"] not in _OPEN:
        raise Refusal(400, executed=True, message=f"The dispute {identifier} is {dispute['status']}.")
    dispute["metadata"] = merged(dispute["metadata"], asked.get("metadata"))
    evidence = below(asked, "evidence")
    if evidence:
        dispute["evidence"].update(evidence)
        dispute["evidence_details"]["has_evidence"] = True
    if evidence and asked.get("submit", True):
        dispute["evidence_details"]["submission_count"] += 1
        inquiry = dispute["status"].startswith("warning_")
        decisions = {"winning_evidence": "won", "losing_evidence": "lost"}
        decision = decisions.get(evidence.get("uncategorized_text", ""), "under_review")
        if inquiry:
            decision = "warning_under_review" if decision == "under_review" else "warning_closed"
        become(account, dispute, decision)
    return account.show(dispute, asked.get("expand", ()))


def close(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/disputes/{id}/close: give in."""
    asked = read(params, {"expand": EXPAND})
    dispute = account.get("dispute", identifier)
    become(account, dispute, "warning_closed" if dispute["status"].startswith("warning_") else "lost")
    return account.show(dispute, asked.get("expand", ()))


def listed(account: Account, params: Json) -> Json:
    """GET /v1/disputes."""
    asked = read(params, _LIST)

    def wanted(row: Json) -> bool:
        return all(row[name] == asked[name] for name in ("charge", "payment_intent") if name in asked)

    return account.listed("dispute", asked, wanted, url="/v1/disputes")
