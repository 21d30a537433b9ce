"""Payment methods: what is known of their kinds, and the one that a payer used."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict, fields, frozen

from paysession_stripe.reading import integer, json_object, text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from paysession_stripe.reading import Json

__all__ = ["HOLDABLE", "METHODS", "PayerMethod", "held_until"]

HOLDABLE: Final = (
    "affirm",
    "afterpay_clearpay",
    "alma",
    "amazon_pay",
    "billie",
    "card",
    "cashapp",
    "kakao_pay",
    "klarna",
    "kr_card",
    "link",
    "mobilepay",
    "naver_pay",
    "payco",
    "paypal",
    "revolut_pay",
    "samsung_pay",
    "satispay",
    "scalapay",
)
"""What can be authorized now and captured later: those that take ``capture_method=manual`` as an option of
their own (https://docs.stripe.com/api/payment_intents/create)."""

METHODS: Final = frozenset(
    (
        *HOLDABLE,
        *("acss_debit", "alipay", "au_becs_debit", "bacs_debit", "bancontact", "bizum", "blik", "boleto"),
        *("card_present", "crypto", "customer_balance", "eps", "fpx", "giropay", "grabpay", "ideal"),
        *("interac_present", "konbini", "mb_way", "multibanco", "nz_bank_account", "oxxo", "p24"),
        *("pay_by_bank", "paynow", "payto", "pix", "promptpay", "sepa_debit", "sofort", "swish", "twint"),
        *("upi", "us_bank_account", "wechat_pay", "zip"),
    )
)
"""The kinds that have options in this version of the API."""

_WEEK: Final = timedelta(days=7)
_HOLDS: Final[Mapping[str, timedelta]] = {
    "affirm": timedelta(days=30),
    "afterpay_clearpay": timedelta(days=13),
    "cashapp": _WEEK,
    "klarna": timedelta(days=28),
    "paypal": timedelta(days=10),  # Stripe tries to extend it to 20
}


def held_until(kind: str, begun: datetime) -> datetime:
    """Return until when an authorization can be captured at least, where Stripe states no time.

    It states one for cards only. The others are those of
    https://docs.stripe.com/payments/place-a-hold-on-a-payment-method (Payment method limitations, read in
    2026-11); for Klarna the last day ends at midnight UTC, before so many days have passed. A method that
    is not named there is taken to hold a week, as cards do: whether it still holds is looked up then.

    Args:
        kind: Stripe's name of the payment method.
        begun: When it was authorized.
    """
    until = begun + _HOLDS.get(kind, _WEEK)
    return until.replace(hour=0, minute=0, second=0, microsecond=0) if kind == "klarna" else until


@frozen(kw_only=True)
class PayerMethod:
    """What the payer paid with, as far as a shop may know it: never a card number.

    Attributes:
        type: Stripe's name of the kind: ``card``, ``ideal``, ``klarna``, ...
        brand: For a card: ``visa``, ``mastercard``, ...
        last4: The last four digits of the card or of the bank account.
        exp_month: The card's last month, 1 to 12.
        exp_year: The card's last year, with four digits.
        funding: ``credit``, ``debit`` or ``prepaid``.
        country: Where the card or account was issued, as two letters.
        wallet: ``apple_pay``, ``google_pay``, ``link``, ...
        bank: The bank's name, where the method has one.
        three_d_secure: ``authenticated``, ``attempt_acknowledged``, ``exempted``, ``failed``, ...; None:
            not asked for.
        risk_level: Radar's judgement: ``normal``, ``elevated``, ``highest`` or ``not_assessed``.
        risk_score: Radar's figure, 0 to 99, where the account has it.
        outcome: What became of the charge at the network: ``authorized``, ``manual_review``,
            ``issuer_declined``, ``blocked``, ``invalid``.
        advice: What the issuer advises after a decline: ``try_again_later``, ``do_not_try_again`` or
            ``confirm_card_data``.
    """

    type: str
    brand: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    funding: str | None = None
    country: str | None = None
    wallet: str | None = None
    bank: str | None = None
    three_d_secure: str | None = None
    risk_level: str | None = None
    risk_score: int | None = None
    outcome: str | None = None
    advice: str | None = None

    @classmethod
    def of_charge(cls, charge: Json) -> PayerMethod | None:
        """Read it from a charge; None: it shows none. What is not understood is left out."""
        details = json_object(charge.get("payment_method_details")) or {}
        kind = text(details, "type")
        if kind is None:
            return None
        found = json_object(details.get(kind)) or {}
        outcome = json_object(charge.get("outcome")) or {}
        return cls(
            type=kind,
            brand=text(found, "brand"),
            last4=text(found, "last4") or text(found, "iban_last4"),
            exp_month=integer(found, "exp_month"),
            exp_year=integer(found, "exp_year"),
            funding=text(found, "funding"),
            country=text(found, "country"),
            wallet=text(json_object(found.get("wallet")) or {}, "type"),
            bank=text(found, "bank_name") or text(found, "bank"),
            three_d_secure=text(json_object(found.get("three_d_secure")) or {}, "result"),
            risk_level=text(outcome, "risk_level"),
            risk_score=integer(outcome, "risk_score"),
            outcome=text(outcome, "type"),
            advice=text(outcome, "advice_code"),
        )

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> PayerMethod:
        """Return what `to_json` wrote; what another version wrote besides is left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in found.items() if name in known})

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON, without what is not known."""
        return asdict(self, filter=lambda _, value: value is not None)
