"""Adyen for paysession: the Sessions flow of Checkout API v71, reported by webhooks alone.

Adyen answers a capture, a refund or a cancel with "received", and reports what became of it in a webhook; so
does it report what the payer did. Nothing here asks, and nothing here is stored: the session keeps Adyen's
id. Where each fact comes from is in docs/example-webhooks.md.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen
from attrs.validators import matches_re, optional

from paysession import provider as ps

if TYPE_CHECKING:
    from collections.abc import Mapping

    import urllib3

__all__ = ["Adyen", "AdyenData"]

Json = dict[str, Any]

# https://docs.adyen.com/development-resources/currency-codes: where Adyen's decimals are not ISO 4217's.
EXPONENTS: Final = {"CLP": 2, "CVE": 0, "IDR": 0, "ISK": 2}
AUTOMATIC: Final = "auto"
"""What our reference of a payment ends with that Adyen captures by itself: webhooks repeat the reference."""
REFUSED: Final = (422,)
"""Understood and refused: nothing was done, and nothing will be."""
SIGNED: Final = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")
MODIFIED: Final[dict[str, tuple[str, Any]]] = {  # what a webhook says of a capture, a refund or a cancel
    "CAPTURE": ("capture", "succeeded"),
    "CAPTURE_FAILED": ("capture", "reversed"),
    "REFUND": ("refund", "succeeded"),
    "REFUND_FAILED": ("refund", "reversed"),
    "REFUNDED_REVERSED": ("refund", "reversed"),
    "CANCELLATION": ("cancel", "succeeded"),
    "TECHNICAL_CANCEL": ("cancel", "succeeded"),
    "EXPIRE": ("cancel", "succeeded"),
}
DISPUTED: Final[dict[str, tuple[Any, Any]]] = {
    "NOTIFICATION_OF_CHARGEBACK": ("pending", "opened"),
    "CHARGEBACK": ("succeeded", "opened"),
    "SECOND_CHARGEBACK": ("succeeded", "lost"),
    "CHARGEBACK_REVERSED": ("reversed", "won"),
}


@frozen(kw_only=True)
class AdyenData:
    """What a host may give to ``initiate``.

    Attributes:
        country: The payer's country, in two capital letters: it decides which payment methods are shown.
        shopper: The host's own id of the payer, for saved payment methods.
    """

    country: str | None = field(default=None, validator=optional(matches_re(r"[A-Z]{2}")))
    shopper: str | None = field(default=None, validator=optional(matches_re(r"[\w.-]{3,256}")))


@frozen(kw_only=True, eq=False)
class Adyen:
    """The provider ``adyen``.

    Args:
        api_key: The API credential's key.
        merchant_account: The account that is paid.
        client_key: What Drop-in needs in the browser; it is no secret.
        webhook_hmac_key: The webhook's HMAC key, in hexadecimal digits: without it all are rejected.
        api_base: Checkout's address. That of a live account has a prefix of its own.
        live: Whether the address and the keys are those of a live account.
        timeout: Seconds to wait for a connection, and then for the whole answer.
    """

    api_key: ps.Secret = field(converter=ps.Secret)
    merchant_account: str
    client_key: str = ""
    webhook_hmac_key: ps.Secret = field(default=ps.Secret(""), converter=ps.Secret)
    api_base: ps.Endpoint = field(
        default=ps.Endpoint("https://checkout-test.adyen.com/v71"), converter=ps.Endpoint
    )
    live: bool = False
    timeout: float = 10.0
    _pool: urllib3.PoolManager = field(init=False, repr=False)

    @_pool.default
    def _make_pool(self) -> urllib3.PoolManager:
        import urllib3  # noqa: PLC0415 - who does not use Adyen does not pay for it

        pool = urllib3.PoolManager(maxsize=32, retries=False, timeout=self.timeout)
        pool.pool_classes_by_scheme = ps.bounded_pools(pool.pool_classes_by_scheme)  # no answer is endless
        return pool

    @property
    def mode(self) -> str:
        """Whose money it moves."""
        return "live" if self.live else "test"

    @property
    def capabilities(self) -> ps.Capabilities:
        """What Adyen can do: keys are kept for 7 days at least; what one capture leaves is released."""
        return ps.Capabilities(
            capture="once",
            refund="multiple",
            replay_window=timedelta(days=7),
            call_limit=timedelta(seconds=2 * self.timeout),
            currency_exponents=EXPONENTS,
        )

    @ps.hookimpl
    def initiate(self, session: ps.PaymentSession, operation: ps.Operation) -> ps.Outcome:
        """Make the session that Drop-in shows the payment methods of."""
        try:
            data = AdyenData(**session.data)
        except (TypeError, ValueError):
            raise ps.Declined("invalid_data", "data has a country, a shopper, and nothing else") from None
        visit, automatic = session.checkout, session.capture == "automatic"
        body = {
            "merchantAccount": self.merchant_account,
            "amount": self._amount(session.amount),
            "reference": f"{session.id}-{AUTOMATIC}" if automatic else session.id,
            "returnUrl": visit.return_url,
            "channel": "Web",
            "shopperLocale": visit.locale,
            "shopperEmail": visit.email,
            "shopperIP": visit.ip,
            "countryCode": data.country,
            "shopperReference": data.shopper,
            **({"captureDelayHours": 0} if automatic else {"additionalData": {"manualCapture": "true"}}),
        }
        told = self._write("/sessions", {k: v for k, v in body.items() if v is not None}, operation)
        action = {"id": told["id"], "sessionData": told["sessionData"], "clientKey": self.client_key}
        return ps.Outcome.requires_more(
            next_action=ps.ClientAction("adyen.drop_in", action | {"environment": self.mode}),
            expires_at=datetime.fromisoformat(told["expiresAt"]),
        )

    @ps.hookimpl
    def authorize(self, session: ps.PaymentSession) -> ps.Outcome:
        """Wait for the webhook: what the browser brings proves nothing."""
        return ps.Outcome.requires_more(next_action=session.next_action)

    @ps.hookimpl
    def capture(self, session: ps.PaymentSession, operation: ps.Operation) -> ps.Outcome:
        """Ask for a capture; its webhook says what became of it."""
        return self._modify("captures", session, operation)

    @ps.hookimpl
    def refund(self, session: ps.PaymentSession, operation: ps.Operation) -> ps.Outcome:
        """Ask for a refund; its webhook says what became of it."""
        return self._modify("refunds", session, operation)

    @ps.hookimpl
    def cancel(self, session: ps.PaymentSession, operation: ps.Operation) -> ps.Outcome:
        """Ask for what is authorized to be released. What nobody has paid can only expire."""
        if session.reference is None:
            raise ps.Declined("not_authorized", "nothing is authorized; the session expires by itself")
        self._modify("cancels", session, operation)
        return ps.Outcome.pending()  # its reference is the cancel's, and the session's is the payment's

    @ps.hookimpl
    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> list[ps.WebhookEvent]:
        """Verify each item by its own signature; one that is not understood is acknowledged all the same.

        Adyen sends nothing more to this address while an item is not acknowledged.
        """
        del headers
        try:
            items = [one["NotificationRequestItem"] for one in json.loads(body)["notificationItems"]]
            genuine = all(self._is_signed(item) for item in items)
        except (KeyError, TypeError, ValueError):
            raise ps.WebhookRejected("it is no webhook of Adyen's") from None
        if not items or not genuine:
            raise ps.WebhookRejected("a signature does not match")
        return [event for event in map(self._understood, items) if event is not None]

    @ps.hookimpl
    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    # --- webhooks ---------------------------------------------------------------------------------------

    def _is_signed(self, item: Json) -> bool:
        amount = item.get("amount") or {}
        parts = [item.get(name) or "" for name in SIGNED]
        parts += [str(amount.get("value", "")), amount.get("currency", "")]
        parts += [item["eventCode"], item["success"]]
        key, signature = self.webhook_hmac_key.reveal(), item["additionalData"]["hmacSignature"]
        digest = hmac.digest(bytes.fromhex(key), ":".join(parts).encode(), "sha256")
        return bool(key) and hmac.compare_digest(base64.b64encode(digest), signature.encode())

    def _understood(self, item: Json) -> ps.WebhookEvent | None:
        """Return what a signed item reports; None: it is of another account, or no news of a payment."""
        try:
            return self._event(item) if item["merchantAccountCode"] == self.merchant_account else None
        except (KeyError, TypeError, ValueError, ps.InvalidAmount):
            return None

    def _event(self, item: Json) -> ps.WebhookEvent | None:
        code, psp, ours = item["eventCode"], item["pspReference"], item["merchantReference"]
        payment, effects = item.get("originalReference") or psp, self._effects(item)
        if not effects:
            return None
        found = re.fullmatch(r"(ps_[0-9a-f]{28})(-.+)?", ours)
        authorized = code == "AUTHORISATION" and item["success"] == "true"
        more = item["additionalData"]
        return ps.WebhookEvent(
            f"{psp} {code} {item['success']}",
            code,
            session_id=found[1] if found else None,
            references=[payment, psp],
            effects=effects,
            reference=payment if authorized else None,
            payer=ps.Payer(name=more.get("cardHolderName"), email=more.get("shopperEmail"))
            if authorized
            else None,
        )

    def _effects(self, item: Json) -> list[ps.Effect]:
        code, psp, ours = item["eventCode"], item["pspReference"], item["merchantReference"]
        amount = self.capabilities.money(item["amount"]["value"], item["amount"]["currency"])
        done, automatic = item["success"] == "true", ours.endswith(f"-{AUTOMATIC}")
        error = None if done else ps.Failure("refused", item.get("reason") or "no reason was given")
        if code == "AUTHORISATION" and not done:
            return [ps.Effect("authorize", amount, "failed", psp, error=error)]
        if code == "AUTHORISATION":
            captured = [ps.Effect("capture", amount, reference=psp, key="")] if automatic else []
            return [ps.Effect("authorize", amount, reference=psp), *captured]
        if code in DISPUTED and done:
            state, status = DISPUTED[code]
            dispute = ps.Dispute(status, reason=item.get("reason") or None)
            return [ps.Effect("chargeback", amount, state, psp, dispute=dispute)]
        if code not in MODIFIED:
            return []
        kind, state = MODIFIED[code]
        # A payment that Adyen captured by itself has no capture of its own: it is known by the payment's id.
        reference = item["originalReference"] if automatic and kind == "capture" else psp
        key = ours if re.fullmatch(r"ps_[0-9a-f]{28}-\d+-[a-z2-7]{8}", ours) else None
        return [ps.Effect(kind, amount, state if done else "failed", reference, key, error=error)]

    # --- requests ---------------------------------------------------------------------------------------

    def _amount(self, money: ps.Money) -> Json:
        return {"currency": money.currency, "value": self.capabilities.minor(money)}

    def _modify(self, what: str, session: ps.PaymentSession, operation: ps.Operation) -> ps.Outcome:
        body: Json = {"merchantAccount": self.merchant_account, "reference": operation.key}
        if what != "cancels":
            body["amount"] = self._amount(operation.amount)
        told = self._write(f"/payments/{session.reference}/{what}", body, operation)
        if told["status"] != "received":
            raise ps.OutcomeUnknown(f"Adyen answered with the status {told['status']!r:.40}")
        return ps.Outcome.pending(reference=told["pspReference"])

    def _write(self, path: str, body: Json, operation: ps.Operation) -> Json:
        import urllib3  # noqa: PLC0415 - as above

        headers = {"X-API-Key": self.api_key.reveal(), "Idempotency-Key": operation.key}
        try:
            answer = self._pool.request(
                "POST", self.api_base + path, json=body, headers=headers, redirect=False
            )
            told: Any = answer.json()
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
            raise ps.NotApplied(f"Adyen cannot be reached: {type(error).__name__}") from None
        except urllib3.exceptions.HTTPError as error:
            raise ps.OutcomeUnknown(f"no answer from Adyen: {type(error).__name__}") from None
        except ValueError:
            told = None
        if answer.status in (200, 201) and isinstance(told, dict) and told:
            return told
        code = str(told.get("errorCode") or "") if isinstance(told, dict) else ""
        if answer.status in (401, 403) and told is not None:
            raise ps.ConfigurationError(f"Adyen refuses the key, or a permission of it: {answer.status}")
        if answer.status in REFUSED and code != "704":  # a request with this key is processed just now
            raise ps.Declined(code or "invalid", f"Adyen refused the request: error {code}")
        if answer.status in (400, 404, 429) and told is not None:
            raise ps.NotApplied(f"Adyen did not take the request: {answer.status} {code}")
        raise ps.OutcomeUnknown(f"Adyen answered {answer.status} {code}")
