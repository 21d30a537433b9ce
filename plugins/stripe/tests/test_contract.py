"""The contract of a provider, on Stripe: a payer in the browser, and a card that was saved before."""

import json

import pytest

from paysession.provider import Effect, Kind, Money
from paysession_stripe.contract import SandboxCounterpart, StripeContract
from paysession_stripe.intent import SESSION


class TestStripe(StripeContract):
    pass


class SavedCard(SandboxCounterpart):
    """An account with a customer whose card is charged without them."""

    cannot = {
        **SandboxCounterpart.cannot,
        **dict.fromkeys(("ask", "decline"), "the payer is away"),
    }

    def __init__(self):
        super().__init__()
        customer = self.sandbox.call("POST", "/v1/customers", {"email": "jenny@example.com"})["id"]
        attach = "/v1/payment_methods/pm_card_visa/attach"
        card = self.sandbox.call("POST", attach, {"customer": customer})["id"]
        self.data = {"customer": customer, "payment_method": card}


class TestSavedCard(StripeContract):
    @pytest.fixture
    def gateway(self):
        return SavedCard()


class HostedPage(SandboxCounterpart):
    """An account whose payers pay on Stripe's page."""

    data = {"ui": "hosted"}

    def __init__(self):
        super().__init__()
        self.sandbox.api.base = "https://checkout.example"

    def _page(self, session):
        pages = self.sandbox.account().all("checkout.session")
        return next(row for row in pages if session.reference in (row["id"], row["payment_intent"]))

    def _intent(self, session):
        return self._page(session)["payment_intent"]

    def _confirm(self, session, card):
        self.sandbox.pay_checkout(session.reference, card)

    def ledger(self, session):
        rows = self.sandbox.account().all("checkout.session")
        # A page with another amount takes the place of the former one, which is closed.
        pages = [row for row in rows if row["metadata"].get(SESSION) == session.id]
        still = [row for row in pages if row["status"] != "expired"] or pages[-1:]
        made = [Effect(Kind.INITIATE, Money.from_minor(row["amount_total"], "EUR")) for row in still]
        if still and still[-1]["status"] == "expired":
            made.append(Effect(Kind.CANCEL, Money.from_minor(still[-1]["amount_total"], "EUR")))
        return made + [effect for effect in super().ledger(session) if effect.kind is not Kind.INITIATE]

    def cancel_in_dashboard(self, session):
        page = self._page(session)
        if page["status"] == "open":
            self.sandbox.call("POST", f"/v1/checkout/sessions/{page['id']}/expire", {})
        else:
            super().cancel_in_dashboard(session)

    def notification(self, session):
        page = self.sandbox.call("GET", f"/v1/checkout/sessions/{self._page(session)['id']}", {})
        event = {
            "id": f"evt_{next(self._numbers)}",
            "object": "event",
            "type": "checkout.session.completed",
            "livemode": False,
            "data": {"object": page},
        }
        return json.dumps(event).encode()


class TestHostedPage(StripeContract):
    @pytest.fixture
    def gateway(self):
        return HostedPage()
