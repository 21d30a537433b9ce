"""What a decline of Stripe's means for who tries again: the core's few words for Stripe's many.

https://docs.stripe.com/declines/codes and https://docs.stripe.com/error-codes. What is not listed says
nothing else than that this attempt failed: ``soft``. A payer is never shown more than the core's key for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from paysession.provider import FailureCategory, PayerMessageKey

__all__ = ["category", "message_key"]

_HARD: Final = frozenset(
    (
        *("bank_account_unusable", "card_not_supported", "currency_not_supported", "debit_not_authorized"),
        *("do_not_try_again", "expired_card", "fraudulent", "highest_risk_level", "invalid_account"),
        *("lost_card", "merchant_blacklist", "new_account_information_available", "no_account"),
        *("not_permitted", "payment_method_invalid_parameter", "payment_method_not_available"),
        *("payment_method_unactivated", "payment_method_unsupported_type", "pickup_card", "restricted_card"),
        *("revocation_of_all_authorizations", "revocation_of_authorization", "security_violation"),
        *("service_not_allowed", "stolen_card", "stop_payment_order", "transaction_not_allowed"),
    )
)
_AUTHENTICATION: Final = frozenset(
    (
        *("authentication_not_handled", "authentication_required", "offline_pin_required"),
        *("online_or_offline_pin_required", "payment_intent_authentication_failure"),
        *("payment_intent_mandate_invalid", "setup_intent_authentication_failure"),
    )
)
_TRY_LATER: Final = frozenset(
    (
        *("approve_with_id", "issuer_not_available", "payment_method_provider_timeout"),
        *("processing_error", "reenter_transaction", "try_again_later"),
    )
)
_CONFIGURATION: Final = frozenset(
    (
        *("amount_too_large", "amount_too_small", "live_mode_test_card", "test_mode_live_card"),
        *("testmode_decline", "unsupported_currency"),
    )
)
_CHECK: Final = frozenset(
    (
        *("confirm_card_data", "email_invalid", "incorrect_address", "incorrect_cvc", "incorrect_number"),
        *("incorrect_pin", "incorrect_zip", "invalid_cvc", "invalid_expiry_month", "invalid_expiry_year"),
        *("invalid_number", "invalid_pin", "pin_try_exceeded"),
    )
)
_FUNDS: Final = frozenset(("card_velocity_exceeded", "insufficient_funds", "withdrawal_count_limit_exceeded"))


def category(code: str, advice: str | None = None) -> FailureCategory:
    """Return what may follow a decline.

    Args:
        code: The bank's reason, or Stripe's code where there is none.
        advice: The issuer's advice, which knows better than a general reason such as ``generic_decline``.
    """
    if code in _AUTHENTICATION:
        return "authentication"
    if code in _CONFIGURATION:
        return "configuration"
    if code in _HARD or advice == "do_not_try_again":
        return "hard"
    if code in _TRY_LATER or advice == "try_again_later":
        return "try_later"
    return "soft"


def message_key(code: str, advice: str | None = None) -> PayerMessageKey | None:
    """Return what the payer may be shown; None: what the category says."""
    if code == "expired_card":
        return "method_expired"
    if code in _FUNDS:
        return "insufficient_funds"
    if code in _CHECK or advice == "confirm_card_data":
        return "check_details"
    return None
