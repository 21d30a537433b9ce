"""The contract of a provider, filled in for PayPal: the fake PayPal on a socket, and its payer."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytest

from paysession.provider import Effect, Kind, Money
from paysession_paypal import PayPal
from paysession_paypal.amounts import EXPONENTS
from paysession_paypal.signature import Signature
from paysession_sandbox.paypal import PayPalFake
from paysession_testing import BaseProviderContract, Counterpart, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from paysession.provider import PaymentSession

__all__ = ["PayPalContract"]

_KINDS: Final = {
    "authorize": Kind.AUTHORIZE,
    "capture": Kind.CAPTURE,
    "refund": Kind.REFUND,
    "chargeback": Kind.CHARGEBACK,
    "void": Kind.CANCEL,
}
_NO_EFFECT: Final = ("/v1/oauth2/token", "/v1/notifications/verify-webhook-signature")


class FakeCounterpart(Counterpart):
    """A fake PayPal as the kit sees it.

    Args:
        fake: The fake, which keeps request ids by itself.
    """

    cannot: Mapping[str, str] = {"notify": "a webhook is registered once, for the app"}
    key_header = "PayPal-Request-Id"
    currency_exponents = EXPONENTS
    under_way = timedelta(days=4)  # it sends again for three days, under the first time's signature
    replays = True

    def __init__(self, fake: PayPalFake) -> None:
        self.url = fake.url
        self.secrets = (fake.client_secret,)
        self._fake = fake
        self._numbers = count(1)

    def is_write(self, request: Request) -> bool:
        """Return whether a request can cause an effect: fetching a token cannot."""
        return request.method != "GET" and not request.path.startswith(_NO_EFFECT)

    def refusal(self, status: int) -> tuple[int, Mapping[str, str], dict[str, Any]]:
        """Word an error as PayPal does."""
        return status, {}, {"name": "ERROR", "message": f"HTTP {status}", "debug_id": "f00d", "details": []}

    def ledger(self, session: PaymentSession) -> Sequence[Effect]:
        """Return what the fake's ledger holds for a session."""
        found: list[Effect] = []
        currency = session.amount.currency
        for order in self._fake.ledger.orders.values():
            if order.unit.get("custom_id") == session.id:
                found.append(Effect(Kind.INITIATE, Money(order.amount, order.currency)))
                currency = order.currency
        for kind, custom_id, amount in self._fake.ledger.effects:
            if custom_id == session.id:
                found.append(Effect(_KINDS[kind], Money(amount, currency)))
        return found

    def approve(self, session: PaymentSession) -> Mapping[str, str]:
        """Approve on PayPal's page."""
        return self._fake.payer_approves(str(session.reference))

    def decline(self, session: PaymentSession) -> Mapping[str, str]:
        """Approve on PayPal's page, with a card that its bank then refuses."""
        self._fake.ledger.next_status.setdefault("authorize", []).append("DENIED")
        return self.approve(session)

    def notification(self, session: PaymentSession) -> bytes:
        """Return a notification about the session's order."""
        event = {
            "id": f"WH-{next(self._numbers)}",
            "event_version": "1.0",
            "resource_type": "checkout-order",
            "event_type": "CHECKOUT.ORDER.APPROVED",
            "resource": {"id": session.reference, "purchase_units": [{"custom_id": session.id}]},
        }
        return json.dumps(event).encode()

    def sign(self, body: bytes, at: datetime) -> Mapping[str, str]:
        """Sign with the fake's certificate."""
        return self._fake.signer.headers(body, at=at)

    def refund_in_dashboard(self, session: PaymentSession, amount: Money) -> None:
        """Refund the session's first capture in PayPal's dashboard."""
        order = self._fake.ledger.order(str(session.reference))
        told = {"currency_code": amount.currency, "value": f"{amount.amount:f}"}
        self._fake.ledger.refund(order.captures[0].id, {"amount": told})

    def capture_in_dashboard(self, session: PaymentSession, amount: Money) -> None:
        """Capture the session's authorization in PayPal's dashboard."""
        order = self._fake.ledger.order(str(session.reference))
        told = {"currency_code": amount.currency, "value": f"{amount.amount:f}"}
        self._fake.ledger.capture(order.authorizations[0].id, {"amount": told, "final_capture": True})

    def cancel_in_dashboard(self, session: PaymentSession) -> None:
        """Void the session's authorization in PayPal's dashboard."""
        order = self._fake.ledger.order(str(session.reference))
        self._fake.ledger.void(order.authorizations[0].id)

    def charge_back(self, session: PaymentSession, amount: Money) -> None:
        """Take the session's first capture back, all of it."""
        del amount
        self._fake.ledger.reverse(self._fake.ledger.order(str(session.reference)).captures[0].id)


class PayPalContract(BaseProviderContract):
    """Run by this package's tests, and by ``paysession check paypal``."""

    @pytest.fixture
    def fake(self) -> Iterator[PayPalFake]:
        """Start a fake PayPal."""
        with PayPalFake() as fake:
            yield fake

    @pytest.fixture
    def gateway(self, fake: PayPalFake) -> Counterpart:
        """Return the fake as the kit sees it."""
        return FakeCounterpart(fake)

    @pytest.fixture
    def make_provider(self, fake: PayPalFake, tmp_path: Path) -> Callable[[str], PayPal]:
        """Return what makes a provider for an address; it trusts the fake's certificates."""
        authority = tmp_path / "authority.pem"
        authority.write_bytes(fake.signer.authority.pem())

        def make(url: str) -> PayPal:
            webhook_id = fake.signer.webhook_id
            verifier = Signature(
                webhook_id, ca_file=str(authority), fetch=lambda _url, _timeout: fake.signer.certificate
            )
            return PayPal(
                client_id=fake.client_id,
                client_secret=fake.client_secret,
                endpoint=url,
                webhook_id=webhook_id,
                timeout=1,
                verifier=verifier,
            )

        return make

    @pytest.fixture
    def provider_without_webhook_secret(self, fake: PayPalFake) -> PayPal:
        """Return a provider that was told no webhook's id."""
        return PayPal(client_id=fake.client_id, client_secret=fake.client_secret, endpoint=fake.url)
