import importlib.util
import itertools
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests
import stripe as sdk
from paypalserversdk.configuration import Configuration
from paypalserversdk.http.auth.o_auth_2 import ClientCredentialsAuthCredentials
from paypalserversdk.models.amount_with_breakdown import AmountWithBreakdown
from paypalserversdk.models.checkout_payment_intent import CheckoutPaymentIntent
from paypalserversdk.models.order_request import OrderRequest
from paypalserversdk.models.purchase_unit_request import PurchaseUnitRequest
from paypalserversdk.paypal_serversdk_client import PaypalServersdkClient

from paysession_sandbox.clock import Clock
from paysession_sandbox.paypal import PayPalFake
from paysession_sandbox.stripe import StripeSandbox

CONTEXT = {"return_url": "https://shop.example/back?x=1", "cancel_url": "https://shop.example/no"}
START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def beside(name):
    """Import a module that lies beside the tests: importlib mode does not put it on the path."""
    full = f"paysession_sandbox_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, Path(__file__).with_name(f"{name}.py"))
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


deviations = beside("deviations")
deviations.beside = beside
description = beside("description")
paypal_description = beside("paypal_description")


class Recorded(StripeSandbox):
    """The sandbox, which keeps what it answered."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.answers = []
        answer = self.api.answer

        def recorded(request, **more):
            given = answer(request, **more)
            self.answers.append((request, given))
            return given

        self.api.answer = recorded


def problems(sandbox):
    """Return where the sandbox, or who speaks to it, is not as Stripe describes its API."""
    found = []
    for request, answer in sandbox.answers:
        tree = json.loads(answer.body)
        # A publishable key is shown less, and a request that is refused may have been wrong on purpose.
        full = "pk_test" not in request.headers.get("authorization", "")
        if answer.status == 200:
            found += description.request_problems(request.method, request.path, request.params)
        if full and answer.status != 404:
            found += description.answer_problems(request.method, request.path, answer.status, tree)
    for event in sandbox.events():
        found += description.object_problems(sandbox.account().show(event))
        thing = event["data"]["object"]
        found += [f"{event['type']}: {problem}" for problem in description.object_problems(thing)]
    return found


def hold_against_the_description(sandbox):
    if description.path() is not None:
        found = problems(sandbox)
        assert not found, found


@pytest.fixture
def start():
    """Return a function that starts the command; it is stopped in the end."""
    started = []

    def start(*options):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PAYSESSION_")}
        command = [sys.executable, "-c", "from paysession_cli.main import main; main()", "sandbox", *options]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture
def clock():
    return Clock(START)


@pytest.fixture
def sandbox(clock):
    """Return a Stripe with nothing in it, over a socket; at the end all that was said is checked."""
    with Recorded(clock) as sandbox:
        yield sandbox
    hold_against_the_description(sandbox)


@pytest.fixture
def make_client(sandbox):
    """Return a function that makes Stripe's own client."""

    def make(key="sk_test_1", **options):
        return sdk.StripeClient(key, base_addresses={"api": sandbox.url}, max_network_retries=0, **options)

    return make


@pytest.fixture
def stripe(make_client):
    """Return Stripe's own client."""
    sdk.enable_telemetry = False
    return make_client().v1


@pytest.fixture
def pay(stripe):
    """Return a function that makes a PaymentIntent, and confirms it as the payer's browser would."""

    def pay(method="pm_card_visa", *, amount=4200, currency="eur", confirm=None, **params):
        intent = stripe.payment_intents.create({"amount": amount, "currency": currency, **params})
        confirm = {"payment_method": method, "return_url": "https://shop.example/back", **(confirm or {})}
        return stripe.payment_intents.confirm(intent.id, confirm)

    return pay


@pytest.fixture
def refused():
    """Return a function that calls, and returns the error that Stripe's client raises."""

    def refused(call, *arguments, **options):
        with pytest.raises(sdk.StripeError) as caught:
            call(*arguments, **options)
        return caught.value

    return refused


@pytest.fixture
def hook():
    """Return the address of a shop that takes everything, and the headers and bodies that it has taken."""
    taken = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", taken
        server.shutdown()


# --- PayPal ---------------------------------------------------------------------------------------


class Here(Configuration):
    """The configuration of PayPal's client, pointed at the stand-in."""

    url = ""

    def get_base_uri(self, server=None):
        return self.url


class Client:
    """PayPal's own client, and what a test does with it most often."""

    def __init__(self, paypal):
        self.paypal = paypal
        self._config = Here(
            client_credentials_auth_credentials=ClientCredentialsAuthCredentials(
                o_auth_client_id=paypal.client_id, o_auth_client_secret=paypal.client_secret
            )
        )
        self._config.url = paypal.url
        made = PaypalServersdkClient(config=self._config)
        self.orders, self.payments, self.vault = made.orders, made.payments, made.vault
        self._tokens = made.oauth_2

    def close(self):
        self._config.http_client.session.close()

    def forget_token(self):
        """Have it fetch another token: it goes by this machine's clock."""
        self._tokens._o_auth_token = None

    def create(self, intent=CheckoutPaymentIntent.AUTHORIZE, amount="42.00", currency="EUR", **options):
        unit = PurchaseUnitRequest(amount=AmountWithBreakdown(currency, amount), custom_id="ps_1")
        return self.orders.create_order({"body": OrderRequest(intent, [unit]), **options}).body

    def authorized(self):
        """Authorize a new order; return its id and the authorization's."""
        order = self.create()
        self.paypal.payer_approves(order.id)
        order = self.orders.authorize_order({"id": order.id}).body
        return order.id, order.purchase_units[0].payments.authorizations[0].id


@pytest.fixture
def paypal(clock):
    """Return a PayPal with nothing in it, over a socket; at the end all that was said is checked."""
    with PayPalFake(clock) as paypal:
        yield paypal
    if paypal_description.available():
        for exchange in paypal.calls():
            if exchange.call != "token":
                paypal_description.spec().check(exchange)
        for event in paypal.events:
            paypal_description.spec().check_event(event.document)


@pytest.fixture
def client(paypal):
    """Return PayPal's own client."""
    client = Client(paypal)
    yield client
    client.close()


class Session:
    """Plain requests with a token, for what PayPal's client does not send."""

    def __init__(self, url, client_id="client-id", client_secret="client-secret"):
        self.url = url
        self._by = client_id, client_secret
        self._numbers = itertools.count(1)
        self._requests = requests.Session()
        self.authorize()

    def authorize(self):
        asked = {"grant_type": "client_credentials"}
        answer = requests.post(f"{self.url}/v1/oauth2/token", data=asked, auth=self._by, timeout=5)
        self._requests.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def send(self, method, path, body=None, *, timeout=5, **headers):
        """Send JSON; return the status and the JSON of the answer."""
        if path.startswith(("/v2/", "/v3/")) and method == "POST":
            headers.setdefault("PayPal-Request-Id", f"key-{next(self._numbers)}")
        sent = json.dumps(body, separators=(",", ":")) if body is not None else None
        headers |= {"Content-Type": "application/json"} if method in ("POST", "PATCH") else {}
        answer = self._requests.request(method, self.url + path, data=sent, headers=headers, timeout=timeout)
        return answer.status_code, answer.json() if answer.content else None

    def post(self, path, **options):
        return self._requests.post(self.url + path, timeout=5, **options)

    def close(self):
        self._requests.close()


@pytest.fixture
def make_session():
    """Return a function that makes what sends plain requests to an address."""
    made = []

    def make(url):
        made.append(Session(url))
        return made[-1]

    yield make
    for session in made:
        session.close()


@pytest.fixture
def session(paypal, make_session):
    """Return what sends plain requests, each of which is held against PayPal's files."""
    return make_session(paypal.url)


@pytest.fixture
def strict(paypal, session):
    """Return what sends requests that no client would send: they are not held against PayPal's files."""
    yield session
    paypal.exchanges.clear()


@pytest.fixture
def begin(paypal):
    """Return a function that makes an order which the payer approves at PayPal; it returns the order."""

    def begin(**context):
        unit = {"amount": {"currency_code": "EUR", "value": "42.00"}}
        source = {"paypal": {"experience_context": {**CONTEXT, **context}}}
        body = {"intent": "AUTHORIZE", "purchase_units": [unit], "payment_source": source}
        return paypal.ledger.create(body)

    return begin
