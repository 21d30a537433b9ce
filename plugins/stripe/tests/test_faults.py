"""Faults at every call, through the whole protocol: one effect at Stripe, and records that equal it."""

import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from paysession import (
    ConfigurationError,
    Declined,
    NotApplied,
    OutcomeUnknown,
    Payments,
    PaysessionError,
    SessionBusy,
)
from paysession.operation import State
from paysession.provider import Kind, Money
from paysession_sandbox.stripe import Refusal

EUR42 = Money("42.00", "EUR")
COMMITTED = ["drop_after", "500_after", "garbage", "list", "null"]
NOT_COMMITTED = ["drop_before", "500_before", "409"]
CERTAIN = ["429", "401"]


def eur(amount):
    return Money(amount, "EUR")


class Stage:
    """Brings a session to where an operation may begin, and carries that out."""

    paths = {
        "initiate": "/v1/payment_intents",
        "update": "",
        "increment": "/increment_authorization",
        "authorize": "/confirm",
        "capture": "/capture",
        "refund": "/refunds",
        "cancel": "/cancel",
    }

    def __init__(self, payments, payer):
        self.payments, self.payer = payments, payer
        self.session = None

    def prepare(self, kind):
        order = self.payments.create_collection(EUR42, reference="order-1001")
        if kind == "initiate":
            return
        if kind == "increment":
            self.session = self.payments.initiate(order.id, provider="stripe", amount=eur("40.00"))
            self.payer.confirm(self.session)
            self.payments.authorize(self.session.id)
            return
        data = self.payer.saved_card() if kind == "authorize" else None
        self.session = self.payments.initiate(order.id, provider="stripe", data=data, idempotency_key="1")
        if kind in ("capture", "refund", "cancel"):
            self.payer.confirm(self.session)
            self.payments.authorize(self.session.id)
        if kind == "refund":
            self.payments.capture(self.session.id)

    def act(self, kind):
        if kind == "initiate":
            order = self.payments.collection(reference="order-1001")
            self.session = self.payments.initiate(order.id, provider="stripe", idempotency_key="1")
        elif kind == "update":
            self.session = self.payments.update(self.session.id, eur("40.00"), idempotency_key="2")
        elif kind == "increment":
            self.session = self.payments.update(self.session.id, EUR42, idempotency_key="2")
        elif kind == "authorize":
            self.session = self.payments.authorize(self.session.id, idempotency_key="2")
        elif kind == "capture":
            self.session = self.payments.capture(self.session.id, eur("20.00"), idempotency_key="2")
        elif kind == "refund":
            self.session = self.payments.refund(self.session.id, eur("5.00"), idempotency_key="2")
        else:
            self.session = self.payments.cancel(self.session.id, idempotency_key="2")

    def path(self, kind):
        return self.paths[kind] or f"/{self.session.reference}"

    def settle(self, kind, clock):
        """Recover until nothing is in doubt; return the operation."""
        if self.session is None:
            (self.session,) = self.payments.sessions(reference="order-1001")
        for _ in range(5):
            self.session = self.payments.get(self.session.id)
            if not self.session.in_doubt:
                break
            clock.advance(minutes=10)
            self.payments.recover()
        self.session = self.payments.get(self.session.id)
        kind = "update" if kind == "increment" else kind
        return [row for row in self.payments.history(self.session.id) if row.kind == kind][-1]

    def check_effect(self, kind):
        """Hold the ledger against what Stripe shows."""
        session = self.session
        expected = {
            "initiate": ("pending", 0, 0, 0),
            "update": ("pending", 0, 0, 0),
            "increment": ("authorized", 4200, 0, 0),
            "authorize": ("authorized", 4200, 0, 0),
            "capture": ("authorized", 2000, 2000, 0),
            "refund": ("authorized", 4200, 4200, 500),
            "cancel": ("canceled", 0, 0, 0),
        }[kind]
        assert expected == (session.status, session.authorized, session.captured, session.refunded)
        if kind == "update":
            assert eur("40.00") == session.amount
        synced = self.payments.sync(session.id)
        assert (session.status, session.captured, session.refunded, None) == (
            synced.status,
            synced.captured,
            synced.refunded,
            synced.conflict,
        )


@pytest.fixture
def stage(make, open_payments, payer):
    return Stage(open_payments(make(incremental_authorization=True)), payer)


KINDS = ["initiate", "update", "increment", "authorize", "capture", "refund", "cancel"]


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        # A capture meets every fault, and every operation loses its request and its answer.
        pytest.param(kind, fault, marks=[] if kind == "capture" or "drop" in fault else [pytest.mark.slow])
        for kind in KINDS
        for fault in COMMITTED + NOT_COMMITTED
    ],
)
def test_a_lost_answer_leads_to_one_effect_under_one_key(stage, sandbox, clock, kind, fault):
    stage.prepare(kind)
    before = len(sandbox.effects)
    sandbox.fail(fault, stage.path(kind))
    try:
        stage.act(kind)
    except OutcomeUnknown as doubt:
        assert doubt.operation_id is not None
    operation = stage.settle(kind, clock)
    assert State.SUCCEEDED == operation.state
    effects = sandbox.effects[before:]
    assert [operation.key] == [key for _, key in effects]
    sent = [r.headers.get("idempotency-key") for r in sandbox.writes(stage.path(kind))]
    assert 1 + (fault in NOT_COMMITTED) == sent.count(operation.key)
    stage.check_effect(kind)


@pytest.mark.parametrize("fault", CERTAIN)
@pytest.mark.parametrize("kind", KINDS)
def test_what_certainly_did_not_happen_is_done_again_under_a_new_key(stage, sandbox, clock, kind, fault):
    stage.prepare(kind)
    before = len(sandbox.effects)
    sandbox.fail(fault, stage.path(kind))
    with pytest.raises(ConfigurationError if fault == "401" else NotApplied) as refused:
        stage.act(kind)
    assert [] == sandbox.effects[before:]
    if fault == "429":
        assert 7.0 == refused.value.retry_after.total_seconds()
    stage.act(kind)
    operation = stage.settle(kind, clock)
    assert [operation.key] == [key for _, key in sandbox.effects[before:]]
    assert operation.id != refused.value.operation_id
    stage.check_effect(kind)


@pytest.mark.parametrize("kind", ["authorize", "capture", "refund", "cancel"])
def test_a_gateway_that_hangs_leaves_doubt_and_no_second_effect(
    make, open_payments, payer, sandbox, clock, kind
):
    stage = Stage(open_payments(make(timeout=1)), payer)
    stage.prepare(kind)
    before = len(sandbox.effects)
    sandbox.fail("hang", stage.path(kind))
    stage.act(kind)  # the answer is lost, and the look that follows finds the effect
    sandbox.release()
    operation = stage.settle(kind, clock)
    assert State.SUCCEEDED == operation.state
    assert [operation.key] == [key for _, key in sandbox.effects[before:]]
    stage.check_effect(kind)


def test_after_a_definite_refusal_the_next_attempt_has_a_new_key(stage, sandbox):
    stage.prepare("capture")
    path = stage.path("capture")
    sandbox.refuse("/capture", Refusal(400, code="parameter_invalid_integer", message="Not today."))
    with pytest.raises(Declined, match="Not today"):
        stage.payments.capture(stage.session.id, eur("20.00"), idempotency_key="a")
    session = stage.payments.capture(stage.session.id, eur("20.00"), idempotency_key="b")
    assert eur("20.00") == session.captured_amount
    first, second = (r.headers["idempotency-key"] for r in sandbox.writes(path))
    assert first != second


def test_a_key_in_use_is_doubt_until_the_first_request_has_ended(stage, sandbox, clock):
    stage.prepare("capture")
    sandbox.fail("409", "/capture", times=20)
    with pytest.raises(OutcomeUnknown):
        stage.act("capture")
    clock.advance(minutes=10)
    stage.payments.recover()
    assert stage.payments.get(stage.session.id).in_doubt
    sandbox.clear_faults()
    operation = stage.settle("capture", clock)
    keys = {request.headers["idempotency-key"] for request in sandbox.writes("/capture")}
    assert (State.SUCCEEDED, {operation.key}) == (operation.state, keys)
    stage.check_effect("capture")


def test_long_after_the_key_has_expired_nothing_is_sent_again(stage, sandbox, clock):
    stage.prepare("capture")
    sandbox.fail("drop_before", "/capture")
    with pytest.raises(OutcomeUnknown):
        stage.act("capture")
    sent = len(sandbox.writes("/capture"))
    clock.advance(days=2)
    operation = stage.settle("capture", clock)
    assert (State.NOT_APPLIED, sent) == (operation.state, len(sandbox.writes("/capture")))
    assert 0 == stage.session.captured


@pytest.mark.parametrize("lookup", ["drop_before", "500_before", "429", "garbage"])
def test_a_lookup_that_fails_settles_nothing_and_invents_nothing(stage, sandbox, clock, lookup):
    stage.prepare("capture")
    sandbox.fail("drop_after", "/capture")
    sandbox.fail(lookup, stage.session.reference, method="GET")
    with pytest.raises(OutcomeUnknown):
        stage.act("capture")
    (row,) = stage.payments.in_doubt()
    assert (Kind.CAPTURE, State.STARTED) == (row.operation.kind, row.operation.state)
    stage.settle("capture", clock)
    stage.check_effect("capture")


def test_a_replayed_decline_does_not_hide_what_happened_since(payments, payer, sandbox, clock):
    order = payments.create_collection(EUR42, reference="order-1001")
    data = payer.saved_card("4000002500003155")
    session = payments.initiate(order.id, provider="stripe", data=data)
    sandbox.fail("drop_after", "/confirm")
    with pytest.raises(OutcomeUnknown):  # what the lookup shows may be of another confirmation
        payments.authorize(session.id)
    clock.advance(hours=1)
    payments.recover()
    session = payments.get(session.id)
    assert ("error", "authentication_required") == (session.status, session.error.code)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_call_in_many_threads_has_one_effect(stage, sandbox, clock, kind):
    stage.prepare(kind)
    before = len(sandbox.effects)
    barrier, results = threading.Barrier(4), []

    def act():
        barrier.wait()
        try:
            stage.act(kind)
        except (SessionBusy, OutcomeUnknown) as error:
            results.append(type(error))
        else:
            results.append("done")

    threads = [threading.Thread(target=act) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (4, True) == (len(results), "done" in results)
    operation = stage.settle(kind, clock)
    assert [operation.key] == [key for _, key in sandbox.effects[before:]]
    stage.check_effect(kind)


# --- across a process -----------------------------------------------------------------------------

SCRIPT = """
import os, sys
from paysession import Money, Payments
from paysession.provider import hookimpl
from paysession_sandbox.stripe import Refusal
from paysession_stripe import Stripe

url, api_base, kind, when = sys.argv[1:]

class Killed:
    @hookimpl(wrapper=True)
    def initiate(self):
        if when == "before":
            os.kill(os.getpid(), 9)
        outcome = yield
        os.kill(os.getpid(), 9)
        return outcome

    update = authorize = capture = refund = cancel = initiate

settings = {"api_key": "sk_test_4eC39HqLyjWDarjtT1zdp7dc", "api_base": api_base, "max_network_retries": 0}
settings["incremental_authorization"] = True
with Payments.open(url, providers={"stripe": Stripe(**settings)}, plugins=[Killed()]) as payments:
    if kind == "initiate":
        order = payments.collection(reference="order-1001")
        payments.initiate(order.id, provider="stripe", data={"email": "jenny@example.com"})
    (session,) = payments.sessions(reference="order-1001")
    if kind == "update":
        payments.update(session.id, Money("40.00", "EUR"))
    elif kind == "increment":
        payments.update(session.id, Money("42.00", "EUR"))
    elif kind == "authorize":
        payments.authorize(session.id)
    elif kind == "capture":
        payments.capture(session.id, Money("20.00", "EUR"))
    elif kind == "refund":
        payments.refund(session.id, Money("5.00", "EUR"))
    elif kind == "cancel":
        payments.cancel(session.id)
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] if kind != "capture" else []) for kind in KINDS]
)
def test_a_killed_process_is_recovered_from_the_ledger_on_disk(
    tmp_path, make, payer, sandbox, clock, kind, when
):
    url = f"sqlite:///{tmp_path}/books.db"
    with Payments.open(
        url, providers={"stripe": make(incremental_authorization=True)}, clock=clock
    ) as payments:
        stage = Stage(payments, payer)
        stage.prepare(kind)
    before = len(sandbox.effects)
    script = tmp_path / "killed.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), url, sandbox.url, kind, when],
        capture_output=True,
        text=True,
        check=False,
    )
    assert -9 == done.returncode, done.stderr
    writes = 2 if kind == "initiate" else 1  # the customer, then the PaymentIntent
    assert (0 if when == "before" else writes) == len(sandbox.effects[before:])
    with Payments.open(url, providers={"stripe": make(incremental_authorization=True)}) as payments:
        (session,) = payments.sessions(reference="order-1001")
        later = payments.history(session.id)[-1].lease_until + timedelta(seconds=1)
    with Payments.open(
        url, providers={"stripe": make(incremental_authorization=True)}, clock=lambda: later
    ) as payments:
        assert payments.get(session.id).in_doubt
        payments.recover()
        stage.payments, stage.session = payments, payments.get(session.id)
        assert not stage.session.in_doubt
        operation = payments.history(session.id)[-1]
        effects = [key for _, key in sandbox.effects[before:]]
        assert [operation.key] == effects[writes - 1 :]
        assert writes == len(effects)
        stage.check_effect(kind)


def test_errors_of_the_core_reach_the_caller_with_their_ids(stage, sandbox):
    stage.prepare("refund")
    with pytest.raises(PaysessionError) as refused:
        stage.payments.refund(stage.session.id, eur("99.00"))
    assert stage.session.id == refused.value.session_id
