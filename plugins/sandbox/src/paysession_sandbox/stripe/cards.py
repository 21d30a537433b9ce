"""The documented test cards and bank accounts, and what comes of each.

https://docs.stripe.com/testing for cards, https://docs.stripe.com/payments/sepa-debit/accept-a-payment
(Test your integration) for bank accounts.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BANK_ACCOUNTS", "CARDS", "TOKENS", "BankAccount", "Card", "sound"]


@frozen
class Card:
    """A test card.

    Attributes:
        brand: Whose card it is.
        funding: ``credit``, ``debit`` or ``prepaid``.
        country: Where its bank is.
        code: The error of every payment with it; empty: it pays.
        decline_code: What its bank says.
        authentication: When the bank wants to see the payer: ``never``, ``always``, or, off session,
            ``unless_set_up`` (and always on session) or ``on_session`` only.
        attaches: Whether it can be saved with a customer.
        dispute: The reason of the dispute that follows the payment; ``inquiry``, or empty for none.
        refund: ``pending``: a refund succeeds later; ``failed``: it succeeds, and fails later.
        risk: Whether fraud prevention blocks it.
    """

    brand: str = "visa"
    funding: str = "credit"
    country: str = "US"
    code: str = ""
    decline_code: str = ""
    authentication: str = "never"
    attaches: bool = True
    dispute: str = ""
    refund: str = ""
    risk: bool = False


def _declined(decline_code: str, code: str = "card_declined", *, attaches: bool = False) -> Card:
    return Card(code=code, decline_code=decline_code, attaches=attaches)


CARDS: Final[Mapping[str, Card]] = {
    # By brand.
    "4242424242424242": Card(),
    "4000056655665556": Card(funding="debit"),
    "5555555555554444": Card("mastercard"),
    "2223003122003222": Card("mastercard"),
    "5200828282828210": Card("mastercard", "debit"),
    "5105105105105100": Card("mastercard", "prepaid"),
    "378282246310005": Card("amex"),
    "371449635398431": Card("amex"),
    "6011111111111117": Card("discover"),
    "6011000990139424": Card("discover"),
    "3056930009020004": Card("diners"),
    "36227206271667": Card("diners"),
    "3566002020360505": Card("jcb"),
    "6200000000000005": Card("unionpay"),
    # By country.
    "4000002760000016": Card(country="DE"),
    "4000002500000003": Card(country="FR"),
    "4000005280000002": Card(country="NL"),
    "4000008260000000": Card(country="GB"),
    # Declined by the bank. None but the first can be saved with a customer.
    "4000000000000341": _declined("generic_decline", attaches=True),
    "4000000000000002": _declined("generic_decline"),
    "4000000000009995": _declined("insufficient_funds"),
    "4000000000009987": _declined("lost_card"),
    "4000000000009979": _declined("stolen_card"),
    "4000000000006975": _declined("card_velocity_exceeded"),
    "4000000000000069": _declined("", "expired_card"),
    "4000000000000127": _declined("", "incorrect_cvc"),
    "4000000000000119": _declined("", "processing_error"),
    # Fraud prevention.
    "4100000000000019": Card(code="card_declined", decline_code="fraudulent", risk=True),
    "4000000000004954": Card(code="card_declined", decline_code="fraudulent", risk=True),
    # Disputes.
    "4000000000000259": Card(dispute="fraudulent"),
    "4000000000002685": Card(dispute="product_not_received"),
    "4000000000001976": Card(dispute="inquiry"),
    # Refunds.
    "4000000000007726": Card(refund="pending"),
    "4000000000005126": Card(refund="failed"),
    # Straight to the available balance.
    "4000000000000077": Card(),
    # 3D Secure.
    "4000002500003155": Card(authentication="unless_set_up", country="FR"),
    "4000002760003184": Card(authentication="always", country="DE"),
    "4000003800000446": Card(authentication="on_session"),
    "4000008260003178": Card(
        authentication="always", code="card_declined", decline_code="insufficient_funds", country="GB"
    ),
    "4000000000003220": Card(authentication="always"),
    "4000008400001629": Card(authentication="always", code="card_declined", decline_code="generic_decline"),
    "4000000000003055": Card(),
}
"""What a card number does; any other number that is sound is declined as a real card in test mode."""

_NAMES: Final[Mapping[str, str]] = {
    "visa": "4242424242424242",
    "visa_debit": "4000056655665556",
    "mastercard": "5555555555554444",
    "mastercard_debit": "5200828282828210",
    "mastercard_prepaid": "5105105105105100",
    "amex": "378282246310005",
    "discover": "6011111111111117",
    "diners": "3056930009020004",
    "jcb": "3566002020360505",
    "unionpay": "6200000000000005",
    "us": "4242424242424242",
    "de": "4000002760000016",
    "fr": "4000002500000003",
    "nl": "4000005280000002",
    "gb": "4000008260000000",
    "chargeCustomerFail": "4000000000000341",
    "chargeDeclined": "4000000000000002",
    "visa_chargeDeclined": "4000000000000002",
    "chargeDeclinedInsufficientFunds": "4000000000009995",
    "visa_chargeDeclinedInsufficientFunds": "4000000000009995",
    "visa_chargeDeclinedLostCard": "4000000000009987",
    "visa_chargeDeclinedStolenCard": "4000000000009979",
    "visa_chargeDeclinedVelocityLimitExceeded": "4000000000006975",
    "chargeDeclinedExpiredCard": "4000000000000069",
    "chargeDeclinedIncorrectCvc": "4000000000000127",
    "chargeDeclinedProcessingError": "4000000000000119",
    "radarBlock": "4100000000000019",
    "createDispute": "4000000000000259",
    "createDisputeProductNotReceived": "4000000000002685",
    "createDisputeInquiry": "4000000000001976",
    "pendingRefund": "4000000000007726",
    "refundFail": "4000000000005126",
    "bypassPending": "4000000000000077",
    "authenticationRequiredOnSetup": "4000002500003155",
    "authenticationRequired": "4000002760003184",
    "authenticationRequiredSetupForOffSession": "4000003800000446",
    "authenticationRequiredChargeDeclinedInsufficientFunds": "4000008260003178",
    "threeDSecure2Required": "4000000000003220",
    "threeDSecureRequired": "4000000000003220",
    "threeDSecureRequiredChargeDeclined": "4000008400001629",
    "threeDSecureOptional": "4000000000003055",
}
TOKENS: Final[Mapping[str, str]] = {
    **{f"pm_card_{name}": number for name, number in _NAMES.items()},
    **{f"tok_{name}": number for name, number in _NAMES.items()},
}
"""The names of test cards, such as ``pm_card_visa``, and their numbers."""


@frozen
class BankAccount:
    """A bank account for direct debits.

    Attributes:
        outcome: ``succeeded``, ``failed`` or ``disputed``.
        after: How long the debit is under way.
        reason: Why it fails.
    """

    outcome: str
    after: timedelta
    reason: str = ""


_SOON, _LATER = timedelta(seconds=5), timedelta(minutes=3)
BANK_ACCOUNTS: Final[Mapping[str, BankAccount]] = {
    "3000": BankAccount("succeeded", _SOON),
    "3003": BankAccount("succeeded", _LATER),
    "3001": BankAccount("failed", _SOON, "generic_decline"),
    "3004": BankAccount("failed", _LATER, "generic_decline"),
    "3002": BankAccount("disputed", _SOON),
    "3434": BankAccount("failed", _SOON, "charge_exceeds_source_limit"),
    "5556": BankAccount("failed", _SOON, "insufficient_funds"),
}
"""What comes of a debit, by the last four digits of the test account's number; any other one succeeds."""


def sound(number: str) -> bool:
    """Return whether a card number's last digit is right (ISO/IEC 7812-1, annex B)."""
    if not number.isdigit() or not 12 <= len(number) <= 19:  # noqa: PLR2004 - as long as card numbers are
        return False
    digits = [int(digit) for digit in reversed(number)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
