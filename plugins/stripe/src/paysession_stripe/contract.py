"""The contract of a provider, filled in for Stripe: localstripe and the sandbox in front of it."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest

from paysession.provider import Effect, Kind, Money
from paysession_sandbox.stripe.layer import Request, Sandbox, decode_form
from paysession_sandbox.stripe.local import LocalStripe, StripeRefusal
from paysession_stripe import Stripe
from paysession_stripe.intent import SESSION
from paysession_testing import BaseProviderContract, Counterpart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from paysession.provider import PaymentSession
    from paysession_testing import Reply

__all__ = ["StripeContract"]

Json = dict[str, Any]

SECRET: Final = "whsec_of_the_contract"  # noqa: S105 - it guards nothing
DECLINED_CARD: Final = "4000000000000341"


class SandboxCounterpart(Counterpart):
    """A sandbox with nothing in it.

    Args:
        local: localstripe, which is emptied.
    """

    secrets = (SECRET,)
    data: Mapping[str, Any] = {"email": "jenny@example.com", "name": "Jenny Rosen"}

    def __init__(self, local: LocalStripe) -> None:
        local.call("DELETE", "/_config/data")
        self._local = local
        self._sandbox = Sandbox(local)
        self._numbers = count(1)

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer as the sandbox does."""
        url = urlsplit(path)
        form = body.decode() if method == "POST" else url.query
        answer = self._sandbox.serve(Request(method, url.path, decode_form(form), headers))
        return answer.status or 500, answer.headers, answer.body

    def refusal(self, status: int) -> Reply:
        """Word an error as Stripe does."""
        kind = "api_error" if status >= 500 else "invalid_request_error"  # noqa: PLR2004 - theirs or ours
        return status, {}, {"error": {"type": kind, "message": f"HTTP {status}"}}

    def ledger(self, session: PaymentSession) -> Sequence[Effect]:
        """Return what localstripe and the sandbox hold for a session."""
        found: list[Effect] = []
        for row in self._local.call("GET", "/v1/payment_intents", {"limit": 1000})["data"]:
            if row["metadata"].get(SESSION) == session.id:
                found += self._effects(row["id"], session.amount.currency)
        return found

    def _effects(self, intent: str, currency: str) -> list[Effect]:
        expand = {"expand": ["latest_charge", "latest_charge.refunds"]}
        found = self._carry_out("GET", f"/v1/payment_intents/{intent}", expand)

        def effect(kind: Kind, minor: int) -> Effect:
            return Effect(kind, Money.from_minor(minor, currency))

        effects = [effect(Kind.INITIATE, found["amount"])]
        charge = found["latest_charge"]
        if charge is not None and charge["status"] == "succeeded":
            effects.append(effect(Kind.AUTHORIZE, found["amount"]))
            effects += [effect(Kind.CAPTURE, part) for part in self._sandbox.captures(intent)]
            refunds = charge["refunds"]["data"]
            effects += [effect(Kind.REFUND, row["amount"]) for row in refunds if row["balance_transaction"]]
        if found["status"] == "canceled":
            effects.append(effect(Kind.CANCEL, found["amount"]))
        return effects

    def _carry_out(self, method: str, path: str, params: Json) -> Json:
        return self._sandbox.carry_out(Request(method, path, params))

    def _confirm(self, session: PaymentSession, card: str) -> None:
        self._carry_out("POST", f"/v1/payment_intents/{session.reference}/confirm", {"payment_method": card})

    def approve(self, session: PaymentSession) -> None:
        """Confirm in the payer's browser, with a card that works."""
        self._confirm(session, "pm_card_visa")

    def decline(self, session: PaymentSession) -> None:
        """Confirm in the payer's browser, with a card that the bank refuses."""
        card = {"number": DECLINED_CARD, "exp_month": "12", "exp_year": "2040", "cvc": "123"}
        method = self._local.call("POST", "/v1/payment_methods", {"type": "card", "card": card})
        with pytest.raises(StripeRefusal):
            self._confirm(session, method["id"])

    def notification(self, session: PaymentSession) -> bytes:
        """Return an event with the PaymentIntent as it is now."""
        intent = self._carry_out("GET", f"/v1/payment_intents/{session.reference}", {})
        event = {
            "id": f"evt_{next(self._numbers)}",
            "object": "event",
            "type": "payment_intent.amount_capturable_updated",
            "livemode": False,
            "data": {"object": intent},
        }
        return json.dumps(event).encode()

    def sign(self, body: bytes, at: datetime) -> Mapping[str, str]:
        """Sign as Stripe does: https://docs.stripe.com/webhooks#verify-manually."""
        stamp = str(int(at.timestamp()))
        signature = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, sha256).hexdigest()
        return {"Stripe-Signature": f"t={stamp},v1={signature}", "Content-Type": "application/json"}

    def refund_in_dashboard(self, session: PaymentSession, amount: Money) -> None:
        """Refund without a mark of ours."""
        params = {"payment_intent": session.reference, "amount": str(amount.minor)}
        self._carry_out("POST", "/v1/refunds", params)

    def capture_in_dashboard(self, session: PaymentSession, amount: Money) -> None:
        """Capture without a mark of ours."""
        params = {"amount_to_capture": str(amount.minor)}
        self._carry_out("POST", f"/v1/payment_intents/{session.reference}/capture", params)

    def cancel_in_dashboard(self, session: PaymentSession) -> None:
        """Cancel without a mark of ours."""
        self._carry_out("POST", f"/v1/payment_intents/{session.reference}/cancel", {})


class StripeContract(BaseProviderContract):
    """Run by this package's tests, and by ``paysession check stripe``; it needs localstripe."""

    @pytest.fixture(scope="class")
    @classmethod
    def local(cls) -> Iterator[LocalStripe]:
        """Start localstripe."""
        with LocalStripe() as local:
            yield local

    @pytest.fixture
    def gateway(self, local: LocalStripe) -> Counterpart:
        """Return an empty sandbox."""
        return SandboxCounterpart(local)

    @pytest.fixture
    def make_provider(self) -> Callable[[str], Stripe]:
        """Return what makes a provider for an address."""

        def make(url: str) -> Stripe:
            return Stripe(
                api_key="sk_test_of_the_contract",
                webhook_secret=SECRET,
                api_base=url,
                timeout=1,
                max_network_retries=0,
                multicapture=True,
            )

        return make
