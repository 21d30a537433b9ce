"""Notifications that the sandbox's PayPal signs and sends by itself, verified by asking it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from paysession import Checkout, Money, Payments
from paysession_paypal import PayPal
from paysession_sandbox.paypal import Clock, PayPalFake


@pytest.fixture
def fake():
    """A PayPal whose clock runs as the shop's does."""
    with PayPalFake(Clock(running=True)) as fake:
        yield fake


@pytest.fixture
def shop(fake):
    """A shop's server, which hands what it is sent to its payments."""
    paypal = PayPal(
        client_id=fake.client_id,
        client_secret=fake.client_secret,
        endpoint=fake.url,
        webhook_id=fake.signer.webhook_id,
        webhook_verification="postback",
    )
    replies = []
    with Payments.open("memory:", providers={"paypal": paypal}) as payments:

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                reply = payments.handle_webhook("paypal", headers=dict(self.headers), body=body)
                replies.append((reply.status, json.loads(body)["event_type"]))
                self.send_response(reply.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.005,))
        thread.start()
        payments.url, payments.replies = f"http://127.0.0.1:{server.server_port}/webhooks/paypal", replies
        yield payments
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_payer_who_never_comes_back_is_found_by_a_notification(shop, fake):
    fake.send_webhooks_to(shop.url)
    fake.deliveries.times = 2
    order = shop.create_collection(Money("42.00", "EUR"), reference="order-1001")
    session = shop.initiate(order.id, provider="paypal", checkout=Checkout(return_url="https://shop.example"))
    fake.payer_approves(session.reference)
    assert fake.deliveries.wait_for(2)
    assert shop.replies[:2] == [(200, "CHECKOUT.ORDER.APPROVED")] * 2
    assert shop.get(session.id).status == "authorized"


def test_what_the_shop_did_not_take_is_sent_again(shop, fake):
    fake.deliveries.held = True
    fake.send_webhooks_to("http://127.0.0.1:9/nobody")
    order = shop.create_collection(Money("42.00", "EUR"), reference="order-1001")
    session = shop.initiate(order.id, provider="paypal", checkout=Checkout(return_url="https://shop.example"))
    fake.payer_approves(session.reference)
    (sent,) = fake.deliveries.deliver()
    assert (sent.status, len(fake.deliveries.waiting())) == (0, 1)
    fake.clock.forward(hours=3)
    (again,) = fake.deliveries.deliver()
    assert again.attempts == 2
