"""PayPal's own sandbox, where credentials are given: all that needs no person to approve."""

import os

import pytest

from paysession import Checkout, Money, Payments

ID, SECRET = "PAYSESSION_PAYPAL__CLIENT_ID", "PAYSESSION_PAYPAL__CLIENT_SECRET"

pytestmark = pytest.mark.skipif(
    not (os.environ.get(ID) and os.environ.get(SECRET)), reason=f"{ID} and {SECRET} are not set"
)


def test_an_order_is_made_updated_looked_at_and_canceled():
    checkout = Checkout(
        return_url="https://shop.example/back", cancel_url="https://shop.example/no", locale="de-DE"
    )
    with Payments.open("memory:", providers={"paypal": {"environment": "sandbox"}}) as payments:
        order = payments.create_collection(Money("42.00", "EUR"), reference="paysession's own tests")
        session = payments.initiate(order.id, provider="paypal", checkout=checkout)
        assert session.next_action.url.startswith("https://www.sandbox.paypal.com/")
        session = payments.update(session.id, Money("40.00", "EUR"))
        session = payments.resume(session.id, payload={"token": session.reference})
        assert (str(session.status), session.amount) == ("requires_more", Money("40.00", "EUR"))
        assert str(payments.cancel(session.id).status) == "canceled"
