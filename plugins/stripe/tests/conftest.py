import importlib.util
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

import pytest
import responses

from paysession import MemoryStore, Payments
from paysession._plugins.registry import Registry
from paysession.operation import State
from paysession.provider import Checkout, Kind, Money, Operation, PaymentSession
from paysession.values import encode
from paysession_sandbox.stripe import Request as SandboxRequest
from paysession_sandbox.stripe import StripeSandbox, decode_form
from paysession_stripe import Stripe

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
KEY = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"


HERE = Path(__file__).parent


def beside(name, folder=HERE):
    """Import a module that lies beside the tests: importlib mode does not put it on the path."""
    full = f"paysession_stripe_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, folder / f"{name}.py")
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


specs = beside("description", HERE.parents[1] / "sandbox/tests")  # the stand-in is held against it as well
FaultySandbox = beside("faulty").FaultySandbox


def hold_against_the_description(requests):
    """Fail if one of the requests is not as Stripe describes its API."""
    if specs.path() is None:
        if "CI" in os.environ:
            pytest.fail("Stripe's description is not here: set PAYSESSION_SPECS")
        return
    found = [p for r in requests for p in specs.request_problems(r.method, r.path, r.params)]
    assert not found, found


@pytest.fixture
def described(monkeypatch):
    """Hold what the demo's sandbox is sent against the description, too."""
    sent = []
    serve = StripeSandbox.serve

    def kept(self, request):
        sent.append(request)
        return serve(self, request)

    monkeypatch.setattr(StripeSandbox, "serve", kept)
    yield sent
    assert sent
    hold_against_the_description(sent)


@pytest.fixture
def wire():
    """Answers without a network, for requests that are held against the description."""
    with responses.RequestsMock() as wire:
        yield wire
        sent = [call.request for call in wire.calls]
    urls = [urlsplit(request.url) for request in sent]
    forms = [
        request.body if request.method == "POST" else url.query
        for request, url in zip(sent, urls, strict=True)
    ]
    hold_against_the_description(
        SandboxRequest(request.method, url.path, decode_form(form or ""))
        for request, url, form in zip(sent, urls, forms, strict=True)
    )


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def advance(self, **delta):
        self.now += timedelta(**delta)


class Payer:
    """The payer's browser, and whoever sits at Stripe's dashboard: neither goes through the provider."""

    def __init__(self, sandbox):
        self.sandbox = sandbox

    def send(self, path, **form):
        request = Request(
            f"{self.sandbox.url}/v1/{path}",
            data=urlencode(form).encode(),
            headers={"Authorization": "Bearer rk_test_dashboard"},
        )
        try:
            with urlopen(request, timeout=10) as response:
                return json.load(response)
        except HTTPError as error:
            with error:
                return json.load(error)

    def card(self, number="4242424242424242"):
        card = {"number": number, "exp_month": "12", "exp_year": "2030", "cvc": "123"}
        params = {"type": "card", "card": card}
        return self.sandbox.call("POST", "/v1/payment_methods", params)["id"]

    def saved_card(self, number="4242424242424242"):
        customer = self.sandbox.call("POST", "/v1/customers", {"email": "jenny@example.com"})["id"]
        card = self.card(number)
        self.sandbox.call("POST", f"/v1/payment_methods/{card}/attach", {"customer": customer})
        return {"customer": customer, "payment_method": card}

    def confirm(self, session, number="4242424242424242"):
        path = f"payment_intents/{session.reference}/confirm"
        back = "https://shop.example/back"
        return self.send(path, payment_method=self.card(number), return_url=back, use_stripe_sdk="true")

    def authenticate(self, session, *, success):
        return self.sandbox.authenticate(session.reference, success=success)


@pytest.fixture
def sandbox():
    with FaultySandbox() as sandbox:
        yield sandbox
    hold_against_the_description(sandbox.requests)
    sent = [r for r in sandbox.requests if r.headers.get("authorization") == f"Bearer {KEY}"]
    assert all(r.headers.get("idempotency-key") for r in sent if r.method == "POST")


@pytest.fixture
def payer(sandbox):
    return Payer(sandbox)


@pytest.fixture
def make(sandbox):
    """Return a function that makes a provider which speaks to the sandbox."""
    made = []

    def make(**settings):
        provider = Stripe(
            **{
                "api_key": KEY,
                "publishable_key": "pk_test_1",
                "webhook_secret": "whsec_test",
                "api_base": sandbox.url,
                "timeout": 5,
                "max_network_retries": 0,
                **settings,
            }
        )
        made.append(provider)
        return provider

    yield make
    for provider in made:
        provider.close()


@pytest.fixture
def stripe(make):
    return make()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def open_payments(clock):
    """Return a function that opens books with a provider."""
    opened = []

    def open_payments(provider, plugins=()):
        payments = Payments(MemoryStore(clock=clock), Registry({"stripe": provider}, plugins))
        opened.append(payments)
        return payments

    yield open_payments
    for payments in opened:
        payments.close()


@pytest.fixture
def payments(open_payments, stripe):
    return open_payments(stripe)


def eur(amount):
    return Money(amount, "EUR")


_made = iter(range(1, 1_000_000))


def make_session(amount=None, **changes):
    """Return a session as the ledger would hold it."""
    session_id = changes.pop("id", f"ps_{next(_made):028x}")
    data = encode(changes.pop("data", None), "data")
    return PaymentSession(
        **{
            "id": session_id,
            "collection_id": "pc_1",
            "collection_reference": "order-1001",
            "provider": "stripe",
            "amount": amount or eur("42.00"),
            "created_at": START,
            "updated_at": START,
            "checkout": Checkout(),
            "data": data,
            **changes,
        }
    )


def make_operation(session, kind, amount=None, ordinal=1, **changes):
    """Return an operation of a session as it is handed to a hook."""
    return Operation(
        **{
            "id": f"{session.id}-{ordinal}",
            "session_id": session.id,
            "kind": Kind(kind),
            "ordinal": ordinal,
            "amount": amount or session.amount,
            "state": State.STARTED,
            "created_at": START,
            "updated_at": START,
            **changes,
        }
    )


@pytest.fixture(scope="session")
def forms():
    """What reads a form as nested values: ``form(text)``."""

    class Forms:
        form = staticmethod(decode_form)

    return Forms


@pytest.fixture(scope="session")
def description():
    """The module that reads Stripe's description of its API."""
    if specs.path() is None and "CI" not in os.environ:
        pytest.skip("Stripe's description is not here: set PAYSESSION_SPECS")
    return specs


@pytest.fixture
def values():
    """Return what builds the values that hooks get."""

    class Values:
        session = staticmethod(make_session)
        operation = staticmethod(make_operation)
        eur = staticmethod(eur)

    return Values


VARIANTS = {
    "TestSavedCard": ("initiate", "authorize"),
    "TestHostedPage": ("initiate", "update", "authorize", "cancel"),
}
"""Other ways to pay, and the operations that each carries out in its own way."""

ANY_WAY = (
    "secrets", "netrc", "importing", "in_many_threads", "serves_many_threads", "in_every_currency", "notification_of",
    "forged", "cannot_be_read",
)  # fmt: skip
"""Words in the names of tests of what is the same however a payer pays."""


def pytest_collection_modifyitems(config, items):
    """Leave out what a hosted page does not change: captures and refunds are those of its PaymentIntent.

    What another way to pay hardly changes is of the slow tier: `TestStripe` shows it in the fast one.
    """
    same = [
        item
        for item in items
        if "TestHostedPage" in item.nodeid and ("capture-" in item.name or "refund-" in item.name)
    ]
    if same:
        config.hook.pytest_deselected(items=same)
        items[:] = [item for item in items if item not in same]
    for item in items:
        if item.path == HERE / "test_contract.py" and _is_the_same_any_way(item):
            item.add_marker(pytest.mark.slow)


def _is_the_same_any_way(item):
    """Return whether a test of another way to pay repeats what `TestStripe` shows."""
    own = VARIANTS.get(item.cls.__name__)
    if own is None:
        return False
    case = item.callspec.params if hasattr(item, "callspec") else {}
    if "hook" in case or any(words in item.name for words in ANY_WAY):
        return True
    lost = case.get("fault", case.get("point", "after"))
    return case.get("kind", own[0]) not in own or lost not in ("drop_after", "after")
