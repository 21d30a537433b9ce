"""Random lives: a host, a payer, a dashboard and the bank act in any order, and requests go wrong meanwhile."""

import random
from contextlib import suppress

import pytest

from paysession import Checkout, PaysessionError
from paysession.provider import Money
from paysession_sandbox.stripe import Refusal
from paysession_stripe.intent import SESSION

FAULTS = ("drop_before", "drop_after", "500_before", "500_after", "garbage", "409", "429", "truncated", "503")
CARDS = ("4242424242424242", "4000000000000341", "4000002760003184", "4000000000000259")
DEBIT = {
    "type": "sepa_debit",
    "sepa_debit": {"iban": "DE89370400440532013000"},
    "billing_details": {"name": "Jenny Rosen", "email": "jenny@example.com"},
}
TOKENS = ("pm_card_visa", "pm_card_chargeCustomerFail", "pm_card_createDispute")


class Life:
    """One session, and everybody who has a part in it."""

    def __init__(self, seed, payments, payer, sandbox, clock):
        self.random = random.Random(seed)
        self.payments, self.payer, self.sandbox, self.clock = payments, payer, sandbox, clock
        self.order = payments.create_collection(Money("42.00", "EUR"), reference="order-1001")
        self.number = 0

    @property
    def session(self):
        return next(iter(self.payments.sessions(reference="order-1001")), None)

    @property
    def intents(self):
        rows = self.sandbox.account().all("payment_intent")
        return [row for row in rows if row["metadata"].get(SESSION) == self.session.id]

    def money(self):
        return Money.from_minor(self.random.randint(1, 42) * 100, "EUR")

    def begin(self, **asked):
        checkout = Checkout(return_url="https://shop.example/back")
        for _ in range(20):
            self.go_wrong()
            try:
                self.payments.initiate(
                    self.order.id, provider="stripe", checkout=checkout, idempotency_key="begin", **asked
                )
            except PaysessionError:
                self.later()
            else:
                return
            finally:
                self.sandbox.clear_faults()
        raise AssertionError("it could not be begun")

    def go_wrong(self):
        if self.random.random() < 0.4:
            fault, after = self.random.choice(FAULTS), self.random.randint(0, 1)
            self.sandbox.fail(fault, method=self.random.choice(("POST", "POST", "GET")), after=after)

    def host(self):
        self.number += 1
        pay, session, key = self.payments, self.session, str(self.number)
        acts = {
            "update": lambda: pay.update(session.id, self.money(), idempotency_key=key),
            "authorize": lambda: pay.authorize(session.id, idempotency_key=key),
            "resume": lambda: pay.resume(session.id),
            "capture": lambda: pay.capture(
                session.id, self.money(), final=self.random.random() < 0.3, idempotency_key=key
            ),
            "refund": lambda: pay.refund(session.id, self.money(), idempotency_key=key),
            "cancel": lambda: pay.cancel(session.id, idempotency_key=key),
            "sync": lambda: pay.sync(session.id),
        }
        names = ["authorize", "resume", "capture", "capture", "refund", "refund", "sync", "update", "cancel"]
        if session.status == "authorized" and not session.captured:
            names += ["update"] * 3  # it may be raised
        self.go_wrong()
        with suppress(PaysessionError):  # it was refused, or is in doubt
            acts[self.random.choice(names)]()
        self.sandbox.clear_faults()

    def pay(self):
        session = self.session
        with suppress(Refusal):  # the card is declined, or it is too late
            if session.reference.startswith("cs_"):
                self.sandbox.pay_checkout(session.reference, self.random.choice(TOKENS))
            else:
                form = {"return_url": "https://shop.example/back"}
                if self.random.random() < 0.3:
                    form["payment_method_data"] = DEBIT
                else:
                    form["payment_method"] = self.payer.card(self.random.choice(CARDS))
                self.sandbox.call("POST", f"/v1/payment_intents/{session.reference}/confirm", form)
        for row in self.intents:
            if row["status"] == "requires_action":
                self.sandbox.authenticate(row["id"], success=self.random.random() < 0.8)

    def dashboard(self):
        if not self.intents:
            return
        intent, call = self.intents[0]["id"], self.sandbox.call
        path, amount = f"/v1/payment_intents/{intent}", self.money().minor
        acts = (
            lambda: call("POST", f"{path}/capture", {"amount_to_capture": amount}),
            lambda: call("POST", f"{path}/cancel"),
            lambda: call("POST", "/v1/refunds", {"payment_intent": intent, "amount": amount}),
            lambda: self.sandbox.dispute(intent, inquiry=self.random.random() < 0.3),
            lambda: self.sandbox.warn_of_fraud(intent),
            lambda: self.sandbox.decline_increments(intent),
            self.decide,
            lambda: self.sandbox.settle_debit(intent),
            lambda: self.sandbox.fail_debit(intent),
        )
        with suppress(Refusal):  # not in this state
            self.random.choice(acts)()

    def decide(self):
        for row in list(self.sandbox.account().all("dispute")):
            ends = ("won", "lost", "under_review")
            inquiry = row["status"].startswith("warning_")
            self.sandbox.decide(row["id"], "warning_closed" if inquiry else self.random.choice(ends))

    def notify(self):
        events = self.sandbox.events()
        for event in self.random.sample(events, min(len(events), 3)):
            headers, body = self.sandbox.signed(event, "whsec_test")
            assert self.payments.handle_webhook("stripe", headers=headers, body=body).status == 200

    def later(self):
        self.clock.advance(minutes=10)
        self.payments.recover()

    def live(self):
        for _ in range(self.random.randint(6, 14)):
            self.random.choice((self.host, self.host, self.pay, self.dashboard, self.notify, self.later))()
        for row in self.intents:
            if row["status"] == "processing":
                self.random.choice((self.sandbox.settle_debit, self.sandbox.fail_debit))(row["id"])
        for _ in range(40):
            self.later()
            if not self.payments.in_doubt() and not self.session.cancel_requested:
                break
        self.payments.sync(self.session.id)
        for event in self.sandbox.events("charge.dispute.created"):  # no lookup finds an inquiry
            headers, body = self.sandbox.signed(event, "whsec_test")
            self.payments.handle_webhook("stripe", headers=headers, body=body)

    def judge(self):
        """Hold the ledger against what the stand-in holds: it shares nothing with the provider."""
        session, account = self.session, self.sandbox.account()
        keys = [key for _, key in self.sandbox.effects]
        assert len(keys) == len(set(keys)), "a second effect under one key"
        ids = {row["id"] for row in self.intents}
        assert len([row for row in self.intents if row["amount_received"] or row["amount_capturable"]]) <= 1
        received = sum(row["amount_received"] for row in self.intents)
        held = sum(row["amount_capturable"] for row in self.intents)
        refunds = [row for row in account.all("refund") if row["payment_intent"] in ids]
        disputes = [row for row in account.all("dispute") if row["payment_intent"] in ids]
        taken = [row for row in disputes if row["status"] in ("needs_response", "under_review", "lost")]
        assert (received + held, received, sum(row["amount"] for row in refunds)) == (
            session.authorized,
            session.captured,
            session.refunded,
        )
        assert sum(row["amount"] for row in taken) == session.charged_back
        shown = {row.reference for row in self.payments.history(session.id) if row.kind == "chargeback"}
        assert {row["id"] for row in disputes} == shown - {None}
        raised = [
            row.amount.minor
            for row in self.payments.history(session.id)
            if row.increments and row.state == "succeeded"
        ]
        amounts = [row["amount"] for row in self.intents if row["status"] != "requires_payment_method"]
        assert max(raised, default=0) <= max(amounts, default=0)
        assert not self.payments.in_doubt()
        assert (session.capturing, session.refunding, session.authorizing) == (0, 0, None)


def life(seed, make, open_payments, payer, sandbox, clock):
    choose = random.Random(seed)
    settings = {
        "multicapture": choose.random() < 0.6,
        "ui": choose.choice(["elements", "hosted", "embedded"]),
    }
    settings["incremental_authorization"] = choose.random() < 0.6
    settings["capture_method"] = choose.choice(["manual", "manual", "where_possible"])
    asked = {"capture": "automatic"} if choose.random() < 0.2 else {}
    if choose.random() < 0.3:
        settings["ui"] = "elements"
        asked["data"] = payer.saved_card(choose.choice(CARDS))
    lived = Life(seed, open_payments(make(**settings)), payer, sandbox, clock)
    lived.begin(**asked)
    lived.live()
    lived.judge()


@pytest.mark.parametrize("seed", range(8))
def test_a_random_life_leaves_the_ledger_as_stripe_has_it(seed, make, open_payments, payer, sandbox, clock):
    life(seed, make, open_payments, payer, sandbox, clock)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 250))
def test_many_random_lives_leave_the_ledger_as_stripe_has_it(
    seed, make, open_payments, payer, sandbox, clock
):
    life(seed, make, open_payments, payer, sandbox, clock)
