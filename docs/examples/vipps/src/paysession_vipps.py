"""Vipps MobilePay for paysession: one-time payments with the ePayment API (v1).

The payer approves on Vipps' page or in the app, and Vipps reserves by itself; so ``authorize`` looks, and
captures where that was asked for at once. Where each fact comes from is in docs/example-provider.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from attrs import Factory, field, frozen
from attrs.validators import matches_re, optional

from paysession import provider as ps
from paysession.provider import bounded_pools

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

__all__ = ["Vipps", "VippsData"]

Json = dict[str, Any]

PAYMENTS: Final = "/epayment/v1/payments"
STATUSES: Final = {
    "CREATED": ps.Status.REQUIRES_MORE,
    "AUTHORIZED": ps.Status.AUTHORIZED,
    "ABORTED": ps.Status.ERROR,
    "EXPIRED": ps.Status.CANCELED,
    "TERMINATED": ps.Status.CANCELED,
}
EFFECTS: Final = {"CAPTURED": "capture", "REFUNDED": "refund"}
# https://developer.vippsmobilepay.com/docs/APIs/epayment-api/errors
# Certain refusals: too little; too late to cancel, capture, refund; not in parts; no funds; no such payer.
DECLINED: Final = {"6010", "6030", "6100", "6140", "6220", "6260", "7010"}
# The payment's state (6...), or a key or reference used before: perhaps by a request whose answer was lost.
UNCLEAR: Final = ("6", "4010", "4020", "4150")
AHEAD, BEHIND = timedelta(minutes=5), timedelta(days=8)  # repeated for a week, and perhaps not signed anew


@frozen(kw_only=True)
class VippsData:
    """What a host may give to ``initiate``: the payer's phone number, digits with the country code."""

    phone_number: str | None = field(default=None, validator=optional(matches_re(r"[0-9]{9,15}")))


class Gateway:
    """Vipps' API: a request at a time, each failure sorted by what certainly happened."""

    def __init__(self, vipps: Vipps) -> None:
        self._vipps = vipps
        self._token, self._token_ends = "", 0.0

    def write(self, path: str, body: Json, key: str) -> Json:
        """Send what can have an effect. What is raised of an answer that cannot be read counts as unknown."""
        status, told = self._request("POST", path, self._bearer() | {"Idempotency-Key": key}, body)
        if status in (200, 201) and told:
            return dict(told)
        reasons: dict[str, str] = {one["name"]: one["reason"] for one in told.get("extraDetails") or ()}
        code = reasons.get("ErrorCode", "")
        if status == 400 and code in DECLINED:
            raise ps.Declined(code, f"Vipps refused: error {code}")
        if status in (400, 401, 403, 404, 422, 429) and not code.startswith(UNCLEAR):
            raise ps.NotApplied(f"Vipps did not take the request: {status} {code or ', '.join(reasons)}")
        raise ps.OutcomeUnknown(f"Vipps answered {status} {code}")

    def read(self, path: str, method: str = "GET", headers: Json | None = None) -> Any:
        """Send what has no effect: whatever fails did not happen. None: there certainly is none."""
        try:
            status, told = self._request(method, path, headers or self._bearer())
        except ps.OutcomeUnknown as error:
            raise ps.NotApplied(f"{path}: {error}") from None
        if status == 404 and "traceId" in told:  # a proxy's 404 has none
            return None
        if status != 200 or not told:
            raise ps.NotApplied(f"{path}: Vipps answered {status}")
        return told

    def _bearer(self) -> Json:
        # No lock: several tokens may be valid at once, and no thread waits for another one's request.
        if time.monotonic() > self._token_ends:
            keys = {"client_id": self._vipps.client_id, "client_secret": self._vipps.client_secret.reveal()}
            told = self.read("/accesstoken/get", "POST", keys)
            self._token = told["access_token"]
            self._token_ends = time.monotonic() + 0.9 * int(told["expires_in"])
        return {"Authorization": f"Bearer {self._token}"}

    def _request(self, method: str, path: str, headers: Json, body: Json | None = None) -> tuple[int, Any]:
        import requests  # noqa: PLC0415 - who does not use Vipps does not pay for it
        from urllib3.exceptions import NewConnectionError  # noqa: PLC0415 - as above

        url, timeout = self._vipps.api_base.rstrip("/") + path, self._vipps.timeout
        headers |= {
            "Ocp-Apim-Subscription-Key": self._vipps.subscription_key.reveal(),
            "Merchant-Serial-Number": self._vipps.merchant_serial_number,
            "Accept-Encoding": "identity",
            "Vipps-System-Name": "paysession",
            "Vipps-System-Version": "0.1",
            "Vipps-System-Plugin-Name": "paysession-vipps",
            "Vipps-System-Plugin-Version": "0.1.0",
        }
        try:
            with _session() as session:
                answer = session.request(
                    method, url, json=body, headers=headers, timeout=timeout, allow_redirects=False
                )
        except requests.exceptions.InvalidHeader:
            raise ps.NotApplied("a setting cannot be sent as a header: nothing was sent") from None
        except requests.RequestException as error:
            reason = getattr(error.args[0], "reason", None) if error.args else None
            if isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError):
                raise ps.NotApplied(f"Vipps cannot be reached: {type(error).__name__}") from None
            raise ps.OutcomeUnknown(f"no answer from Vipps: {type(error).__name__}") from None
        if answer.status_code == 401:
            self._token_ends = 0.0
        try:
            return answer.status_code, answer.json() or {}
        except requests.JSONDecodeError:
            return answer.status_code, {}


def _session() -> requests.Session:
    """Return a session for one request: requests does not promise that threads may share one."""
    import requests  # noqa: PLC0415 - as above
    from requests.adapters import HTTPAdapter  # noqa: PLC0415 - as above

    session, adapter = requests.Session(), HTTPAdapter()
    session.trust_env = False  # an entry of ~/.netrc would replace our token
    manager = adapter.poolmanager
    manager.pool_classes_by_scheme = bounded_pools(manager.pool_classes_by_scheme)  # no answer is endless
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


@frozen(kw_only=True, eq=False)
class Vipps:
    """The provider ``vipps``.

    The first four settings are the sales unit's keys. ``webhook_secret`` came with the registration of the
    webhook, and ``webhook_url`` is spelled as it was registered there: without them every notification is
    rejected. The test environment is at ``https://apitest.vipps.no``.
    """

    client_id: str
    client_secret: ps.Secret = field(converter=ps.Secret)
    subscription_key: ps.Secret = field(converter=ps.Secret)
    merchant_serial_number: str = field(validator=matches_re(r"[0-9]{4,10}"))
    webhook_secret: ps.Secret = field(default=ps.Secret(""), converter=ps.Secret)
    webhook_url: str = ""
    api_base: ps.Endpoint = field(
        default=ps.Endpoint("https://api.vipps.no", hosts=["apitest.vipps.no"]), converter=ps.Endpoint
    )
    timeout: float = 10.0
    _gateway: Gateway = field(init=False, repr=False, default=Factory(Gateway, takes_self=True))

    @property
    def capabilities(self) -> ps.Capabilities:
        """What Vipps can do. How long it keeps keys, and how soon a lookup shows all, it does not say."""
        return ps.Capabilities(
            capture="multiple",
            refund="multiple",
            replay_window=timedelta(hours=1),
            lookup="lagging",
            lookup_lag=timedelta(minutes=1),
            call_limit=timedelta(seconds=8 * self.timeout),  # a token, two lookups and a change
        )

    @ps.hookimpl
    def initiate(self, session: ps.PaymentSession, operation: ps.Operation) -> ps.Outcome:
        """Create the payment, which the payer approves on Vipps' page or in the app."""
        try:
            data = VippsData(**session.data)
        except (TypeError, ValueError):
            raise ps.Declined("invalid_data", "data has a phone_number of digits, and nothing else") from None
        description = session.checkout.description or f"Order {session.collection_reference}"
        body = {
            "amount": _amount(session.amount),
            "paymentMethod": {"type": "WALLET"},
            "userFlow": "WEB_REDIRECT",
            "reference": _reference(session),
            "returnUrl": session.checkout.return_url,
            "paymentDescription": description[:100],
            "metadata": {"session": session.id},
        }
        if data.phone_number is not None:
            body["customer"] = {"phoneNumber": data.phone_number}
        told = self._gateway.write(PAYMENTS, body, operation.key)
        page = ps.Redirect(told["redirectUrl"])
        return ps.Outcome.requires_more(next_action=page, reference=told["reference"])

    @ps.hookimpl
    def authorize(self, session: ps.PaymentSession, operation: ps.Operation) -> ps.Outcome:
        """Look what the payer did: Vipps reserves by itself, and captures only when it is told to."""
        seen = self.retrieve(session, operation)
        if seen.ready:
            return ps.Outcome.captured(self._move(session, operation, "capture", before=0))
        if seen.status is ps.Status.AUTHORIZED and seen.captured and seen.captured.minor:
            return ps.Outcome.captured(seen.captured)
        if seen.status is ps.Status.AUTHORIZED:
            return ps.Outcome.authorized(amount=seen.authorized)
        if seen.status is ps.Status.CANCELED:
            return ps.Outcome.canceled()
        if seen.error is not None:
            raise ps.Declined(seen.error.code, seen.error.message)
        return ps.Outcome.requires_more(next_action=session.next_action)

    @ps.hookimpl
    def capture(self, session: ps.PaymentSession, operation: ps.Operation) -> ps.Outcome:
        """Take a part, or all. After a final one the core sends a cancel, which releases what is left."""
        return ps.Outcome.captured(self._move(session, operation, "capture", before=session.captured))

    @ps.hookimpl
    def refund(self, session: ps.PaymentSession, operation: ps.Operation) -> ps.Outcome:
        """Give a part back, or all."""
        return ps.Outcome.refunded(self._move(session, operation, "refund", before=session.refunded))

    @ps.hookimpl
    def cancel(self, session: ps.PaymentSession, operation: ps.Operation) -> ps.Outcome:
        """Release all that is not captured. A payment that has ended holds nothing."""
        if self.retrieve(session, operation).status not in (ps.Status.CANCELED, ps.Status.ERROR):
            self._gateway.write(f"{PAYMENTS}/{_reference(session)}/cancel", {}, operation.key)
        return ps.Outcome.canceled()

    @ps.hookimpl
    def retrieve(self, session: ps.PaymentSession, operation: ps.Operation | None) -> ps.Snapshot:
        """Tell what Vipps shows of the session: the payment has the totals, its log the effects."""
        payment = self._gateway.read(f"{PAYMENTS}/{_reference(session)}")
        log = payment and self._gateway.read(f"{PAYMENTS}/{_reference(session)}/events")
        if not log:
            return ps.Snapshot.absent()
        total = {name: _money(amount) for name, amount in payment["aggregate"].items()}
        cancelled, captured = total["cancelledAmount"].minor, total["capturedAmount"]
        authorized = max(total["authorizedAmount"].minor - cancelled, 0)  # cancelled before: nothing
        status = STATUSES[payment["state"]]
        if status is ps.Status.AUTHORIZED and authorized == 0 < cancelled:
            status = ps.Status.CANCELED  # Vipps goes on calling it AUTHORIZED
        # Vipps does not capture by itself: an automatic session is approved, and `authorize` has to go on.
        ready = session.capture == "automatic" and status is ps.Status.AUTHORIZED and not captured.minor
        return ps.Snapshot(
            ps.Status.REQUIRES_MORE if ready else status,
            authorized=None if ready else ps.Money.from_minor(authorized, captured.currency),
            captured=captured,
            refunded=total["refundedAmount"],
            effects=[_effect(one, operation) for one in log if one["success"] and one["name"] in EFFECTS],
            ready=ready,
            session_id=payment["metadata"]["session"],
            reference=payment["reference"],
            next_action=ps.Redirect(payment["redirectUrl"]) if payment["state"] == "CREATED" else None,
            error=ps.Failure("payer_aborted", "the payer said no") if status is ps.Status.ERROR else None,
        )

    @ps.hookimpl
    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> list[ps.WebhookEvent]:
        """Verify a notification: Vipps signs its URL, its date and the hash of its body."""
        if not self.webhook_secret:
            raise ps.WebhookRejected("no webhook_secret is configured")
        host, _, path = self.webhook_url.partition("://")[2].partition("/")
        date, content = headers.get("x-ms-date", ""), base64.b64encode(hashlib.sha256(body).digest())
        text = f"POST\n/{path}\n{date};{host};{content.decode()}"
        digest = hmac.digest(self.webhook_secret.reveal().encode(), text.encode(), "sha256")
        signature = base64.b64encode(digest).decode()
        expected = f"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signature}"
        if not hmac.compare_digest(expected.encode(), headers.get("authorization", "").encode()):
            raise ps.WebhookRejected("the signature does not match")
        try:
            age = time.time() - parsedate_to_datetime(date).timestamp()
            told = json.loads(body)
            id_ = f"{told['pspReference']} {told['name']} {told['timestamp']}"
            event = ps.WebhookEvent(id_, told["name"], references=[told["reference"]])
        except (KeyError, TypeError, ValueError):
            raise ps.WebhookRejected("the notification cannot be read") from None
        if not -AHEAD.total_seconds() < age < BEHIND.total_seconds():
            raise ps.WebhookRejected("the notification is stale, or from the future")
        return [event]

    def _move(self, session: ps.PaymentSession, operation: ps.Operation, verb: str, before: int) -> ps.Money:
        """Capture or refund. Vipps answers with totals: what was moved now is what they grew by."""
        body = {"modificationAmount": _amount(operation.amount)}
        told = self._gateway.write(f"{PAYMENTS}/{_reference(session)}/{verb}", body, operation.key)
        total = told["aggregate"]["capturedAmount" if verb == "capture" else "refundedAmount"]
        return ps.Money.from_minor(total["value"] - before, total["currency"])


def _reference(session: ps.PaymentSession) -> str:
    return session.id.replace("_", "-")  # Vipps takes no underscore


def _amount(money: ps.Money) -> Json:
    return {"currency": money.currency, "value": money.minor}


def _money(told: Json) -> ps.Money:
    return ps.Money.from_minor(told["value"], told["currency"])


def _effect(event: Json, operation: ps.Operation | None) -> ps.Effect:
    # Our key is proof. Another key is not, while the log in Vipps' guide has the creation's key on a capture.
    key, reference = event.get("idempotencyKey"), event["pspReference"]
    proof = key if operation is not None and key == operation.key else None
    return ps.Effect(EFFECTS[event["name"]], _money(event["amount"]), reference=reference, key=proof)
