import importlib.util
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import stripe as sdk

from paysession_sandbox.clock import Clock
from paysession_sandbox.stripe import StripeSandbox

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def beside(name):
    """Import a module that lies beside the tests: importlib mode does not put it on the path."""
    full = f"paysession_sandbox_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, Path(__file__).with_name(f"{name}.py"))
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


description = beside("description")


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
