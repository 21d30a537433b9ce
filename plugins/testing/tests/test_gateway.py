"""The testing gateway: its rules, its keys, its faults, and that it is a process of its own."""

import http.client
import json
import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest

from paysession import Capabilities, Money, NotApplied, OutcomeUnknown, Payments, Redirect
from paysession_testing.gateway import Gateway, sign
from paysession_testing.gateway_faults import GATEWAY_FAULTS, FaultPlan
from paysession_testing.gateway_process import GatewayProcess
from paysession_testing.gateway_provider import GatewayProvider
from paysession_testing.killing import POINTS, KillPoints


@pytest.fixture(scope="module")
def process():
    with GatewayProcess() as process:
        yield process


@pytest.fixture
def pay(process):
    """Payments with an account of its own at the gateway."""
    process.open("shop")
    with Payments.open("memory:", providers={"gw": GatewayProvider(process.url("shop"), timeout=0.3)}) as pay:
        yield pay


def initiate(pay, **options):
    order = pay.create_collection(Money("42.00", "EUR"), reference="order")
    return pay.initiate(order.id, provider="gw", **options)


def test_a_payment_goes_through_a_real_socket(process, pay):
    session = initiate(pay)
    assert isinstance(session.next_action, Redirect)
    assert pay.resume(session.id).status == "requires_more"
    assert process.payer("shop", session.id, "approve")
    assert pay.resume(session.id).status == "authorized"
    pay.capture(session.id, Money("30.00", "EUR"))
    pay.refund(session.id, Money("10.00", "EUR"))
    session = pay.cancel(session.id)
    assert (session.authorized, session.captured, session.refunded) == (3000, 3000, 1000)
    told = [(row["kind"], row["amount"], row["by"]) for row in process.ledger("shop")]
    assert told == [
        ("create", 4200, "api"),
        ("authorize", 4200, "api"),
        ("capture", 3000, "api"),
        ("refund", 1000, "api"),
        ("cancel", 1200, "api"),
    ]
    keys = [row["key"] for row in process.ledger("shop")]
    assert keys == [row["operation"] for row in process.ledger("shop")]
    assert len(set(keys)) == 5


def test_a_forked_process_does_not_share_its_parents_connection(process):
    process.open("shop")
    connected = []

    def connect(host, port, timeout):
        connected.append(os.getpid())
        return http.client.HTTPConnection(host, port, timeout=timeout)

    provider = GatewayProvider(process.url("shop"), connect=connect)
    with Payments.open("memory:", providers={"gw": provider}) as pay:
        session = initiate(pay)
        child = os.fork()
        if not child:
            try:
                pay.sync(session.id)
            finally:
                os._exit(0 if connected[1:] == [os.getpid()] else 1)
        assert os.waitpid(child, 0)[1] == 0
        pay.sync(session.id)
        assert connected == [os.getpid()]


class Account:
    """A gateway in this process, whose clock a test moves."""

    def __init__(self, **options):
        self.now = 1000.0
        self.gateway = Gateway(lambda: self.now, **options)

    def post(self, path, key="", **body):
        reply = self.gateway.request(path, key, body)
        return reply.status, reply.body.get("error") or reply.body["status"]

    def create(self, key="c"):
        return self.post("orders", key, ours="s", amount=100, currency="EUR", operation="s-1")


@pytest.mark.parametrize(
    ("keys", "second", "creates"), [("all", "declined", 1), ("success", "ok", 1), ("none", "ok", 2)]
)
def test_what_a_known_key_does_is_chosen(keys, second, creates):
    account = Account(keys=keys)
    assert account.create() == (200, "open")
    assert account.create() == (200, "open")
    made = [row for row in account.gateway.entries() if row["kind"] == "create"]
    assert len(made) == creates
    order = made[0]["order"]
    account.gateway.payer("s", "decline")
    if keys == "none":
        order = made[1]["order"]
    assert account.post(f"orders/{order}/authorize", "a") == (402, "card_declined")
    account.gateway.payer("s", "approve")
    expected = (402, "card_declined") if second == "declined" else (200, "authorized")
    assert account.post(f"orders/{order}/authorize", "a") == expected


def test_a_key_is_as_good_as_new_after_its_window_and_bound_to_its_request():
    account = Account(key_window=60.0)
    account.create()
    changed = account.post("orders", "c", ours="s", amount=200, currency="EUR", operation="s-1")
    assert changed == (409, "key_reused")
    account.now += 60
    account.create()
    assert [row["kind"] for row in account.gateway.entries()] == ["create", "create"]


def test_a_lookup_is_as_far_behind_as_was_said():
    account = Account(lag=30.0)
    account.create()
    assert account.gateway.lookup(ours="s").status == 404
    account.now += 30
    account.gateway.payer("s", "approve")
    assert account.gateway.lookup(ours="s").body["ready"] is False
    account.now += 30
    assert account.gateway.lookup("ord_1").body["ready"] is True


def test_the_rules_refuse_what_the_order_cannot_bear():
    account = Account()
    account.create()
    path = "orders/ord_1"
    assert account.post(f"{path}/capture", amount=1) == (409, "not_capturable")
    account.gateway.payer("s", "approve")
    assert account.post(f"{path}/authorize") == (200, "authorized")
    assert account.post(f"{path}/authorize") == (409, "order_is_authorized")
    assert account.post(f"{path}/update", amount=5) == (409, "order_is_authorized")
    assert account.post(f"{path}/capture", amount=101) == (409, "not_capturable")
    assert account.post(f"{path}/capture", amount=60) == (200, "captured")
    assert account.post(f"{path}/refund", amount=61) == (409, "not_refundable")
    assert account.post(f"{path}/refund", amount=60) == (200, "refunded")
    assert account.post(f"{path}/cancel") == (200, "authorized")
    assert account.post(f"{path}/cancel") == (409, "nothing_to_cancel")
    assert account.post("orders/ord_9/cancel") == (404, "no_such_order")
    assert account.post("orders", ours="s", amount=0, currency="EUR") == (422, "bad_amount")
    assert account.gateway.lookup("ord_1").body["authorized"] == 60


@pytest.mark.parametrize(
    ("outcome", "state", "authorized"), [("succeeded", "authorized", 100), ("failed", "declined", 0)]
)
def test_a_debit_is_pending_until_the_bank_says_more(outcome, state, authorized):
    account = Account()
    account.create()
    account.gateway.payer("s", "debit")
    assert account.post("orders/ord_1/authorize") == (200, "pending")
    assert account.post("orders/ord_1/cancel") == (409, "order_is_pending")
    assert account.gateway.bank(2, outcome)
    assert not account.gateway.bank(2, outcome)
    view = account.gateway.lookup("ord_1").body
    assert (view["status"], view["authorized"]) == (state, authorized)


def test_slow_captures_and_refunds_reserve_and_may_fail_or_be_reversed():
    account = Account()
    account.create()
    account.gateway.payer("s", "confirm")
    gateway = account.gateway
    gateway.request("orders/ord_1/capture", "", {"amount": 70}, slow=True)
    assert account.post("orders/ord_1/capture", amount=31) == (409, "not_capturable")
    assert gateway.lookup("ord_1").body["captured"] == 0
    gateway.bank(3, "succeeded")
    gateway.bank(3, "reversed")
    view = gateway.lookup("ord_1").body
    assert (view["captured"], view["authorized"]) == (0, 30)
    assert gateway.dashboard("s", "capture", 30)
    assert gateway.dashboard("s", "chargeback", 30)
    assert not gateway.dashboard("s", "refund", 1)
    assert account.post("orders/ord_1/chargeback", amount=1) == (404, "no_such_action")
    view = gateway.lookup("ord_1").body
    assert (view["captured"], view["refunded"], view["charged_back"]) == (30, 0, 30)
    assert gateway.bank(5, "reversed")
    assert gateway.lookup("ord_1").body["charged_back"] == 0
    assert not gateway.dashboard("nobody", "cancel")
    assert [row["by"] for row in gateway.entries()] == ["api", "payer", "api", "dashboard", "bank"]


def test_notifications_are_signed_kept_until_acknowledged_and_verified(process, pay):
    session = initiate(pay)
    ((name, headers, body),) = process.notifications("shop")
    (again,) = process.notifications("shop")
    assert again == (name, headers, body)
    assert pay.handle_webhook("gw", headers=headers, body=body).status == 200
    process.acknowledge("shop", name)
    assert not process.notifications("shop")
    at = int(headers["Gateway-Signature"].partition("=")[2].partition(",")[0])
    text = body.decode()
    for bad in (
        {},
        {"Gateway-Signature": "t=x,v1=y"},
        sign("whsec_other", text, at),
        sign("whsec_gateway", text + " ", at),
        sign("whsec_gateway", text, at - 1000),
        sign("whsec_gateway", text, at + 1000),
    ):
        assert pay.handle_webhook("gw", headers=bad, body=body).status == 400
    assert pay.get(session.id).version == session.version


def test_no_secret_means_no_notification(process):
    process.open("shop")
    provider = GatewayProvider(process.url("shop"), webhook_secret=None)
    with Payments.open("memory:", providers={"gw": provider}) as pay:
        initiate(pay)
        _, headers, body = process.notifications("shop")[0]
        assert pay.handle_webhook("gw", headers=headers, body=body).status == 400


DONE = [
    name
    for name, fault in GATEWAY_FAULTS.items()
    if fault.executes and name not in ("slow", "declined", "hold_after")
]
NOT_DONE = [
    name for name, fault in GATEWAY_FAULTS.items()
    if not fault.executes and name not in ("busy", "hold_before", "late")
]  # fmt: skip


@pytest.mark.parametrize("fault", DONE)
def test_a_fault_after_the_commit_leaves_an_effect_that_is_found(process, pay, fault):
    session = initiate(pay)
    process.payer("shop", session.id, "approve")
    pay.resume(session.id)
    process.inject("shop", fault, verb="capture")
    assert pay.capture(session.id).captured == 4200
    assert [row["kind"] for row in process.ledger("shop")].count("capture") == 1
    assert process.stats()["faults"] == {fault: 1}


@pytest.mark.parametrize("fault", NOT_DONE)
def test_a_fault_before_the_commit_leaves_doubt_and_no_effect(process, pay, fault):
    session = initiate(pay)
    process.payer("shop", session.id, "approve")
    pay.resume(session.id)
    process.inject("shop", fault, verb="capture")
    with pytest.raises(OutcomeUnknown):
        pay.capture(session.id)
    assert "capture" not in [row["kind"] for row in process.ledger("shop")]


def test_a_busy_gateway_and_one_that_refuses_connections_applied_nothing(process, pay):
    session = initiate(pay)
    process.inject("shop", "busy", verb="cancel")
    with pytest.raises(NotApplied):
        pay.cancel(session.id)
    process.refuse()
    try:
        with pytest.raises(NotApplied, match="ConnectionRefusedError"):
            pay.cancel(session.id)
    finally:
        process.accept()
    assert pay.cancel(session.id).status == "canceled"


def test_a_late_request_is_carried_out_after_the_client_gave_up(process):
    process.open("late", late=0.0)
    blind = Capabilities(call_limit=timedelta(seconds=1))
    provider = GatewayProvider(process.url("late"), timeout=0.2, capabilities=blind)
    with Payments.open("memory:", providers={"gw": provider}) as pay:
        process.inject("late", "late", "late")
        with pytest.raises(OutcomeUnknown):
            initiate(pay)
        while not process.ledger("late"):
            pass
    assert process.ledger("late")[0]["kind"] == "create"


def test_a_held_request_waits_for_the_test(process):
    process.open("hold")
    process.inject("hold", "hold_after")
    child = subprocess.Popen(
        [sys.executable, "-c", HELD, process.url("hold")], stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert process.wait_held("hold")
    assert len(process.ledger("hold")) == 1
    process.release("hold")
    assert json.loads(child.communicate()[0]) == "requires_more"


HELD = """
import json, sys
from paysession import Money, Payments
from paysession_testing.gateway_provider import GatewayProvider
from paysession_testing.killing import POINTS, KillPoints
with Payments.open("memory:", providers={"gw": GatewayProvider(sys.argv[1], timeout=30)}) as pay:
    order = pay.create_collection(Money("42.00", "EUR"), reference="order")
    print(json.dumps(pay.initiate(order.id, provider="gw").status))
"""


def test_faults_at_random_are_the_same_for_the_same_seed():
    def drawn(seed):
        plan = FaultPlan(seed)
        plan.at_random(0.3, {"busy": 1, "late": 1, "drop_after": 2})
        return [fault and fault.wire for fault in (plan.take("capture") for _ in range(200))], plan.counts

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert 30 < sum(drawn(7)[1].values()) < 90
    with pytest.raises(ValueError, match="a fault is one of"):
        FaultPlan().put("no_such_fault")


def test_the_ledger_survives_its_clients_and_ends_with_its_starter():
    with GatewayProcess() as process:
        process.open("a")
        with Payments.open("memory:", providers={"gw": GatewayProvider(process.url("a"))}) as pay:
            initiate(pay)
        assert len(process.ledger("a")) == 1
        child = process._process
    assert child.returncode == 0


def test_the_default_call_limit_covers_the_slowest_hook():
    provider = GatewayProvider("http://127.0.0.1:1/x", timeout=2.0)
    assert provider.capabilities.call_limit == timedelta(seconds=8)
    assert GatewayProvider("http://x", capabilities=Capabilities()).capabilities == Capabilities()
    assert "sk_gateway" not in repr(vars(provider))


@pytest.mark.parametrize("point", POINTS)
def test_a_process_dies_at_the_point_that_was_chosen_and_says_so(process, point):
    account = f"kill-{POINTS.index(point)}"  # a dead process's request may still come
    process.open(account)
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        points = KillPoints(lambda at, _hook: at == point, lambda at: os.write(write, at.encode()))
        provider = GatewayProvider(process.url(account), connect=points.connection)
        try:
            with Payments.open("memory:", providers={"gw": provider}, plugins=[points]) as pay:
                initiate(pay)
        finally:
            os._exit(1)
    os.close(write)
    _, status = os.waitpid(pid, 0)
    assert (os.WIFSIGNALED(status), os.WTERMSIG(status)) == (True, signal.SIGKILL)
    assert os.read(read, 100).decode() == point
    os.close(read)
    if point != "request sent":  # the gateway may still be at it
        made = [row["kind"] for row in process.ledger(account)]
        assert made == ([] if point == "before send" else ["create"])
