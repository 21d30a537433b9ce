"""What a failure of a request means, in the three kinds that the core knows.

https://docs.stripe.com/api/idempotent_requests: once a request under a key has begun to be carried out, its
answer is kept for 24 hours, a 402 or a 500 too, and is given again to the same key. Refusals before that
(401, 429, most validation) are not kept. So the table may sort by status alone, with three exceptions: a key
used with other parameters, a refusal for the state of the object (which `evidence.after_refusal` decides by
looking at the object), and whatever comes after an attempt whose answer was lost.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import stripe

from paysession.provider import ConfigurationError, Declined, NotApplied, OutcomeUnknown
from paysession_stripe.declines import category, message_key
from paysession_stripe.errors import Refused, StateRefused
from paysession_stripe.intent import read_intent
from paysession_stripe.reading import json_object
from paysession_stripe.transport import never_sent

if TYPE_CHECKING:
    from collections.abc import Mapping

    Failed = Declined | NotApplied | OutcomeUnknown | ConfigurationError

__all__ = ["STATE_CODES", "sort"]

_BY_STATUS: Final[Mapping[int, type[Declined | NotApplied | ConfigurationError]]] = {
    400: Declined,
    401: ConfigurationError,  # a wrong key
    402: Declined,
    403: ConfigurationError,  # a key that may not do this
    404: Declined,
    429: NotApplied,  # too many requests, or the object is locked by another one
}
"""Every other status (408, 409, 424, 5xx) says nothing about what happened."""

_DECLINED: Final = 402

STATE_CODES: Final = frozenset(
    {
        "capture_charge_authorization_expired",
        "charge_already_captured",
        "charge_already_refunded",
        "charge_expired_for_capture",
        "intent_invalid_state",
        "payment_intent_invalid_cancellation_state",
        "payment_intent_unexpected_state",
    }
)
"""Refusals because of the state that the object is in: our own earlier request may have brought it there, so
the object is looked at, and the refusal alone proves nothing."""


def sort(error: Exception, *, doubtful: bool) -> Failed:
    """Return what a failure of the package means.

    Args:
        error: What the package raised: its own errors, or whatever else leaked.
        doubtful: Whether an attempt of the same call may have been carried out before.
    """
    failure = _sorted(error)
    # A decline is kept under the key, so it is the first attempt's answer, too; other refusals are not kept.
    kept = isinstance(failure, Refused) and failure.status == _DECLINED
    if doubtful and not kept and not isinstance(failure, OutcomeUnknown):
        return OutcomeUnknown(f"{failure.message}; an attempt before may have been carried out")
    return failure


def _sorted(error: Exception) -> Failed:
    if isinstance(error, stripe.APIConnectionError):
        cause = error.__cause__
        if never_sent(cause):
            return NotApplied(f"Stripe cannot be reached: {type(cause).__name__}")
        return OutcomeUnknown(f"no answer came from Stripe: {type(cause).__name__}")
    if not isinstance(error, stripe.StripeError) or error.http_status is None:
        return OutcomeUnknown(f"Stripe's answer cannot be read: {type(error).__name__}")
    details = json_object((json_object(error.json_body) or {}).get("error")) or {}
    texts = {name: value for name, value in details.items() if isinstance(value, str)}
    message = _message(error, texts)
    kind = _BY_STATUS.get(error.http_status)
    code = texts.get("code")
    if code in STATE_CODES:
        return StateRefused(message)
    if not texts or kind is None or texts.get("type") == "idempotency_error":
        return OutcomeUnknown(message)
    if kind is ConfigurationError:
        return ConfigurationError(f"{message}: the setting api_key is wrong, or this key may not do that")
    if kind is NotApplied or code in ("lock_timeout", "rate_limit"):
        return NotApplied(message, retry_after=_retry_after(error))
    reason, advice = (
        texts.get("decline_code") or code or texts.get("type") or "declined",
        texts.get("advice_code"),
    )
    refused = Refused(
        reason,
        message,
        category=category(reason, advice) if error.http_status == _DECLINED else "configuration",
        payer_message_key=message_key(reason, advice) if error.http_status == _DECLINED else None,
    )
    refused.status = error.http_status
    intent = json_object(details.get("payment_intent"))
    if intent is not None:
        with suppress(ValueError):  # what cannot be read is left out: that it was refused is certain
            refused.intent = read_intent(intent)
    return refused


def _message(error: stripe.StripeError, texts: Mapping[str, str]) -> str:
    """Return Stripe's sentence with what its support asks for: the codes and the request's id."""
    parts = [texts[name] for name in ("code", "decline_code") if texts.get(name)]
    if texts.get("param"):
        parts.append(f"parameter {texts['param']}")
    parts.append(f"HTTP {error.http_status}")
    if error.request_id:
        parts.append(f"request {error.request_id}")
    sentence = texts.get("message") or "Stripe's answer cannot be read"
    return f"{sentence} ({', '.join(parts)})"


def _retry_after(error: stripe.StripeError) -> timedelta | None:
    with suppress(TypeError, ValueError, OverflowError):  # it may be missing, or a date
        wait = timedelta(seconds=float((error.headers or {}).get("Retry-After", "")))
        return wait if wait >= timedelta(0) else None
    return None
