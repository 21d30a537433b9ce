"""The contract of a provider, filled in for Stripe: the sandbox's Stripe, its payer and its dashboard."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytest

from paysession.provider import Capabilities, Effect, Kind, Money
from paysession_sandbox.stripe import Refusal, StripeSandbox
from paysession_sandbox.stripe.deliveries import sign
from paysession_stripe import Stripe
from paysession_stripe.amounts import EXPONENTS
from paysession_stripe.intent import SESSION
from paysession_testing import BaseProviderContract, Counterpart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from paysession.provider import PaymentSession
    from paysession_testing import Reply

__all__ = ["StripeContract"]

Json = dict[str, Any]

SECRET: Final = "whsec_of_the_contract"  # noqa: S105 - it guards nothing
DECLINED_CARD: Final = "pm_card_visa_chargeDeclinedInsufficientFunds"


_COUNTED = Capabilities(currency_exponents=EXPONENTS)


class SandboxCounterpart(Counterpart):
    """A Stripe with nothing in it, which keeps idempotency keys by itself."""

    secrets = (SECRET,)
    cannot: Mapping[str, str] = {"notify": "an endpoint is registered once, for the account"}
    replays = True
    currency_exponents = EXPONENTS
    data: Mapping[str, Any] = {"email": "jenny@example.com", "name": "Jenny Rosen"}

    def __init__(self) -> None:
        self.sandbox = StripeSandbox()
        self._numbers = count(1)

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer as the sandbox does."""
        answer = self.sandbox.handle(method, path, headers, body)
        return answer.status or 500, answer.headers, answer.body

    def refusal(self, status: int) -> Reply:
        """Word an error as Stripe does."""
        kind = "api_error" if status >= 500 else "invalid_request_error"  # noqa: PLR2004 - theirs or ours
        return status, {}, {"error": {"type": kind, "message": f"HTTP {status}"}}

    def ledger(self, session: PaymentSession) -> Sequence[Effect]:
        """Return what the sandbox holds for a session."""
        found: list[Effect] = []
        for row in self.sandbox.account().all("payment_intent"):
            if row["metadata"].get(SESSION) == session.id:
                found += self._effects(row["id"], session.amount.currency)
        return found

    def _effects(self, intent: str, currency: str) -> list[Effect]:
        expand = {"expand": ["latest_charge", "latest_charge.refunds"]}
        found = self._carry_out("GET", f"/v1/payment_intents/{intent}", expand)

        def effect(kind: Kind, minor: int) -> Effect:
            return Effect(kind, _COUNTED.money(minor, currency))

        effects = [effect(Kind.INITIATE, found["amount"])]
        charge = found["latest_charge"]
        if charge is not None and charge["status"] == "succeeded":
            effects.append(effect(Kind.AUTHORIZE, found["amount"]))
            effects += [effect(Kind.CAPTURE, part) for part in self.sandbox.captures(intent)]
            effects += [effect(Kind.REFUND, row["amount"]) for row in charge["refunds"]["data"]]
            disputes = self.sandbox.account().all("dispute")
            effects += [
                effect(Kind.CHARGEBACK, row["amount"]) for row in disputes if row["charge"] == charge["id"]
            ]
        if found["status"] == "canceled":
            effects.append(effect(Kind.CANCEL, found["amount"]))
        return effects

    def _carry_out(self, method: str, path: str, params: Json) -> Json:
        return self.sandbox.call(method, path, params)

    def _intent(self, session: PaymentSession) -> str:
        """Return the id of a session's PaymentIntent."""
        return session.reference or ""

    def _confirm(self, session: PaymentSession, card: str) -> None:
        params = {"payment_method": card, "return_url": "https://shop.example/back"}
        self._carry_out("POST", f"/v1/payment_intents/{self._intent(session)}/confirm", params)

    def approve(self, session: PaymentSession) -> None:
        """Confirm in the payer's browser, with a card that works."""
        self._confirm(session, "pm_card_visa")

    def decline(self, session: PaymentSession) -> None:
        """Confirm in the payer's browser, with a card that the bank refuses."""
        with pytest.raises(Refusal):
            self._confirm(session, DECLINED_CARD)

    def decline_increment(self, session: PaymentSession) -> None:
        """Have the payer's bank hold no more."""
        self.sandbox.decline_increments(self._intent(session))

    def notification(self, session: PaymentSession) -> bytes:
        """Return an event with the PaymentIntent as it is now."""
        intent = self._carry_out("GET", f"/v1/payment_intents/{self._intent(session)}", {})
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
        return self._signed(body, SECRET, at)

    def sign_with_nothing(self, body: bytes, at: datetime) -> tuple[Mapping[str, str], bytes]:
        """Sign with an empty secret."""
        return self._signed(body, "", at), body

    @staticmethod
    def _signed(body: bytes, secret: str, at: datetime) -> Mapping[str, str]:
        signature = sign(body, secret, at.timestamp())
        return {"Stripe-Signature": signature, "Content-Type": "application/json"}

    def refund_in_dashboard(self, session: PaymentSession, amount: Money) -> None:
        """Refund without a mark of ours."""
        params = {"payment_intent": self._intent(session), "amount": str(amount.minor)}
        self._carry_out("POST", "/v1/refunds", params)

    def capture_in_dashboard(self, session: PaymentSession, amount: Money) -> None:
        """Capture without a mark of ours."""
        params = {"amount_to_capture": str(amount.minor)}
        self._carry_out("POST", f"/v1/payment_intents/{self._intent(session)}/capture", params)

    def cancel_in_dashboard(self, session: PaymentSession) -> None:
        """Cancel without a mark of ours."""
        self._carry_out("POST", f"/v1/payment_intents/{self._intent(session)}/cancel", {})

    def charge_back(self, session: PaymentSession, amount: Money) -> None:
        """Have the payer's bank take it back, in a dispute."""
        self.sandbox.dispute(self._intent(session), amount=amount.minor)


class StripeContract(BaseProviderContract):
    """Run by this package's tests, and by ``paysession check stripe``."""

    @pytest.fixture
    def gateway(self) -> Counterpart:
        """Return an empty sandbox."""
        return SandboxCounterpart()

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
                incremental_authorization=True,
            )

        return make
