"""What goes wrong on the way, and what is sent by itself: faults and webhooks."""

import hmac
import json
import threading
from datetime import timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import stripe as sdk

from paysession_sandbox.stripe import FAULTS

INTENT = {"amount": 4200, "currency": "eur"}


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("hang", "slow")])
def test_each_fault_does_what_it_says(stripe, sandbox, fault):
    sandbox.fail(fault, "/v1/payment_intents")
    options = {"idempotency_key": "k1"}
    try:
        stripe.payment_intents.create(INTENT, options)
    except (sdk.StripeError, AttributeError, TypeError):  # the client leaks others for what is no answer
        pass
    else:
        assert fault in ("list", "null", "redirect")
    done = sandbox.summary().get("payment_intent", 0)
    assert done == (
        1 if fault in ("drop_after", "500_after", "html_after", "garbage", "list", "null", "truncated") else 0
    )
    assert stripe.payment_intents.create(INTENT, options).status == "requires_payment_method"
    assert sandbox.summary()["payment_intent"] == 1


def test_a_hanging_answer_is_held_until_it_is_let_go(stripe, sandbox):
    sandbox.fail("hang", "/v1/payment_intents")
    failed = []

    def create():
        with pytest.raises(sdk.APIConnectionError) as caught:
            stripe.payment_intents.create(INTENT)
        failed.append(caught.value)

    thread = threading.Thread(target=create)
    thread.start()
    assert sandbox.wait_until_held()
    assert (sandbox.summary()["payment_intent"], failed) == (1, [])
    sandbox.release()
    thread.join(10)
    assert len(failed) == 1


def test_a_fault_may_come_later_and_be_taken_back(stripe, sandbox):
    sandbox.fail("500_before", "/v1/payment_intents", after=1)
    stripe.payment_intents.create(INTENT)
    sandbox.clear_faults()
    stripe.payment_intents.create(INTENT)
    with pytest.raises(ValueError, match="there is no fault"):
        sandbox.fail("whatever")


# --- webhooks -------------------------------------------------------------------------------------


class Shop:
    """A shop's address for webhooks."""

    def __init__(self):
        self.got = []
        self.status = 200
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                shop.got.append((self.headers["Stripe-Signature"], body))
                self.send_response(shop.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/stripe"
        threading.Thread(target=self.server.serve_forever, args=(0.005,), daemon=True).start()

    def kinds(self):
        return [json.loads(body)["type"] for _, body in self.got]


@pytest.fixture
def shop():
    shop = Shop()
    yield shop
    shop.server.shutdown()
    shop.server.server_close()


def test_events_are_signed_and_sent_by_themselves(stripe, sandbox, shop, clock):
    endpoint = stripe.webhook_endpoints.create(
        {"url": shop.url, "enabled_events": ["payment_intent.created"]}
    )
    customer = stripe.customers.create({})  # an event that it does not want
    intent = stripe.payment_intents.create({**INTENT, "customer": customer.id})
    assert sandbox.deliveries.wait_for(1)
    ((signature, body),) = shop.got
    stamp = str(int(clock.seconds()))
    expected = hmac.new(endpoint.secret.encode(), stamp.encode() + b"." + body, sha256).hexdigest()
    assert signature == f"t={stamp},v1={expected}"
    event = sdk.Webhook.construct_event(body, signature, endpoint.secret, tolerance=None)
    assert (event.type, event.data.object.id) == ("payment_intent.created", intent.id)
    assert stripe.events.retrieve(event.id).pending_webhooks == 0


def test_events_come_late_doubled_and_out_of_order_if_told_to(stripe, sandbox, shop):
    sandbox.deliveries.held = True
    sandbox.deliveries.delay, sandbox.deliveries.times, sandbox.deliveries.reverse = (
        timedelta(hours=1),
        2,
        True,
    )
    sandbox.send_webhooks_to(
        shop.url, secret="whsec_1", events=["payment_intent.created", "payment_intent.canceled"]
    )
    intent = stripe.payment_intents.create(INTENT)
    stripe.payment_intents.cancel(intent.id)
    assert (sandbox.deliveries.deliver(), shop.got) == ([], [])
    sandbox.advance(hours=1)
    sandbox.deliveries.deliver()
    assert shop.kinds() == ["payment_intent.canceled"] * 2 + ["payment_intent.created"] * 2


def test_a_delivery_that_fails_is_tried_again_and_stays_undelivered(stripe, sandbox, shop):
    sandbox.deliveries.held = True
    shop.status = 500
    sandbox.send_webhooks_to(shop.url, events=["payment_intent.created"])
    stripe.payment_intents.create(INTENT)
    sandbox.deliveries.deliver()
    assert [row.type for row in stripe.events.list({"delivery_success": False}).data] == [
        "payment_intent.created"
    ]
    shop.status = 200
    sandbox.deliveries.deliver()
    assert len(shop.got) == 1  # it is not due yet
    sandbox.advance(minutes=1)
    sandbox.deliveries.deliver()
    assert (len(shop.got), len(stripe.events.list({"delivery_success": False}).data)) == (2, 0)


def test_an_endpoint_lives_and_is_deleted(stripe, refused, shop):
    endpoint = stripe.webhook_endpoints.create({"url": shop.url, "enabled_events": ["*"]})
    assert not hasattr(stripe.webhook_endpoints.retrieve(endpoint.id), "secret")
    assert stripe.webhook_endpoints.update(endpoint.id, {"disabled": True}).status == "disabled"
    stripe.payment_intents.create(INTENT)
    assert stripe.webhook_endpoints.delete(endpoint.id).deleted is True
    assert refused(stripe.webhook_endpoints.retrieve, endpoint.id).http_status == 404
    assert shop.got == []
