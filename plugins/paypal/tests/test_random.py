"""Random lives with random faults, seeded: once everything is settled, our ledger equals PayPal's.

PAYSESSION_SEEDS says how many; all but the first are of the slow tier.
"""

import os
import random
from decimal import Decimal

import pytest

from paysession import PaysessionError
from paysession.operation import State
from paysession.provider import Checkout, Kind, Money
from paysession_sandbox.paypal import Fault
from paysession_sandbox.paypal.problems import Problem

CALLS = [
    "token", "create", "show", "patch", "authorize", "capture", "capture_order", "void", "refund", "show_disputes",
    "show_dispute",
]  # fmt: skip
HTML = b"<html>503</html>"
SEEDS = int(os.environ.get("PAYSESSION_SEEDS", "40"))
FAULTS = [
    Fault.drop(), Fault.drop(committed=True), Fault.answer(500, HTML), Fault.answer(500, HTML, committed=True),
    Fault.answer(200, b"\xff", committed=True), Fault.answer(429, b'{"name":"RATE_LIMIT_REACHED"}'),
    Fault.answer(401, b"{}"), Fault.answer(409, b'{"name":"RESOURCE_CONFLICT"}'), Fault.answer(302),
]  # fmt: skip


class Believes:
    """A verifier for events that come straight from the fake."""

    def check(self, headers, body):
        pass


class Life:
    """One shop with random hands on it, and on PayPal's dashboard."""

    def __init__(self, seed, shop):
        self.dice = random.Random(seed)
        self.shop, self.fake, self.pay = shop, shop.fake, shop.payments

    def euros(self):
        return Money.from_minor(self.dice.choice([1, 500, 1000, 2000, 4200]), "EUR")

    def session(self):
        return self.dice.choice(self.pay.sessions() or [None])

    def order(self):
        return self.dice.choice(list(self.fake.ledger.orders.values()) or [None])

    # --- the shop ---

    def initiate(self):
        self.pay.initiate(
            self.shop.order.id, provider="paypal", checkout=Checkout(return_url="https://shop.example"),
            capture=self.dice.choice(["manual", "manual", "automatic"]),
            idempotency_key=self.dice.choice([None, "one", "two"]),
        )  # fmt: skip

    def resume(self):
        session = self.session()
        self.pay.resume(session.id, payload={"token": session.reference})

    def update(self):
        self.pay.update(self.session().id, self.euros())

    def capture(self):
        self.pay.capture(self.session().id, self.euros(), final=self.dice.random() < 0.2)

    def refund(self):
        session = self.session()
        rows = [
            row for row in self.pay.history(session.id) if row.kind is Kind.CAPTURE and row.reverses is None
        ]
        self.pay.refund(session.id, self.euros(), capture=self.dice.choice(rows).id if rows else None)

    def cancel(self):
        self.pay.cancel(self.session().id)

    def recover(self):
        self.pay.recover()

    def sync(self):
        self.pay.sync(self.session().id)

    # --- the payer, PayPal, the dashboard, the network and time ---

    def approve(self):
        self.fake.ledger.approve(self.order().id)

    def notify(self):
        if self.fake.events:
            body = self.dice.choice(self.fake.events).body
            assert self.pay.handle_webhook("paypal", headers={}, body=body).status == 200

    def hold(self):
        kind, status = self.dice.choice(
            [("capture", "PENDING"), ("capture", "DECLINED"), ("refund", "PENDING"), ("authorize", "PENDING")]
        )
        self.fake.ledger.next_status.setdefault(kind, []).append(status)

    def dashboard(self):
        order = self.order()
        body = {"amount": {"currency_code": "EUR", "value": str(self.euros().amount)}}
        captures = order.captures
        what = self.dice.random()
        if what < 0.3 and order.authorizations:
            self.fake.ledger.capture(order.authorizations[0].id, body)
        elif what < 0.6 and captures:
            self.fake.ledger.refund(self.dice.choice(captures).id, body)
        elif what < 0.7 and order.authorizations:
            self.fake.ledger.void(order.authorizations[0].id)
        elif what < 0.8 and captures:
            capture = self.dice.choice(captures)
            if is_settled(capture):
                self.fake.ledger.reverse(capture.id)

    def decide(self):
        """PayPal decides what it held."""
        for order in list(self.fake.ledger.orders.values()):
            for row in order.authorizations:
                if row.status == "PENDING":
                    self.fake.ledger.settle(row.id, self.dice.choice(["CREATED", "DENIED"]))
            for capture in order.captures:
                if capture.status == "PENDING" and capture.reason != "BUYER_COMPLAINT":
                    self.fake.ledger.settle(capture.id, self.dice.choice(["COMPLETED", "DECLINED"]))
                for refund in capture.refunds:
                    if refund.status == "PENDING":
                        self.fake.ledger.settle(refund.id, self.dice.choice(["COMPLETED", "FAILED"]))

    def break_something(self):
        self.fake.fail(self.dice.choice(CALLS), self.dice.choice(FAULTS), times=self.dice.randint(1, 3))

    def wait(self):
        self.shop.clock.forward(minutes=self.dice.choice([1, 10, 60]))

    def live(self, steps):
        common = [
            self.resume,
            self.capture,
            self.refund,
            self.recover,
            self.approve,
            self.notify,
            self.break_something,
            self.wait,
        ]
        rare = [self.initiate, self.update, self.cancel, self.sync, self.hold, self.dashboard, self.decide]
        self.initiate()
        for _ in range(steps):
            step = self.dice.choice(common * 2 + rare)
            try:
                step()
            except (PaysessionError, Problem, AttributeError) as error:
                if isinstance(error, AttributeError) and "NoneType" not in str(error):
                    raise

    def rest(self):
        self.fake.fix()
        for _ in range(20):
            self.decide()
            self.shop.clock.forward(hours=6)
            self.pay.recover()
        # PayPal sends each of its notifications until it is acknowledged, in no order.
        for event in self.dice.sample(self.fake.events, len(self.fake.events)):
            assert self.pay.handle_webhook("paypal", headers={}, body=event.body).status == 200
        self.shop.clock.forward(minutes=1)
        self.pay.recover()  # looks once more where the last lookup may have lagged


class Claims(Life):
    """A life after the payment: whatever is captured is disputed, refunded, decided, and disputed again."""

    def paid(self):
        once = self.dice.random() < 0.5
        session = self.pay.initiate(
            self.shop.order.id,
            provider="paypal",
            checkout=Checkout(return_url="https://shop.example"),
            capture="automatic" if once else "manual",
        )
        session = self.pay.authorize(session.id, payload=self.fake.payer_approves(session.reference))
        for amount in () if once else ("20.00", "15.00"):
            self.pay.capture(session.id, Money(amount, "EUR"))

    def claim(self):
        """Let the payer dispute a capture, or PayPal decide the dispute that there is."""
        ledger, capture = self.fake.ledger, self.dice.choice(self.order().captures)
        part = self.dice.choice([None, Decimal("0.07"), Decimal("3.33")])
        waiting = [row for row in capture.disputes if row.outcome is None]
        left = capture.amount - capture.refunded - capture.taken
        if not waiting and is_settled(capture) and left > Decimal(4):
            ledger.dispute(capture.id, part, stage=self.dice.choice(["INQUIRY", "CHARGEBACK"]))
        elif waiting and self.dice.random() < 0.3:
            self.dice.choice([ledger.escalate, ledger.answer_dispute])(capture.id)
        elif waiting and left:
            won = self.dice.random() < 0.4
            ledger.decide(capture.id, won=won, amount=part, fee=self.dice.choice([None, Decimal(15)]))
        elif capture.disputes and capture.disputes[-1].refunded and self.dice.random() < 0.5:
            ledger.decide(capture.id, won=True)  # on appeal

    def give_back(self):
        body = {"amount": {"currency_code": "EUR", "value": self.dice.choice(["1.00", "2.50"])}}
        self.fake.ledger.refund(self.dice.choice(self.order().captures).id, body)

    def interrupt(self):
        call = self.dice.choice(["show", "show_disputes", "show_dispute"])
        self.fake.fail(
            call, self.dice.choice([Fault.drop(), Fault.answer(500, HTML), Fault.answer(403, b"{}")])
        )

    def live(self, steps):
        self.paid()
        for _ in range(steps):
            step = self.dice.choice(
                [self.claim] * 4
                + [
                    self.notify,
                    self.sync,
                    self.recover,
                    self.wait,
                    self.refund,
                    self.give_back,
                    self.interrupt,
                ]
            )
            try:
                step()
            except (PaysessionError, Problem):
                continue


def is_settled(capture):
    """Return whether a capture took money that no refund of it may free again."""
    pending = any(row.status == "PENDING" for row in capture.refunds)
    return capture.status in ("COMPLETED", "PARTIALLY_REFUNDED") and not pending


def money(order):
    """Return what the ledger says of an order: captured, refunded, taken by disputes, still held; in minor units."""
    known = ("COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED")
    captures = [
        c for c in order.captures if c.status in known or c.reason in ("BUYER_COMPLAINT", "CHARGEBACK")
    ]
    captured = sum((c.amount for c in captures), Decimal(0))
    given = sum((r.amount for c in captures for r in c.refunds if r.status == "COMPLETED"), Decimal(0))
    taken = sum((c.taken for c in captures), Decimal(0))
    held = Decimal(0)
    for row in order.authorizations:
        if row.status in ("CREATED", "PARTIALLY_CAPTURED"):
            held = row.amount - row.captured
    return tuple(int(value * 100) for value in (captured, given, taken, captured + held))


@pytest.mark.parametrize(
    ("life", "seed"),
    [
        pytest.param(life, seed, marks=[] if seed < fast else [pytest.mark.slow])
        for life, count, fast in ((Life, SEEDS, 4), (Claims, SEEDS // 8, 1))
        for seed in range(count)
    ],
)
def test_our_ledger_is_paypals_once_all_is_at_rest(make_shop, make_provider, fake, life, seed):
    shop = make_shop(make_provider(verifier=Believes()))
    life = life(seed, shop)
    life.live(40)
    life.rest()
    pay = shop.payments
    assert pay.in_doubt() == ()
    told = {}
    for session in pay.sessions():
        order = fake.ledger.orders.get(session.reference)
        if order is not None:
            told[order.id] = session
            assert money(order) == (
                session.captured,
                session.refunded,
                session.charged_back,
                session.authorized,
            ), (
                seed,
                session.id,
            )
        for row in pay.history(session.id):
            over = row.state in (State.SUCCEEDED, State.DECLINED, State.NOT_APPLIED)
            assert over or row.kind is Kind.CHARGEBACK, (seed, row)
    for order in fake.ledger.orders.values():
        if order.id not in told:
            assert money(order) == (0, 0, 0, 0), "an order that nobody knows holds nothing"
        invoices = [c.invoice_id for a in order.authorizations for c in a.captures]
        ours = [invoice for invoice in invoices if "-" in invoice.rpartition(" ")[2]]
        assert len(ours) == len(set(ours)), "one capture of each operation"
