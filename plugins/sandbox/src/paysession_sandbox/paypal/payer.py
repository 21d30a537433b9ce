"""The pages where a payer approves: a payment, or that a merchant saves how the payer pays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paysession_sandbox import pages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paysession_sandbox.paypal.objects import Order, SetupToken

__all__ = ["order", "setup"]


def order(row: Order) -> bytes:
    """Return the page where a payer approves an order."""
    shop, amount = _name(row.context), f"{row.amount} {row.currency}"
    if row.approved_at is not None:
        return _page("<p>You have approved it.</p>")
    what = f"<b>{pages.escape(amount)}</b>"
    saves = " and wants to save your account for later payments" if row.saves else ""
    at = "/checkoutnow/{}?token=" + row.id
    return _page(
        f"<p>{pages.escape(shop)} asks for {what}{saves}.</p>"
        f"{_choice(at.format('approve'), f'Pay {amount}')}{_choice(at.format('cancel'), f'Back to {shop}')}"
    )


def setup(row: SetupToken) -> bytes:
    """Return the page where a payer lets a merchant save how the payer pays."""
    shop = _name(row.told.get("experience_context", {}))
    if row.status != "PAYER_ACTION_REQUIRED":
        return _page("<p>You have approved it.</p>")
    described = str(row.told.get("description", ""))
    at = "/agreements/approve/{}?approval_session_id=" + row.id
    return _page(
        f"<p>{pages.escape(shop)} wants to save your account for later payments.</p>"
        f'<p class="soft">{pages.escape(described)}</p>'
        f"{_choice(at.format('yes'), 'Agree')}{_choice(at.format('no'), f'Back to {shop}')}"
    )


def _name(context: Mapping[str, Any]) -> str:
    return str(context.get("brand_name", "the shop"))


def _choice(address: str, label: str) -> str:
    main = "" if label.startswith("Back") else " main"
    return (
        f'<form method="post" action="{pages.escape(address)}">'
        f'<button class="full{main}">{pages.escape(label)}</button></form>'
    )


def _page(body: str) -> bytes:
    return pages.page("Not PayPal", f"<section><h1>This is not PayPal</h1>{body}</section>", narrow=True)
