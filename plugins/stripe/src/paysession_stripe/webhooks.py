"""Notifications: is this one Stripe's, is it fresh, and whom does it concern.

The signature is checked here and not by the ``stripe`` package: that takes a timestamp in the future
for fresh, leaks five other kinds of exception for a body that somebody made up, and has to be
imported. The scheme: https://docs.stripe.com/webhooks#verify-manually.
"""

from __future__ import annotations

import hmac
import json
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from paysession.provider import WebhookEvent, WebhookRejected
from paysession_stripe.intent import SESSION, json_object

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paysession.provider import Secret
    from paysession_stripe.intent import Json

__all__ = ["TOLERANCE", "parse"]

TOLERANCE: Final = 300
"""How many seconds a notification may be old, or ahead of our clock."""

_FAMILIES: Final = ("payment_intent.", "charge.", "refund.")
_DIGITS: Final = re.compile(r"[0-9]{1,15}")
_ID: Final = re.compile(r"evt_[A-Za-z0-9_]{1,250}")


def parse(
    headers: Mapping[str, str],
    body: bytes,
    *,
    secrets: Sequence[Secret],
    now: float,
    livemode: bool | None = None,
    account: str = "",
) -> list[WebhookEvent]:
    """Verify and read a notification; empty: it is Stripe's, and not about a session of ours.

    Args:
        headers: The request's headers, with lower-case names.
        body: The body as it came.
        secrets: The endpoint's signing secrets; two while one is being replaced.
        now: The time, in seconds since 1970.
        livemode: Whether we take real money; None: not known. What is of the other kind is not ours.
        account: The connected account that we act for, or "".

    Raises:
        WebhookRejected: It is not signed with one of our secrets, not fresh, or cannot be read.
    """
    _verify(headers.get("stripe-signature", ""), body, secrets, now)
    event = _read(body)
    if livemode is not None and event.get("livemode") is not livemode:
        return []
    if event.get("account", "") != account:
        return []
    kind = str(event["type"])
    if not kind.startswith(_FAMILIES):
        return []
    found: Json = event["data"]["object"]
    session_id = _session_id(found)
    if session_id is None and found.get("object") in ("payment_intent", "charge"):
        return []  # these always carry our mark: Stripe copies a PaymentIntent's to its charge
    return [WebhookEvent(event["id"], kind, session_id=session_id, references=_references(found))]


def _verify(header: str, body: bytes, secrets: Sequence[Secret], now: float) -> None:
    if not any(secrets):
        raise WebhookRejected("no webhook_secret is configured, so no notification can be trusted")
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    given = [value.encode("utf-8", "replace") for name, _, value in parts if name == "v1"]
    if len(times) != 1 or not _DIGITS.fullmatch(times[0]) or not given:
        raise WebhookRejected("there is no Stripe-Signature header, or none that can be read")
    signed = times[0].encode() + b"." + body
    keys = [secret.reveal().encode() for secret in secrets if secret]
    expected = [hmac.new(key, signed, sha256).hexdigest().encode() for key in keys]
    if not any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in given):
        raise WebhookRejected("the signature matches none of the configured secrets")
    if abs(now - int(times[0])) > TOLERANCE:
        raise WebhookRejected(f"its timestamp is more than {TOLERANCE} s away from our clock")


def _read(body: bytes) -> Json:
    """Return the event of a verified body."""
    try:
        event = json_object(json.loads(body))
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        raise WebhookRejected("the body is signed and is no JSON") from None
    if event is None or event.get("object") != "event":
        raise WebhookRejected("the body is signed and is no event (of the kind with a snapshot)")
    found = (json_object(event.get("data")) or {}).get("object")
    if (
        not _ID.fullmatch(str(event.get("id")))
        or not isinstance(event.get("type"), str)
        or json_object(found) is None
    ):
        raise WebhookRejected("the body is signed and is an event that cannot be read")
    return event


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
