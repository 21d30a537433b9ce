import importlib.util
import itertools
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from paysession import MemoryStore, Payments
from paysession._plugins.registry import Registry
from paysession.operation import State
from paysession.provider import Checkout, Kind, Money, Operation, PaymentSession, Status
from paysession.values import encode, replace
from paysession_paypal import PayPal
from paysession_paypal.signature import Signature
from paysession_paypal.transport import SdkTransport
from paysession_sandbox.paypal import Clock, PayPalFake

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
EUR42 = Money("42.00", "EUR")


HERE = Path(__file__).parent


def beside(name, folder=HERE):
    """Import a module that lies beside the tests: importlib mode does not put it on the path."""
    full = f"paysession_paypal_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, folder / f"{name}.py")
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


_specs = beside(
    "paypal_description", HERE.parents[1] / "sandbox/tests"
)  # the stand-in is held against it as well


@pytest.fixture
def specs():
    return _specs


def check(exchanges):
    """Hold what was sent and answered against PayPal's files, where they are to be had.

    And whatever was repeated under one request id must have been the very same request.
    """
    sent = {}
    for row in exchanges:
        key = row.path, row.headers.get("paypal-request-id")
        assert key[1] is None or sent.setdefault(key, row.body) == row.body, f"{key}: another body"
    if _specs.available():
        for exchange in exchanges:
            if exchange.call not in ("", "token"):
                _specs.spec().check(exchange)


@pytest.fixture
def clock():
    return Clock(START)


@pytest.fixture
def fake(clock):
    with PayPalFake(clock) as fake:
        yield fake
        check(fake.exchanges)


@pytest.fixture
def make_provider(fake, clock):
    """Return a provider for the fake; its token ages by the fake's clock."""
    made = []

    def make(**settings):
        timeout = settings.get("timeout", 5.0)
        transport = SdkTransport(
            fake.client_id,
            settings.pop("secret", fake.client_secret),
            endpoint=settings.pop("endpoint", fake.url),
            timeout=timeout,
            clock=clock.seconds,
        )
        settings.setdefault("webhook_id", fake.signer.webhook_id)
        provider = PayPal(
            client_id=fake.client_id, client_secret=fake.client_secret, transport=transport, **settings
        )
        made.append(provider)
        return provider

    yield make
    for provider in made:
        provider.close()


@pytest.fixture
def provider(make_provider):
    return make_provider()


@pytest.fixture
def make_checker(fake, clock, tmp_path):
    """Return a verifier that trusts the fake's authority, from a file, and is given any certificate."""

    def make(pem=None, **options):
        file = tmp_path / "ca.pem"
        file.write_bytes(fake.signer.authority.pem())
        options = {"now": clock, "environment": "sandbox", **options}
        fetch = pem if callable(pem) else lambda url, timeout: pem or fake.signer.certificate
        return Signature(fake.signer.webhook_id, ca_file=str(file), fetch=fetch, **options)

    return make


@pytest.fixture
def verifier(fake, make_checker):
    """Return a verifier that is given the fake's certificate, and the URLs that it fetched."""
    fetched = []

    def fetch(url, timeout):
        fetched.append(url)
        return fake.signer.certificate

    return make_checker(fetch), fetched


class Hand:
    """Calls hooks as the core would: each operation has its number, and answers are carried on."""

    def __init__(self, provider, clock, amount=EUR42, **session):
        self.provider = provider
        self.clock = clock
        self.session = PaymentSession(
            id=session.pop("id", "ps_0198a1b2c3d4e5f60718"),
            collection_id="pc_1",
            collection_reference=session.pop("reference", "order-1001"),
            provider="paypal",
            amount=amount,
            created_at=clock(),
            updated_at=clock(),
            checkout=session.pop(
                "checkout",
                Checkout(return_url="https://shop.example/back", cancel_url="https://shop.example/no"),
            ),
            **session,
        )
        self.operations = []

    def operation(self, kind, amount=None, **fields):
        if not isinstance(amount, Money):
            amount = Money(amount, self.session.amount.currency) if amount else self.session.amount
        payload = fields.pop("payload", None)
        number = len(self.operations) + 1
        operation = Operation(
            id=f"{self.session.id}-{number}",
            session_id=self.session.id,
            kind=Kind(kind),
            ordinal=number,
            amount=amount,
            state=State.STARTED,
            created_at=self.clock(),
            updated_at=self.clock(),
            payload=encode(payload, "payload") if payload is not None else None,
            **fields,
        )
        self.operations.append(operation)
        return operation

    def send(self, operation):
        """Call the operation's hook, and carry on what it answers."""
        outcome = getattr(self.provider, operation.kind)(self.session, operation)
        return self.carry_on(operation, outcome)

    def carry_on(self, operation, outcome):
        changes = {}
        if outcome.data is not None:
            changes["_data"] = outcome.data
        if operation.kind in ("capture", "refund"):
            self.operations[operation.ordinal - 1] = replace(operation, reference=outcome.reference)
        elif outcome.reference is not None:
            changes["reference"] = outcome.reference
        if outcome.expires_at is not None:
            changes["expires_at"] = outcome.expires_at
        self.session = replace(self.session, **changes)
        return outcome

    def do(self, kind, amount=None, **fields):
        return self.send(self.operation(kind, amount, **fields))

    def look(self, operation=None):
        return self.provider.retrieve(self.session, operation)

    @property
    def last(self):
        return self.operations[-1]

    def authorized(self, fake):
        """Go on until the payer has approved and the order is authorized."""
        self.do("initiate")
        query = fake.payer_approves(self.session.reference)
        self.do("authorize", payload=query)
        self.session = replace(self.session, status=Status.AUTHORIZED, authorized=self.session.amount.minor)
        return self


@pytest.fixture
def hand(provider, clock):
    return Hand(provider, clock)


@pytest.fixture
def make_hand(clock):
    def make(provider, **session):
        return Hand(provider, clock, **session)

    return make


class Shop:
    """A host application with its books, and the fake PayPal on the other side."""

    # The ledger (status, amount, authorized, captured, refunded) once a call has had its effect, and
    # that effect.
    AFTER = {
        "create": ("requires_more", 4200, 0, 0, 0),
        "patch": ("requires_more", 4000, 0, 0, 0),
        "authorize": ("authorized", 4200, 4200, 0, 0),
        "capture": ("authorized", 4200, 4200, 2000, 0),
        "refund": ("authorized", 4200, 4200, 2000, 500),
        "void": ("authorized", 4200, 2000, 2000, 0),
    }
    EFFECT = {
        "create": [],
        "patch": [],
        "authorize": ["authorize 42.00"],
        "capture": ["capture 20.00"],
        "refund": ["refund 5.00"],
        "void": ["void 22.00"],
    }

    def __init__(self, fake, provider, clock, store=None):
        self.fake = fake
        self.clock = clock
        self.provider = provider
        numbers = itertools.count(1)
        self.payments = Payments(
            store or MemoryStore(clock=clock),
            Registry({"paypal": provider}),
            token=lambda: f"{next(numbers):016x}",
        )
        self.order = self.payments.create_collection(EUR42, reference="order-1001")

    def session(self, until="authorized", **options):
        options.setdefault("checkout", Checkout(return_url="https://shop.example/back/{session_id}"))
        session = self.payments.initiate(self.order.id, provider="paypal", **options)
        if until == "initiated":
            return session
        self.query = self.fake.payer_approves(session.reference)
        if until == "approved":
            return session
        return self.payments.authorize(session.id, payload=self.query)

    def look(self, session_id, **duration):
        """Query PayPal about a session while time passes: an hour, if nothing else is said."""
        self.clock.forward(**(duration or {"hours": 1}))
        return self.payments.sync(session_id)

    def settle(self, rounds=6, **duration):
        """Let recovery come round while time passes: half an hour, if nothing else is said."""
        for _ in range(rounds):
            self.clock.forward(**(duration or {"minutes": 5}))
            self.payments.recover()

    def until(self, call):
        """Go on until the next step is the one that makes a call; return that step, to be called again."""
        pay, checkout = self.payments, Checkout(return_url="https://shop.example/back/{session_id}")
        if call == "create":
            return lambda: pay.initiate(
                self.order.id, provider="paypal", checkout=checkout, idempotency_key="i"
            )
        id_ = self.session("initiated" if call == "patch" else "approved").id
        if call == "patch":
            return lambda: pay.update(id_, Money("40.00", "EUR"), idempotency_key="u")
        if call == "authorize":
            return lambda: pay.authorize(id_, payload=self.query, idempotency_key="a")
        pay.authorize(id_, payload=self.query)
        if call == "capture":
            return lambda: pay.capture(id_, Money("20.00", "EUR"), idempotency_key="c")
        pay.capture(id_, Money("20.00", "EUR"))
        if call == "refund":
            return lambda: pay.refund(id_, Money("5.00", "EUR"), idempotency_key="r")
        assert call == "void"
        return lambda: pay.cancel(id_, idempotency_key="v")

    def books(self):
        """Return what the ledger says of the only session."""
        (row,) = self.payments.sessions()
        return str(row.status), row.amount.minor, row.authorized, row.captured, row.refunded


@pytest.fixture
def shop(fake, provider, clock):
    shop = Shop(fake, provider, clock)
    yield shop
    shop.payments.close()


@pytest.fixture
def captured(shop):
    """Return a shop, its session of which 20.00 of 42.00 are captured, and that capture's id."""
    session = shop.session()
    session = shop.payments.capture(session.id, Money("20.00", "EUR"), idempotency_key="c")
    (capture,) = session.data["captures"]
    return shop, session.id, capture


@pytest.fixture
def make_shop(fake, clock):
    made = []

    def make(provider, store=None):
        made.append(Shop(fake, provider, clock, store))
        return made[-1]

    yield make
    for shop in made:
        shop.payments.close()


@pytest.fixture
def refuse(fake):
    """Return a function that makes PayPal refuse the next call, in its own words."""
    from paysession_sandbox.paypal import Fault
    from paysession_sandbox.paypal.problems import Problem

    def refuse(call, issue, *, status=422, committed=False):
        import json

        document = Problem(status, issue).document(call, "f00d")
        fake.fail(call, Fault.answer(status, json.dumps(document).encode(), committed=committed))

    return refuse


@pytest.fixture
def reword(fake):
    """Return a function that gives the first authorization, capture or refund of an order another status."""

    def reword(kind, status):
        def twist(call, document):
            payments = (
                document["purchase_units"][0].get("payments", {}) if "purchase_units" in document else {}
            )
            for row in payments.get(kind, [])[:1]:
                row["status"] = status
            return document

        fake.twist(twist)

    return reword
