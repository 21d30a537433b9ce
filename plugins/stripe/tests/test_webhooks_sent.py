"""Notifications that the sandbox signs and sends, received by a web server of ours."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from paysession.provider import Money

SECRET = "whsec_test"


@pytest.fixture
def shop():
    """A shop's web server, which hands what it is sent to the ledger."""
    received = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        replies = []

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            reply = self.server.payments.handle_webhook("stripe", headers=dict(self.headers), body=body)
            self.replies.append((reply.status, json.loads(body)["type"]))
            self.send_response(reply.status)
            self.end_headers()
            received.set()

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        server.received, server.replies = received, Handler.replies
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("number", "kind", "status"),
    [
        ("4242424242424242", "payment_intent.succeeded", "authorized"),
        ("4000000000000341", "payment_intent.payment_failed", "error"),
    ],
)
def test_a_notification_that_the_sandbox_signs_and_sends_settles_the_session(
    payments, payer, sandbox, shop, number, kind, status
):
    shop.payments = payments
    url = f"http://127.0.0.1:{shop.server_address[1]}/webhooks/stripe"
    sandbox.send_webhooks_to(url, secret=SECRET, events=[kind])
    order = payments.create_collection(Money("42.00", "EUR"), reference="order-1001")
    session = payments.initiate(order.id, provider="stripe", capture="automatic")
    payer.confirm(session, number)
    assert shop.received.wait(20)
    assert [(200, kind)] == shop.replies
    session = payments.get(session.id)
    assert status == session.status
    assert (4200 if status == "authorized" else 0) == session.captured
