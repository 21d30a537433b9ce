"""Notifications: is this one Stripe's, is it fresh, and whom does it concern.

The signature is checked by the ``stripe`` package. It takes a timestamp in the future for fresh, and leaks
other kinds of exception for a header or a body that somebody made up; so the time is compared here, both
ways, and whatever it raises is one rejection. The scheme: https://docs.stripe.com/webhooks#verify-manually.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from paysession.provider import WebhookEvent, WebhookRejected
from paysession_stripe.intent import PAGE, SESSION
from paysession_stripe.reading import integer, json_object, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paysession.provider import Secret
    from paysession_stripe.reading import Json

__all__ = ["EVENTS", "TOLERANCE", "listed", "parse"]

TOLERANCE: Final = 300
"""How many seconds a notification may be old, or ahead of our clock."""

EVENTS: Final = (
    "payment_intent.amount_capturable_updated",
    "payment_intent.canceled",
    "payment_intent.partially_funded",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "payment_intent.requires_action",
    "payment_intent.succeeded",
    "charge.captured",
    "charge.expired",
    "charge.refunded",
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.updated",
    "refund.created",
    "refund.failed",
    "refund.updated",
    "checkout.session.async_payment_failed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.completed",
    "checkout.session.expired",
    "radar.early_fraud_warning.created",
)
"""What an endpoint is to be sent: whatever changes how a session stands, and warnings of fraud."""

_FAMILIES: Final = (
    "payment_intent.",
    "charge.",
    "refund.",
    "checkout.session.",
    "radar.early_fraud_warning.",
)
_WARNING: Final = "radar.early_fraud_warning"
_NAMED: Final = ("requires_capture", "succeeded", "canceled")
_TIME: Final = re.compile(r"t=([0-9]{1,15})", re.ASCII)
_ID: Final = re.compile(r"evt_[A-Za-z0-9_]{1,250}")
_MARKED: Final = ("payment_intent", "charge", "checkout.session")
"""Objects of ours always carry our mark: Stripe copies a PaymentIntent's to its charge."""


def parse(
    headers: Mapping[str, str],
    body: bytes,
    *,
    secrets: Sequence[Secret],
    now: float,
    livemode: bool | None = None,
) -> list[WebhookEvent]:
    """Verify and read a notification; empty: it is Stripe's, and not about a session of ours.

    Args:
        headers: The request's headers, with lower-case names.
        body: The body as it came.
        secrets: The endpoint's signing secrets; two while one is being replaced.
        now: The time, in seconds since 1970.
        livemode: Whether we take real money; None: not known. What is of the other kind is not ours.

    Raises:
        WebhookRejected: It is not signed with one of our secrets, not fresh, or cannot be read.
    """
    _verify(headers.get("stripe-signature", ""), body, secrets, now)
    event = _read(body)
    if event is None or (livemode is not None and event.get("livemode") is not livemode):
        return []
    found = _about(event)
    return [] if found is None else [found]


def listed(found: object) -> WebhookEvent | None:
    """Return what an event of Stripe's list says; None: it is not ours, or cannot be read."""
    event = json_object(found)
    return None if event is None or not _is_event(event) else _about(event)


def _about(event: Json) -> WebhookEvent | None:
    """Return what an event says, as a hint whom to ask about; None: it is not about a session of ours."""
    kind = str(event["type"])
    if not kind.startswith(_FAMILIES):
        return None
    found: Json = event["data"]["object"]
    session_id, references = _session_id(found), _references(found)
    if session_id is None and (found.get("object") in _MARKED or not references):
        return None
    return WebhookEvent(
        event["id"],
        kind,
        session_id=session_id,
        references=references,
        data=_data(kind, found),
        payment=None if session_id is None else _payment(found),
    )


def _payment(found: Json) -> str | None:
    """Return the id of the PaymentIntent that a marked object belongs to; None: not as the session names it.

    A session whose payer pays on a page names the page, until money is held or taken. A PaymentIntent that
    is canceled is named all the same: nothing is left there that could be taken for a second payment.
    """
    kind, by_page = found.get("object"), PAGE in (json_object(found.get("metadata")) or {})
    if kind == "payment_intent" and (not by_page or found.get("status") in _NAMED):
        return text(found, "id")
    # What is refunded was taken before. A charge that is just made may be ahead of its PaymentIntent.
    if kind == "refund" or (kind == "charge" and (not by_page or integer(found, "amount_refunded"))):
        return text(found, "payment_intent")
    return None


def _data(kind: str, found: Json) -> Mapping[str, object] | None:
    """Return what no lookup shows: what is to be looked for from now on, and a warning of fraud."""
    if found.get("object") == "dispute":
        return {"disputed": True}
    if found.get("object") == _WARNING:
        data: dict[str, object] = {"fraud_warning": text(found, "fraud_type") or "unknown"}
        if kind == f"{_WARNING}.created":  # that it is settled meanwhile is no news
            data["fraud_actionable"] = found.get("actionable") is True
        return data
    return None


def _verify(header: str, body: bytes, secrets: Sequence[Secret], now: float) -> None:
    if not any(secrets):
        raise WebhookRejected("no webhook_secret is configured, so no notification can be trusted")
    times = [found[1] for part in header.split(",") if (found := _TIME.fullmatch(part.strip()))]
    if len(times) != 1:
        raise WebhookRejected("there is no Stripe-Signature header, or none that can be read")
    if abs(now - int(times[0])) > TOLERANCE:
        raise WebhookRejected(f"its timestamp is more than {TOLERANCE} s away from our clock")
    if not any(_is_signed(header, body, secret) for secret in secrets):
        raise WebhookRejected("the signature matches none of the configured secrets")


def _is_signed(header: str, body: bytes, secret: Secret) -> bool:
    from stripe import SignatureVerificationError, WebhookSignature  # noqa: PLC0415 - loads the package: 150 ms

    try:
        WebhookSignature.verify_header(  # pyright: ignore[reportUnknownMemberType]
            body, header, secret.reveal()
        )
    except (SignatureVerificationError, TypeError, ValueError):  # UnicodeError is a ValueError
        return False
    return True


def _read(body: bytes) -> Json | None:
    """Return the event of a verified body; None: it is one of the API's second version, and not ours."""
    try:
        event = json_object(json.loads(body))
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        raise WebhookRejected("the body is signed and is no JSON") from None
    if event is not None and event.get("object") == "v2.core.event":
        return None
    if event is None or event.get("object") != "event":
        raise WebhookRejected("the body is signed and is no event")
    if not _is_event(event):
        raise WebhookRejected("the body is signed and is an event that cannot be read")
    return event


def _is_event(event: Json) -> bool:
    """Return whether an event has an id, a type and an object."""
    found = (json_object(event.get("data")) or {}).get("object")
    known = _ID.fullmatch(str(event.get("id"))) is not None and isinstance(event.get("type"), str)
    return known and json_object(found) is not None


def _session_id(found: Json) -> str | None:
    value = (json_object(found.get("metadata")) or {}).get(SESSION)
    return value if isinstance(value, str) and value else None


def _references(found: Json) -> list[str]:
    """Return Stripe's ids in an object: its own, its PaymentIntent's, its charge's."""
    ids: list[str] = []
    for name in ("payment_intent", "id", "charge", "latest_charge"):
        expanded = json_object(found.get(name))
        value = found.get(name) if expanded is None else expanded.get("id")
        if isinstance(value, str) and value:
            ids.append(value)
    return ids
